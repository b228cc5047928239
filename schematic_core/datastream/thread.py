"""Shell: the stream as a client holds it. It starts the pump when it is first needed, and lets it end when the client is dropped."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, cast

from schematic_core import lifecycle
from schematic_core.chance import chance
from schematic_core.datastream.options import StreamOptions
from schematic_core.datastream.pump import Pump
from schematic_core.datastream.values import StreamChange, StreamStatus
from schematic_core.datastream.versions import Kind
from schematic_core.keys import Pairs

if TYPE_CHECKING:
    from schematic_core.checks.local import Local
    from schematic_core.checks.local_flow import Landing
    from schematic_core.datastream.requests import Request
    from schematic_core.rules.engine import Engine

__all__ = ["Stream"]

_JOIN_TIMEOUT = 1.0


class Stream:
    """DataStream for both faces of one client. Making it does nothing; `start` needs no event loop.

    Args:
        options: where the stream is.
        local: what it fills.
        engine: holds what it says.
        log: the client's log.
        clock: monotonic seconds.
        random: floats in [0, 1).
    """

    def __init__(
        self,
        options: StreamOptions,
        local: Local,
        engine: Engine,
        log: logging.Logger | logging.LoggerAdapter[logging.Logger],
        *,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = chance,
    ) -> None:
        self._local = local
        self._make_pump = partial(Pump, options, local, engine, log, clock=clock, random=random)
        self._is_closed = False
        self._pump = self._make_pump()
        self._renew()

    def _renew(self) -> None:
        self._pid = os.getpid()
        self._starting = threading.Lock()
        self._is_started = False

    def start(self) -> None:
        """Begin to connect in the background; nothing when that has happened in this process."""
        if self._is_started and self._pid == os.getpid():
            return
        if self._pid != os.getpid():  # a fork of which no hook told
            self._local.after_fork_in_child()
            self.after_fork_in_child()
        if self._is_closed or not self._starting.acquire(blocking=False):
            return
        try:
            if self._is_started:
                return
            self._is_started = True
            self._remake_pump()  # gevent may have replaced locks and threads since this was made
            weakref.finalize(self, self._pump.end).atexit = False
            lifecycle.register(self)
            with contextlib.suppress(RuntimeError):  # the interpreter is ending: no thread can be started any more
                self._pump.thread.start()
        finally:
            self._starting.release()

    @property
    def status(self) -> StreamStatus:
        """How the stream is."""
        return self._pump.news.status

    def wait_ready(self, timeout: float) -> bool:
        """Wait until flags can be answered here, at most ``timeout`` seconds; gives whether they can.

        It does not wait on when the API key was refused or the engine cannot run, for both take longer than anyone waits.
        """
        self.start()
        if not self._is_closed:
            self._pump.news.settled.wait(timeout)
        return self.status == "ready"

    def on_status(self, function: Callable[[StreamStatus], object]) -> Callable[[], None]:
        """Call ``function`` at every change of the status, on the stream's thread; gives what ends that."""
        return self._pump.news.on_status.add(function)

    def on_change(self, function: Callable[[StreamChange], object]) -> Callable[[], None]:
        """Call ``function`` when something held has changed, on the stream's thread; gives what ends that."""
        return self._pump.news.on_change.add(function)

    def request(self, entities: Iterable[tuple[Kind, Pairs]]) -> list[Landing]:
        """Ask the stream for entities; empty when it cannot be asked now."""
        return list(self._pump.request(entities))

    def on_landing(self, landing: Landing, callback: Callable[[], None]) -> None:
        """Call back once a request is answered, perhaps at once, perhaps on the stream's thread."""
        self._pump.on_landing(cast("Request", landing), callback)  # what `request` gave

    def counts(self) -> Counter[str]:
        """Tell what the stream sent that could not be used, by kind of trouble, e.g. ``Counter({"bad_flag": 1})``."""
        return self._pump.counts()

    def close(self) -> None:
        """End the stream; safe to repeat."""
        self._is_closed = True
        self._pump.end()
        self._join(_JOIN_TIMEOUT)
        lifecycle.unregister(self)

    def after_fork_in_child(self) -> None:
        """Start anew with the next check: the parent's threads are not here, and its socket is the parent's."""
        self._remake_pump().abandon()
        self._renew()

    def begin_exit(self, deadline: float) -> None:  # noqa: ARG002 - of the protocol
        """Tell the threads to end."""
        self._is_closed = True
        self._pump.end()

    def finish_exit(self, deadline: float) -> None:
        """Wait for the one that uses the engine."""
        self._join(max(0.0, deadline - time.monotonic()))

    def _remake_pump(self) -> Pump:
        """Begin with a new pump that tells the same listeners; gives the old one."""
        old, self._pump = self._pump, self._make_pump()
        self._pump.news.on_status, self._pump.news.on_change = old.news.on_status, old.news.on_change
        return old

    def _join(self, timeout: float) -> None:
        thread = self._pump.thread
        if thread.is_alive() and thread is not threading.current_thread():  # it may never have been started
            thread.join(timeout)
