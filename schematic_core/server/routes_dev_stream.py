"""Private endpoints that show what is connected to ``/datastream``, and make it go wrong."""

from __future__ import annotations

from dataclasses import asdict

from schematic_core.server.connections import Connection
from schematic_core.server.faults import Refused
from schematic_core.server.frames import FLAGS, DeleteForm, frame
from schematic_core.server.hub import Hub
from schematic_core.server.requests import Answer, ApiRequest, Body
from schematic_core.server.routing import Operation
from schematic_core.server.subscriber import Close, Habits
from schematic_core.wire import dumps, format_instant, loads

__all__ = ["HANDLERS", "OPERATIONS"]

_DELETES: tuple[DeleteForm, ...] = ("entity", "keys", "id", "null")
_GARBLES = ("text", "cut", "binary", "torn")
_CLOSE_CODES = (*range(1000, 1004), *range(1007, 1015), *range(3000, 5000))
_MAX_REASON_BYTES = 123  # what a close frame holds
_MAX_SECONDS = 60.0
_MAX_DEPTH = 100
_OVERSIZE = 100 * 1024 * 1024 + 1
_MAX_OVERSIZE = 256 * 1024 * 1024


async def dev_get_stream(hub: Hub, _request: ApiRequest) -> Answer:
    """``GET /_dev/stream``: habits, and every connection with what it asked, the refused and ended ones too."""
    return Answer(
        {
            "habits": asdict(hub.streams.habits),
            "is_stalled": hub.connections.is_stalled,
            "held": hub.streams.held,
            "connections": [_connection_json(one) for one in hub.connections.all],
        }
    )


async def dev_forget_stream(hub: Hub, _request: ApiRequest) -> Answer:
    """``DELETE /_dev/stream``: forget ended connections and what was asked so far, to count anew."""
    hub.connections.forget()
    return Answer({"deleted": True})


async def dev_put_habits(hub: Hub, request: ApiRequest) -> Answer:
    """``PUT /_dev/stream/habits``: all of them; one that is left out is as usual again."""
    hub.streams.behave(_habits(request.body()), request.now)
    hub.stir()
    return Answer(asdict(hub.streams.habits))


async def dev_drop(hub: Hub, request: ApiRequest) -> Answer:
    """``POST /_dev/stream/drop``: end connections without a close frame."""
    chosen = _chosen(hub, _body(request))
    hub.connections.drop(chosen)
    return _done(chosen)


async def dev_close(hub: Hub, request: ApiRequest) -> Answer:
    """``POST /_dev/stream/close`` with ``{"code": 1012, "reason": ""}``, after what is queued."""
    body = _body(request)
    code = body.whole("code") or 1000
    reason = body.text("reason") or ""
    if code not in _CLOSE_CODES or len(reason.encode()) > _MAX_REASON_BYTES:
        raise Refused(400, "code and reason must be such as a close frame can carry")
    chosen = _chosen(hub, body)
    hub.streams.close_all(Close(code, reason), [one.subscriber for one in chosen])
    hub.stir()
    return _done(chosen)


async def dev_stall(hub: Hub, request: ApiRequest) -> Answer:
    """``POST /_dev/stream/stall`` with ``{"seconds": 2.5, "pongs": true}``: send nothing, go on reading."""
    body = _body(request)
    pongs = body.boolean("pongs")
    hub.connections.stall(_seconds(body, "seconds"), is_mute=pongs is False)
    return _done(hub.connections.open)


async def dev_resume(hub: Hub, _request: ApiRequest) -> Answer:
    """``POST /_dev/stream/resume``: end a stall; what has waited is sent."""
    hub.connections.resume()
    return _done(hub.connections.open)


async def dev_send(hub: Hub, request: ApiRequest) -> Answer:
    """``POST /_dev/stream/send`` with ``{"frame": {...}}`` or ``{"text": "..."}``, in its turn."""
    body = _body(request)
    text = body.text("text")
    if (text is None) != ("frame" in body.raw()):
        raise Refused(400, "either frame or text must be given")
    return _send(hub, body, text if text is not None else dumps(body.raw()["frame"]).decode())


async def dev_garble(hub: Hub, request: ApiRequest) -> Answer:
    """``POST /_dev/stream/garble`` with ``{"kind": "text"}``: something that no client can read.

    ``text`` is not JSON, ``cut`` is the first half of the frame with all flags, ``binary`` is a binary frame that is no
    UTF-8; ``torn`` is half a WebSocket frame, with which the connection ends.
    """
    body = _body(request)
    kind = body.one_of("kind", _GARBLES) or "text"
    if kind == "torn":
        chosen = _chosen(hub, body)
        for connection in chosen:
            if connection.link is not None:
                connection.link.tear(hub.streams.snapshot())
        return _done(chosen)
    if kind == "binary":
        return _send(hub, body, b"\xff\xfe\x00{")
    snapshot = hub.streams.snapshot()
    return _send(hub, body, snapshot[: len(snapshot) // 2] if kind == "cut" else "this is not JSON {")


async def dev_oversize(hub: Hub, request: ApiRequest) -> Answer:
    """``POST /_dev/stream/oversize`` with ``{"bytes": 104857601}``: a frame of that size, harmless to who reads it."""
    body = _body(request)
    size = body.whole("bytes") or _OVERSIZE
    harmless = frame(FLAGS, "full")
    if not len(harmless) < size <= _MAX_OVERSIZE:
        raise Refused(400, f"bytes must be from {len(harmless) + 1} to {_MAX_OVERSIZE}")
    return _send(hub, body, harmless + " " * (size - len(harmless)))


async def dev_restart(hub: Hub, request: ApiRequest) -> Answer:
    """``POST /_dev/stream/restart``: drop everyone and be a new process, that knows none of the former stream ids."""
    chosen = hub.connections.open
    hub.connections.drop(chosen)
    hub.streams.forget(request.now)
    return _done(chosen)


def _connection_json(connection: Connection) -> dict[str, object]:
    subscriber = connection.subscriber
    return {
        "id": connection.id,
        "is_open": connection.is_open,
        "opened_at": format_instant(connection.opened_at),
        "refused": connection.refused,
        "code": connection.code,
        "headers": dict(connection.headers),
        "requests": [_readable(one) for one in connection.requests],
        "has_flags": subscriber.has_flags,
        "bulk": sorted(subscriber.bulk),
        "entities": sorted(own_id for _, own_id in subscriber.entities),
        "waiting": len(subscriber.outbox),
    }


def _readable(raw: str | bytes) -> object:
    text = raw if isinstance(raw, str) else raw.decode("utf-8", "replace")
    if text.count("[") + text.count("{") > _MAX_DEPTH:
        return text
    try:
        value: object = loads(text)
        dumps(value)
    except ValueError:
        return text
    return value


def _habits(body: Body) -> Habits:
    hold_after, page_size = body.whole("hold_after"), body.whole("page_size")
    if hold_after is not None and hold_after < 0:
        raise body.refusal("hold_after", "at least 0")
    if page_size is not None and page_size < 1:
        raise body.refusal("page_size", "at least 1")
    deletes = body.one_of("deletes", _DELETES)
    return Habits(
        nulls=bool(body.boolean("nulls")),
        deletes=next((one for one in _DELETES if one == deletes), "entity"),
        duplicate=bool(body.boolean("duplicate")),
        hold_after=hold_after,
        page_size=page_size,
        delay=_seconds(body, "delay") or 0.0,
        refusals="close" if body.one_of("refusals", ("status", "close")) == "close" else "status",
    )


def _body(request: ApiRequest) -> Body:
    return Body(request.json if request.json is not None else {})


def _seconds(body: Body, name: str) -> float | None:
    seconds = body.number(name)
    if seconds is not None and not 0 <= seconds <= _MAX_SECONDS:
        raise body.refusal(name, f"from 0 to {_MAX_SECONDS:.0f} seconds")
    return seconds


def _chosen(hub: Hub, body: Body) -> list[Connection]:
    own_id = body.whole("connection")
    if own_id is None:
        return hub.connections.open
    connection = hub.connections.find(own_id)
    if connection is None:
        raise Refused(404, "connection not found")
    return [connection]


def _send(hub: Hub, body: Body, text: str | bytes) -> Answer:
    chosen = _chosen(hub, body)
    hub.streams.send_all([text], [one.subscriber for one in chosen])
    hub.stir()
    return _done(chosen)


def _done(chosen: list[Connection]) -> Answer:
    return Answer({"connections": [one.id for one in chosen]})


OPERATIONS = [
    Operation("GET", "/_dev/stream", "dev_get_stream"),
    Operation("DELETE", "/_dev/stream", "dev_forget_stream"),
    Operation("PUT", "/_dev/stream/habits", "dev_put_habits"),
    Operation("POST", "/_dev/stream/drop", "dev_drop"),
    Operation("POST", "/_dev/stream/close", "dev_close"),
    Operation("POST", "/_dev/stream/stall", "dev_stall"),
    Operation("POST", "/_dev/stream/resume", "dev_resume"),
    Operation("POST", "/_dev/stream/send", "dev_send"),
    Operation("POST", "/_dev/stream/garble", "dev_garble"),
    Operation("POST", "/_dev/stream/oversize", "dev_oversize"),
    Operation("POST", "/_dev/stream/restart", "dev_restart"),
]

HANDLERS = {
    handler.__name__: handler
    for handler in (
        dev_get_stream,
        dev_forget_stream,
        dev_put_habits,
        dev_drop,
        dev_close,
        dev_stall,
        dev_resume,
        dev_send,
        dev_garble,
        dev_oversize,
        dev_restart,
    )
}
