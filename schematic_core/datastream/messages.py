"""Frames of the stream: requests written, frames read, and the contract's names for both.

Frames are walked: the envelope member by member, an array of data element by element, so that even a frame of many
megabytes is never turned into objects as a whole. Each element comes with its own text, which goes to the engine as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

from schematic_core.datastream.versions import Kind
from schematic_core.keys import Pairs
from schematic_core.wire import dumps

__all__ = ["Element", "Garbled", "Message", "decode", "entity_request", "flags_request"]

_ENTITY_TYPES: dict[Kind, str] = {"company": "rulesengine.Company", "user": "rulesengine.User"}
_DIGITS = 4000  # about as many as Python turns into a number; an exact value of that size is nowhere asked for

_separator = re.compile(r"[ \t\n\r]*([,\]])[ \t\n\r]*").match
_thing = re.compile(r"[^ \t\n\r]").search
_tokens = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL).finditer
_string = cast("Any", json.decoder).scanstring  # text after a quote, and where it ends; typeshed knows it not


class Garbled(Exception):
    """A frame that cannot be read. The text says what is wrong and where, and shows nothing of the content."""


class Element(NamedTuple):
    """One JSON value of a frame.

    Attributes:
        value: as Python reads it; None for null, and for what is nested too deeply to be read.
        text: its own bytes, exactly as sent.
    """

    value: Any
    text: bytes


@dataclass(frozen=True, slots=True)
class Message:
    """What one frame says.

    Attributes:
        entity_type: as sent, e.g. ``"rulesengine.Company"``; empty when the frame names none.
        message_type: as sent, e.g. ``"full"``; empty when the frame names none.
        entity_id: the service's id, on frames about a company or user; None when not sent.
        data: None when absent or null, and for an array, whose `elements` are given one by one.
        stream_id: e.g. ``"1770000000123-4"``; None when not sent.
        has_more: whether pages follow; None when the frame is no page.
        page: which page it is, from 1; None when the frame does not say.
        array: the text of an array of data; None when data is none.

    Source: ``datastream.md`` section 4. Members of another type than the contract's count as not sent.
    """

    entity_type: str
    message_type: str
    entity_id: str | None = None
    data: Element | None = field(default=None, repr=False)
    stream_id: str | None = None
    has_more: bool | None = None
    page: int | None = None
    array: str | None = field(default=None, repr=False)

    @property
    def is_array(self) -> bool:
        """Whether data is an array."""
        return self.array is not None

    def elements(self) -> Iterator[Element]:
        """Walk an array of data; nothing when data is none.

        Raises:
            Garbled: part-way, where the array is broken. Never for messages that `decode` gave, which has looked.
        """
        if self.array is not None:
            for value, start, end in _elements(self.array, 0):
                yield Element(value, _encoded(self.array[start:end]))


def decode(frame: str | bytes) -> Message:
    """Read a frame.

    Raises:
        Garbled: it is no JSON object in UTF-8. Nothing else is raised, whatever the frame.
    """
    text = frame if isinstance(frame, str) else _decoded(frame)
    members: dict[str, tuple[Any, int, int]] = {}
    for name, value, start, end in _members(text):
        members[name] = value, start, end
    data, start, end = members.get("data", (None, 0, 0))
    is_array = text[start:end].startswith("[")
    element = None if is_array or text[start:end] in {"", "null"} else Element(data, _encoded(text[start:end]))
    has_more, page = _pagination(members.get("pagination", (None,))[0])
    return Message(
        entity_type=_text(members, "entity_type") or "",
        message_type=_text(members, "message_type") or "",
        entity_id=_text(members, "entity_id"),
        data=element,
        stream_id=_text(members, "stream_id"),
        has_more=has_more,
        page=page,
        array=text[start:end] if is_array else None,
    )


def flags_request(page_size: int | None) -> str:
    """Write the request for all flags; ``page_size`` is a count of flags, None asks for no pages."""
    paging = {} if page_size is None else {"page_size": page_size}
    return _request({"entity_type": "rulesengine.Flags", **paging})


def entity_request(kind: Kind, pairs: Pairs) -> str:
    """Write the request for a company or user with these keys."""
    return _request({"entity_type": _ENTITY_TYPES[kind], "keys": dict(pairs)})


def _request(members: dict[str, Any]) -> str:
    return dumps({"data": {"action": "start", **members}}).decode()


def _decoded(frame: bytes) -> str:
    try:
        return frame.decode()
    except UnicodeDecodeError as error:
        raise Garbled(f"the frame is not UTF-8 at byte {error.start}") from None


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which no socket brings
        raise Garbled("the frame holds text that has no UTF-8 form") from None


def _text(members: dict[str, tuple[Any, int, int]], name: str) -> str | None:
    value = members.get(name, (None,))[0]
    return value if isinstance(value, str) else None


def _pagination(value: object) -> tuple[bool | None, int | None]:
    """Read ``has_more`` and ``page``; a page that does not say that more follow is the last."""
    if not isinstance(value, dict):
        return None, None
    page = value.get("page")
    return value.get("has_more") is True, page if type(page) is int else None


def _members(text: str) -> Iterator[tuple[str, Any, int, int]]:
    """Walk an object that is all of ``text``: name and value of each member, and where the value starts and ends.

    The value of an array is not built, only looked through.
    """
    at = _skip_space(text, 0)
    if text[at : at + 1] != "{":
        raise Garbled("the frame is not a JSON object")
    at = _skip_space(text, at + 1)
    has_members = text[at : at + 1] != "}"
    while has_members:
        if text[at : at + 1] != '"':
            raise _broken(at)
        name, at = _name(text, at + 1)
        at = _skip_space(text, at)
        if text[at : at + 1] != ":":
            raise _broken(at)
        at = _skip_space(text, at + 1)
        value, end = _value(text, at)
        yield name, value, at, end
        at = _skip_space(text, end)
        has_members = text[at : at + 1] == ","
        if has_members:
            at = _skip_space(text, at + 1)
    if text[at : at + 1] != "}":
        raise _broken(at)
    at = _skip_space(text, at + 1)
    if at != len(text):
        raise _broken(at)


def _value(text: str, at: int) -> tuple[Any, int]:
    """Read the value at ``at``, an array without its elements; give the position after it too."""
    if text[at : at + 1] != "[":
        return _read(text, at)
    inside = at + 1
    for _, _, end in _elements(text, at):
        inside = end
    return None, text.index("]", inside) + 1


def _elements(text: str, at: int) -> Iterator[tuple[Any, int, int]]:
    """Walk the array that starts at ``at``: each element, where it starts and where it ends."""
    at = _skip_space(text, at + 1)
    if text[at : at + 1] == "]":
        return
    while True:
        value, end = _read(text, at)
        yield value, at, end
        separator = _separator(text, end)
        if separator is None:
            raise _broken(end)
        if separator[1] == "]":
            return
        at = separator.end()


def _name(text: str, at: int) -> tuple[str, int]:
    try:
        name, end = _string(text, at, True)
    except ValueError:
        raise _broken(at) from None
    return name, end


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < _DIGITS else float(digits)


_read_plain = json.JSONDecoder().raw_decode
_read_large = json.JSONDecoder(parse_int=_integer).raw_decode


def _read(text: str, at: int) -> tuple[Any, int]:
    """Read one value. One that is nested too deeply to be read is None, so that its neighbours can still be read."""
    try:
        try:
            return _read_plain(text, at)
        except json.JSONDecodeError:
            raise
        except ValueError:  # a number of too many digits
            return _read_large(text, at)
    except json.JSONDecodeError as error:
        raise _broken(error.pos) from None
    except RecursionError:
        return None, _end_of_deep(text, at)


def _end_of_deep(text: str, at: int) -> int:
    """Find the end of an object or array by its brackets alone."""
    depth = 0
    for token in _tokens(text, at):
        bracket = token.group()
        if bracket in "[{":
            depth += 1
        elif bracket in "]}":
            depth -= 1
            if depth == 0:
                return token.end()
    raise _broken(at)


def _skip_space(text: str, at: int) -> int:
    found = _thing(text, at)
    return len(text) if found is None else found.start()


def _broken(at: int) -> Garbled:
    return Garbled(f"the JSON is broken at character {at}")
