"""Running the server: in a thread for tests and demos, or as the whole process."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import uvicorn

from schematic_core.environment import Environment, load_environment
from schematic_core.server._link import SocketLink
from schematic_core.server.app import create_app

if TYPE_CHECKING:
    from starlette.applications import Starlette

__all__ = ["Served", "bind", "run", "serve"]

_BACKLOG = 1024
_GRACE_SECONDS = 1
_STOP_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Served:
    """A running server; ``url`` has no trailing slash, e.g. ``"http://127.0.0.1:40123"``."""

    url: str


def bind(host: str, port: int) -> tuple[socket.socket, str]:
    """Listen on an address; port 0 lets the system choose.

    Returns:
        The socket, and the URL it is reached at.

    Raises:
        OSError: the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio turns off Nagle's algorithm only then: each answer would take 40 ms more.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # elsewhere the option would let two servers share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    chosen = listener.getsockname()[1]
    return listener, f"http://[{host}]:{chosen}" if family == socket.AF_INET6 else f"http://{host}:{chosen}"


def run(app: Starlette, listener: socket.socket) -> None:
    """Serve in this thread until the process is told to stop (SIGINT, SIGTERM).

    Raises:
        KeyboardInterrupt: it was SIGINT, and the server has stopped.
    """
    _server(app).run(sockets=[listener])


@contextmanager
def serve(
    environment: Environment | str | Path, *, host: str = "127.0.0.1", port: int = 0, dev_api: bool = True
) -> Iterator[Served]:
    """Run the server in a thread for as long as the context lasts.

    Args:
        environment: what it starts from, or the path of its file.
        host: address to listen on.
        port: port to listen on; 0 chooses a free one.
        dev_api: serve the private endpoints under ``/_dev/``.

    Raises:
        ConfigurationError: the environment file is wrong.
        OSError: the address cannot be used.

    Example:
        >>> from schematic_core.environment import parse_environment
        >>> from schematic_core.server import serve
        >>> with serve(parse_environment("{version: 1, flags: {new-nav: {default: true}}}")) as server:
        ...     server.url.startswith("http://127.0.0.1:")
        True
    """
    if not isinstance(environment, Environment):
        environment = load_environment(environment)
    listener, url = bind(host, port)
    server = _server(create_app(environment, dev_api=dev_api))
    thread = Thread(target=server.run, kwargs={"sockets": [listener]}, name="schematic-server", daemon=True)
    thread.start()
    try:
        yield Served(url)
    finally:
        server.should_exit = True
        thread.join(_STOP_TIMEOUT)
        listener.close()


class _Server(uvicorn.Server):
    """Lets the streams end as a server's do that goes away, before uvicorn cuts its connections."""

    def __init__(self, config: uvicorn.Config, app: Starlette) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._app.state.stop_streams()
        await super().shutdown(sockets)


def _server(app: Starlette) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        lifespan="on",
        ws=SocketLink,
        ws_ping_interval=None,  # liveness is the client's to find out, and to be tested by
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    return _Server(config, app)
