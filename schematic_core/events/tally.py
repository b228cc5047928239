"""What became of the events of one queue: counters, notices for humans, and what the spool need not keep any more."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

from schematic_core.events.values import Entry, EventCounts, Notice, NoticeKind, Outcome, Record

__all__ = ["Tally"]


class Tally:
    """Keeps the books of an `EventQueue`.

    Attributes:
        queued: events accepted.
        sent: acknowledged by the service.
        retried: sent again; an event counts each time.
        left: given up when the queue was closed.
    """

    __slots__ = ("_dropped", "_finished", "_kept", "_notices", "left", "queued", "retried", "sent")

    def __init__(self) -> None:
        self.queued: int = 0
        self.sent: int = 0
        self.retried: int = 0
        self.left: int = 0
        self._kept = 0
        self._dropped: dict[str, int] = {}
        self._notices: list[Notice] = []
        self._finished: list[int] = []

    def counts(self, waiting: int) -> EventCounts:
        """Give the counters as they are now, with ``waiting`` events held."""
        dropped = MappingProxyType(dict(self._dropped))
        return EventCounts(self.queued, waiting, self.sent, self.retried, dropped, kept=self._kept)

    def note(self, notice: Notice) -> None:
        """Keep something to report."""
        self._notices.append(notice)

    def take_notices(self) -> list[Notice]:
        """Give what has to be reported since the last call, oldest first."""
        notices, self._notices = self._notices, []
        return notices

    def take_finished(self) -> list[int]:
        """Give the numbers of spooled events whose story has ended since the last call."""
        finished, self._finished = self._finished, []
        return finished

    def acknowledge(self, entries: Iterable[Entry]) -> None:
        """Count delivered events."""
        for entry in entries:
            self.sent += 1
            self._finish(entry)

    def drop(self, reason: str, events: Iterable[Entry | Record]) -> int:
        """Count lost events without a word; gives how many."""
        count = 0
        for event in events:
            count += 1
            self._finish(event)
        if count:
            self._dropped[reason] = self._dropped.get(reason, 0) + count
        return count

    def lose(self, reason: NoticeKind, events: Iterable[Entry | Record], outcome: Outcome | None = None) -> None:
        """Count lost events and have it reported."""
        self._notices.append(Notice(reason, self.drop(reason, events), outcome))

    def give_up(self, events: Iterable[Entry | Record]) -> None:
        """Count what a closing queue leaves: the spool keeps its events for the next process, the others are lost."""
        spooled, lost = 0, 0
        for event in events:
            if is_spooled(event):
                spooled += 1
            else:
                lost += 1
        self.left += spooled + lost
        self._kept += spooled
        if spooled:
            self._notices.append(Notice("kept", spooled))
        if lost:
            self._dropped["undelivered"] = self._dropped.get("undelivered", 0) + lost
            self._notices.append(Notice("undelivered", lost))

    def _finish(self, event: Entry | Record) -> None:
        if is_spooled(event):
            self._finished.append(event.number if isinstance(event, Entry) else event[1])


def is_spooled(event: Entry | Record) -> bool:
    """Whether the spool keeps this event."""
    return event.is_spooled if isinstance(event, Entry) else event[0] == "spooled"
