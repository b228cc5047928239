"""Endpoints that read the catalogue: features, flags and plans. They are changed in the environment file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from schematic_core.environment.model import Feature, Flag, Plan
from schematic_core.server.catalogue import feature_detail_json, flag_detail_json, plan_detail_json
from schematic_core.server.faults import Refused
from schematic_core.server.hub import Hub
from schematic_core.server.requests import Answer, ApiRequest, page
from schematic_core.server.shapes import Json
from schematic_core.server.state import State

__all__ = ["HANDLERS"]

T = TypeVar("T", Feature, Flag, Plan)


async def list_features(hub: Hub, request: ApiRequest) -> Answer:
    """``GET /features``, filtered by ``ids``, ``q`` (part of key or name); flags and plans likewise."""
    return _list(hub.state, hub.state.environment.features.values(), request, feature_detail_json)


async def count_features(hub: Hub, request: ApiRequest) -> Answer:
    """``GET /features/count``."""
    return _count(hub.state.environment.features.values(), request)


async def get_feature(hub: Hub, request: ApiRequest) -> Answer:
    """``GET /features/{feature_id}``."""
    return Answer(feature_detail_json(hub.state, _get(hub.state.environment.features.values(), request, "feature")))


async def list_flags(hub: Hub, request: ApiRequest) -> Answer:
    """``GET /flags``."""
    return _list(hub.state, hub.state.environment.flags.values(), request, flag_detail_json)


async def count_flags(hub: Hub, request: ApiRequest) -> Answer:
    """``GET /flags/count``."""
    return _count(hub.state.environment.flags.values(), request)


async def get_flag(hub: Hub, request: ApiRequest) -> Answer:
    """``GET /flags/{flag_id}``."""
    return Answer(flag_detail_json(hub.state, _get(hub.state.environment.flags.values(), request, "flag")))


async def list_plans(hub: Hub, request: ApiRequest) -> Answer:
    """``GET /plans``."""
    return _list(hub.state, hub.state.environment.plans.values(), request, plan_detail_json)


async def count_plans(hub: Hub, request: ApiRequest) -> Answer:
    """``GET /plans/count``."""
    return _count(hub.state.environment.plans.values(), request)


async def get_plan(hub: Hub, request: ApiRequest) -> Answer:
    """``GET /plans/{plan_id}``."""
    return Answer(plan_detail_json(hub.state, _get(hub.state.environment.plans.values(), request, "plan")))


def _list(state: State, items: Iterable[T], request: ApiRequest, shape: Callable[[State, T], Json]) -> Answer:
    found, params = _found(items, request)
    shown, limits = page(found, request.query)
    return Answer([shape(state, item) for item in shown], {**params, **limits})


def _count(items: Iterable[T], request: ApiRequest) -> Answer:
    found, params = _found(items, request)
    return Answer({"count": len(found)}, params)


def _get(items: Iterable[T], request: ApiRequest, kind: str) -> T:
    for item in items:
        if item.id == request.path[0]:
            return item
    raise Refused(404, f"{kind} not found")


def _found(items: Iterable[T], request: ApiRequest) -> tuple[list[T], dict[str, object]]:
    request.query.only("ids", "q", "limit", "offset")
    ids, text = request.query.texts("ids"), request.query.text("q")
    found = [
        item
        for item in items
        if (not ids or item.id in ids)
        and (text is None or text.lower() in item.key.lower() or text.lower() in item.name.lower())
    ]
    given: dict[str, object] = {"ids": ids, "q": text}
    return found, {name: value for name, value in given.items() if value}


HANDLERS = {
    handler.__name__: handler
    for handler in (
        list_features,
        count_features,
        get_feature,
        list_flags,
        count_flags,
        get_flag,
        list_plans,
        count_plans,
        get_plan,
    )
}
