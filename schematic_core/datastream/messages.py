"""Frames of the stream: requests written, frames read, and the contract's names for both.

Frames are walked: the envelope member by member, an array of data element by element, so that even a frame of many
megabytes is never turned into objects as a whole. Each element comes with its own text, which goes to the engine as it is;
of its members only an outline is kept until it is used, since reading a large array twice takes as long as the rest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from schematic_core.datastream.versions import Kind
from schematic_core.keys import Pairs
from schematic_core.wire import dumps

__all__ = ["Element", "Garbled", "Message", "decode", "entity_request", "flags_request"]

_ENTITY_TYPES: dict[Kind, str] = {"company": "rulesengine.Company", "user": "rulesengine.User"}
_DIGITS = 4000  # about as many as Python turns into a number; an exact value of that size is nowhere asked for

OUTLINE = ("id", "key", "default_value")
"""Members that are kept of each object in an array."""

_Outline = tuple[Any, int, int]
"""What is kept of an element, and where in the array it starts and ends."""

_plain_name = re.compile(r'"([^"\\\x00-\x1f]*)"[ \t\n\r]*:[ \t\n\r]*').match
_after_member = re.compile(r"[ \t\n\r]*([,}])[ \t\n\r]*").match
_separator = re.compile(r"[ \t\n\r]*([,\]])[ \t\n\r]*").match
_thing = re.compile(r"[^ \t\n\r]").search
_tokens = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL).finditer
_string = cast("Any", json.decoder).scanstring  # text after a quote, and where it ends; typeshed knows it not


class Garbled(Exception):
    """A frame that cannot be read. The text says what is wrong and where, and shows nothing of the content."""


class Element:
    """One JSON value of a frame.

    Args:
        value: as Python reads it; None for null, and for what is nested too deeply to be read.
        text: its own bytes, exactly as sent.
        is_outline: whether ``value`` is an object of which only the members in ``OUTLINE`` are given.
    """

    __slots__ = ("_is_outline", "_value", "text")

    def __init__(self, value: Any, text: bytes, *, is_outline: bool = False) -> None:
        self._value = value
        self._is_outline = is_outline
        self.text: bytes = text

    @property
    def value(self) -> Any:
        """The whole value."""
        if self._is_outline:
            self._value, self._is_outline = _read(self.text.decode(), 0)[0], False
        return self._value

    def member(self, name: str) -> Any:
        """Give a member whose name is in ``OUTLINE``; None when there is none, and when the value is no object."""
        return self._value.get(name) if isinstance(self._value, dict) else None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Element) and (self.value, self.text) == (other.value, other.text)

    def __hash__(self) -> int:
        return hash(self.text)


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
        outlines: what is known of its elements already; None when nothing is.

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
    outlines: Sequence[_Outline] | None = field(default=None, repr=False, compare=False)

    @property
    def is_array(self) -> bool:
        """Whether data is an array."""
        return self.array is not None

    def elements(self) -> Iterator[Element]:
        """Walk an array of data; nothing when data is none.

        Raises:
            Garbled: part-way, where the array is broken. Never for messages that `decode` gave, which has looked.
        """
        if self.array is None:
            return
        for value, start, end in _outlined(self.array, 0) if self.outlines is None else self.outlines:
            yield Element(value, _encoded(self.array[start:end]), is_outline=isinstance(value, dict))


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
    own_text = text[start:end]
    is_array = own_text.startswith("[")
    element = None if is_array or own_text in {"", "null"} else Element(data, _encoded(own_text))
    has_more, page = _pagination(members.get("pagination", (None,))[0])
    return Message(
        entity_type=_text(members, "entity_type") or "",
        message_type=_text(members, "message_type") or "",
        entity_id=_text(members, "entity_id"),
        data=element,
        stream_id=_text(members, "stream_id"),
        has_more=has_more,
        page=page,
        array=own_text if is_array else None,
        outlines=data if is_array else None,
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

    The value of an array is not built: its outlines are given.
    """
    at = _skip_space(text, 0)
    if text[at : at + 1] != "{":
        raise Garbled("the frame is not a JSON object")
    at = _skip_space(text, at + 1)
    has_members = text[at : at + 1] != "}"
    at += not has_members
    while has_members:
        plain = _plain_name(text, at)
        name, at = (plain[1], plain.end()) if plain is not None else _name(text, at)
        value, end = _value(text, at)
        yield name, value, at, end
        separator = _after_member(text, end)
        if separator is None:
            raise _broken(_skip_space(text, end))
        at = separator.end()
        has_members = separator[1] == ","
    at = _skip_space(text, at)
    if at != len(text):
        raise _broken(at)


def _name(text: str, at: int) -> tuple[str, int]:
    """Read any name with its colon; gives where the value starts."""
    if text[at : at + 1] != '"':
        raise _broken(at)
    try:
        name, end = _string(text, at + 1, True)
    except ValueError:
        raise _broken(at + 1) from None
    at = _skip_space(text, end)
    if text[at : at + 1] != ":":
        raise _broken(at)
    return name, _skip_space(text, at + 1)


def _value(text: str, at: int) -> tuple[Any, int]:
    """Read the value at ``at``, of an array its outlines; give the position after it too."""
    if text[at : at + 1] != "[":
        return _read(text, at)
    outlines = [(value, start - at, end - at) for value, start, end in _outlined(text, at)]
    last = at + outlines[-1][2] if outlines else at + 1
    return outlines, text.index("]", last) + 1


def _outlined(text: str, at: int) -> Iterator[_Outline]:
    """Walk the array that starts at ``at``; of objects only an outline is kept."""
    for value, start, end in _elements(text, at):
        yield {name: value[name] for name in OUTLINE if name in value} if isinstance(value, dict) else value, start, end


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


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < _DIGITS else float(digits)


_scan = cast("Any", json.JSONDecoder()).scan_once  # what ``raw_decode`` calls; typeshed knows it not
_read_large = json.JSONDecoder(parse_int=_integer).raw_decode


def _read(text: str, at: int) -> tuple[Any, int]:
    """Read one value. One that is nested too deeply to be read is None, so that its neighbours can still be read."""
    try:
        try:
            found: tuple[Any, int] = _scan(text, at)
        except json.JSONDecodeError:
            raise
        except ValueError:  # a number of too many digits
            found = _read_large(text, at)
    except StopIteration as stop:  # as the scanner says that there is no value
        raise _broken(stop.value) from None
    except json.JSONDecodeError as error:
        raise _broken(error.pos) from None
    except RecursionError:
        return None, _end_of_deep(text, at)
    return found


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
