"""Which flag checks say something new: a machine that remembers what the checks of one period said."""

from __future__ import annotations

import math

from schematic_core.events.values import FlagCheckRecord

__all__ = ["Distinct"]

_MAX_KNOWN = 10_000

_Said = tuple[object, ...]


class Distinct:
    """Knows the checks of the current period: what each said of a flag, a company and a user.

    A remembered answer comes again and again as the same objects, which are found by their ids; another object that says
    the same is found by what it says.

    Args:
        period: seconds after which everything is new again.
    """

    __slots__ = ("_ends_at", "_objects", "_period", "_said")

    def __init__(self, period: float) -> None:
        self._period = period
        self._ends_at = -math.inf
        self._objects: dict[tuple[int, int, int, bool], FlagCheckRecord] = {}
        self._said: set[_Said] = set()

    def is_new(self, record: FlagCheckRecord, now: float) -> bool:
        """Say whether no check of this period said the same, and remember it, at ``now`` (monotonic seconds)."""
        if now >= self._ends_at or len(self._objects) >= _MAX_KNOWN:
            self._ends_at = now + self._period
            self._objects.clear()
            self._said.clear()
        objects = id(record[3]), id(record[4]), id(record[5]), record[6]
        if objects in self._objects:
            return False
        self._objects[objects] = record  # it keeps its objects, and thus their ids, alive
        said = _what_it_says(record)
        if said in self._said:
            return False
        self._said.add(said)
        return True


def _what_it_says(record: FlagCheckRecord) -> _Said:
    result = record[3]
    return (
        result.flag_key,
        result.value,
        result.reason,
        result.flag_id,
        result.rule_id,
        result.company_id,
        result.user_id,
        result.error,
        frozenset(record[4].items()),
        frozenset(record[5].items()),
        record[6],
    )
