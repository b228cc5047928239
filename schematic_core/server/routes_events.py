"""Endpoints that take events: one, a batch, and the capture host's batch."""

from __future__ import annotations

from schematic_core.server.capture import IncomingEvent, capture, read_event
from schematic_core.server.faults import Refused
from schematic_core.server.hub import Hub
from schematic_core.server.records import CapturedEvent
from schematic_core.server.requests import Answer, ApiRequest, Body
from schematic_core.wire import format_instant

__all__ = ["HANDLERS", "MAX_BATCH"]

MAX_BATCH = 100


async def create_event(hub: Hub, request: ApiRequest) -> Answer:
    """``POST /events``."""
    captured = _capture(hub, request, [_read(request.body(), request, "event_type")])
    return Answer(_captured_json(captured[0]), status=201)


async def create_event_batch(hub: Hub, request: ApiRequest) -> Answer:
    """``POST /event-batch``: all events are checked before the first has its effect."""
    captured = _capture(hub, request, _read_batch(request, "event_type"))
    return Answer({"events": [_captured_json(event) for event in captured]}, status=201)


async def capture_event_batch(hub: Hub, request: ApiRequest) -> Answer:
    """``POST /batch``: the capture host's form, with the API key in every event."""
    events = _read_batch(request, "type")
    known = hub.state.environment.api_keys
    keys = {event.api_key if event.api_key is not None else request.api_key for event in events}
    if known is not None and not keys <= known:
        raise Refused(401, "the API key of an event is not valid")
    captured = _capture(hub, request, events)
    return Answer({"events": [_captured_json(event) for event in captured]})


def _read_batch(request: ApiRequest, type_member: str) -> list[IncomingEvent]:
    bodies = request.body().objects("events", required=True)
    if len(bodies) > MAX_BATCH:
        raise Refused(400, "batch too large", max_size=MAX_BATCH)
    return [_read(body, request, type_member) for body in bodies]


def _read(body: Body, request: ApiRequest, type_member: str) -> IncomingEvent:
    return read_event(body, type_member=type_member, remote_ip=request.remote_ip, user_agent=request.user_agent)


def _capture(hub: Hub, request: ApiRequest, events: list[IncomingEvent]) -> list[CapturedEvent]:
    captured, changes = capture(hub.state, events, request.now)
    hub.publish(changes)
    return captured


def _captured_json(event: CapturedEvent) -> dict[str, str]:
    return {
        "event_id": event.id,
        "captured_at": format_instant(event.captured_at),
        "remote_ip": event.remote_ip,
        "remote_addr": event.remote_ip,
        "user_agent": event.user_agent,
    }


HANDLERS = {
    "create_event": create_event,
    "create_event_batch": create_event_batch,
    "capture_event_batch": capture_event_batch,
}
