"""The engine's conditions: those of grants, and those that a flag's own rules state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from schematic_core.environment.model import Comparable, Condition, EntityKind, Environment, Grant, entity_id

__all__ = [
    "ACCOUNT_ID",
    "ENVIRONMENT_ID",
    "Document",
    "granted",
    "membership",
    "own_condition",
    "trait_definition",
    "used_up",
]

ACCOUNT_ID = "acct_local"
ENVIRONMENT_ID = "env_local"

Document = dict[str, Any]
"""One JSON object of the engine's input."""


def membership(own_id: str, kind: str, ids: Sequence[str], operator: str = "eq") -> Document:
    """Give a condition on ids of plans, companies or users."""
    return _condition(own_id, kind, operator, resource_ids=list(ids))


def granted(environment: Environment, own_id: str, feature: str, grant: Grant) -> list[Document]:
    """Give what must hold, beside being entitled at all, for the grant to allow one more unit."""
    if grant.value_type == "credit":
        return [_credit(environment, f"{own_id}_credit", feature, grant, "lte")]
    return _limit(environment, own_id, feature, grant, "lt")


def used_up(environment: Environment, own_id: str, feature: str, grant: Grant) -> list[Document]:
    """Give what holds when the grant is used up; empty when it cannot be."""
    if grant.value_type == "credit":
        return [_credit(environment, f"{own_id}_credit", feature, grant, "gt")]
    return _limit(environment, own_id, feature, grant, "gte")


def own_condition(environment: Environment, own_id: str, condition: Condition) -> Document:
    """Give the condition that a flag's own rule states."""
    name = condition.names[0] if condition.names else ""
    if condition.kind == "plan":
        return membership(own_id, "plan", [environment.plans[key].id for key in condition.names], condition.op)
    if condition.kind in ("company", "user"):
        ids = [entity_id(condition.kind, key) for key in condition.names]
        return membership(own_id, condition.kind, ids, condition.op)
    if condition.kind == "trait":
        definition = trait_definition(environment, condition.entity, name, condition.value)
        return _condition(own_id, "trait", condition.op, trait_definition=definition, trait_value=condition.value)
    if condition.kind == "credit":
        members = {"credit_id": environment.credits[name].id, "consumption_rate": condition.rate}
        return _condition(own_id, "credit", condition.op, **members)
    return _condition(
        own_id,
        "metric",
        condition.op,
        event_subtype=name,
        metric_value=condition.count,
        metric_period=condition.period,
        metric_period_month_reset=condition.reset if condition.period == "current_month" else None,
    )


def trait_definition(environment: Environment, entity: EntityKind, name: str, value: object) -> Document:
    """Give a trait's definition; one that no feature or rule uses compares as its value suggests."""
    comparable = environment.trait_types.get((entity, name)) or _comparable(value)
    return {"id": f"trait_{entity}_{name}", "comparable_type": comparable, "entity_type": entity}


def _comparable(value: object) -> Comparable:
    if isinstance(value, bool):
        return "bool"
    return "int" if isinstance(value, (int, float)) else "string"


def _limit(environment: Environment, own_id: str, feature_key: str, grant: Grant, operator: str) -> list[Document]:
    feature = environment.features[feature_key]
    if grant.limit is None and grant.trait is None:
        return []
    limit = grant.limit or 0
    members: Document = {}
    if grant.trait is not None:
        members["comparison_trait_definition"] = trait_definition(environment, "company", grant.trait, 0)
    if feature.trait is not None:
        members["trait_definition"] = trait_definition(environment, "company", feature.trait, 0)
        return [_condition(f"{own_id}_trait", "trait", operator, trait_value=str(limit), **members)]
    period = grant.period or "all_time"
    members |= {"event_subtype": feature.event, "metric_value": limit, "metric_period": period}
    members["metric_period_month_reset"] = grant.reset if period == "current_month" else None
    return [_condition(f"{own_id}_metric", "metric", operator, **members)]


def _credit(environment: Environment, own_id: str, feature: str, grant: Grant, operator: str) -> Document:
    return _condition(
        own_id,
        "credit",
        operator,
        credit_id=f"bcrd_{grant.credit}",
        consumption_rate=grant.rate,
        event_subtype=environment.features[feature].event,
    )


def _condition(own_id: str, kind: str, operator: str, **members: object) -> Document:
    return {
        "id": f"cond_{own_id}",
        "account_id": ACCOUNT_ID,
        "environment_id": ENVIRONMENT_ID,
        "condition_type": kind,
        "operator": operator,
        "resource_ids": [],
        "trait_value": "",
        **{name: value for name, value in members.items() if value is not None},
    }
