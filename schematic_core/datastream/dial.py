"""Shell: one socket to the stream; the only module that imports websockets."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from schematic_core._version import __version__
from schematic_core.datastream.signals import Loss
from schematic_core.errors import ConfigurationError

if TYPE_CHECKING:
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import ClientConnection

__all__ = ["DIAL_TIMEOUT", "Lost", "Socket", "check_installed", "dial"]

DIAL_TIMEOUT = 30.0
WRITE_TIMEOUT = 10.0
CLOSE_TIMEOUT = 0.5
_NAME = "schematic-suite"
_MAX_REASON_BYTES = 120  # a close frame has room for 123


class Lost(Exception):
    """There is no connection, or no longer.

    Attributes:
        loss: why; what the connection machine is told.
    """

    def __init__(self, loss: Loss) -> None:
        super().__init__(loss.text)
        self.loss = loss


class Socket:
    """An open socket. One thread may `receive`; any thread may `send`, `ping` and `close` at the same time.

    Made by `dial` alone. Whatever fails ends the socket: after `Lost` every call raises `Lost` again, `close` aside.
    """

    __slots__ = ("_connection", "_redact")

    def __init__(self, connection: ClientConnection, redact: Callable[[str], str]) -> None:
        self._connection = connection
        self._redact = redact

    def receive(self) -> str | bytes:
        """Wait for the next message, as long as it takes.

        Raises:
            Lost: the connection is closed, by whichever side; messages that came before are given first.
        """
        from websockets.exceptions import ConnectionClosed

        try:
            return self._connection.recv()
        except ConnectionClosed as closed:
            raise self._lost(closed) from None

    def send(self, text: str) -> None:
        """Write a message; a peer that reads nothing costs about ``WRITE_TIMEOUT`` seconds, then the connection.

        Raises:
            Lost: the connection is closed, or was closed because the message could not be written in time.
        """
        from websockets.exceptions import ConnectionClosed

        try:
            self._connection.send(text)
        except ConnectionClosed as closed:
            raise self._lost(closed) from None

    def ping(self) -> Callable[[], bool]:
        """Write a ping. Gives a question that may be put at any time: has the pong come?

        Raises:
            Lost: as `send`.
        """
        from websockets.exceptions import ConnectionClosed

        try:
            return self._connection.ping().is_set
        except ConnectionClosed as closed:
            raise self._lost(closed) from None

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Say goodbye and close; a blocked `receive` ends. Never raises, and takes ``CLOSE_TIMEOUT`` seconds at most.

        A write that is stuck is cut off as well.
        """
        last_resort = _later(CLOSE_TIMEOUT, lambda: _cut(self._connection.socket))
        reason = reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore")
        try:
            self._connection.close(code, reason)
        finally:
            last_resort.cancel()

    def abandon(self) -> None:
        """Close this process's descriptors and nothing else: for a forked child. The parent's connection goes on."""
        names = ("socket", "shutdown_watcher", "shutdown_notifier")
        for inherited in (getattr(self._connection, name, None) for name in names):
            if inherited is not None:
                with contextlib.suppress(OSError):
                    inherited.close()

    def _lost(self, closed: ConnectionClosed) -> Lost:
        """Tell who ended it: the first close frame says, and without one the network did."""
        is_theirs = closed.rcvd is not None and (closed.sent is None or closed.rcvd_then_sent)
        frame = closed.rcvd if is_theirs else closed.sent
        if frame is not None:
            side = "the service" if is_theirs else "this side"
            reason = f": {self._redact(frame.reason)!r}" if frame.reason else ""
            return Lost(Loss(int(frame.code), None, f"{side} closed with code {int(frame.code)}{reason}"))
        if cast("_Bounded", self._connection.socket).is_stalled:
            return Lost(Loss(None, None, "the service took no data in time"))
        return Lost(Loss(None, None, "the connection broke"))


def check_installed() -> None:
    """Look whether websockets is there.

    Raises:
        ConfigurationError: it is not installed; the message names the extra that brings it.
    """
    try:
        import websockets.sync.client  # noqa: F401 - only whether it is there
    except ImportError:
        raise ConfigurationError(
            "DataStream needs the package websockets: install schematic-suite[datastream]"
        ) from None


def dial(url: str, api_key: str, *, max_message_size: int | None, timeout: float = DIAL_TIMEOUT) -> Socket:
    """Open a socket to the stream, through a proxy when the environment names one. Redirects are not followed.

    Args:
        url: a ws or wss URL.
        api_key: goes into the handshake; it is in no text and no representation.
        max_message_size: bytes of the largest message taken in; a larger one closes the connection with code 1009. None or
            0: no limit.
        timeout: for TCP, TLS and the handshake together, seconds; looking up the host's name is not covered.

    Raises:
        Lost: there is no connection; the loss has the HTTP status when the service answered.
        ConfigurationError: websockets is not installed, or no header can carry the API key.
    """
    check_installed()
    if not (api_key.isascii() and api_key.isprintable()):
        raise ConfigurationError("api_key holds characters that cannot be sent in a header")
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect

    try:
        connection = connect(
            url,
            additional_headers={
                "X-Schematic-Api-Key": api_key,
                "X-Schematic-Client": _NAME,
                "X-Schematic-Client-Version": __version__,
                "X-Schematic-Datastream-Mode": "direct",
            },
            user_agent_header=f"{_NAME}/{__version__}",
            compression=None,
            open_timeout=timeout,
            close_timeout=CLOSE_TIMEOUT,
            max_size=max_message_size or None,
            logger=_quiet_log(),
            create_connection=_connection_class(),
            **_no_keepalive(),
        ).__enter__()  # newer releases warn of, or give something else for, a connection that is not entered
    except (WebSocketException, OSError, EOFError, ValueError, ImportError, RuntimeError) as error:
        raise Lost(Loss(None, None, _describe(error))) from None
    return Socket(connection, lambda text: text.replace(api_key, "…") if api_key else text)


def _describe(error: Exception) -> str:
    """Say what went wrong, in words that hold nothing from the request."""
    import ssl

    if isinstance(error, TimeoutError):
        return "the handshake took too long"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the service's certificate is not trusted: {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return f"no connection: {error.strerror}"
    return f"the handshake failed ({type(error).__name__})"


def _connection_class() -> type[ClientConnection]:
    """Give the library's connection with bounded writes, an end after every close frame, and no redirects."""
    from websockets.exceptions import InvalidStatus
    from websockets.frames import Opcode
    from websockets.sync.client import ClientConnection

    class Direct(ClientConnection):
        def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
            super().__init__(cast("socket.socket", _Bounded(sock)), *arguments, **options)  # all that is used of it

        def handshake(self, *arguments: Any, **options: Any) -> None:
            try:
                super().handshake(*arguments, **options)
            except InvalidStatus as refused:  # before the library follows a redirect: the key is for nobody else
                status = refused.response.status_code
                raise Lost(Loss(None, status, f"the service answered the handshake with status {status}")) from None

        def process_event(self, event: Any) -> None:
            super().process_event(event)
            if getattr(event, "opcode", None) is Opcode.CLOSE:  # the service should hang up now; not all do
                _later(CLOSE_TIMEOUT, lambda: _cut(self.socket))

    return Direct


class _Bounded:
    """A socket whose writes end after ``WRITE_TIMEOUT`` seconds, plain or TLS, while reads may wait for ever.

    A socket's own timeout covers both, so a read that ran into it is tried again unless the library had set a timeout.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.is_stalled = False
        self.settimeout(None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)

    def settimeout(self, timeout: float | None) -> None:
        self._is_patient = timeout is None
        self.sock.settimeout(WRITE_TIMEOUT if timeout is None else min(timeout, WRITE_TIMEOUT))

    def sendall(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except TimeoutError:
            self.is_stalled = True
            raise

    def recv(self, size: int) -> bytes:
        while True:
            try:
                return self.sock.recv(size)
            except TimeoutError:
                if not self._is_patient:
                    raise


def _cut(sock: Any) -> None:
    """End reads and writes that are under way in any thread; past TLS, which would wait for them."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock.sock, socket.SHUT_RDWR)


def _later(seconds: float, act: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(seconds, act)
    timer.daemon = True
    try:
        timer.start()
    except RuntimeError:  # the interpreter is ending and starts no more threads
        act()
    return timer


def _quiet_log() -> logging.Logger:
    """Give a log that drops debug lines, among which the library writes headers with the API key."""
    log = logging.Logger("schematic.datastream.socket", logging.INFO)  # noqa: LOG001 - unregistered: nobody can lower it
    log.parent = logging.getLogger("schematic.datastream")
    return log


def _no_keepalive() -> dict[str, Any]:
    """Switch off the library's own pings, in the releases that have any: the machine pings."""
    from inspect import signature

    from websockets.sync.client import connect

    return {"ping_interval": None} if "ping_interval" in signature(connect).parameters else {}
