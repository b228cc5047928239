"""The ASGI application that takes webhook deliveries."""

from __future__ import annotations

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketClose

from schematic_core.webhooks import Acknowledgement, read_chunks, too_large
from schematic_fastapi._runtime import Runtime

__all__ = ["WebhookApp", "read_body"]

_METHOD_NOT_ALLOWED = 405
_BAD_REQUEST = 400


class WebhookApp:
    """Answers signed POST requests, for a route or a mount: 200 done, 400 not genuine, 405, 413, 500 a handler failed, 503 busy with it."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; a WebSocket is turned away."""
        if scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)
        elif scope["type"] == "http":
            response = await self._respond(Request(scope, receive))
            await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        if request.method != "POST":
            return Response(status_code=_METHOD_NOT_ALLOWED, headers={"Allow": "POST"})
        acknowledgement = await self._receive(request)
        wait = acknowledgement.retry_after
        headers = None if wait is None else {"Retry-After": str(wait)}
        return JSONResponse({"outcome": acknowledgement.outcome}, acknowledgement.status, headers)

    async def _receive(self, request: Request) -> Acknowledgement:
        inbox = self._runtime.inbox
        try:
            body = await read_body(request)
        except ClientDisconnect:
            return Acknowledgement(_BAD_REQUEST, "no_body")
        return too_large() if body is None else await inbox.receive(body, request.headers)


async def read_body(request: Request) -> bytes | None:
    """Read the raw body, but never much more than the limit; None when it is larger."""
    return await read_chunks(request.stream(), request.headers.get("content-length"))
