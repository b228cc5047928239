"""Shell: the ports of a check for the sync face, and the one step that drives a flow there."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from schematic_core.api.call import Call, Response
from schematic_core.ports import CheckPorts, OutOfTime

if TYPE_CHECKING:
    from schematic_core.api.sync import SyncExecutor

__all__ = ["BackgroundThreads", "SyncPorts", "drive"]

T = TypeVar("T")

_PROVIDER_TIMEOUT = 1.0
_log = logging.getLogger("schematic.checks")


def drive(flow: Coroutine[Any, Any, T]) -> T:
    """Run a flow whose ports block instead of suspending, in one step.

    Raises:
        RuntimeError: the flow suspended, which a flow over sync ports must not.
    """
    try:
        flow.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # StopIteration is not generic
    flow.close()
    raise RuntimeError("a flow suspended under the sync client")


class SyncPorts:
    """Blocks the calling thread. ``await_elsewhere`` runs a user's async cache provider on the client's loop."""

    def __init__(
        self,
        executor: SyncExecutor,
        threads: BackgroundThreads,
        clock: Callable[[], float],
        await_elsewhere: Callable[[Coroutine[Any, Any, Any], float], Any],
    ) -> None:
        self._executor = executor
        self._threads = threads
        self._clock = clock
        self._await_elsewhere = await_elsewhere

    async def call(self, call: Call, deadline: float) -> Response:
        """Make one API call on this thread."""
        return self._executor.run(call, deadline=deadline)

    async def wait(self, subscribe: Callable[[Callable[[], None]], None], deadline: float) -> None:
        """Block until what ``subscribe`` was given is called, or until ``deadline``."""
        landed = threading.Event()
        subscribe(landed.set)
        landed.wait(max(0.0, deadline - self._clock()))

    async def invoke(self, deadline: float, method: Callable[..., Any], *arguments: object) -> Any:
        """Run a provider's method here, or on the client's loop when it is async. Nothing can interrupt one that blocks."""
        if self._clock() >= deadline:
            raise OutOfTime
        value = method(*arguments)
        if not isinstance(value, Coroutine):
            return value
        return self._await_elsewhere(value, max(0.0, min(_PROVIDER_TIMEOUT, deadline - self._clock())))

    def spawn(self, job: Callable[[CheckPorts], Coroutine[Any, Any, None]]) -> bool:
        """Run ``job`` on a background thread."""
        return self._threads.submit(lambda: drive(job(self)))


class BackgroundThreads:
    """At most ``max_threads`` daemon threads that renew answers; each ends when there is nothing left to do.

    Args:
        max_threads: threads at most.
        max_waiting: jobs waiting at most; more are refused.
    """

    def __init__(self, max_threads: int = 4, max_waiting: int = 1000) -> None:
        self._max_threads = max_threads
        self._max_waiting = max_waiting
        self.after_fork_in_child()

    def after_fork_in_child(self) -> None:
        """Start anew: the parent's threads are not here, and its lock may be held."""
        self._lock = threading.Lock()
        self._jobs: deque[Callable[[], None]] = deque()
        self._running = 0

    def submit(self, job: Callable[[], None]) -> bool:
        """Run ``job`` soon; False when too many wait or the interpreter is ending."""
        with self._lock:
            if len(self._jobs) >= self._max_waiting:
                return False
            self._jobs.append(job)
            starts = self._running < self._max_threads
            self._running += starts
        return self._start(job) if starts else True

    def _start(self, job: Callable[[], None]) -> bool:
        try:
            threading.Thread(target=self._work, name="schematic-renewal", daemon=True).start()
        except RuntimeError:  # no thread can be started any more: the interpreter is ending
            with self._lock:
                self._running -= 1
                if job in self._jobs:
                    self._jobs.remove(job)
            return False
        return True

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._jobs:
                    self._running -= 1
                    return
                job = self._jobs.popleft()
            try:
                job()
            except Exception:  # noqa: BLE001 - the top of a background thread
                _log.exception("renewing an answer failed")
