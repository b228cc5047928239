"""The event queue: keeps events until the service acknowledged them, and decides when to send which.

A machine without I/O, clock or lock. Its shell pushes records, asks `next` what to do, does it, and reports back.

How it keeps events: usage (`track`, `identify`) and flag checks wait in a lane each, so that an overflow finds the flag
checks without searching. A lane holds serialised entries in front and raw records behind; it is serialised even while
nothing can be sent, because the bound in bytes needs sizes. Batches merge the lanes by number. At most one batch is
under way; a failed one goes back to the front of its lanes. Halves of a batch that was refused as a whole stay apart
as ``parts`` until each is settled, so that one bad event is found in about fourteen requests.

When it sends: in rounds. A round covers everything pushed before it began (``horizon``). It begins 0.2 s after the
first event that follows a pause, a period after the last round, when a full batch waits (or half of what the queue may
hold), or when a flush urges it.
After trouble nothing is sent before ``not_before``; events go on being pushed and serialised.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence

from schematic_core.events.lanes import Lanes
from schematic_core.events.tally import Tally
from schematic_core.events.values import (
    Batch,
    Done,
    Encode,
    Entry,
    EventCounts,
    Limits,
    Notice,
    NoticeKind,
    Outcome,
    Record,
    Send,
    Step,
    Wait,
)
from schematic_core.timing import Backoff

__all__ = ["EventQueue"]

FIRST_DELAY = 0.2
MAX_BATCH = 100
MAX_BATCH_BYTES = 1_000_000
MAX_RETRY_AFTER = 300.0


class EventQueue:
    """Bounded queue of one client's events; see the module's text for how it works.

    The shell repeats: `push` what callers left, ask `next`, do it. After `Encode` it must call `store`, after `Send`
    `settle`, before anything else. After `Done` it may only read.

    Args:
        limits: bounds.
        random: gives floats in [0, 1), for the jitter of waits.
    """

    def __init__(self, limits: Limits, random: Callable[[], float]) -> None:
        self._limits = limits
        self._retry = Backoff(1.0, 60.0, random)
        self._refusal = Backoff(300.0, 300.0, random)
        self._lanes = Lanes()
        self._encoding: list[Record] = []
        self._flying: Batch | None = None
        self._parts: list[Batch] = []
        self._max_batch = MAX_BATCH
        self._max_batch_bytes = MAX_BATCH_BYTES
        self._newest = -1
        self._horizon: float = -1
        self._due: float | None = None
        self._last_round = -math.inf
        self._not_before = -math.inf
        self._is_told_to_wait = False
        self._attempt = 0
        self._trouble: str | None = None
        self._is_overflowing = False
        self._waits_until: float | None = None
        self._deadline: float | None = None
        self._is_given_up = False
        self._is_done = False
        self._tally = Tally()

    # -- what callers see

    @property
    def count(self) -> int:
        """Events held: waiting, being serialised or under way."""
        return len(self._lanes) + len(self._encoding) + sum(len(batch.entries) for batch in self._in_hand())

    @property
    def left(self) -> int:
        """Events given up when the queue was closed."""
        return self._tally.left

    @property
    def is_in_trouble(self) -> bool:
        """Whether the last request failed, so that the next is a matter of time."""
        return self._trouble is not None

    @property
    def appetite(self) -> int:
        """How many more events change what `next` says: one when empty, else what fills a batch or the queue; at least 1."""
        count = self.count
        waiting = len(self._lanes)
        to_fill = self._enough - waiting if waiting < self._enough else self._max_batch
        return 1 if not count else max(1, min(to_fill, self._limits.max_events - count))

    @property
    def is_patient(self) -> bool:
        """Whether what was pushed since the last `Wait` changes nothing before that wait is over.

        After a round nothing is due until the period is over, so that a busy process wakes nobody for single events.
        """
        is_later = self._waits_until is not None and self._due is not None and self._due >= self._waits_until
        return is_later and len(self._lanes) < self._enough

    def counts(self) -> EventCounts:
        """Give the counters as they are now."""
        return self._tally.counts(self.count)

    def remaining(self, target: float) -> int:
        """Count the events below number ``target`` that are neither delivered nor lost."""
        if self._is_done:
            return self.left
        hand = (r[1] < target for r in self._encoding)
        batches = (entry.number < target for batch in self._in_hand() for entry in batch.entries)
        return self._lanes.before(target) + sum(hand) + sum(batches)

    def is_settled(self, target: float) -> bool:
        """Whether every event below number ``target`` is delivered or lost."""
        if self._is_done:
            return True
        if self._lanes.first() < target:
            return False
        if any(record[1] < target for record in self._encoding):
            return False
        return not any(entry.number < target for batch in self._in_hand() for entry in batch.entries)

    # -- what the shell tells

    def push(self, records: Iterable[Record], now: float) -> None:
        """Add records, oldest first, at ``now`` (monotonic seconds); beyond the bound, others are dropped."""
        if self._due is None or not self._lanes:
            self._due = max(now + min(FIRST_DELAY, self._limits.period), self._last_round + self._limits.period)
        for record in records:
            self._lanes.add(record)
            self._newest = max(self._newest, record[1])
            self._tally.queued += 1
        if self._is_done:  # a caller was on its way while the queue was closed
            self._end()
        else:
            self._make_room()

    def urge(self, target: float) -> None:
        """Let everything below number ``target`` go without waiting, unless the service itself asked for the wait."""
        self._horizon = max(self._horizon, target)
        if not self._is_told_to_wait:
            self._not_before = -math.inf

    def close(self, deadline: float) -> None:
        """Let everything go at once, each batch for a last time, until ``deadline`` (monotonic seconds); then `Done`."""
        if self._deadline is None:
            self._horizon = math.inf
            self._not_before = -math.inf
        self._deadline = deadline

    def resume(self) -> None:
        """Take back what a shell left undone when it died between a step and its report."""
        if self._flying is not None:
            self._put_back(self._flying)
            self._flying = None
        self._lanes.put_back_raw(self._encoding)
        self._encoding = []

    def next(self, now: float) -> Step:
        """Say what to do at ``now`` (monotonic seconds)."""
        self._waits_until = None
        if self._is_given_up or (self._deadline is not None and now >= self._deadline):
            return self._end()
        waiting = len(self._lanes)
        if waiting and (waiting >= self._enough or (self._due is not None and now >= self._due)):
            self._begin_round(now)
        if now >= self._not_before and self._has_sendable():
            if self._needs_more():
                return self._encode()
            batch = self._take(now)
            if batch is not None:
                self._last_round = now  # what a flush urges is a round as well
                return Send(batch)
        if self._lanes.has_raw:
            return self._encode()
        if self._deadline is not None and not self.count:
            return self._end()
        rested_at = self._last_round + self._limits.period
        self._waits_until = rested_at if not self.count and now < rested_at else self._wake_at()
        return Wait(self._waits_until)

    def store(self, entries: Sequence[Entry], withheld: Collection[int] = ()) -> None:
        """Take the serialised form of what `Encode` gave; records left out count as unserialisable.

        Args:
            entries: in the order of their records.
            withheld: numbers of records left out because the user's hook wants them dropped.
        """
        written = {entry.number for entry in entries}
        left_out = [record for record in self._encoding if record[1] not in written]
        self._tally.drop("before_send", [record for record in left_out if record[1] in withheld])
        self._tally.drop("unserialisable", [record for record in left_out if record[1] not in withheld])
        self._encoding = []
        for entry in entries:
            self._lanes.add_ready(entry)
        self._make_room()

    def settle(self, outcome: Outcome, now: float) -> Batch | None:
        """Take the outcome of the batch that `Send` gave, at ``now`` (monotonic seconds).

        Returns:
            The batch, when it was acknowledged.
        """
        batch = self._flying
        assert batch is not None, "settle without a batch under way"
        self._flying = None
        if outcome.kind in ("retry", "refused"):
            self._postpone(batch, outcome, now)
            return None
        self._attempt = 0
        self._is_told_to_wait = False
        if outcome.kind == "acknowledged":
            self._acknowledge(batch)
            return batch
        if len(batch.entries) > 1:
            self._split(batch, outcome)
        else:
            self._tally.lose("rejected", batch.entries, outcome)
        return None

    def take_notices(self) -> list[Notice]:
        """Give what has to be reported since the last call, oldest first; mostly nothing."""
        return self._tally.take_notices()

    def take_finished(self) -> list[int]:
        """Give the numbers of events that the spool need not keep any more, since the last call."""
        return self._tally.take_finished()

    # -- rounds and batches

    @property
    def _enough(self) -> int:
        """How many waiting events begin a round: a full batch, or half of a small queue, so that others find room."""
        return max(1, min(self._max_batch, self._limits.max_events // 2))

    def _begin_round(self, now: float) -> None:
        self._horizon = max(self._horizon, self._newest + 1)
        self._last_round = now
        self._due = None

    def _has_sendable(self) -> bool:
        return bool(self._parts) or self._lanes.first() < self._horizon

    def _needs_more(self) -> bool:
        """Whether the next batch could be fuller if raw records were serialised first."""
        return not self._parts and self._lanes.ready < self._max_batch and self._lanes.has_raw

    def _encode(self) -> Encode:
        self._encoding = self._lanes.take_raw(MAX_BATCH)
        return Encode(self._encoding)

    def _take(self, now: float) -> Batch | None:
        is_part = bool(self._parts)
        if is_part:
            entries: Sequence[Entry] = self._parts.pop().entries
        else:
            entries = self._lanes.take_ready(self._max_batch, self._max_batch_bytes)
        expired = [entry for entry in entries if now - entry.since >= self._limits.max_age]
        if expired:
            self._tally.lose("expired", expired)
        fresh = [entry for entry in entries if now - entry.since < self._limits.max_age]
        if not fresh:
            return None
        if self._attempt:
            self._tally.retried += len(fresh)
        untried = tuple(entry.number for entry in fresh if entry.since == math.inf)
        tried = tuple(entry._replace(since=now) if entry.since == math.inf else entry for entry in fresh)
        self._flying = Batch(tried, part=is_part, last=self._deadline is not None, untried=untried)
        return self._flying

    def _wake_at(self) -> float | None:
        if not self.count:
            return None
        if self._has_sendable():
            return self._not_before
        return self._due

    # -- outcomes

    def _acknowledge(self, batch: Batch) -> None:
        self._tally.acknowledge(batch.entries)
        if self._trouble is not None:
            self._trouble = None
            self._tally.note(Notice("recovered"))
        if (
            self._is_overflowing
            and self.count <= self._limits.max_events // 2
            and self._bytes <= self._limits.max_bytes // 2
        ):
            self._is_overflowing = False

    def _postpone(self, batch: Batch, outcome: Outcome, now: float) -> None:
        self._put_back(batch)
        kind: NoticeKind = "refused" if outcome.kind == "refused" else "trouble"
        if self._trouble != kind:
            self._trouble = kind
            self._tally.note(Notice(kind, outcome=outcome))
        if batch.last:
            self._is_given_up = True
            return
        wait = self._refusal.delay(0) if kind == "refused" else self._retry.delay(self._attempt)
        if outcome.retry_after is not None:
            wait = min(outcome.retry_after, MAX_RETRY_AFTER)
        self._is_told_to_wait = kind == "refused" or outcome.retry_after is not None
        self._attempt += 1
        self._not_before = now + wait if self._deadline is None else -math.inf

    def _split(self, batch: Batch, outcome: Outcome) -> None:
        if outcome.kind == "too_many":
            self._max_batch = max(1, min(self._max_batch, len(batch.entries) // 2))
        if outcome.kind == "too_large":
            self._max_batch_bytes = min(self._max_batch_bytes, batch.size // 2)
        middle = len(batch.entries) // 2
        self._parts.append(Batch(batch.entries[middle:], part=True))
        self._parts.append(Batch(batch.entries[:middle], part=True))

    def _put_back(self, batch: Batch) -> None:
        if batch.part:
            self._parts.append(batch)
            return
        self._lanes.put_back(batch.entries)
        self._make_room()

    # -- losses

    def _make_room(self) -> None:
        excess = self.count - self._limits.max_events
        if excess > 0:
            # A flood of checks would come back for every single one; a hundredth of the room lets it pass a hundred at a time.
            spare = self._limits.max_events // 100
            for _ in range(min(excess + spare, self._lanes.checks)):
                self._count_overflow(*self._lanes.drop_oldest())
        while self.count > self._limits.max_events and self._lanes:
            self._count_overflow(*self._lanes.drop_oldest())
        while self._bytes > self._limits.max_bytes and self._lanes.ready:
            self._count_overflow(*self._lanes.drop_oldest(ready_only=True))

    def _count_overflow(self, event: Entry | Record, is_check: bool) -> None:  # noqa: FBT001 - as `drop_oldest` gives it
        self._tally.drop("overflow_flag_check" if is_check else "overflow", [event])
        if not is_check and not self._is_overflowing:
            self._is_overflowing = True
            self._tally.note(Notice("overflow", 1))

    def _end(self) -> Done:
        self._is_done = True
        in_hand = (entry for batch in self._in_hand() for entry in batch.entries)
        self._tally.give_up([*in_hand, *self._encoding, *self._lanes.all()])
        self._lanes, self._encoding, self._parts, self._flying = Lanes(), [], [], None
        return Done()

    def _in_hand(self) -> list[Batch]:
        return [*self._parts, self._flying] if self._flying is not None else self._parts

    @property
    def _bytes(self) -> int:
        return self._lanes.ready_bytes + sum(batch.size for batch in self._in_hand())
