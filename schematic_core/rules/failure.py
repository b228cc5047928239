"""Refusals of documents: the engine's error block as an ``EngineError`` that says what, where and why."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from schematic_core.errors import EngineError

__all__ = ["ERROR_BYTES", "MAX_DOCUMENT_BYTES", "Failure", "Trapped", "too_large"]

MAX_DOCUMENT_BYTES = 8 << 20
"""Largest document, inclusive."""

_BLOCK = Struct("<iII")
ERROR_BYTES = 12
"""Size of the error block."""

# Numbered as in failure.zig.
_EXPECTED = ("value", "object", "array", "string", "integer", "number", "boolean")
_CODES = {
    1: ("too_large", "document is too large"),
    2: ("malformed", "malformed JSON"),
    3: ("encoding", "invalid UTF-8 or unpaired surrogate"),
    4: ("too_deep", "nested deeper than 128 levels"),
    5: ("wrong_type", "expected {expected}"),
    6: ("missing", "missing field"),
    7: ("repeated", "field given twice"),
    8: ("out_of_range", "{expected} out of range"),
    9: ("unknown_value", "unknown value"),
    10: ("out_of_memory", "no memory left for it"),
    11: ("too_many", "too many documents are held"),
}
_WITHOUT_PLACE = frozenset({"too_large", "out_of_memory", "too_many"})


class Trapped(Exception):
    """The instance must not be used any more."""


class Failure(NamedTuple):
    """Why a document was refused."""

    code: str
    text: str
    path: str
    offset: int

    @classmethod
    def read(cls, block: bytes | bytearray, path: str) -> Failure:
        """Read the error block; ``path`` comes beside it."""
        number, expected, offset = _BLOCK.unpack(block)
        code, text = _CODES[number]
        return cls(code, text.format(expected=_EXPECTED[expected]), path, offset)

    def to_error(self, kind: str) -> EngineError:
        """Give the exception, e.g. ``rejected flag: expected integer at rules[2].priority (byte 812)``."""
        if self.code in _WITHOUT_PLACE:
            return EngineError(f"rejected {kind}: {self.text}", code=self.code)
        path = f" at {self.path}" if self.path else ""
        message = f"rejected {kind}: {self.text}{path} (byte {self.offset})"
        return EngineError(message, code=self.code, path=self.path or None, offset=self.offset)


def too_large(kind: str) -> EngineError:
    """Give the exception for a document that is not even looked at."""
    limit = MAX_DOCUMENT_BYTES >> 20
    return EngineError(f"rejected {kind}: document is larger than {limit} MiB", code="too_large")
