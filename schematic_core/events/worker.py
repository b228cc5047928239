"""The sender's front and its thread: takes events from callers, and has one thread at a time work on the queue.

Who touches what. Callers append to ``inbox`` (atomic, no lock) and compare its length with ``notice``; only when that
is reached do they look further, and then they try the lock and never wait for it. So `track` is safe in a signal
handler, in a garbage collection and while the thread is busy. The loop's alarm is a bare lock used as a flag: releasing
it is one uninterruptible step, whatever the interrupted thread was doing with it.

The thread holds this object, and this object holds the client's `EventSender` weakly, so that a client dropped without
``close`` can be collected; what it had queued is then sent once more and the thread ends.

One loop at a time works on the queue: ``_starting`` is held by whoever starts the thread or runs the loop instead of it,
which `close` does when no thread can start, and every `track` does with immediate delivery.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal
from weakref import ReferenceType

from schematic_core import lifecycle
from schematic_core.chance import chance
from schematic_core.config import Settings
from schematic_core.events.complaints import Complaints
from schematic_core.events.loop import Loop, Owner
from schematic_core.events.outfit import Outfit
from schematic_core.events.values import EventCounts, Record

if TYPE_CHECKING:
    from schematic_core.events.report import Log

__all__ = ["Worker"]

ABANDONED_TIMEOUT = 2.0


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
        self.refusal: str | None = settings.event_refusal
        """Why usage is not accepted; None while it is."""
        self.refusing: str | None = self.refusal or ("none" if settings.flag_check_events == "none" else None)
        """Why flag checks are not recorded; None while they are."""
        self._owner = owner
        self._log = log
        self.complaints: Complaints = Complaints(log)
        self._clock = clock
        self.wall: Callable[[], float] = wall
        self.on_tracked: Callable[[Mapping[str, str] | None, str, int | None], None] | None = None
        self._random = random
        self._outfit = Outfit.of(settings)
        self.numbers: Iterator[int] = itertools.count()  # never starts over: a flush compares them
        self._spool = self._outfit.spool(log, clock, wall)
        self._renew()

    def _renew(self) -> None:
        codec = self._outfit.codec(os.urandom(8).hex())  # unique to this process and client
        self.inbox: deque[Record] = deque()
        if self._spool is not None:
            from schematic_core.events.keeping import KeptInbox

            self.inbox = KeptInbox(codec, self._spool, self.complaints, self.count_refused, self._meet_fork)
        self.notice: int = 1
        self.refused: dict[str, int] = {}
        self._lock = threading.Lock()
        self._starting = threading.Lock()
        self._runner: int | None = None
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()
        self._loop = Loop(
            self._outfit,
            self._lock,
            self._owner,
            codec=codec,
            spool=self._spool,
            complaints=self.complaints,
            next_number=self.numbers.__next__,
            log=self._log,
            clock=self._clock,
            wall=self.wall,
            random=self._random,
        )

    # -- callers' side

    def noticed(self, *, is_check: bool = False) -> None:
        """Look after the inbox: called by the thread whose event made it as long as ``notice``."""
        if self._pid != os.getpid():  # a fork of which no hook told
            record = self.inbox.pop()
            self._renew_in_child()
            self.inbox.append(record)
        if self._outfit.send_timeout is not None and not is_check and not _is_on_loop():
            self._send_at_once(self._outfit.send_timeout)
            return
        self._start()
        is_patient = False
        if self._lock.acquire(blocking=False):
            try:
                self._loop.absorb(self.inbox, self._clock())
                self.notice = self._loop.notice_for(self._loop.queue.appetite) if self._is_alive() else 1
                is_patient = self._loop.queue.is_patient
            finally:
                self._lock.release()
        if not is_patient:
            self._loop.rouse()

    def refuse(self) -> Literal[False]:
        """Count an event that is not accepted any more, or never was; False, since it was not queued."""
        return self.count_refused(self.refusal or "closed")

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
        if self._outfit.send_timeout is not None and not self._is_alive():
            self._work_here(target, threading.TIMEOUT_MAX if timeout is None else timeout)
            return self._remaining(target)
        self._start(patience=1.0)
        waiter = self._loop.waiters.add(
            target
        )  # before the thread is looked for: an ending one answers whoever is there
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            self._loop.waiters.discard(waiter)
            return self._remaining(target)
        self._loop.rouse()
        waiter.turn.acquire(timeout=-1 if timeout is None else min(max(0.0, timeout), threading.TIMEOUT_MAX))
        self._loop.waiters.discard(waiter)
        return 0 if waiter.is_settled else self._remaining(target)

    def counts(self) -> EventCounts:
        """Give the counters."""
        with self._look():
            counts = self._loop.queue.counts()
            inbox = len(self.inbox)
        return replace(
            counts,
            queued=counts.queued + inbox,
            waiting=counts.waiting + inbox,
            dropped=MappingProxyType({**self.refused, **counts.dropped}),
            repeats=self._loop.repeats,
            set_aside=0 if self._spool is None else self._spool.set_aside,
        )

    def take_up(self) -> None:
        """Open the spool, if there is to be one, in the background, and send what other processes left there."""
        self._check_process()
        if self._spool is not None and self.refusal is None:
            self._start()

    # -- the end

    def deadline_after(self, timeout: float) -> float:
        """Give the monotonic second that is ``timeout`` seconds away."""
        return self._clock() + timeout

    def begin_exit(self, deadline: float) -> None:
        """Refuse further events and let the thread send what there is, until ``deadline`` (monotonic seconds)."""
        self._check_process()
        self._refuse_from_now()
        self._loop.deadline = deadline
        self._loop.rouse()

    def finish_exit(self, deadline: float) -> None:
        """Wait for the thread until ``deadline``; without one (it cannot start during an exit), send from here."""
        if self._runner == threading.get_ident():
            return
        if not self._starting.acquire(
            timeout=self._until(deadline)
        ):  # a start under way ends first: one loop at a time
            return
        try:
            thread = self._thread
            if thread is not None and thread.is_alive():
                thread.join(self._until(deadline))
            elif self.inbox or self._loop.queue.count or self._loop.is_equipped:
                self._run()
        finally:
            self._starting.release()
        lifecycle.unregister(self)

    @property
    def left(self) -> int:
        """Events that were not delivered when the sender ended, or are not yet."""
        return self._loop.queue.left + self._loop.queue.count + len(self.inbox)

    def abandon(self) -> None:
        """Begin to end: the client was collected. Runs inside a garbage collection, so it only leaves a message."""
        self._refuse_from_now()
        if self._thread is not None:
            self._loop.deadline = self._clock() + ABANDONED_TIMEOUT
            self._loop.rouse()
        else:  # of immediate delivery, perhaps; nobody uses its connection any more
            self._loop.put_down()

    def after_fork_in_child(self) -> None:
        """Begin afresh; what the parent had queued is the parent's to send."""
        self._renew_in_child()

    def _refuse_from_now(self) -> None:
        self.refusal = self.refusal or "closed"
        self.refusing = self.refusing or "closed"

    # -- processes and threads

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            self._renew_in_child()

    def _renew_in_child(self) -> None:
        if self._spool is not None:
            self._spool.after_fork_in_child()
        self._renew()

    def _meet_fork(self, record: Record) -> None:
        self._check_process()
        self.inbox.append(record)
        self.noticed()

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

    def _send_at_once(self, timeout: float) -> None:
        """Send what is queued within ``timeout`` seconds, on this thread unless there is another that does."""
        if self._runner == threading.get_ident() or self._loop.queue.is_in_trouble:
            self._start()  # in trouble there is nothing to wait for: it goes on in the background
            return
        target = next(self.numbers)
        if self._is_alive():
            self.flush(timeout)
        elif not self._work_here(target, timeout) and self._remaining(target):
            self._start()

    def _work_here(self, target: int, timeout: float) -> bool:
        """Run the loop on this thread until the events below ``target`` are settled; whether they are."""
        deadline = self._clock() + timeout
        if self._runner == threading.get_ident() or not self._starting.acquire(timeout=self._until(deadline)):
            return False
        waiter = self._loop.waiters.add(target)
        try:
            if not self._is_alive():
                lifecycle.register(self)
                self._repeat(
                    lambda: (
                        not waiter.is_settled and self._clock() < deadline and self._loop.step(self, waiter, deadline)
                    )
                )
        finally:
            self._loop.waiters.discard(waiter)
            self._starting.release()
        return waiter.is_settled

    def _run(self) -> None:
        try:
            self._repeat(lambda: self._loop.step(self))
        finally:
            self._loop.put_down()
            if self._spool is not None and self.refusal is not None:
                self._spool.release()
            self._thread = None
            self._loop.waiters.dismiss()

    def _repeat(self, step: Callable[[], bool]) -> None:
        """Do one step after another on this thread, until one says that it was the last."""
        self._runner = threading.get_ident()
        try:
            self._loop.resume()
            while step():
                continue
        except Exception:  # noqa: BLE001 - the top of a thread
            self._log.exception("the event sender stopped unexpectedly; the next event starts it again")
        finally:
            self._runner = None
            self.notice = 1

    def _remaining(self, target: int) -> int:
        with self._look() as is_held:
            if not is_held:
                return self.left
            self._loop.absorb(self.inbox, self._clock())
            queue = self._loop.queue
            return 0 if queue.is_settled(target) else queue.remaining(target)

    @contextmanager
    def _look(self) -> Iterator[bool]:
        """Hold the lock; without it after a second, since a signal handler may interrupt the very thread that holds it."""
        is_held = self._lock.acquire(timeout=1.0)
        try:
            yield is_held
        finally:
            if is_held:
                self._lock.release()


def _is_on_loop() -> bool:
    """Whether this thread runs an event loop, which nothing may hold up; does not import asyncio."""
    asyncio: Any = sys.modules.get("asyncio")
    try:
        return asyncio is not None and asyncio.get_running_loop() is not None
    except RuntimeError:
        return False
