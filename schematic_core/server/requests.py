"""Requests and answers as plain values, and taking typed members out of what a stranger sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from schematic_core.server.faults import Refused
from schematic_core.wire import parse_instant

__all__ = ["Answer", "ApiRequest", "Body", "Query", "page"]

T = TypeVar("T")

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
_INT64 = 2**63


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint answers: ``{"data": data, "params": params}`` with ``status``."""

    data: object
    params: Mapping[str, object] = field(default_factory=dict)
    status: int = 200


class Body:
    """One JSON object of a request. Each method takes one member; null counts as absent.

    Raises:
        Refused: 400, naming the member and what was expected.
    """

    def __init__(self, value: object, path: str = "") -> None:
        if not isinstance(value, dict):
            raise Refused(400, f"{path or 'the body'} must be a JSON object")
        self._value = value
        self._path = path

    def __contains__(self, name: str) -> bool:
        return self._value.get(name) is not None

    def raw(self) -> dict[str, object]:
        """Give the object itself."""
        return self._value

    def text(self, name: str, *, required: bool = False) -> str | None:
        """Give a text; one that is required is not blank."""
        value = self._value.get(name)
        if value is None and not required:
            return None
        if not isinstance(value, str) or (required and not value.strip()):
            raise self.refusal(name, "a text")
        return value

    def need(self, name: str) -> str:
        """Give a text that must be there and not blank."""
        return self.text(name, required=True) or ""

    def boolean(self, name: str) -> bool | None:
        """Give a boolean."""
        value = self._value.get(name)
        if value is not None and not isinstance(value, bool):
            raise self.refusal(name, "true or false")
        return value

    def whole(self, name: str) -> int | None:
        """Give a whole number of 64 bits; ``7.0`` is none."""
        value = self._value.get(name)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not -_INT64 <= value < _INT64:
            raise self.refusal(name, "a whole number")
        return value

    def number(self, name: str) -> float | None:
        """Give a finite number."""
        value = self._value.get(name)
        if value is None:
            return None
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not abs(value) < _INT64:
            raise self.refusal(name, "a number")
        return float(value)

    def instant(self, name: str) -> datetime | None:
        """Give an RFC 3339 instant."""
        value = self._value.get(name)
        if value is None:
            return None
        found = parse_instant(value) if isinstance(value, str) else None
        if found is None:
            raise self.refusal(name, "an RFC 3339 date and time")
        return found

    def keys(self, name: str) -> dict[str, str]:
        """Give keys such as ``{"id": "acme"}``; empty when absent."""
        value = self._value.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict) or not all(isinstance(item, str) and key for key, item in value.items()):
            raise self.refusal(name, "an object whose values are texts")
        return dict(value)

    def keys_list(self, name: str) -> list[dict[str, str]]:
        """Give a list of keys; empty when absent."""
        items = self.objects(name)
        return [Body({str(index): item.raw()}, self._at(name)).keys(str(index)) for index, item in enumerate(items)]

    def mapping(self, name: str) -> dict[str, object]:
        """Give an object of any content; empty when absent."""
        value = self._value.get(name)
        if value is not None and not isinstance(value, dict):
            raise self.refusal(name, "an object")
        return dict(value or {})

    def numbers(self, name: str) -> dict[str, float]:
        """Give an object whose values are finite numbers; empty when absent."""
        inner = Body(self.mapping(name), self._at(name))
        return {key: number for key in inner._value if (number := inner.number(key)) is not None}

    def texts(self, name: str, *, required: bool = False) -> list[str]:
        """Give a list of texts; empty when absent."""
        value = self._value.get(name)
        if value is None and not required:
            return []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.refusal(name, "a list of texts")
        return list(value)

    def objects(self, name: str, *, required: bool = False) -> list[Body]:
        """Give a list of objects; empty when absent."""
        value = self._value.get(name)
        if value is None and not required:
            return []
        if not isinstance(value, list):
            raise self.refusal(name, "a list")
        return [Body(item, f"{self._at(name)}[{index}]") for index, item in enumerate(value)]

    def object(self, name: str) -> Body | None:
        """Give an object; None when absent."""
        return self.need_object(name) if self._value.get(name) is not None else None

    def need_object(self, name: str) -> Body:
        """Give an object that must be there."""
        return Body(self._value.get(name), self._at(name))

    def one_of(self, name: str, among: Sequence[str], *, required: bool = False) -> str | None:
        """Give one of some words."""
        value = self._value.get(name)
        if value is None and not required:
            return None
        if value not in among or not isinstance(value, str):
            raise self.refusal(name, f"one of {', '.join(among)}")
        return value

    def _at(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name

    def refusal(self, name: str, expected: str) -> Refused:
        """Give the refusal of a member that is not ``expected``, to be raised."""
        return Refused(400, f"{self._at(name)} must be {expected}")


class Query:
    """The query of a request: repeated names are lists, ``keys[id]=acme`` is a map."""

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self._pairs = pairs

    def only(self, *known: str) -> None:
        """Refuse any other name: an answer that ignored a filter would be a wrong one.

        Raises:
            Refused: 501 for a name that is not ``known``.
        """
        for name, _ in self._pairs:
            if name.partition("[")[0] not in known:
                raise Refused(501, f"the local server does not implement the parameter {name[:100]!r}")

    def text(self, name: str) -> str | None:
        """Give the last value of a name."""
        return next((value for key, value in reversed(self._pairs) if key == name), None)

    def texts(self, name: str) -> list[str]:
        """Give all values of a name, in order."""
        return [value for key, value in self._pairs if key == name]

    def map(self, name: str) -> dict[str, str]:
        """Give the map that is spread over ``name[key]=value``."""
        start = f"{name}["
        return {
            key[len(start) : -1]: value for key, value in self._pairs if key.startswith(start) and key.endswith("]")
        }

    def whole(self, name: str, default: int, most: int) -> int:
        """Give a whole number from 0 to ``most``.

        Raises:
            Refused: 400, it is none.
        """
        text = self.text(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < len(str(most)) + 1 and int(text) <= most):
            raise Refused(400, f"{name} must be a whole number from 0 to {most}")
        return int(text)


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One request to one operation.

    Attributes:
        path: values of the path's parameters, decoded, in order.
        query: the query's names and values.
        now: the server's time at receipt.
        json: the parsed body; None when there was none.
        api_key: the key of the header; None when there was none.
    """

    path: Sequence[str]
    query: Query
    now: datetime
    json: object = None
    api_key: str | None = field(default=None, repr=False)
    user_agent: str = ""
    remote_ip: str = "127.0.0.1"

    def body(self) -> Body:
        """Give the body as an object.

        Raises:
            Refused: 400, it is none.
        """
        return Body(self.json)


def page(items: Sequence[T], query: Query) -> tuple[list[T], dict[str, object]]:
    """Cut a list to the page that ``limit`` and ``offset`` ask for, and give the parameters that had effect."""
    limit = query.whole("limit", DEFAULT_LIMIT, MAX_LIMIT)
    offset = query.whole("offset", 0, 10**9)
    return list(items[offset : offset + limit]), {"limit": limit, "offset": offset}
