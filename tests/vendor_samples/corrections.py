"""What the samples need besides the new import root: each fault of theirs by name, where it is, and its correction."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["CORRECTIONS", "Correction", "corrected"]


@dataclass(frozen=True)
class Correction:
    """One correction: wherever ``fault`` matches in these blocks, ``instead`` takes its place."""

    name: str
    blocks: tuple[str, ...]
    fault: str
    instead: str

    def apply(self, block: str) -> str:
        """Give the corrected block.

        Raises:
            LookupError: the fault is not there (any more).
        """
        text, found = re.subn(self.fault, self.instead, block, flags=re.MULTILINE)
        if not found:
            raise LookupError(f"the correction {self.name!r} does not apply any more")
        return text


def _unless(text: str) -> str:
    """Match the beginning of a block that nowhere holds this pattern."""
    return rf"\A(?!(?s:.*{text}))"


def _missing_import(name: str, *blocks: str, module: str = "schematic_core.client") -> Correction:
    fault = _unless(rf"\bimport\b[^\n]*\b{name}\b")
    return Correction(f"{name} is used without its import", blocks, fault, f"from {module} import {name}\n")


CORRECTIONS = (
    Correction("false is not Python", ("Sending identify events 1",), r"\bfalse\b", "False"),
    Correction(
        "true is not Python",
        ("Creating and updating companies 1", "Creating and updating users 1"),
        r"\btrue\b",
        "True",
    ),
    _missing_import(
        "SchematicConfig",
        "Flag Check Options 1",
        "Flag Check Options 2",
        "Flag Check Options 3",
        "Offline Mode 1",
        "Offline Mode 2",
    ),
    Correction(
        "schematic is used without its import",
        ("Exception Handling 1",),
        _unless(r"^import schematic_core$"),
        "import schematic_core\n",
    ),
    Correction(
        "there is no client",
        ("Exception Handling 1", "Sending track events 3", "Retries 1"),
        _unless(r"\bclient = "),
        'from schematic_core.client import Schematic\nclient = Schematic("YOUR_API_KEY")\n',
    ),
    Correction(
        "a mapping is written like keyword arguments",
        ("Timeouts 1", "Retries 1"),
        r"\{\n\s+(timeout_in_seconds|max_retries)=([\d.]+)[^\n]*\n\}",
        r'request_options={"\1": \2}',
    ),
    Correction("the company's id is left to the reader", ("Timeouts 1", "Retries 1"), r"\(\.\.\.,", '("comp_acme",'),
    Correction("a Django request has no json", ("Django 1",), r"\brequest\.json\b", "json.loads(request.body)"),
    Correction("json is then used without its import", ("Django 1",), _unless(r"^import json$"), "import json\n"),
    Correction("httpx has no proxies any more", ("Custom HTTP client 1",), r"\bproxies=", "proxy="),
    Correction(
        "the proxy is invented",
        ("Custom HTTP client 1",),
        r'"http://my\.test\.proxy\.example\.com"',
        "OUR_PROXY",
    ),
)
"""Every correction; one that does not apply any more fails the tests."""


def corrected(name: str, block: str) -> str:
    """Apply the corrections of this block, in the order of the table."""
    for correction in CORRECTIONS:
        if name in correction.blocks:
            block = correction.apply(block)
    return block
