"""Models of the HTTP API and of webhook bodies, each loaded when it is first asked for.

Importing this package loads no pydantic. The models are generated (``tools/generate_models.py``); type checkers see them
through the generated ``__init__.pyi``.
"""

from schematic_core.types._generated.index import INDEX
from schematic_core.types._load import is_loaded as is_loaded
from schematic_core.types._load import load as load
from schematic_core.types._load import parse_leniently as parse_leniently

__all__ = sorted(INDEX)  # noqa: PLE0605  (a list; the stub beside this file spells it out)


def __getattr__(name: str) -> object:
    if name not in INDEX:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    model = load(name)
    globals()[name] = model
    return model


def __dir__() -> list[str]:
    return sorted({*globals(), *INDEX})
