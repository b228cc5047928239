"""Constructors of frozen dataclasses that cost a fraction of the ordinary ones, for values made in every evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field, fields, make_dataclass
from typing import Any, TypeVar, cast

__all__ = ["quick"]

_Value = TypeVar("_Value")


def quick(cls: type[_Value], order: Sequence[str] = ()) -> Callable[..., _Value]:
    """Give a constructor of ``cls``, a frozen and slotted dataclass.

    A frozen dataclass sets its members one by one through ``object.__setattr__``: 7 us for a `CheckResult`, several times
    the evaluation. Objects made here come from a class with the same slots that is not frozen, and end as ``cls``.

    Args:
        cls: the dataclass. It must have no ``__post_init__``.
        order: members in the order in which the constructor takes them, those without a default at least; any others may
            follow by name.
    """

    def freeze(self: Any) -> None:
        self.__class__ = cls

    first = [(name, object) for name in order]
    others = [
        (found.name, object, field(default=found.default, default_factory=found.default_factory, kw_only=True))
        for found in fields(cast("Any", cls))
        if found.name not in order
    ]
    names = {"__post_init__": freeze}
    draft = make_dataclass(f"_{cls.__name__}", [*first, *others], eq=False, slots=True, namespace=names)
    return cast("Callable[..., _Value]", draft)  # by what its objects are when they are there
