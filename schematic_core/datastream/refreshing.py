"""Entities to be asked for again after a reconnect: paced, so that neither one client nor a fleet floods the service."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

from schematic_core.datastream.limits import ConnectionLimits
from schematic_core.datastream.versions import Kind
from schematic_core.keys import Pairs

__all__ = ["Refreshing"]


class Refreshing:
    """What is still to be asked for, each thing once, in the order given, at random times around an even pace."""

    __slots__ = ("_limits", "_next_at", "_random", "_wanted")

    def __init__(self, limits: ConnectionLimits, random: Callable[[], float]) -> None:
        self._limits = limits
        self._random = random
        self._wanted: OrderedDict[tuple[Kind, Pairs], None] = OrderedDict()
        self._next_at = 0.0

    @property
    def next_at(self) -> float | None:
        """When the next is due; None when there is none."""
        return self._next_at if self._wanted else None

    def add(self, wanted: Iterable[tuple[Kind, Pairs]], now: float) -> None:
        """Take in what to ask for; what waits already is not doubled."""
        is_first = not self._wanted
        self._wanted.update(dict.fromkeys(wanted))
        if is_first:
            self._next_at = now + self._random() * self._limits.refresh_delay

    def discard(self, kind: Kind, pairs: Pairs) -> None:
        """Leave out what somebody asks for now."""
        self._wanted.pop((kind, pairs), None)

    def take(self, now: float) -> tuple[Kind, Pairs] | None:
        """Give what is due, if anything is; the next is due later."""
        if not self._wanted or now < self._next_at:
            return None
        wanted, _ = self._wanted.popitem(last=False)
        pause = self._random() * 2.0 * self._limits.refresh_interval
        self._next_at = max(self._next_at + pause, now - self._limits.refresh_interval)
        return wanted

    def clear(self) -> None:
        """Forget all."""
        self._wanted.clear()
