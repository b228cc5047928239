"""Where the event queue keeps what waits: two lanes, so that an overflow finds the flag checks without searching."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator

from schematic_core.events.values import Entry, Record

__all__ = ["Lanes"]


class _Lane:
    """Events of one priority, oldest first: serialised in front, raw behind."""

    __slots__ = ("raw", "ready")

    def __init__(self) -> None:
        self.ready: deque[Entry] = deque()
        self.raw: deque[Record] = deque()

    def __len__(self) -> int:
        return len(self.ready) + len(self.raw)

    def first(self) -> float:
        if self.ready:
            return self.ready[0].number
        return self.raw[0][1] if self.raw else math.inf

    def before(self, target: float) -> int:
        return sum(entry.number < target for entry in self.ready) + sum(record[1] < target for record in self.raw)


class Lanes:
    """Waiting events: usage (`track`, `identify`) in one lane, flag checks in the other, merged by number when taken."""

    __slots__ = ("_checks", "_usage", "ready_bytes")

    def __init__(self) -> None:
        self._usage = _Lane()
        self._checks = _Lane()
        self.ready_bytes: int = 0
        """Bytes of the serialised events."""

    def __len__(self) -> int:
        return len(self._usage) + len(self._checks)

    @property
    def has_raw(self) -> bool:
        """Whether some are not serialised yet."""
        return bool(self._usage.raw or self._checks.raw)

    @property
    def checks(self) -> int:
        """How many are flag checks."""
        return len(self._checks)

    @property
    def ready(self) -> int:
        """How many are serialised."""
        return len(self._usage.ready) + len(self._checks.ready)

    def first(self) -> float:
        """Give the number of the oldest event, infinity when there is none."""
        return min(self._usage.first(), self._checks.first())

    def before(self, target: float) -> int:
        """Count the events below number ``target``."""
        return self._usage.before(target) + self._checks.before(target)

    def add(self, record: Record) -> None:
        """Append a record."""
        self._lane(record[0]).raw.append(record)

    def add_ready(self, entry: Entry) -> None:
        """Append a serialised event, whose record was taken out by `take_raw`."""
        self._lane(entry.kind).ready.append(entry)
        self.ready_bytes += len(entry.data)

    def put_back(self, entries: Iterable[Entry]) -> None:
        """Put serialised events back to the front; they keep their order."""
        for entry in reversed(list(entries)):
            self._lane(entry.kind).ready.appendleft(entry)
            self.ready_bytes += len(entry.data)

    def put_back_raw(self, records: Iterable[Record]) -> None:
        """Put records back in front of the raw ones."""
        for record in reversed(list(records)):
            self._lane(record[0]).raw.appendleft(record)

    def take_raw(self, most: int) -> list[Record]:
        """Take the oldest records that are not serialised yet."""
        usage, checks = self._usage.raw, self._checks.raw
        records: list[Record] = []
        while len(records) < most and (usage or checks):
            lane = usage if not checks or (usage and usage[0][1] < checks[0][1]) else checks
            records.append(lane.popleft())
        return records

    def take_ready(self, most: int, most_bytes: int) -> list[Entry]:
        """Take the oldest serialised events: at least one, and no more than fit."""
        usage, checks = self._usage.ready, self._checks.ready
        entries: list[Entry] = []
        size = 0
        while len(entries) < most and (usage or checks):
            lane = usage if not checks or (usage and usage[0].number < checks[0].number) else checks
            size += len(lane[0].data) + 1
            if entries and size > most_bytes:
                break
            entries.append(lane.popleft())
        self.ready_bytes -= sum(len(entry.data) for entry in entries)
        return entries

    def drop_oldest(self, *, ready_only: bool = False) -> tuple[Entry | Record, bool]:
        """Drop the oldest flag check, or else the oldest usage event.

        Args:
            ready_only: consider serialised events only; there must be some, as there must be any without it.

        Returns:
            The event, and whether it was a flag check.
        """
        is_check = bool(self._checks.ready if ready_only else self._checks)
        lane = self._checks if is_check else self._usage
        if not lane.ready:
            return lane.raw.popleft(), is_check
        entry = lane.ready.popleft()
        self.ready_bytes -= len(entry.data)
        return entry, is_check

    def all(self) -> Iterator[Entry | Record]:
        """Give every event."""
        for lane in (self._usage, self._checks):
            yield from lane.ready
            yield from lane.raw

    def _lane(self, kind: str) -> _Lane:
        return self._checks if kind == "flag_check" else self._usage
