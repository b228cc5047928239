"""The sender's thread: waits, locks and sends for the event queue, which decides.

Who touches what. Callers append to ``inbox`` (atomic, no lock) and compare its length with ``notice``; only when that
is reached do they look further, and then they try the lock and never wait for it. So `track` is safe in a signal
handler, in a garbage collection and while the thread is busy. ``wake`` is a bare lock used as a flag, because releasing
it is one uninterruptible step, whatever the interrupted thread was doing with it.

The thread holds this object, and this object holds the client's `EventSender` weakly, so that a client dropped without
``close`` can be collected; what it had queued is then sent once more and the thread ends.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Protocol
from weakref import ReferenceType

from schematic_core import lifecycle
from schematic_core.chance import chance
from schematic_core.config import Settings
from schematic_core.events.codec import Codec
from schematic_core.events.complaints import Complaints
from schematic_core.events.delivery import REQUEST_TIMEOUT, Delivery
from schematic_core.events.queue import EventQueue
from schematic_core.events.report import say, say_lost
from schematic_core.events.values import Batch, Done, Encode, Entry, EventCounts, Limits, Notice, Record, Send, Wait

if TYPE_CHECKING:
    import httpx

    from schematic_core.events.report import Log

__all__ = ["Owner", "Worker"]

ABANDONED_TIMEOUT = 2.0


class Owner(Protocol):
    """What the thread tells its client, as long as that is there."""

    def acknowledged(self, companies: tuple[dict[str, str], ...]) -> None:
        """Usage of these companies was taken in by the service."""
        ...

    def report(self, notice: Notice) -> None:
        """Something was lost, or delivery changed its state."""
        ...


class _Waiter:
    """One `flush` that waits for the events below a number."""

    __slots__ = ("is_settled", "is_urged", "target", "turn")

    def __init__(self, target: int) -> None:
        self.target = target
        self.turn = threading.Lock()
        self.turn.acquire()
        self.is_urged = False
        self.is_settled = False


class Worker:
    """State and thread of one client's event sender.

    Args:
        settings: of the client; only what delivery needs is kept.
        owner: the client's sender.
        log: where the thread logs.
        clock: gives monotonic seconds.
        wall: gives epoch seconds.
        random: gives floats in [0, 1), for the jitter of waits.
    """

    def __init__(
        self,
        settings: Settings,
        owner: ReferenceType[Owner],
        *,
        log: Log,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        random: Callable[[], float] = chance,
    ) -> None:
        self.refusing: str | None = settings.event_refusal
        self._owner = owner
        self._log = log
        self.complaints: Complaints = Complaints(log)
        self._clock = clock
        self.wall: Callable[[], float] = wall
        self.on_tracked: Callable[[Mapping[str, str] | None, str, int | None], None] | None = None
        self._random = random
        self._url = settings.event_url
        self._form = settings.event_form
        self._api_key = settings.api_key
        self._trusted = settings.trusted_client_clock
        self._factory: Callable[[], httpx.Client] | None = settings.event_http_client
        self._limits = Limits(
            settings.event_buffer_period,
            settings.event_queue_max,
            settings.event_queue_max_bytes,
            settings.event_max_age,
        )
        self.numbers: Iterator[int] = itertools.count()  # never starts over: a flush compares them
        self._renew()

    def _renew(self) -> None:
        self.inbox: deque[Record] = deque()
        self.notice: int = 1
        self.refused: dict[str, int] = {}
        self._queue = EventQueue(self._limits, self._random)
        self._lock = threading.Lock()
        self._starting = threading.Lock()
        self._wake = threading.Lock()
        self._wake.acquire()
        self._thread: threading.Thread | None = None
        self._waiters: list[_Waiter] = []
        self._deadline: float | None = None
        self._told: set[str] = set()
        self._pid = os.getpid()

    # -- callers' side

    def noticed(self) -> None:
        """Look after the inbox: called by the thread whose event made it as long as ``notice``."""
        if self._pid != os.getpid():  # a fork of which no hook told
            record = self.inbox.pop()
            self._renew()
            self.inbox.append(record)
        self._start()
        is_patient = False
        if self._lock.acquire(blocking=False):
            try:
                self._absorb(self._clock())
                self.notice = self._queue.appetite if self._is_alive() else 1
                is_patient = self._queue.is_patient
            finally:
                self._lock.release()
        if not is_patient:
            self._rouse()

    def refuse(self) -> Literal[False]:
        """Count an event that is not accepted any more, or never was; False, since it was not queued."""
        return self.count_refused(self.refusing or "closed")

    def reject(self, fault: Exception) -> Literal[False]:
        """Count an event that cannot be one, and tell why; False, since it was not queued."""
        self.complaints.tell(fault)
        return self.count_refused("invalid")

    def count_refused(self, reason: str) -> Literal[False]:
        """Count an event that did not get into the queue."""
        self.refused[reason] = self.refused.get(reason, 0) + 1
        return False

    def flush(self, timeout: float | None) -> int:
        """Wait until everything queued so far is delivered or lost; see `EventSender.flush`."""
        self._check_process()
        target = next(self.numbers)
        if not self._remaining(target):
            return 0
        self._start(patience=1.0)
        waiter = _Waiter(target)
        self._waiters.append(waiter)  # before the thread is looked for: an ending one answers whoever is in the list
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            self._discard(waiter)
            return self._remaining(target)
        self._rouse()
        waiter.turn.acquire(timeout=-1 if timeout is None else min(max(0.0, timeout), threading.TIMEOUT_MAX))
        self._discard(waiter)
        return 0 if waiter.is_settled else self._remaining(target)

    def counts(self) -> EventCounts:
        """Give the counters."""
        with self._look():
            counts = self._queue.counts()
            inbox = len(self.inbox)
        dropped = MappingProxyType({**self.refused, **counts.dropped})
        return EventCounts(counts.queued + inbox, counts.waiting + inbox, counts.sent, counts.retried, dropped)

    # -- the end

    def deadline_after(self, timeout: float) -> float:
        """Give the monotonic second that is ``timeout`` seconds away."""
        return self._clock() + timeout

    def begin_exit(self, deadline: float) -> None:
        """Refuse further events and let the thread send what there is, until ``deadline`` (monotonic seconds)."""
        self._check_process()
        if self.refusing is None:
            self.refusing = "closed"
        self._deadline = deadline
        self._rouse()

    def finish_exit(self, deadline: float) -> None:
        """Wait for the thread until ``deadline``; without one (it cannot start during an exit), send from here."""
        if self._thread is threading.current_thread():
            return
        if not self._starting.acquire(
            timeout=self._until(deadline)
        ):  # a start under way ends first: one loop at a time
            return
        try:
            thread = self._thread
            if thread is not None and thread.is_alive():
                thread.join(self._until(deadline))
            elif self.inbox or self._queue.count:
                self._run()
        finally:
            self._starting.release()
        lifecycle.unregister(self)

    @property
    def left(self) -> int:
        """Events that were not delivered when the sender ended, or are not yet."""
        return self._queue.left + self._queue.count + len(self.inbox)

    def abandon(self) -> None:
        """Begin to end: the client was collected. Runs inside a garbage collection, so it only leaves a message."""
        self.refusing = "closed"
        if self._thread is not None:
            self._deadline = self._clock() + ABANDONED_TIMEOUT
            self._rouse()

    def after_fork_in_child(self) -> None:
        """Begin afresh; what the parent had queued is the parent's to send."""
        self._renew()

    # -- the thread's side

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            self._renew()

    def _start(self, *, patience: float = 0.0) -> None:
        """Start the thread unless there is one; wait ``patience`` seconds for another caller that is starting it."""
        if self._is_alive() or not self._starting.acquire(timeout=patience):
            return
        try:
            if self._is_alive():
                return
            lifecycle.register(self)
            self._thread = threading.Thread(target=self._run, name="schematic-events", daemon=True)
            self._thread.start()
        except RuntimeError:  # no thread can start, e.g. during an exit; the exit hook or `close` sends from its own
            self._thread = None
            self._log.debug("the event sender's thread could not start", exc_info=True)
        finally:
            self._starting.release()

    def _is_alive(self) -> bool:
        thread = self._thread
        return thread is not None and thread.is_alive()

    def _until(self, deadline: float) -> float:
        return min(max(0.0, deadline - self._clock()), threading.TIMEOUT_MAX)

    def _run(self) -> None:
        codec = Codec(
            form=self._form,
            api_key=self._api_key,
            token=os.urandom(8).hex(),
            trusted_client_clock=self._trusted,
        )
        delivery = Delivery(url=self._url, api_key=self._api_key, factory=self._factory, log=self._log, wall=self.wall)
        try:
            with self._lock:
                self._queue.resume()
            while self._step(codec, delivery):
                continue
        except Exception:  # noqa: BLE001 - the top of a thread
            self._log.exception("the event sender stopped unexpectedly; the next event starts it again")
        finally:
            delivery.close()
            self._thread = None
            self.notice = 1
            for waiter in list(self._waiters):
                if self._discard(waiter):
                    waiter.turn.release()

    def _step(self, codec: Codec, delivery: Delivery) -> bool:
        waiters = list(self._waiters)  # before the inbox is read: what a waiter waits for is in there by then
        with self._lock:
            now = self._clock()
            self._absorb(now)
            for waiter in waiters:
                if not waiter.is_urged:
                    self._queue.urge(waiter.target)
                    waiter.is_urged = True
            if self._deadline is not None:
                self._queue.close(self._deadline)
            step = self._queue.next(now)
            self.notice = self._queue.appetite
            settled = [waiter for waiter in waiters if self._queue.is_settled(waiter.target)]
            notices = self._queue.take_notices()
        self._answer(settled)
        self._tell(notices)
        if isinstance(step, Send):
            self._send(step.batch, delivery)
        elif isinstance(step, Encode):
            self._encode(step.records, codec)
        elif isinstance(step, Wait):
            self._sleep(step.until)
        return not isinstance(step, Done)

    def _absorb(self, now: float) -> None:
        length = len(self.inbox)
        if length:
            self._queue.push(self._arrivals(length), now)

    def _arrivals(self, length: int) -> Iterator[Record]:
        """Give records of the inbox; each leaves it after it was taken in, so that a signal handler's exit loses none."""
        for _ in range(length):
            yield self.inbox[0]
            self.inbox.popleft()

    def _send(self, batch: Batch, delivery: Delivery) -> None:
        timeout = None
        if self._deadline is not None:
            timeout = min(REQUEST_TIMEOUT, max(0.05, self._deadline - self._clock()))
        outcome = delivery.post([entry.data for entry in batch.entries], timeout)
        with self._lock:
            acknowledged = self._queue.settle(outcome, self._clock())
        if acknowledged is None:
            return
        companies = tuple(entry.company for entry in acknowledged.entries if entry.company)
        owner = self._owner()
        if companies and owner is not None:
            owner.acknowledged(companies)

    def _encode(self, records: list[Record], codec: Codec) -> None:
        now = self._clock()
        entries = []
        for record in records:
            try:
                data, unfit = codec.encode(record)
            except Exception as fault:  # noqa: BLE001 - time zones and text are the user's own code
                say_lost(self._log, fault, self._told)
                continue
            for name in unfit:
                self.complaints.tell_unwritable(name)
            company = record[4] if record[0] == "track" else None
            entries.append(Entry(record[1], record[0], now, data, company))
        with self._lock:
            self._queue.store(entries)

    def _sleep(self, until: float | None) -> None:
        if len(self.inbox) < self.notice:
            self._wake.acquire(timeout=-1.0 if until is None else self._until(until))

    def _rouse(self) -> None:
        try:
            self._wake.release()
        except RuntimeError:  # it is awake, or will be
            return

    def _answer(self, settled: list[_Waiter]) -> None:
        for waiter in settled:
            waiter.is_settled = True
            if self._discard(waiter):
                waiter.turn.release()

    def _discard(self, waiter: _Waiter) -> bool:
        try:
            self._waiters.remove(waiter)
        except ValueError:
            return False
        return True

    def _remaining(self, target: int) -> int:
        with self._look() as is_held:
            if not is_held:
                return self.left
            self._absorb(self._clock())
            return 0 if self._queue.is_settled(target) else self._queue.remaining(target)

    @contextmanager
    def _look(self) -> Iterator[bool]:
        """Hold the lock; without it after a second, since a signal handler may interrupt the very thread that holds it."""
        is_held = self._lock.acquire(timeout=1.0)
        try:
            yield is_held
        finally:
            if is_held:
                self._lock.release()

    def _tell(self, notices: list[Notice]) -> None:
        owner = self._owner() if notices else None
        for notice in notices:
            say(self._log, notice)
            if owner is not None:
                owner.report(notice)
