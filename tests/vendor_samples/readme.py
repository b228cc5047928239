"""The Python blocks of the vendor's README, read from the metadata of its 1.2.0 wheel; none of them is stored here."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

__all__ = ["blocks", "rooted"]

_WHEELS = Path(__file__).resolve().parents[2] / ".peer" / "readme"
_IMPORT_ROOT = re.compile(r"(?<![\w/.-])schematic(?=\.\w| import\b)")


def blocks() -> dict[str, str]:
    """Give each block by the heading it stands under and its number there, e.g. ``"Offline Mode 2"``, as printed.

    Raises:
        FileNotFoundError: the wheel is not there; ``make test`` fetches it.
    """
    wheel = next(_WHEELS.glob("schematichq-1.2.0-*.whl"), None)
    if wheel is None:
        raise FileNotFoundError("the vendor's 1.2.0 wheel is not in .peer/readme; `make test` fetches it")
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read("schematichq-1.2.0.dist-info/METADATA").decode()
    return _parse(text)


def _parse(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    heading, number, fence, lines = "", 0, None, list[str]()
    for line in text.splitlines():
        if fence is None and line.startswith("#"):
            heading, number = line.lstrip("# "), 0
        elif fence is None and line.startswith("```"):
            fence, lines = line, []
        elif line == "```":
            if fence == "```python":
                number += 1
                found[f"{heading} {number}"] = "\n".join([*lines, ""])
            fence = None
        elif fence is not None:
            lines.append(line)
    return found


def rooted(block: str) -> str:
    """Rename the import root ``schematic`` to ``schematic_core``."""
    return _IMPORT_ROOT.sub("schematic_core", block)
