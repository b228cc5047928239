"""JSON objects kept as text, of which a change reads and writes only the members it concerns.

A text that `Writer` made comes with its layout. Of any other text the members are found by reading all of it, once:
what is written after the change has a layout.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping
from typing import NamedTuple

from schematic_core.wire import loads

__all__ = ["Layout", "Writer", "members_of", "write_value"]

_MAX_SHAPES = 1024

# As `wire.dumps` for what was read from JSON: it has no cycles and nothing to translate.
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False).encode


class Layout(NamedTuple):
    """Where the members of an object stand in its text.

    Attributes:
        heads: what stands before each value, e.g. ``{"id": b'{"id":', "keys": b',"keys":'}``; shared by all objects with
            the same members in the same order.
        sizes: bytes of each value.
    """

    heads: Mapping[str, bytes]
    sizes: array[int]


def write_value(value: object) -> bytes:
    """Write one value that was read from JSON.

    Raises:
        ValueError: a number was read as infinite.
        RecursionError: it is nested too deeply.
    """
    return _encode(value).encode()


def members_of(text: bytes, layout: Layout | None) -> dict[str, bytes]:
    """Give the text of each member's value.

    Raises:
        ValueError, RecursionError: without a layout, as `write_value`.
    """
    if layout is None:
        return {name: write_value(value) for name, value in loads(text).items()}
    members = {}
    start = 0
    for (name, head), size in zip(layout.heads.items(), layout.sizes, strict=True):
        start += len(head)
        end = start + size
        members[name] = text[start:end]
        start = end
    return members


class Writer:
    """Writes objects of one or more members."""

    def __init__(self) -> None:
        self._shapes: dict[tuple[str, ...], Mapping[str, bytes]] = {}

    def write(self, members: Mapping[str, bytes]) -> tuple[bytes, Layout]:
        """Put the texts of values together."""
        names = tuple(members)
        heads = self._shapes.get(names)
        if heads is None:
            if len(self._shapes) >= _MAX_SHAPES:
                self._shapes.clear()
            marks = (b"," if place else b"{" for place in range(len(names)))
            heads = self._shapes[names] = {name: next(marks) + write_value(name) + b":" for name in names}
        parts = [part for name, head in heads.items() for part in (head, members[name])]
        return b"".join((*parts, b"}")), Layout(heads, array("I", map(len, members.values())))
