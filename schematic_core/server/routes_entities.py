"""Endpoints of companies and users."""

from __future__ import annotations

from collections.abc import Mapping

from schematic_core.environment.model import Company, User
from schematic_core.server.entities import Upsert
from schematic_core.server.faults import Refused
from schematic_core.server.hub import Hub
from schematic_core.server.records import Change
from schematic_core.server.requests import Answer, ApiRequest, Body, page
from schematic_core.server.shapes import company_json, summary_json, user_json
from schematic_core.server.state import State

__all__ = ["HANDLERS"]

_PAGE = ("limit", "offset")


async def upsert_company(hub: Hub, request: ApiRequest) -> Answer:
    """``POST /companies``."""
    body = request.body()
    plan = body.text("base_plan_id")
    if "base_plan_price_id" in body:
        raise Refused(501, "the local server does not implement base_plan_price_id")
    key = plan_key(hub.state, plan) if plan is not None else None
    company, changes = hub.state.upsert_company(_wanted(body), request.now, plan=key)
    hub.publish(changes)
    return _company(hub, company, request)


async def create_company(hub: Hub, request: ApiRequest) -> Answer:
    """``POST /companies/create``: as the upsert, but the keys must be new."""
    if hub.state.companies.owners(request.body().keys("keys")):
        raise Refused(400, "one of the keys belongs to another company")
    return Answer((await upsert_company(hub, request)).data, status=201)


async def list_companies(hub: Hub, request: ApiRequest) -> Answer:
    """``GET /companies``, filtered by ``ids``, ``q`` (part of name or keys), ``plan_id``, ``plan_ids``."""
    found, params = _companies(hub.state, request)
    shown, limits = page(found, request.query)
    return Answer([company_json(hub.state, company, request.now) for company in shown], {**params, **limits})


async def count_companies(hub: Hub, request: ApiRequest) -> Answer:
    """``GET /companies/count``, with the list's filters."""
    found, params = _companies(hub.state, request)
    return Answer({"count": len(found)}, params)


async def get_company(hub: Hub, request: ApiRequest) -> Answer:
    """``GET /companies/{company_id}``."""
    return _company(hub, hub.state.companies.get(request.path[0]), request)


async def lookup_company(hub: Hub, request: ApiRequest) -> Answer:
    """``GET /companies/lookup?keys[id]=acme``."""
    keys = request.query.map("keys")
    company = hub.state.companies.lookup(keys)
    if company is None:
        raise Refused(404, "company not found")
    return _company(hub, company, request, {"keys": keys})


async def delete_company(hub: Hub, request: ApiRequest) -> Answer:
    """``DELETE /companies/{company_id}``."""
    hub.publish(hub.state.delete_company(request.path[0]))
    return Answer({"deleted": True})


async def delete_company_by_keys(hub: Hub, request: ApiRequest) -> Answer:
    """``POST /companies/delete``."""
    company = hub.state.companies.lookup(request.body().keys("keys"))
    if company is None:
        raise Refused(404, "company not found")
    hub.publish(hub.state.delete_company(company.id))
    return Answer(summary_json(company))


async def upsert_user(hub: Hub, request: ApiRequest) -> Answer:
    """``POST /users``. A company given by keys that nobody has is created, as ``identify`` does."""
    body, state = request.body(), hub.state
    wanted = _wanted(body)
    joined, by_keys = _memberships(body)
    for company_id in joined:
        state.companies.get(company_id)
    changes: list[Change] = []
    for keys in by_keys:
        company, changed = state.upsert_company(Upsert(keys=keys), request.now)
        joined.append(company.id)
        changes += changed
    hub.publish(changes)
    user, changes = state.upsert_user(wanted, request.now, joined)
    hub.publish(changes)
    return Answer(user_json(state, user))


async def create_user(hub: Hub, request: ApiRequest) -> Answer:
    """``POST /users/create``: as the upsert, but the keys must be new."""
    if hub.state.users.owners(request.body().keys("keys")):
        raise Refused(400, "one of the keys belongs to another user")
    return Answer((await upsert_user(hub, request)).data, status=201)


async def list_users(hub: Hub, request: ApiRequest) -> Answer:
    """``GET /users``, filtered by ``ids``, ``q``, ``company_id``."""
    found, params = _users(hub.state, request)
    shown, limits = page(found, request.query)
    return Answer([user_json(hub.state, user) for user in shown], {**params, **limits})


async def count_users(hub: Hub, request: ApiRequest) -> Answer:
    """``GET /users/count``, with the list's filters."""
    found, params = _users(hub.state, request)
    return Answer({"count": len(found)}, params)


async def get_user(hub: Hub, request: ApiRequest) -> Answer:
    """``GET /users/{user_id}``."""
    return Answer(user_json(hub.state, hub.state.users.get(request.path[0])))


async def lookup_user(hub: Hub, request: ApiRequest) -> Answer:
    """``GET /users/lookup?keys[id]=ada``."""
    keys = request.query.map("keys")
    user = hub.state.users.lookup(keys)
    if user is None:
        raise Refused(404, "user not found")
    return Answer(user_json(hub.state, user), {"keys": keys})


async def delete_user(hub: Hub, request: ApiRequest) -> Answer:
    """``DELETE /users/{user_id}``."""
    hub.publish(hub.state.delete_user(request.path[0]))
    return Answer({"deleted": True})


async def delete_user_by_keys(hub: Hub, request: ApiRequest) -> Answer:
    """``POST /users/delete``."""
    user = hub.state.users.lookup(request.body().keys("keys"))
    if user is None:
        raise Refused(404, "user not found")
    hub.publish(hub.state.delete_user(user.id))
    return Answer(summary_json(user))


def plan_key(state: State, plan_id: str) -> str:
    """Give the map name of the plan with an id.

    Raises:
        Refused: 400, there is no such plan.
    """
    for plan in state.environment.plans.values():
        if plan.id == plan_id:
            return plan.key
    raise Refused(400, f"there is no plan {plan_id[:100]!r}")


def _company(hub: Hub, company: Company, request: ApiRequest, params: Mapping[str, object] | None = None) -> Answer:
    return Answer(company_json(hub.state, company, request.now), params or {})


def _wanted(body: Body) -> Upsert:
    return Upsert(
        keys=body.keys("keys"),
        id=body.text("id"),
        name=body.text("name"),
        traits=body.mapping("traits"),
        remove_keys=tuple(body.texts("remove_keys")),
        update_only=bool(body.boolean("update_only")),
        prevent_key_remap=bool(body.boolean("prevent_key_remap")),
        last_seen_at=body.instant("last_seen_at"),
    )


def _memberships(body: Body) -> tuple[list[str], list[dict[str, str]]]:
    ids = body.texts("company_ids")
    single = body.text("company_id")
    keys = [body.keys("company"), *body.keys_list("companies")]
    return [*ids, *([single] if single else [])], [pairs for pairs in keys if pairs]


def _companies(state: State, request: ApiRequest) -> tuple[list[Company], dict[str, object]]:
    query = request.query
    query.only("ids", "q", "plan_id", "plan_ids", *_PAGE)
    ids, text = query.texts("ids"), query.text("q")
    plans = [*query.texts("plan_ids"), *query.texts("plan_id")]
    keys = {plan.key for plan in state.environment.plans.values() if plan.id in plans}
    found = [
        company
        for company in state.companies
        if _matches(company, ids, text) and (not plans or keys.intersection(company.plans))
    ]
    given = {"ids": ids, "q": text, "plan_id": query.text("plan_id"), "plan_ids": query.texts("plan_ids")}
    return found, {name: value for name, value in given.items() if value}


def _users(state: State, request: ApiRequest) -> tuple[list[User], dict[str, object]]:
    query = request.query
    query.only("ids", "q", "company_id", *_PAGE)
    ids, text, company = query.texts("ids"), query.text("q"), query.text("company_id")
    found = [
        user for user in state.users if _matches(user, ids, text) and (company is None or company in user.company_ids)
    ]
    given = {"ids": ids, "q": text, "company_id": company}
    return found, {name: value for name, value in given.items() if value}


def _matches(entity: Company | User, ids: list[str], text: str | None) -> bool:
    if ids and entity.id not in ids:
        return False
    return text is None or any(text.lower() in part.lower() for part in (entity.name, *entity.keys.values()))


HANDLERS = {
    handler.__name__: handler
    for handler in (
        upsert_company,
        create_company,
        list_companies,
        count_companies,
        get_company,
        lookup_company,
        delete_company,
        delete_company_by_keys,
        upsert_user,
        create_user,
        list_users,
        count_users,
        get_user,
        lookup_user,
        delete_user,
        delete_user_by_keys,
    )
}
