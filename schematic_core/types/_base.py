"""What every generated model shares: one lenient base class, and the member types that need more than pydantic's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, PlainValidator, ValidationInfo
from pydantic.functional_validators import AfterValidator

from schematic_core.wire import format_instant

__all__ = ["Instant", "Items", "Model", "Table", "picked_by"]

T = TypeVar("T")


class Model(BaseModel):
    """Base of all models: frozen, keeps members it does not know, reads both wire and Python names.

    An optional member that nobody gave is None and stays out of what is sent; an explicit None is sent as ``null``.
    Errors do not show the input: it may hold trait values.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True,
        extra="allow",
        populate_by_name=True,
        protected_namespaces=(),
        defer_build=True,
        hide_input_in_errors=True,
    )

    def __reduce__(self) -> tuple[object, ...]:
        return _revive, (type(self).__name__, self.__getstate__())


def _revive(name: str, state: dict[Any, Any]) -> Model:
    """Rebuild a pickled model, whose class may not have been loaded in this process."""
    from schematic_core import types

    cls: type[Model] = types.load(name)
    model = cls.__new__(cls)
    model.__setstate__(state)
    return model


def _aware(instant: datetime) -> datetime:
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=timezone.utc)


def _list_of(value: object) -> object:
    return [] if value is None else value


def _dict_of(value: object) -> object:
    return {} if value is None else value


Instant = Annotated[
    datetime, AfterValidator(_aware), PlainSerializer(format_instant, return_type=str, when_used="json-unless-none")
]
"""An aware instant; a naive one is read as UTC. Sent as RFC 3339 text."""

Items = Annotated[list[T], BeforeValidator(_list_of)]
"""A list of an answer; the service is known to send ``null`` for an empty one."""

Table = Annotated[dict[str, T], BeforeValidator(_dict_of)]
"""A map of an answer; ``null`` reads as empty."""


def picked_by(tag: str, models: Mapping[str, str]) -> PlainValidator:
    """Make a validator that reads a member as the model that a sibling member names, never by its shape.

    Args:
        tag: name of the sibling, defined before, e.g. ``"event_type"``.
        models: name of the model by the sibling's value; for other values the member stays as it is.
    """
    return PlainValidator(_picker(tag, models))


def _picker(tag: str, models: Mapping[str, str]) -> Callable[[Any, ValidationInfo], Any]:
    def pick(value: Any, info: ValidationInfo) -> Any:
        name = models.get(str(info.data.get(tag)))
        if name is None or not isinstance(value, Mapping):
            return value
        from schematic_core import types

        return types.load(name).model_validate(value)

    return pick
