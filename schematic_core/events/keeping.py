"""Shell: the inbox of a client with a spool, where an event is on file before `track` returns."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from schematic_core.events.codec import Codec
from schematic_core.events.complaints import Complaints
from schematic_core.events.courier import wanted_entities
from schematic_core.events.spool import Spool
from schematic_core.events.spool_rows import Row
from schematic_core.events.values import IdentifyRecord, Record, SpooledRecord, TrackRecord

if TYPE_CHECKING:
    Inbox = deque[Record]
else:
    Inbox = deque

__all__ = ["KeptInbox"]


class KeptInbox(Inbox):
    """Writes usage to the spool as it is appended; flag checks, which are no money, stay in memory.

    Args:
        codec: writes the events; every process has its own.
        spool: keeps them.
        complaints: tells of traits that are left out, and of events that cannot be written.
        count_refused: counts those.
        meet_fork: takes a record when this process turns out to be a forked child that no hook told.
    """

    def __init__(
        self,
        codec: Codec,
        spool: Spool,
        complaints: Complaints,
        count_refused: Callable[[str], object],
        meet_fork: Callable[[Record], None],
    ) -> None:
        super().__init__()
        self._codec = codec
        self._spool = spool
        self._complaints = complaints
        self._count_refused = count_refused
        self._meet_fork = meet_fork
        self._pid = os.getpid()

    def append(self, record: Record, /) -> None:
        """Take a record; never raises. One that cannot be written is counted and told of."""
        if record[0] == "flag_check" or record[0] == "spooled":
            super().append(record)
        elif self._pid != os.getpid():
            self._meet_fork(record)
        else:
            kept = self._keep(record)
            if kept is not None:
                super().append(kept)

    def _keep(self, record: TrackRecord | IdentifyRecord) -> SpooledRecord | None:
        try:
            tail, unfit = self._codec.tail(record)
        except Exception as fault:  # noqa: BLE001 - time zones and text are the user's own code
            self._complaints.tell(fault)
            self._count_refused("unserialisable")
            return None
        self._complaints.tell_unfit(unfit)
        kind, number, at = record[:3]
        self._spool.insert(Row(number, kind, at, tail))
        company = record[4] if record[0] == "track" else None
        return "spooled", number, at, kind, tail, company, None, wanted_entities(record)
