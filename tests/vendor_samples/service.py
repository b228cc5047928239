"""The local server, with every request that reaches it written down."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schematic_core.environment import load_environment
from schematic_core.server import create_app
from schematic_core.server._link import SocketLink
from schematic_core.server.run import bind

__all__ = ["Recorded", "Service", "serving"]

_ENVIRONMENT = Path(__file__).with_name("environment.yaml")
_EVENTS = "/event-batch"


@dataclass(frozen=True)
class Recorded:
    """One request; ``body`` is its JSON, None without one."""

    path: str
    body: Any


@dataclass
class Service:
    """A running local server and what it was asked."""

    url: str
    requests: list[Recorded] = field(default_factory=list)

    def bodies(self, path: str) -> list[Any]:
        """The bodies of all requests to one path, in order."""
        return [request.body for request in self.requests if request.path == path]

    @property
    def events(self) -> list[dict[str, Any]]:
        """Every event that arrived, as sent."""
        return [event for body in self.bodies(_EVENTS) for event in body["events"]]

    @property
    def streams(self) -> list[dict[str, Any]]:
        """Every connection to the stream so far, the refused and ended ones too; ``requests`` is what it asked for."""
        connections: list[dict[str, Any]] = httpx.get(f"{self.url}/_dev/stream").json()["data"]["connections"]
        return connections

    def fail(self, path: str, times: int, status: int, **headers: str) -> None:
        """Let the next requests under ``path`` fail."""
        fault = {"path": path, "count": times, "status": status, "headers": headers}
        httpx.post(f"{self.url}/_dev/faults", json=fault).raise_for_status()


@contextmanager
def serving() -> Iterator[Service]:
    """Run the local server on a free port."""
    listener, url = bind("127.0.0.1", 0)
    service = Service(url)
    app = _Recorder(create_app(load_environment(_ENVIRONMENT), dev_api=True), service.requests)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, ws=SocketLink))
    thread = Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


class _Recorder:
    """Writes each request down before the server handles it."""

    def __init__(self, app: ASGIApp, requests: list[Recorded]) -> None:
        self._app = app
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/_dev/"):
            await self._app(scope, receive, send)
            return
        body = await _whole_body(receive)
        self._requests.append(Recorded(scope["path"], json.loads(body) if body else None))
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return messages.pop() if messages else await receive()

        await self._app(scope, replay, send)


async def _whole_body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body", False):
            return body
