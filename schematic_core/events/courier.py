"""Shell: what the sender does with events on their way out: the user's hook, their JSON, the spool's mark, the request."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from schematic_core.events.codec import Codec
from schematic_core.events.complaints import Complaints
from schematic_core.events.delivery import REQUEST_TIMEOUT, Delivery
from schematic_core.events.report import say_lost
from schematic_core.events.values import Batch, Entities, Entry, Outcome, Record

if TYPE_CHECKING:
    from schematic_core.events.report import Log
    from schematic_core.events.spool import Spool

__all__ = ["BeforeSend", "Courier", "wanted_entities"]

BeforeSend = Callable[[dict[str, Any]], Any]


class Courier:
    """Used by one thread at a time; holds the connection.

    Args:
        codec: writes events.
        delivery: makes the requests; closed with this.
        before_send: the user's hook.
        spool: keeps events; None without one.
        complaints: tells of traits that are left out.
        log: where to tell of the rest.
        wall: epoch seconds.
    """

    def __init__(
        self,
        codec: Codec,
        delivery: Delivery,
        *,
        before_send: BeforeSend | None,
        spool: Spool | None,
        complaints: Complaints,
        log: Log,
        wall: Callable[[], float],
    ) -> None:
        self._codec = codec
        self._delivery = delivery
        self._before_send = before_send
        self._spool = spool
        self._complaints = complaints
        self._log = log
        self._wall = wall
        self._told: set[str] = set()
        self._is_hook_told = False

    def encode(self, records: Sequence[Record], now: float) -> tuple[list[Entry], set[int]]:
        """Serialise records, each on its own, at ``now`` (monotonic seconds).

        Returns:
            The entries, and the numbers of records that the hook wants dropped; what is in neither cannot be written.
        """
        entries: list[Entry] = []
        withheld: set[int] = set()
        for record in records:
            try:
                entry = self._encode(record, now)
            except Exception as fault:  # noqa: BLE001 - time zones and text are the user's own code
                say_lost(self._log, fault, self._told)
                continue
            if entry is None:
                withheld.add(record[1])
            else:
                entries.append(entry)
        return entries, withheld

    def send(self, batch: Batch, timeout: float | None) -> Outcome:
        """Send a batch within ``timeout`` seconds; None for the usual."""
        if self._spool is not None and batch.untried:
            self._spool.mark(batch.untried)
        limit = None if timeout is None else min(REQUEST_TIMEOUT, max(0.05, timeout))
        return self._delivery.post([entry.data for entry in batch.entries], limit)

    def close(self) -> None:
        """Close the connection."""
        self._delivery.close()

    def _encode(self, record: Record, now: float) -> Entry | None:
        if record[0] == "spooled":
            kind, tail = record[3], record[4]
            data = self._outgoing(kind, tail)
            if data is None:
                return None
            since = math.inf if record[6] is None else now - max(0.0, self._wall() - record[6])
            return Entry(record[1], kind, since, data, record[5], is_spooled=True, prewarm=record[7])
        tail, unfit = self._codec.tail(record)
        for name in unfit:
            self._complaints.tell_unwritable(name)
        data = self._outgoing(record[0], tail)
        if data is None:
            return None
        company = record[4] if record[0] == "track" else None
        return Entry(record[1], record[0], now, data, company, prewarm=wanted_entities(record))

    def _outgoing(self, kind: str, tail: str) -> bytes | None:
        if self._before_send is None:
            return self._codec.whole(kind, tail)
        try:
            return self._codec.rewritten(kind, tail, self._before_send)
        except Exception:  # noqa: BLE001 - a user's hook; events are money, so its fault costs none
            if not self._is_hook_told:
                self._is_hook_told = True
                self._log.exception("before_send failed; its events are sent unchanged")
            return self._codec.whole(kind, tail)


def wanted_entities(record: Record) -> Entities | None:
    """Give the entities of an `identify` that the stream is to be asked for once it is acknowledged."""
    if record[0] != "identify" or record[7] is None or not record[7].prewarm:
        return None
    company = record[4]["keys"] if record[4] is not None else None
    wanted = (("user", record[3]), ("company", company))
    return tuple((kind, keys) for kind, keys in wanted if isinstance(keys, dict) and keys)  # type: ignore[misc]  # literals
