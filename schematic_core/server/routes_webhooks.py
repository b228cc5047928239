"""Endpoints of webhooks and of the log of their deliveries."""

from __future__ import annotations

import secrets
from dataclasses import replace
from urllib.parse import urlsplit

import httpx

from schematic_core.environment.webhook_types import REQUEST_TYPES
from schematic_core.server.deliveries import Delivery
from schematic_core.server.faults import Refused
from schematic_core.server.hub import Hub
from schematic_core.server.notices import notice, sample_change
from schematic_core.server.records import Webhook
from schematic_core.server.requests import Answer, ApiRequest, Body, page
from schematic_core.server.shapes import delivery_json, webhook_json
from schematic_core.wire import dumps

__all__ = ["HANDLERS"]


async def list_webhooks(hub: Hub, request: ApiRequest) -> Answer:
    """``GET /webhooks``, filtered by ``q`` (part of name or URL)."""
    found, params = _webhooks(hub, request)
    shown, limits = page(found, request.query)
    return Answer([webhook_json(one, hub.state.environment) for one in shown], {**params, **limits})


async def count_webhooks(hub: Hub, request: ApiRequest) -> Answer:
    """``GET /webhooks/count``, with the list's filters."""
    found, params = _webhooks(hub, request)
    return Answer({"count": len(found)}, params)


async def get_webhook(hub: Hub, request: ApiRequest) -> Answer:
    """``GET /webhooks/{webhook_id}``."""
    return Answer(webhook_json(_webhook(hub, request), hub.state.environment))


async def create_webhook(hub: Hub, request: ApiRequest) -> Answer:
    """``POST /webhooks``; the secret is made here and is in the answer."""
    body = request.body()
    webhook = Webhook(
        id=hub.state.new_id("whk"),
        name=body.need("name"),
        url=_url(body.need("url")),
        secret=f"whsec_{secrets.token_hex(16)}",
        request_types=_request_types(body),
        created_at=request.now,
        updated_at=request.now,
        feature_ids=tuple(config.need("feature_id") for config in body.objects("entitlement_trigger_configs")),
        credit_ids=tuple(config.need("credit_id") for config in body.objects("credit_trigger_configs")),
    )
    hub.state.webhooks[webhook.id] = webhook
    return Answer(webhook_json(webhook, hub.state.environment), status=201)


async def update_webhook(hub: Hub, request: ApiRequest) -> Answer:
    """``PUT /webhooks/{webhook_id}``: changes what is given."""
    webhook, body = _webhook(hub, request), request.body()
    url, types = body.text("url"), _request_types(body) if "request_types" in body else webhook.request_types
    features, credit_ids = webhook.feature_ids, webhook.credit_ids
    if "entitlement_trigger_configs" in body:
        features = tuple(config.need("feature_id") for config in body.objects("entitlement_trigger_configs"))
    if "credit_trigger_configs" in body:
        credit_ids = tuple(config.need("credit_id") for config in body.objects("credit_trigger_configs"))
    changed = replace(
        webhook,
        name=body.text("name") or webhook.name,
        url=_url(url) if url else webhook.url,
        request_types=types,
        status=body.one_of("status", ("active", "inactive")) or webhook.status,
        feature_ids=features,
        credit_ids=credit_ids,
        updated_at=request.now,
    )
    hub.state.webhooks[webhook.id] = changed
    return Answer(webhook_json(changed, hub.state.environment))


async def delete_webhook(hub: Hub, request: ApiRequest) -> Answer:
    """``DELETE /webhooks/{webhook_id}``: what waits for it is given up."""
    del hub.state.webhooks[_webhook(hub, request).id]
    hub.deliveries.drop(request.path[0])
    return Answer({"deleted": True})


async def send_test_webhook_action(hub: Hub, request: ApiRequest) -> Answer:
    """``POST /webhooks/{webhook_id}/test``: one attempt at once, outside the queue; the answer says how it went."""
    webhook = _webhook(hub, request)
    action = request.body().one_of("request_type", REQUEST_TYPES, required=True) or ""
    payload = dumps(notice(hub.state, sample_change(hub.state, action), request.now))
    status, failure = await hub.courier.post(webhook, payload)
    success = status is not None and 200 <= status < 300  # noqa: PLR2004 - what a 2xx is
    reason = failure or (None if success else f"the endpoint answered {status}")
    return Answer({"success": success, "response_code": status or 0, **({"failure_reason": reason} if reason else {})})


async def list_webhook_events(hub: Hub, request: ApiRequest) -> Answer:
    """``GET /webhook-events``, filtered by ``ids``, ``webhook_id``; the newest first."""
    found, params = _deliveries(hub, request)
    shown, limits = page(found, request.query)
    return Answer([delivery_json(one) for one in shown], {**params, **limits})


async def count_webhook_events(hub: Hub, request: ApiRequest) -> Answer:
    """``GET /webhook-events/count``, with the list's filters."""
    found, params = _deliveries(hub, request)
    return Answer({"count": len(found)}, params)


async def get_webhook_event(hub: Hub, request: ApiRequest) -> Answer:
    """``GET /webhook-events/{webhook_event_id}``."""
    delivery = hub.deliveries.find(request.path[0])
    if delivery is None:
        raise Refused(404, "webhook event not found")
    return Answer(delivery_json(delivery))


def _webhook(hub: Hub, request: ApiRequest) -> Webhook:
    webhook = hub.state.webhooks.get(request.path[0])
    if webhook is None:
        raise Refused(404, "webhook not found")
    return webhook


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        fits = httpx.URL(text).scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except (httpx.InvalidURL, ValueError):
        fits = False
    if not fits:
        raise Refused(400, "url must be an http or https URL")
    return text


def _request_types(body: Body) -> tuple[str, ...]:
    types = body.texts("request_types", required=True)
    unknown = [one for one in types if one not in REQUEST_TYPES]
    if unknown:
        raise Refused(400, f"request_types: there is no {unknown[0][:100]!r}")
    return tuple(dict.fromkeys(types))


def _webhooks(hub: Hub, request: ApiRequest) -> tuple[list[Webhook], dict[str, object]]:
    request.query.only("q", "limit", "offset")
    text = request.query.text("q")
    found = [one for one in hub.state.webhooks.values() if text is None or text in one.name or text in one.url]
    return found, {"q": text} if text else {}


def _deliveries(hub: Hub, request: ApiRequest) -> tuple[list[Delivery], dict[str, object]]:
    request.query.only("ids", "webhook_id", "limit", "offset")
    ids, webhook_id = request.query.texts("ids"), request.query.text("webhook_id")
    found = [
        one
        for one in hub.deliveries.log
        if (not ids or one.id in ids) and (webhook_id is None or one.webhook_id == webhook_id)
    ]
    given = {"ids": ids, "webhook_id": webhook_id}
    return found, {name: value for name, value in given.items() if value}


HANDLERS = {
    handler.__name__: handler
    for handler in (
        list_webhooks,
        count_webhooks,
        get_webhook,
        create_webhook,
        update_webhook,
        delete_webhook,
        send_test_webhook_action,
        list_webhook_events,
        count_webhook_events,
        get_webhook_event,
    )
}
