"""The smallest documents that the engine accepts, to be changed in the one point a test is about."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from schematic_core.rules import Evaluation, check

Json = dict[str, Any]

NOW = datetime(2023, 11, 14, tzinfo=timezone.utc)
_OWNERS = {"account_id": "acc", "environment_id": "env"}


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def flag(*rules: Json, **changes: Any) -> Json:
    return {"id": "flag_1", **_OWNERS, "key": "key_1", "default_value": False, "rules": list(rules), **changes}


def rule(rule_type: str = "standard", *conditions: Json, value: bool = True, **changes: Any) -> Json:
    return {
        "id": "rule_1",
        **_OWNERS,
        "name": "Pro",
        "rule_type": rule_type,
        "priority": 1,
        "value": value,
        "conditions": list(conditions),
        **changes,
    }


def condition(condition_type: str, operator: str = "eq", **changes: Any) -> Json:
    fixed = {"id": "cond_1", **_OWNERS, "condition_type": condition_type, "operator": operator, "trait_value": ""}
    return {**fixed, **changes}


def definition(trait_id: str = "tr_1", comparable_type: str = "string", entity_type: str = "company") -> Json:
    return {"id": trait_id, "comparable_type": comparable_type, "entity_type": entity_type}


def trait(value: str, trait_id: str = "tr_1", comparable_type: str = "string") -> Json:
    return {"value": value, "trait_definition": definition(trait_id, comparable_type)}


def metric(value: int, event: str = "ev", period: str = "all_time", reset: str = "first_of_month") -> Json:
    return {
        **_OWNERS,
        "company_id": "co_1",
        "event_subtype": event,
        "period": period,
        "month_reset": reset,
        "value": value,
        "created_at": "2023-01-01T00:00:00Z",
    }


def policy(limit: float | None = 10, kind: str = "per_draw", **changes: Any) -> Json:
    return {"id": "pol_1", "credit_id": "cr", "kind": kind, "scope": "company", "limit": limit, **changes}


def company(**changes: Any) -> Json:
    return {"id": "co_1", **_OWNERS, **changes}


def user(**changes: Any) -> Json:
    return {"id": "us_1", **_OWNERS, **changes}


def trait_condition(operator: str, value: str, comparable_type: str = "string", **changes: Any) -> Json:
    changes = {"trait_definition": definition("tr_1", comparable_type), **changes}
    return condition("trait", operator, trait_value=value, **changes)


def holds(
    tested: Json, company: Json | None = None, user: Json | None = None, now: datetime = NOW, **options: Any
) -> bool:
    """Whether one condition is true, seen through a rule that has no other."""
    return check(flag(rule("standard", tested)), company, user, now=now, **options).value


def reset_of(period: str, reset: str | None = None, *, now: datetime, subscription: Json | None = None) -> str | None:
    """The next start of a metric's period, seen through the usage fields."""
    tested = condition("metric", "gte", event_subtype="ev", metric_value=0, metric_period=period)
    tested["metric_period_month_reset"] = reset
    owner = company(subscription=subscription)
    result: Evaluation = check(flag(rule("plan_entitlement", tested)), owner, now=now)
    assert result.value
    return result.feature_usage_reset_at
