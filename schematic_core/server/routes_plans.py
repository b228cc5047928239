"""Endpoints that change what a company may use: its plans and its overrides."""

from __future__ import annotations

from datetime import datetime

from schematic_core.environment.model import Feature, Grant, Override
from schematic_core.environment.periods import PERIODS, RESETS, Period, Reset
from schematic_core.server.faults import Refused
from schematic_core.server.hub import Hub
from schematic_core.server.requests import Answer, ApiRequest, Body, page
from schematic_core.server.routes_entities import plan_key
from schematic_core.server.shapes import company_json, override_json
from schematic_core.server.state import State

__all__ = ["HANDLERS"]

_VALUE_TYPES = ("boolean", "numeric", "unlimited", "trait", "credit")
_TRAIT_PREFIX = "trait_company_"
_CREDIT_PREFIX = "bcrd_"


async def update_company_plans(hub: Hub, request: ApiRequest) -> Answer:
    """``PUT /company-plans/{company_id}``: the base plan (absent or null: none) and the add-ons."""
    body, state = request.body(), hub.state
    base = body.text("base_plan_id")
    add_ons = [plan_key(state, plan_id) for plan_id in body.texts("add_on_ids", required=True)]
    key = plan_key(state, base) if base is not None else None
    company, changes = state.change_plans(request.path[0], key, add_ons, request.now)
    hub.publish(changes)
    return Answer(company_json(state, company, request.now))


async def list_company_overrides(hub: Hub, request: ApiRequest) -> Answer:
    """``GET /company-overrides``, filtered by ``ids``, ``company_id(s)``, ``feature_id(s)``."""
    found, params = _overrides(hub.state, request)
    shown, limits = page(found, request.query)
    return Answer([override_json(hub.state.environment, one) for one in shown], {**params, **limits})


async def count_company_overrides(hub: Hub, request: ApiRequest) -> Answer:
    """``GET /company-overrides/count``, with the list's filters."""
    found, params = _overrides(hub.state, request)
    return Answer({"count": len(found)}, params)


async def get_company_override(hub: Hub, request: ApiRequest) -> Answer:
    """``GET /company-overrides/{company_override_id}``."""
    return Answer(override_json(hub.state.environment, hub.state.get_override(request.path[0])))


async def create_company_override(hub: Hub, request: ApiRequest) -> Answer:
    """``POST /company-overrides``."""
    body, state = request.body(), hub.state
    feature = _feature(state, body.need("feature_id"))
    override, changes = state.create_override(
        body.need("company_id"),
        feature.key,
        _grant(state, feature, body),
        request.now,
        expires_at=_expiry(body, request.now),
        note=body.text("note"),
    )
    hub.publish(changes)
    hub.wake()
    return Answer(override_json(state.environment, override), status=201)


async def update_company_override(hub: Hub, request: ApiRequest) -> Answer:
    """``PUT /company-overrides/{company_override_id}``: replaces what is granted and until when."""
    body, state = request.body(), hub.state
    feature = state.environment.features[state.get_override(request.path[0]).feature]
    override, changes = state.update_override(
        request.path[0],
        _grant(state, feature, body),
        request.now,
        expires_at=_expiry(body, request.now),
        note=body.text("note"),
    )
    hub.publish(changes)
    hub.wake()
    return Answer(override_json(state.environment, override))


async def delete_company_override(hub: Hub, request: ApiRequest) -> Answer:
    """``DELETE /company-overrides/{company_override_id}``."""
    hub.publish(hub.state.delete_override(request.path[0]))
    return Answer({"deleted": True})


def _feature(state: State, feature_id: str) -> Feature:
    for feature in state.environment.features.values():
        if feature.id == feature_id:
            return feature
    raise Refused(400, f"there is no feature {feature_id[:100]!r}")


def _expiry(body: Body, now: datetime) -> datetime | None:
    expires_at = body.instant("expiration_date")
    if expires_at is not None and expires_at <= now:
        raise Refused(400, "expiration_date must lie in the future")
    return expires_at


def _grant(state: State, feature: Feature, body: Body) -> Grant:
    value_type = body.one_of("value_type", _VALUE_TYPES, required=True)
    if "quantity_rates" in body:
        raise Refused(501, "the local server does not implement quantity_rates")
    period, reset = _window(body)
    if value_type == "boolean":
        value = body.boolean("value_bool")
        return Grant(value_type="boolean", value=True if value is None else value)
    if value_type == "unlimited":
        return Grant(value_type="unlimited")
    if value_type == "credit":
        return _credit_grant(state, feature, body)
    if feature.kind == "boolean":
        raise Refused(400, "a boolean feature has no limit")
    if value_type == "trait":
        return Grant(value_type="trait", trait=_trait(body), period=period, reset=reset)
    limit = body.whole("value_numeric")
    if limit is None or limit < 0:
        raise Refused(400, "value_numeric must be a whole number of at least 0")
    return Grant(value_type="numeric", limit=limit, period=period, reset=reset)


def _window(body: Body) -> tuple[Period | None, Reset | None]:
    period, reset = body.one_of("metric_period", PERIODS), body.one_of("metric_period_month_reset", RESETS)
    return next((one for one in PERIODS if one == period), None), next((one for one in RESETS if one == reset), None)


def _credit_grant(state: State, feature: Feature, body: Body) -> Grant:
    credit = body.need("value_credit_id").removeprefix(_CREDIT_PREFIX)
    rate = body.number("credit_consumption_rate")
    if credit not in state.environment.credits:
        raise Refused(400, "there is no such credit")
    if feature.event is None:
        raise Refused(400, "the feature has no event that could draw credits")
    if rate is not None and rate < 0:
        raise Refused(400, "credit_consumption_rate must be at least 0")
    return Grant(value_type="credit", credit=credit, rate=1.0 if rate is None else rate)


def _trait(body: Body) -> str:
    trait_id = body.need("value_trait_id")
    if not trait_id.startswith(_TRAIT_PREFIX):
        raise Refused(400, "value_trait_id must be the id of a company trait")
    return trait_id.removeprefix(_TRAIT_PREFIX)


def _overrides(state: State, request: ApiRequest) -> tuple[list[Override], dict[str, object]]:
    query = request.query
    query.only("ids", "company_id", "company_ids", "feature_id", "feature_ids", "limit", "offset")
    ids = query.texts("ids")
    companies = [*query.texts("company_id"), *query.texts("company_ids")]
    features = [*query.texts("feature_id"), *query.texts("feature_ids")]
    found = [
        override
        for company in state.companies
        if not companies or company.id in companies
        for override in company.overrides.values()
        if (not ids or override.id in ids)
        and (not features or state.environment.features[override.feature].id in features)
    ]
    given: dict[str, object] = {name: query.text(name) for name in ("company_id", "feature_id")}
    given |= {name: query.texts(name) for name in ("ids", "company_ids", "feature_ids")}
    return found, {name: value for name, value in given.items() if value}


HANDLERS = {
    handler.__name__: handler
    for handler in (
        update_company_plans,
        list_company_overrides,
        count_company_overrides,
        get_company_override,
        create_company_override,
        update_company_override,
        delete_company_override,
    )
}
