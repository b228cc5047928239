"""What callers hand in, as the JSON documents that the engine reads."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Protocol, Union, runtime_checkable

from schematic_core.errors import EngineError
from schematic_core.rules.failure import MAX_DOCUMENT_BYTES, too_large

__all__ = ["Document", "EventUsageLike", "JsonModel", "document_of", "options_of"]


@runtime_checkable
class JsonModel(Protocol):
    """A pydantic model, or anything else that writes itself as JSON."""

    def model_dump_json(self) -> str:
        """Give the object as JSON text."""
        ...


class EventUsageLike(Protocol):
    """Usage of one event, as an object."""

    @property
    def event_subtype(self) -> str:
        """Name of the event."""
        ...

    @property
    def quantity(self) -> float:
        """Units of it."""
        ...


Document = Union[str, bytes, bytearray, Mapping[str, Any], JsonModel]
"""One flag, company or user: JSON text, or an object that becomes JSON text."""


def document_of(kind: str, source: Document) -> bytes:
    """Give the JSON text of an entity. Text is passed on as it is.

    Raises:
        EngineError: ``source`` is of no accepted type, too large, or cannot be written as JSON.
    """
    if isinstance(source, (bytes, bytearray)):
        return _within_limit(kind, bytes(source) if len(source) <= MAX_DOCUMENT_BYTES else source)
    if isinstance(source, str):
        return _encode(kind, source)
    if isinstance(source, Mapping):
        return _within_limit(kind, _dump(kind, source))
    if isinstance(source, JsonModel) and not isinstance(source, type):
        return _encode(kind, _dump_model(kind, source))
    raise EngineError(
        f"rejected {kind}: expected JSON text, a mapping or a model, got {type(source).__name__}", code="wrong_type"
    )


def options_of(
    usage: float | None,
    event_usage: Mapping[str, Any] | EventUsageLike | None,
    credit_cost: Mapping[str, float | None] | None,
) -> bytes | None:
    """Give the options as a document; None when none is set. Fractional quantities are rounded up.

    Raises:
        EngineError: a quantity is no finite number, or an option is of the wrong type.
    """
    options: dict[str, Any] = {}
    if usage is not None:
        options["usage"] = _units("usage", usage)
    if event_usage is not None:
        options["event_usage"] = _event(event_usage)
    if credit_cost is not None:
        if not isinstance(credit_cost, Mapping):
            raise _wrong("credit_cost", "a mapping of credit ids to numbers", credit_cost)
        costs = {credit: _number("credit_cost", cost) for credit, cost in credit_cost.items() if cost is not None}
        options["credit_cost"] = costs
    return _within_limit("options", _dump("options", options)) if options else None


def _event(event_usage: Mapping[str, Any] | EventUsageLike) -> dict[str, Any]:
    if isinstance(event_usage, Mapping):
        event = dict(event_usage)
    elif hasattr(event_usage, "event_subtype") and hasattr(event_usage, "quantity"):
        event = {"event_subtype": event_usage.event_subtype, "quantity": event_usage.quantity}
    else:
        raise _wrong("event_usage", "a mapping with event_subtype and quantity", event_usage)
    if event.get("quantity") is not None:
        event["quantity"] = _units("event_usage.quantity", event["quantity"])
    return event


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong(name, "a number", value)
    if not _is_finite(value):
        raise EngineError(f"rejected options: {name} must be a finite double", code="out_of_range", path=name)
    return value


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an int beyond every double
        return False


def _units(name: str, value: object) -> int:
    return math.ceil(_number(name, value))


def _wrong(name: str, expected: str, value: object) -> EngineError:
    message = f"rejected options: {name} must be {expected}, got {type(value).__name__}"
    return EngineError(message, code="wrong_type", path=name)


def _dump(kind: str, source: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(source if isinstance(source, dict) else dict(source), allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise EngineError(f"rejected {kind}: cannot be written as JSON: {error}", code="malformed") from error


def _dump_model(kind: str, source: JsonModel) -> str:
    try:
        text = source.model_dump_json()
    except (TypeError, ValueError, RecursionError) as error:
        raise EngineError(f"rejected {kind}: cannot be written as JSON: {error}", code="malformed") from error
    if not isinstance(text, str):
        raise EngineError(f"rejected {kind}: model_dump_json gave {type(text).__name__}, not text", code="wrong_type")
    return text


def _encode(kind: str, text: str) -> bytes:
    if len(text) > MAX_DOCUMENT_BYTES:
        raise too_large(kind)
    try:
        return _within_limit(kind, text.encode())
    except UnicodeEncodeError as error:
        raise EngineError(f"rejected {kind}: unpaired surrogate in the text", code="encoding") from error


def _within_limit(kind: str, document: bytes | bytearray) -> bytes:
    if len(document) > MAX_DOCUMENT_BYTES:
        raise too_large(kind)
    return bytes(document)
