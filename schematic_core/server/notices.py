"""Changes as the webhooks tell them: envelope and typed body (``http-api.md`` section 20)."""

from __future__ import annotations

from datetime import datetime

from schematic_core.environment.conditions import ACCOUNT_ID, ENVIRONMENT_ID
from schematic_core.environment.effective import allocation, effective_grants, feature_usage
from schematic_core.environment.model import Company
from schematic_core.environment.periods import window_end
from schematic_core.server.faults import Refused
from schematic_core.server.records import Change
from schematic_core.server.shapes import (
    Json,
    company_json,
    feature_json,
    override_json,
    plan_snapshot_json,
    summary_json,
    user_json,
)
from schematic_core.server.state import State
from schematic_core.wire import format_instant

__all__ = ["notice", "sample_change"]


def notice(state: State, change: Change, now: datetime) -> Json:
    """Give the JSON object to deliver for a change."""
    envelope: Json = {
        "action": change.action,
        "account_id": ACCOUNT_ID,
        "environment_id": ENVIRONMENT_ID,
        "object_type": _object_type(change.action),
        "body": _body(state, change, now),
    }
    if change.company is not None:
        envelope["company_id"] = change.company.id
    if change.feature is not None:
        envelope["feature_id"] = state.environment.features[change.feature].id
    return envelope


def sample_change(state: State, action: str) -> Change:
    """Give a change of a type as it might happen to the first company or user, for a test delivery.

    Raises:
        Refused: 400, the local server does not send this type, or has nothing to tell it about.
    """
    company = next(iter(state.companies), None)
    user = next(iter(state.users), None)
    if action == "test.send":
        return Change(action=action)
    if action.startswith("user.") and user is not None:
        return Change(action=action, user=user)
    if action in {"company.created", "company.updated", "company.deleted"} and company is not None:
        return Change(action=action, company=company)
    if action == "company.plan_changed" and company is not None:
        return Change(action=action, company=company, before=company, cause="manage_plan")
    raise Refused(400, f"the local server has no sample of {action!r}")


def _object_type(action: str) -> str:
    if action.startswith("company.override."):
        return "company_override"
    return {"company.plan_changed": "plan_change", "test.send": "test"}.get(action, action.partition(".")[0])


def _body(state: State, change: Change, now: datetime) -> Json:
    if change.override is not None:
        return override_json(state.environment, change.override)
    if change.user is not None:
        return user_json(state, change.user)
    if change.company is None:
        return {"message": "test delivery of the local Schematic server"}
    if change.before is not None:
        return _plan_change(state, change, change.before, change.company, now)
    if change.feature is not None:
        return _limit_reached(state, change.company, change.feature, now)
    return company_json(state, change.company, now)


def _plan_change(state: State, change: Change, before: Company, after: Company, now: datetime) -> Json:
    environment = state.environment
    added = [key for key in after.add_ons if key not in before.add_ons]
    removed = [key for key in before.add_ons if key not in after.add_ons]
    body: Json = {
        "id": state.new_id("plch"),
        "action": change.cause,
        "actor_type": "api_key",
        "add_ons_added": [plan_snapshot_json(environment, key) for key in added],
        "add_ons_removed": [plan_snapshot_json(environment, key) for key in removed],
        "company_id": after.id,
        "company": summary_json(after),
        "environment_id": ENVIRONMENT_ID,
        "is_version_upgrade": False,
        "traits_updated": [],
        "created_at": format_instant(now),
        "updated_at": format_instant(now),
    }
    if after.plan is not None:
        body["base_plan"] = plan_snapshot_json(environment, after.plan)
    if before.plan is not None:
        body["previous_base_plan"] = plan_snapshot_json(environment, before.plan)
    return body


def _limit_reached(state: State, company: Company, key: str, now: datetime) -> Json:
    environment = state.environment
    found = effective_grants(environment, company, now)[key]
    grant = found.grant
    end = window_end(grant.period or "all_time", grant.reset or "first_of_month", now, company.subscription)
    return {
        "Entitlement": found.source,
        "Allocation": allocation(company, grant),
        "Usage": feature_usage(environment, company, key, grant, now),
        "Feature": feature_json(environment, environment.features[key], now),
        **({"MetricResetAt": format_instant(end)} if end is not None else {}),
        "company": company_json(state, company, now),
    }
