"""``/datastream``: the handshake, and one task each way for as long as the socket lasts."""

from __future__ import annotations

import asyncio

from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from schematic_core.server.connections import Connection
from schematic_core.server.hub import Fault, Hub
from schematic_core.server.subscriber import Close
from schematic_core.wire import dumps

__all__ = ["PATH", "refuse", "serve_socket"]

PATH = "/datastream"

_UNAUTHORIZED = Close(4001, "the API key is missing or not valid")
_HTTP_STATUSES = range(200, 600)


async def serve_socket(hub: Hub, websocket: WebSocket) -> None:
    """Answer a handshake, and serve the connection until one side ends it."""
    headers = dict(websocket.headers)
    fault = hub.take_fault(PATH)
    if fault is not None:
        await asyncio.sleep(fault.delay)
    refusal = _refusal(hub, fault, headers.get("x-schematic-api-key"))
    if refusal is not None:
        hub.connections.note_refused(headers, hub.clock.now(), refusal.code)
        await _refuse(websocket, refusal, fault)
        return
    await websocket.accept()
    link = websocket.scope.get("state", {}).get("link")
    connection = hub.connections.add(headers, hub.clock.now(), hub.streams.open(), link)
    connection.tasks = (
        asyncio.create_task(_read(hub, connection, websocket)),
        asyncio.create_task(_write(hub, connection, websocket)),
    )
    try:
        done, _ = await asyncio.wait(connection.tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in connection.tasks:
            task.cancel()
        await asyncio.gather(*connection.tasks, return_exceptions=True)
        hub.connections.remove(connection)
        hub.streams.close(connection.subscriber)
    for task in done:
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, WebSocketDisconnect):
            raise error


async def refuse(websocket: WebSocket, status: int, body: object, headers: dict[str, str] | None = None) -> None:
    """Refuse a handshake with an HTTP answer."""
    await websocket.send_denial_response(Response(dumps(body), status, headers, media_type="application/json"))


def _refusal(hub: Hub, fault: Fault | None, api_key: str | None) -> Close | None:
    if fault is not None and (code := fault.status or fault.code) is not None:
        return Close(code, "a fault that was asked for")
    if hub.connections.is_stopping:
        return Close(503, "the server is stopping")
    known = hub.state.environment.api_keys
    if known is None or api_key in known:
        return None
    return _UNAUTHORIZED if hub.streams.habits.refusals == "close" else Close(401, _UNAUTHORIZED.reason)


async def _refuse(websocket: WebSocket, refusal: Close, fault: Fault | None) -> None:
    if refusal.code in _HTTP_STATUSES:
        body = fault.body if fault is not None and fault.body is not None else {"error": refusal.reason}
        await refuse(websocket, refusal.code, body, fault.headers if fault is not None else None)
        return
    await websocket.accept()
    await websocket.close(refusal.code, refusal.reason)


async def _read(hub: Hub, connection: Connection, websocket: WebSocket) -> None:
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            connection.code = message.get("code") or 1006
            return
        text = message.get("text")
        raw: str | bytes = text if text is not None else message["bytes"]
        connection.requests.append(raw)
        hub.streams.receive(connection.subscriber, raw, hub.clock.now())
        hub.stir()


async def _write(hub: Hub, connection: Connection, websocket: WebSocket) -> None:
    outbox = connection.subscriber.outbox
    while True:
        await _until_sendable(hub, connection)
        delay = hub.streams.habits.delay
        if delay and not hub.connections.is_stopping:
            await asyncio.sleep(delay)
            await _until_sendable(hub, connection)
        frame = outbox.popleft()
        if isinstance(frame, Close):
            connection.code = frame.code
            await websocket.close(frame.code, frame.reason)
            return
        if isinstance(frame, str):
            await websocket.send_text(frame)
        else:
            await websocket.send_bytes(frame)


async def _until_sendable(hub: Hub, connection: Connection) -> None:
    while hub.connections.is_stalled or not connection.subscriber.outbox:
        connection.ready.clear()
        await connection.ready.wait()
