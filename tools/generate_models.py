"""Generate the models, their index and the typed view of the resources from ``tools/openapi.json``.

Usage::

    python tools/generate_models.py            # write the files
    python tools/generate_models.py --check    # fail when they are not what this script gives
    python tools/generate_models.py --all      # the models of the whole document instead of those in use

In use is what the endpoints of ``schematic_core/api/endpoints.py`` and the bodies of events and webhooks reach. The
output is the same on every run and every machine.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from schematic_core.api.endpoints import ENDPOINTS  # noqa: E402  (the checkout must be found first)
from tools.api_document import Document  # noqa: E402
from tools.api_models import Models  # noqa: E402
from tools.api_resources import Resources  # noqa: E402
from tools.api_webhooks import Payloads  # noqa: E402

TYPES = ROOT / "schematic_core" / "types"
GENERATED = TYPES / "_generated"


def main() -> int:
    """Write or check the files; give the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="change nothing, fail when a file is not as generated")
    parser.add_argument("--all", action="store_true", help="models of every schema of the document")
    options = parser.parse_args()
    document = Document(json.loads((ROOT / "tools" / "openapi.json").read_text("utf-8")))
    for complaint in (complaints := document.complaints(ENDPOINTS)):
        print(complaint, file=sys.stderr)
    if complaints:
        return 1
    files = {TYPES / name: text for name, text in Models(document, every=options.all).files().items()}
    files[GENERATED / "payloads.py"] = Payloads(document).text()
    files[ROOT / "schematic_core" / "api" / "resources.pyi"] = Resources(document).text()
    return _check(files) if options.check else _write(files)


def _write(files: dict[Path, str]) -> int:
    GENERATED.mkdir(exist_ok=True)
    for stale in set(GENERATED.glob("*.py")) - files.keys():
        stale.unlink()
    for path, text in files.items():
        path.write_text(text, "utf-8", newline="\n")
    print(f"{len(files)} files written")
    return 0


def _check(files: dict[Path, str]) -> int:
    wrong = [path for path, text in files.items() if not path.exists() or path.read_text("utf-8") != text]
    wrong += sorted(set(GENERATED.glob("*.py")) - files.keys())
    for path in wrong:
        print(f"{path.relative_to(ROOT)} is not what the generator gives", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
