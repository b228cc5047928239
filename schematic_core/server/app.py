"""The ASGI application: reads a request, finds its operation, answers in the API's envelope."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Mount, WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from schematic_core.environment.model import Environment
from schematic_core.server import (
    routes_catalogue,
    routes_checks,
    routes_dev,
    routes_dev_stream,
    routes_entities,
    routes_events,
    routes_plans,
    routes_webhooks,
)
from schematic_core.server.clock import Clock
from schematic_core.server.faults import Refused
from schematic_core.server.hub import Hub
from schematic_core.server.requests import Answer, ApiRequest, Query
from schematic_core.server.routing import Operation, Router, documented_operations
from schematic_core.server.sockets import PATH, refuse, serve_socket
from schematic_core.wire import dumps

__all__ = ["create_app", "implemented_operations"]

Handler = Callable[[Hub, ApiRequest], Awaitable[Answer]]

_MAX_BODY_BYTES = 8 * 1024 * 1024
_MAX_DEPTH = 100
_DRAIN_TIMEOUT = 0.5
_BODILESS = (204, 304)
_CAPTURE = "capture_event_batch"

_HANDLERS: dict[str, Handler] = {
    **routes_checks.HANDLERS,
    **routes_events.HANDLERS,
    **routes_entities.HANDLERS,
    **routes_plans.HANDLERS,
    **routes_webhooks.HANDLERS,
    **routes_catalogue.HANDLERS,
}
_DEV_OPERATIONS = [*routes_dev.OPERATIONS, *routes_dev_stream.OPERATIONS]
_DEV_HANDLERS: dict[str, Handler] = {**routes_dev.HANDLERS, **routes_dev_stream.HANDLERS}


def create_app(environment: Environment, *, dev_api: bool = False, clock: Clock | None = None) -> Starlette:
    """Give the local Schematic server as an ASGI application. Its lifespan must run: it delivers the webhooks.

    Args:
        environment: what the server starts from.
        dev_api: also serve the private endpoints under ``/_dev/``.
        clock: the server's time; real time when absent.
    """
    hub = Hub(environment, clock or Clock())

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        hub.start()
        try:
            yield
        finally:
            await hub.stop(_DRAIN_TIMEOUT)

    async def stream(websocket: WebSocket) -> None:
        await serve_socket(hub, websocket)

    routes = [WebSocketRoute(PATH, stream), Mount("", app=_Api(hub, dev_api=dev_api))]
    app = Starlette(routes=routes, lifespan=lifespan)
    app.state.stop_streams = hub.stop_streams
    return app


def implemented_operations() -> list[Operation]:
    """Give the documented operations that the server implements, by path."""
    return [operation for operation in documented_operations() if operation.name in _HANDLERS]


class _Api:
    """Answers every request; what it cannot do it refuses in the API's error envelope."""

    def __init__(self, hub: Hub, *, dev_api: bool) -> None:
        self._hub = hub
        self._router = Router([*documented_operations(), *(_DEV_OPERATIONS if dev_api else ())])
        self._handlers: dict[str, Handler] = {**_HANDLERS, **(_DEV_HANDLERS if dev_api else {})}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await refuse(WebSocket(scope, receive, send), 404, {"error": "there is no such endpoint"})
            return
        request = Request(scope, receive)
        try:
            response = await self._faulty(request) or await self._answer(request)
        except Refused as refused:
            response = _json({"error": refused.error, **refused.extra}, refused.status)
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    async def _faulty(self, request: Request) -> Response | None:
        path = request.scope["path"]
        fault = None if path.startswith("/_dev/") else self._hub.take_fault(path)
        if fault is None:
            return None
        await asyncio.sleep(fault.delay)
        if fault.status is None:
            return None
        body = fault.body if fault.body is not None else {"error": "a fault that was asked for"}
        response = _json(body, fault.status) if fault.status not in _BODILESS else Response(None, fault.status)
        response.headers.update(fault.headers)
        return response

    async def _answer(self, request: Request) -> Response:
        operations, values = self._router.find(_raw_path(request.scope))
        is_private = request.scope["path"].startswith("/_dev/")
        operation = operations.get(request.method)
        api_key = request.headers.get("x-schematic-api-key")
        if not is_private and not (api_key is None and operation is not None and operation.name == _CAPTURE):
            self._authenticate(api_key)
        if not operations:
            raise Refused(404, "there is no such endpoint")
        if operation is None:
            return _json({"error": "method not allowed"}, 405, {"Allow": ", ".join(sorted(operations))})
        handler = self._handlers.get(operation.name)
        if handler is None:
            raise Refused(501, f"the local server does not implement {operation.method} {operation.path}")
        client = request.client
        answer = await handler(
            self._hub,
            ApiRequest(
                path=values,
                query=Query(parse_qsl(request.url.query, keep_blank_values=True, errors="replace")),
                json=_parsed(await _read(request)),
                now=self._hub.clock.now(),
                api_key=api_key,
                user_agent=request.headers.get("user-agent", ""),
                remote_ip=client.host if client is not None else "",
            ),
        )
        return _json({"data": answer.data, "params": answer.params}, answer.status)

    def _authenticate(self, api_key: str | None) -> None:
        known = self._hub.state.environment.api_keys
        if known is not None and api_key not in known:
            raise Refused(401, "the API key is missing or not valid")


def _raw_path(scope: Scope) -> bytes:
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return raw.partition(b"?")[0]


async def _read(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY_BYTES:
            raise Refused(400, f"the body is larger than {_MAX_BODY_BYTES} bytes")
    return bytes(body)


def _parsed(body: bytes) -> object:
    if not body:
        return None
    try:
        value: object = json.loads(body.decode(), parse_constant=_refuse, parse_float=_finite)
        if b"\\u" in body:
            json.dumps(value, ensure_ascii=False).encode()  # an unpaired surrogate has no UTF-8
    except (ValueError, RecursionError) as error:
        raise Refused(400, "the body is not JSON") from error
    if body.count(b"[") + body.count(b"{") > _MAX_DEPTH and _is_deep(value):
        raise Refused(400, f"the body is nested deeper than {_MAX_DEPTH} levels")
    return value


def _is_deep(value: object) -> bool:
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [item for one in level if isinstance(one, (dict, list)) for item in _items(one)]
    return bool(level)


def _items(value: dict[str, object] | list[object]) -> Iterable[object]:
    return value.values() if isinstance(value, dict) else value


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)


def _refuse(text: str) -> float:
    raise ValueError(text)


def _json(content: object, status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(dumps(content), status, headers, media_type="application/json")
