"""Applications under test, and clients that talk to them as a server would."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from starlette.requests import HTTPConnection

from schematic_core.binding import Identity
from schematic_fastapi import Schematic
from tests.support.fake_client import FakeClient


async def header_identity(connection: HTTPConnection) -> Identity | None:
    """Who the request is about, read from a header because this function chose to."""
    company = connection.headers.get("x-company")
    return None if company is None else Identity(company={"id": company})


ACME = {"x-company": "acme"}


def build(client: FakeClient, **options: Any) -> tuple[FastAPI, Schematic]:
    """An application with a `Schematic` object installed."""
    app = FastAPI()
    schematic = Schematic(client.as_client(), **{"identity": header_identity, **options})
    schematic.init_app(app)
    return app, schematic


def http_scope(path: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"x-company", b"acme")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        **more,
    }


def serve_once(
    app: Any, path: str, *, on_send: Callable[[Any], None] = lambda message: None, leaves: bool = False, **more: Any
) -> tuple[list[Any], BaseException | None]:
    """Run one request by hand.

    Args:
        app: ASGI application.
        path: of the request.
        on_send: sees what is sent; may raise as a server does whose client is gone.
        leaves: whether the client is gone once something was sent to it.
        **more: members of the scope.
    """
    sent: list[Any] = []
    never = asyncio.Event()

    async def receive() -> Any:
        await asyncio.sleep(0)
        if not sent:
            return {"type": "http.request", "body": b"", "more_body": False}
        if not leaves:
            await never.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        on_send(message)
        sent.append(message)

    async def run() -> BaseException | None:
        try:
            await asyncio.wait_for(app(http_scope(path, **more), receive, send), 10.0)
        except (Exception, asyncio.CancelledError) as error:
            return error
        return None

    return sent, asyncio.run(run())
