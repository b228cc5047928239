"""Shell: functions of the application that are told of the stream; whatever they raise is theirs and goes to the log."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from schematic_core.datastream.values import StreamChange, StreamStatus

__all__ = ["Listeners", "News"]

T = TypeVar("T")
_SETTLED = frozenset({"ready", "refused", "failed", "closed"})


class Listeners(Generic[T]):
    """Functions called one after the other in the order in which they were added.

    Args:
        what: what they are told, for the log.
        log: the client's log.
    """

    def __init__(self, what: str, log: logging.Logger | logging.LoggerAdapter[logging.Logger]) -> None:
        self._what = what
        self._log = log
        self.functions: tuple[Callable[[T], object], ...] = ()

    def add(self, function: Callable[[T], object]) -> Callable[[], None]:
        """Call ``function`` from now on; what this gives ends that."""
        self.functions = (*self.functions, function)

        def remove() -> None:
            self.functions = tuple(one for one in self.functions if one is not function)

        return remove

    def tell(self, news: T) -> None:
        """Call every function."""
        for function in self.functions:
            try:
                function(news)
            except BaseException:  # noqa: BLE001 - a user's callback; `sys.exit()` in one must not end the stream's thread
                self._log.exception("a listener of %s raised", self._what)


class News:
    """What the application is told of one stream: its status, changes, and troubles in the log.

    Args:
        log: the client's log.

    Attributes:
        status: how the stream is.
        settled: set while waiting for it to become ready is pointless: it is, or it will not soon.
    """

    def __init__(self, log: logging.Logger | logging.LoggerAdapter[logging.Logger]) -> None:
        self._log = log
        self._told: set[str] = set()
        self.status: StreamStatus = "idle"
        self.settled: threading.Event = threading.Event()
        self.on_status: Listeners[StreamStatus] = Listeners("the stream's status", log)
        self.on_change: Listeners[StreamChange] = Listeners("changes of the stream", log)

    def become(self, status: StreamStatus) -> None:
        """Change the status, and tell."""
        if status == self.status:
            return
        self.status = status
        if status in _SETTLED:
            self.settled.set()
        else:
            self.settled.clear()
        self.on_status.tell(status)

    def tell_once(self, kind: str, level: int, text: str, *arguments: object) -> None:
        """Log a kind of trouble, once until `forget`."""
        if kind not in self._told:
            self._told.add(kind)
            self._log.log(level, text, *arguments)

    def forget(self) -> None:
        """Let every kind of trouble be told again."""
        self._told.clear()
