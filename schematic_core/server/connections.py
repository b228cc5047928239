"""The sockets that are open, what each has asked, and what the faults do to them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from schematic_core.server.subscriber import Subscriber

__all__ = ["Connection", "Connections", "Link"]

_PAST_KEPT = 1000
_REQUESTS_KEPT = 100_000


class Link(Protocol):
    """What a server lets one do to a socket below its frames."""

    is_mute: bool

    def cut(self) -> None:
        """End it at once, without a close frame."""

    def tear(self, text: str) -> None:
        """Send half a frame and end it."""


@dataclass(slots=True, eq=False)
class Connection:
    """One handshake and what came of it.

    Attributes:
        headers: of the handshake, names in lower case.
        refused: the status or close code of a refusal; None when it was let in.
        code: the close code when it has ended, 1006 without a close frame; None before.
        requests: texts as they were received, in order.
    """

    id: int
    headers: Mapping[str, str] = field(repr=False)
    opened_at: datetime
    subscriber: Subscriber
    link: Link | None = None
    refused: int | None = None
    code: int | None = None
    is_open: bool = True
    requests: deque[str | bytes] = field(default_factory=lambda: deque(maxlen=_REQUESTS_KEPT))
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: tuple[asyncio.Task[None], ...] = ()


class Connections:
    """Every connection of one server; used in its loop alone.

    ``is_stalled``: nothing is sent to anyone, what is received has its effect. ``is_stopping``: nobody is let in.
    """

    def __init__(self) -> None:
        self.is_stalled: bool = False
        self.is_stopping: bool = False
        self._open: dict[int, Connection] = {}
        self._past: deque[Connection] = deque(maxlen=_PAST_KEPT)
        self._made = 0
        self._resuming: asyncio.TimerHandle | None = None
        self._is_mute = False

    @property
    def all(self) -> list[Connection]:
        """The connections that there are and, as far as they are kept, were, in the order of their handshakes."""
        return sorted((*self._past, *self._open.values()), key=lambda one: one.id)

    @property
    def open(self) -> list[Connection]:
        """Those that are open."""
        return list(self._open.values())

    def find(self, own_id: int) -> Connection | None:
        """Give an open connection by its id."""
        return self._open.get(own_id)

    def add(
        self, headers: Mapping[str, str], opened_at: datetime, subscriber: Subscriber, link: Link | None
    ) -> Connection:
        """Note a connection that was let in."""
        self._made += 1
        connection = Connection(self._made, headers, opened_at, subscriber, link)
        self._open[connection.id] = connection
        self._silence(connection)
        return connection

    def note_refused(self, headers: Mapping[str, str], at: datetime, code: int) -> None:
        """Note a handshake that was refused."""
        self._made += 1
        self._past.append(Connection(self._made, headers, at, Subscriber(), refused=code, code=code, is_open=False))

    def remove(self, connection: Connection) -> None:
        """Note that a connection has ended."""
        connection.is_open = False
        if connection.code is None:
            connection.code = 1006
        self._open.pop(connection.id, None)
        self._past.append(connection)

    def forget(self) -> None:
        """Forget the connections that have ended, and what the others have asked so far."""
        self._past.clear()
        for connection in self._open.values():
            connection.requests.clear()

    def nudge(self) -> None:
        """Let those send who have something to send."""
        for connection in self._open.values():
            if connection.subscriber.outbox:
                connection.ready.set()

    def drop(self, chosen: Iterable[Connection]) -> None:
        """End connections at once, without a close frame."""
        for connection in chosen:
            if connection.link is not None:
                connection.link.cut()
            for task in connection.tasks:
                task.cancel()

    def stall(self, seconds: float | None, *, is_mute: bool) -> None:
        """Send nothing more, pongs neither when ``is_mute``; for so many seconds, or until `resume`."""
        self.resume()
        self.is_stalled, self._is_mute = True, is_mute
        for connection in self._open.values():
            self._silence(connection)
        if seconds is not None:
            self._resuming = asyncio.get_running_loop().call_later(seconds, self.resume)

    def resume(self) -> None:
        """Send what has waited, and go on."""
        if self._resuming is not None:
            self._resuming.cancel()
        self._resuming = None
        self.is_stalled = self._is_mute = False
        for connection in self._open.values():
            self._silence(connection)
        self.nudge()

    async def stop(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds for the close frames that are queued; who does not take them is cut off."""
        self.is_stopping = True
        self.resume()
        tasks = [task for connection in self._open.values() for task in connection.tasks]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout)
        self.drop(self.open)

    def _silence(self, connection: Connection) -> None:
        if connection.link is not None:
            connection.link.is_mute = self._is_mute
