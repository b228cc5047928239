"""Shell: the thread that dials one connection, reads it, and posts what it hears to the pump.

It reads at most ``_MAX_UNREAD`` frames ahead of the pump; then it waits, and the server with it: nothing is dropped.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

from schematic_core.datastream.dial import Lost, dial
from schematic_core.datastream.options import StreamOptions
from schematic_core.datastream.signals import Loss

if TYPE_CHECKING:
    from schematic_core.datastream.dial import Socket

__all__ = ["Call", "Listener", "read"]

_MAX_UNREAD = 1000
_log = logging.getLogger("schematic.datastream")


class Call:
    """One attempt to connect, and the socket that came of it. ``room`` counts the frames that may still be read ahead."""

    __slots__ = ("is_over", "pong", "room", "socket")

    def __init__(self) -> None:
        self.socket: Socket | None = None
        self.pong: Callable[[], bool] | None = None
        self.room: threading.Semaphore = threading.Semaphore(_MAX_UNREAD)
        self.is_over: bool = False

    def let_go(self) -> None:
        """Let a reader that waits for room go on, to find that the call is over."""
        self.is_over = True
        self.room.release(_MAX_UNREAD)


class Listener(Protocol):
    """Who is posted to; the methods run on its own thread."""

    def post(self, step: Callable[[], None]) -> None:
        """Let its thread do something."""
        ...

    def opened(self, call: Call, socket: Socket) -> None:
        """A handshake succeeded."""
        ...

    def heard(self, call: Call, frame: str | bytes) -> None:
        """A frame arrived."""
        ...

    def lost(self, call: Call, loss: Loss) -> None:
        """A handshake failed or a connection ended."""
        ...


def read(call: Call, options: StreamOptions, pump: Listener) -> None:
    """Dial, read, and post what is heard, until the connection ends."""
    try:
        socket = call.socket = dial(options.url, options.api_key, max_message_size=options.max_message_size)
        if call.is_over:  # whoever gave the call up saw no socket to close
            socket.close()
            return
        pump.post(partial(pump.opened, call, socket))
        while not call.is_over:
            frame = socket.receive()
            call.room.acquire()
            pump.post(partial(pump.heard, call, frame))
    except Lost as error:
        pump.post(partial(pump.lost, call, error.loss))
    except Exception as error:  # noqa: BLE001 - the top of a background thread
        _log.exception("reading the stream failed")
        pump.post(partial(pump.lost, call, Loss(None, None, f"reading failed: {type(error).__name__}")))
