"""Private endpoints for tests and development: clock, faults, captured events, deliveries, state."""

from __future__ import annotations

import re

from schematic_core.server.deliveries import Delivery
from schematic_core.server.faults import Refused
from schematic_core.server.hub import Fault, Hub
from schematic_core.server.requests import Answer, ApiRequest, page
from schematic_core.server.routing import Operation
from schematic_core.server.shapes import company_json, delivery_json, user_json
from schematic_core.wire import format_instant

__all__ = ["HANDLERS", "OPERATIONS"]

_MAX_FAULTS = 1_000_000
_CLOSE_CODES = range(3000, 5000)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[!-~]([\t -~]*[!-~])?|")


async def dev_get_clock(_hub: Hub, request: ApiRequest) -> Answer:
    """``GET /_dev/clock``."""
    return Answer({"now": format_instant(request.now)})


async def dev_set_clock(hub: Hub, request: ApiRequest) -> Answer:
    """``PUT /_dev/clock`` with ``{"now": "2026-12-01T00:00:00Z"}``; time goes on from there."""
    instant = request.body().instant("now")
    if instant is None:
        raise Refused(400, "now must be an RFC 3339 date and time")
    try:
        hub.clock.set(instant)
    except ValueError as error:
        raise Refused(400, str(error)) from error
    return _moved(hub)


async def dev_advance_clock(hub: Hub, request: ApiRequest) -> Answer:
    """``POST /_dev/clock/advance`` with ``{"seconds": 3600}``: periods roll over, deliveries become due."""
    try:
        hub.clock.advance(request.body().number("seconds") or 0.0)
    except ValueError as error:
        raise Refused(400, str(error)) from error
    return _moved(hub)


async def dev_list_faults(hub: Hub, _request: ApiRequest) -> Answer:
    """``GET /_dev/faults``: those still to come."""
    return Answer(
        [
            {"count": one.count, "path": one.path, "status": one.status, "code": one.code, "delay": one.delay}
            for one in hub.faults
        ]
    )


async def dev_add_fault(hub: Hub, request: ApiRequest) -> Answer:
    """``POST /_dev/faults`` with ``{"count": 2, "path": "/flags", "status": 503, "delay": 0.2, "headers": {}}``.

    The next ``count`` requests whose path begins so wait ``delay`` seconds; with a ``status`` they are answered with it
    and ``body`` (default: an error) and have no effect. Under ``/datastream`` it is the handshakes that are met; with a
    ``code`` they succeed, and the connection is closed with it.
    """
    body = request.body()
    count, status, delay = body.whole("count"), body.whole("status"), body.number("delay")
    if count is not None and not 0 < count <= _MAX_FAULTS:
        raise Refused(400, f"count must be from 1 to {_MAX_FAULTS}")
    if status is not None and not 200 <= status <= 599:  # noqa: PLR2004 - what an HTTP answer may be
        raise Refused(400, "status must be from 200 to 599")
    code = body.whole("code")
    if code is not None and (code not in _CLOSE_CODES or not (body.text("path") or "").startswith("/datastream")):
        raise Refused(400, "code must be from 3000 to 4999, and path under /datastream")
    if delay is not None and not 0 <= delay <= 60:  # noqa: PLR2004 - a minute delays enough
        raise Refused(400, "delay must be from 0 to 60 seconds")
    headers = body.keys("headers")
    if not all(_HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value) for name, value in headers.items()):
        raise Refused(400, "headers must be names and values that HTTP can carry")
    hub.faults.append(
        Fault(
            count=count or 1,
            path=body.text("path") or "/",
            status=status,
            code=code,
            delay=delay or 0.0,
            body=body.raw().get("body"),
            headers=headers,
        )
    )
    return Answer({"faults": len(hub.faults)}, status=201)


async def dev_clear_faults(hub: Hub, _request: ApiRequest) -> Answer:
    """``DELETE /_dev/faults``."""
    hub.faults.clear()
    return Answer({"deleted": True})


async def dev_list_deliveries(hub: Hub, request: ApiRequest) -> Answer:
    """``GET /_dev/deliveries``: webhook deliveries, the newest first, as ``/webhook-events`` has them, and more.

    ``failure`` says why the last attempt got no answer, ``due_at`` when the next one is. Filtered by ``webhook_id``,
    ``request_type``, ``status``.
    """
    filters = ("webhook_id", "request_type", "status")
    request.query.only(*filters, "limit", "offset")
    wanted = {name: request.query.text(name) for name in filters}
    found = [
        one
        for one in hub.deliveries.log
        if all(value is None or getattr(one, name) == value for name, value in wanted.items())
    ]
    shown, limits = page(found, request.query)
    return Answer([_delivery_json(one) for one in shown], limits)


async def dev_redeliver(hub: Hub, request: ApiRequest) -> Answer:
    """``POST /_dev/deliveries/{webhook_event_id}/redeliver``: the same body again, as a new delivery signed anew."""
    former = hub.deliveries.find(request.path[0])
    if former is None:
        raise Refused(404, "delivery not found")
    if former.webhook_id not in hub.state.webhooks:
        raise Refused(400, "the webhook of this delivery was deleted")
    own_id = hub.state.new_id("whev")
    made = hub.deliveries.push(own_id, former.webhook_id, former.request_type, former.payload, request.now)
    hub.courier.nudge()
    return Answer(_delivery_json(made), status=201)


async def dev_list_events(hub: Hub, request: ApiRequest) -> Answer:
    """``GET /_dev/events``: captured events in the order of capture, with their effect."""
    shown, limits = page(list(hub.state.events), request.query)
    data = [
        {
            "id": event.id,
            "type": event.type,
            "body": dict(event.body),
            "idempotency_key": event.idempotency_key,
            "captured_at": format_instant(event.captured_at),
            "effect": event.effect,
        }
        for event in shown
    ]
    return Answer(data, limits)


async def dev_get_state(hub: Hub, request: ApiRequest) -> Answer:
    """``GET /_dev/state``: companies and users in full, and how often each flag was reported as checked."""
    state = hub.state
    return Answer(
        {
            "now": format_instant(request.now),
            "companies": [company_json(state, company, request.now) for company in state.companies],
            "users": [user_json(state, user) for user in state.users],
            "flag_checks": dict(state.flag_checks),
            "pending_deliveries": hub.deliveries.pending,
        }
    )


def _delivery_json(delivery: Delivery) -> dict[str, object]:
    due_at = format_instant(delivery.due) if delivery.status == "pending" else None
    return {**delivery_json(delivery), "failure": delivery.failure, "due_at": due_at}


def _moved(hub: Hub) -> Answer:
    hub.wake()
    hub.courier.nudge()
    return Answer({"now": format_instant(hub.clock.now())})


OPERATIONS = [
    Operation("GET", "/_dev/clock", "dev_get_clock"),
    Operation("PUT", "/_dev/clock", "dev_set_clock"),
    Operation("POST", "/_dev/clock/advance", "dev_advance_clock"),
    Operation("GET", "/_dev/faults", "dev_list_faults"),
    Operation("POST", "/_dev/faults", "dev_add_fault"),
    Operation("DELETE", "/_dev/faults", "dev_clear_faults"),
    Operation("GET", "/_dev/deliveries", "dev_list_deliveries"),
    Operation("POST", "/_dev/deliveries/{webhook_event_id}/redeliver", "dev_redeliver"),
    Operation("GET", "/_dev/events", "dev_list_events"),
    Operation("GET", "/_dev/state", "dev_get_state"),
]

HANDLERS = {
    handler.__name__: handler
    for handler in (
        dev_get_clock,
        dev_set_clock,
        dev_advance_clock,
        dev_list_faults,
        dev_add_fault,
        dev_clear_faults,
        dev_list_deliveries,
        dev_redeliver,
        dev_list_events,
        dev_get_state,
    )
}
