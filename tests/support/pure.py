"""Print the files that `make coverage` holds to full branch coverage, in the form that `coverage report --include` takes."""

from __future__ import annotations

from tests.test_architecture import MODULES, ROOT, is_pure

if __name__ == "__main__":
    print(",".join(str(path.relative_to(ROOT)) for name, path in MODULES.items() if is_pure(name)))
