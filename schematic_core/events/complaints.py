"""Shell: tells of events that callers filled wrongly, once per place of their code or name of a trait."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from schematic_core.events.intake import Unfit, copy_traits
from schematic_core.keys import InvalidKeys

if TYPE_CHECKING:
    from schematic_core.events.report import Log

__all__ = ["Complaints"]

_MAX_TOLD = 100
_OWN = frozenset({"schematic_core", "schematic_fastapi", "schematic_flask", "schematic_django"})


class Complaints:
    """What was told of wrong calls so far; bounded.

    Args:
        log: where to tell.
    """

    __slots__ = ("_log", "_told_names", "_told_places")

    def __init__(self, log: Log) -> None:
        self._log = log
        self._told_places: set[tuple[str, int]] = set()
        self._told_names: set[str] = set()

    def copy_traits(self, traits: object) -> dict[str, object] | None:
        """Copy traits for a record, and tell of those that JSON cannot carry; raises as `intake.copy_traits`."""
        copied, unfit = copy_traits(traits)
        self.tell_unfit(unfit)
        return copied

    def tell_unfit(self, names: list[str]) -> None:
        """Tell that the traits of these names are left out of an event."""
        place = self._new_place() if names else None
        if place is not None:
            self._log.warning("%s:%d: traits %s hold values that JSON cannot carry; they are left out", *place, names)

    def tell(self, fault: Exception) -> None:
        """Tell that an event is dropped."""
        place = self._new_place()
        if place is not None:
            said = (
                str(fault) if isinstance(fault, (Unfit, InvalidKeys)) else f"an argument raised {type(fault).__name__}"
            )
            self._log.error("%s:%d: the event is dropped: %s", *place, said)

    def tell_unwritable(self, name: str) -> None:
        """Tell that a trait is left out, when its event is already on its way and nobody knows its place any more."""
        if name in self._told_names or len(self._told_names) >= _MAX_TOLD:
            return
        self._told_names.add(name)
        self._log.warning("trait %r holds a value that JSON cannot carry; it was left out", name)

    def _new_place(self) -> tuple[str, int] | None:
        """Give file and line of the caller outside the suite, None when it was told before."""
        place = _caller()
        if place in self._told_places or len(self._told_places) >= _MAX_TOLD:
            return None
        self._told_places.add(place)
        return place


def _caller() -> tuple[str, int]:
    frame = sys._getframe(1)  # noqa: SLF001 - `inspect` does the same and takes 50 ms to import
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _OWN:
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno
