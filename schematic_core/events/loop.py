"""Shell: one step after another of what the event queue asks for, on whichever thread works on it.

One thread at a time; the worker sees to that. What callers share with it is guarded by ``lock``, which is never held
while something is sent, written, told or waited for.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Protocol
from weakref import ReferenceType

from schematic_core.events.complaints import Complaints
from schematic_core.events.courier import Courier
from schematic_core.events.distinct import Distinct
from schematic_core.events.outfit import Outfit
from schematic_core.events.queue import EventQueue
from schematic_core.events.report import say
from schematic_core.events.values import Batch, Done, Encode, Entities, Notice, Record, Send, Wait
from schematic_core.events.waiters import Waiter, Waiters

if TYPE_CHECKING:
    from schematic_core.events.codec import Codec
    from schematic_core.events.report import Log
    from schematic_core.events.spool import Spool

__all__ = ["Front", "Loop", "Owner"]

_MAX_TAKEN = 1000


class Owner(Protocol):
    """What the sender tells its client, as long as that is there."""

    def acknowledged(self, companies: tuple[dict[str, str], ...]) -> None:
        """Usage of these companies was taken in by the service."""
        ...

    def identified(self, entities: Entities) -> None:
        """These entities were taken in by the service, and are wanted from the stream."""
        ...

    def report(self, notice: Notice) -> None:
        """Something was lost, or delivery changed its state."""
        ...


class Front(Protocol):
    """Where callers leave records."""

    inbox: deque[Record]
    notice: int


class Loop:
    """The work of one process on one client's queue.

    Args:
        outfit: settings of delivery.
        lock: held around every use of ``queue``.
        owner: the client's sender.
        codec: of this process.
        spool: keeps events; None without one.
        complaints: tells of wrong calls.
        next_number: numbers events.
        log: where to log.
        clock: monotonic seconds.
        wall: epoch seconds.
        random: floats in [0, 1).
    """

    def __init__(
        self,
        outfit: Outfit,
        lock: threading.Lock,
        owner: ReferenceType[Owner],
        *,
        codec: Codec,
        spool: Spool | None,
        complaints: Complaints,
        next_number: Callable[[], int],
        log: Log,
        clock: Callable[[], float],
        wall: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        self.queue: EventQueue = EventQueue(outfit.limits, random)
        self.waiters: Waiters = Waiters()
        self.deadline: float | None = None
        """When to end, monotonic seconds; None while there is no need to."""
        self.repeats: int = 0
        self._outfit = outfit
        self._lock = lock
        self._owner = owner
        self._codec = codec
        self._spool = spool
        self._complaints = complaints
        self._next_number = next_number
        self._log = log
        self._clock = clock
        self._wall = wall
        self._distinct = Distinct(outfit.limits.period) if outfit.is_distinct else None
        self._courier: Courier | None = None
        self._wake = _asleep()

    @property
    def is_equipped(self) -> bool:
        """Whether there is a connection to close."""
        return self._courier is not None

    def absorb(self, inbox: deque[Record], now: float) -> None:
        """Let the queue take what callers left; the lock is held."""
        length = len(inbox)
        if length:
            self.queue.push(self._new_ones(arrivals(inbox, length), now), now)

    def resume(self) -> None:
        """Take back what a thread left undone that died in the middle of a step.

        Its alarm is made anew, for gevent may have replaced locks since; whoever still rings the old one has told the queue.
        """
        self._wake = _asleep()
        with self._lock:
            self.queue.resume()

    def step(self, front: Front, waiter: Waiter | None = None, limit: float | None = None) -> bool:
        """Do the next thing; whether there is more.

        Args:
            front: where callers leave records.
            waiter: for whom this is done, when it is: nothing is waited for once its events are settled.
            limit: until when, in that case; monotonic seconds.
        """
        if self._courier is None:
            self._courier = self._equip()
        self._tend(front)
        waiters = self.waiters.now()  # before the inbox is read: what a waiter waits for is in there by then
        with self._lock:
            now = self._clock()
            self.absorb(front.inbox, now)
            for one in waiters:
                if not one.is_urged:
                    self.queue.urge(one.target)
                    one.is_urged = True
            if self.deadline is not None:
                self.queue.close(self.deadline)
            step = self.queue.next(now)
            front.notice = self.notice_for(self.queue.appetite)
            settled = [one for one in waiters if self.queue.is_settled(one.target)]
            notices = self.queue.take_notices()
            finished = self.queue.take_finished()
        if finished and self._spool is not None:
            self._spool.forget(finished)
        self.waiters.answer(settled)
        self._tell(notices)
        if isinstance(step, Send):
            self._send(step.batch, self._courier, limit)
        elif isinstance(step, Encode):
            self._encode(step.records, self._courier)
        elif isinstance(step, Wait) and not (waiter is not None and waiter.is_settled):
            self._sleep(front, step.until, limit)
        return not isinstance(step, Done)

    def notice_for(self, appetite: int) -> int:
        """Give how long the inbox grows before somebody looks; immediate delivery looks at every event."""
        return appetite if self._outfit.send_timeout is None else 1

    def rouse(self) -> None:
        """Wake whoever sleeps in `step`."""
        try:
            self._wake.release()
        except RuntimeError:  # it is awake, or will be
            return

    def put_down(self) -> None:
        """Close the connection; the next step opens another."""
        courier, self._courier = self._courier, None
        if courier is not None:
            courier.close()

    # -- parts of a step

    def _equip(self) -> Courier:
        return Courier(
            self._codec,
            self._outfit.delivery(self._log, self._wall),
            before_send=self._outfit.before_send,
            spool=self._spool,
            complaints=self._complaints,
            log=self._log,
            wall=self._wall,
        )

    def _tend(self, front: Front) -> None:
        """See to the spool now and then; when it closes at once, too, for its predecessor may have left something."""
        spool, most = self._spool, self._outfit.limits.max_events
        if spool is None or (self.deadline is not None and spool.tend_at):
            return
        from schematic_core.events.spool_rows import records

        with self._lock:
            count = self.queue.count
        if self._clock() < spool.tend_at and not (spool.has_more and count <= most // 4):
            return
        room = max(0, min(_MAX_TAKEN, (most - count) // 2))
        front.inbox.extend(records(spool.tend(room, self._next_number)))

    def _new_ones(self, records: Iterable[Record], now: float) -> Iterator[Record]:
        for record in records:
            if self._distinct is not None and record[0] == "flag_check" and not self._distinct.is_new(record, now):
                self.repeats += 1
            else:
                yield record

    def _send(self, batch: Batch, courier: Courier, limit: float | None) -> None:
        ends = [end for end in (self.deadline, limit) if end is not None]
        outcome = courier.send(batch, min(ends) - self._clock() if ends else None)
        with self._lock:
            acknowledged = self.queue.settle(outcome, self._clock())
        owner = self._owner()
        if acknowledged is None or owner is None:
            return
        companies = tuple(entry.company for entry in acknowledged.entries if entry.company)
        if companies:
            owner.acknowledged(companies)
        entities = tuple(entity for entry in acknowledged.entries for entity in entry.prewarm or ())
        if entities:
            owner.identified(entities)

    def _encode(self, records: list[Record], courier: Courier) -> None:
        entries, withheld = courier.encode(records, self._clock())
        with self._lock:
            self.queue.store(entries, withheld)

    def _sleep(self, front: Front, until: float | None, limit: float | None) -> None:
        tend_at = None if self._spool is None else self._spool.tend_at
        ends = [end for end in (until, limit, tend_at) if end is not None]
        if len(front.inbox) < front.notice:
            timeout = min(max(0.0, min(ends) - self._clock()), threading.TIMEOUT_MAX) if ends else -1.0
            self._wake.acquire(timeout=timeout)

    def _tell(self, notices: list[Notice]) -> None:
        owner = self._owner() if notices else None
        for notice in notices:
            say(self._log, notice)
            if owner is not None:
                owner.report(notice)


def _asleep() -> threading.Lock:
    """Make the lock that somebody sleeps on until it is released."""
    alarm = threading.Lock()
    alarm.acquire()
    return alarm


def arrivals(inbox: deque[Record], length: int) -> Iterator[Record]:
    """Give records of the inbox; each leaves it after it was taken in, so that a signal handler's exit loses none."""
    for _ in range(length):
        yield inbox[0]
        inbox.popleft()
