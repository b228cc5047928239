"""From an environment and its records to the engine's input (``rules-engine.md`` section 2), and nothing else.

A plan's grant becomes rules on the feature's flag, an override rules on its company. The engine asks a company's
override before the plan, yet its usage-exceeded twin only after the plan's rules: a lower limit given to one company
would never deny. So the plan's rules leave out the companies that have an override of their own for the feature.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from schematic_core.environment.conditions import (
    ACCOUNT_ID,
    ENVIRONMENT_ID,
    Document,
    granted,
    membership,
    own_condition,
    trait_definition,
    used_up,
)
from schematic_core.environment.effective import allocation, effective_grants, feature_usage, usage_count
from schematic_core.environment.model import Balance, Company, EntityKind, Environment, Flag, Grant, User
from schematic_core.environment.periods import WINDOWS, window_end

__all__ = ["company_document", "entitlement_documents", "flag_document", "trait_text", "user_document"]


def flag_document(environment: Environment, key: str, overridden: Iterable[str] = ()) -> Document:
    """Give the engine's flag.

    Args:
        environment: where the flag is declared.
        key: the flag's key, one of ``environment.flags``.
        overridden: ids of the companies that have an override for the feature of this key.
    """
    flag = environment.flags[key]
    excluded = sorted(overridden)
    rules = [_own_rule(environment, flag, index) for index in range(len(flag.rules))]
    for plan in environment.plans.values():
        grant = plan.grants.get(key)
        if grant is None or not grant.value:
            continue
        base = f"{plan.key}_{key}"
        scope = [membership(f"{base}_plan", "plan", [plan.id])]
        if excluded:
            scope.append(membership(f"{base}_own", "company", excluded, "ne"))
        rules += _grant_rules(environment, key, grant, base=base, name=plan.name, kind="plan_entitlement", scope=scope)
    return {**_owned(flag.id), "key": key, "default_value": flag.default, "rules": rules}


def company_document(environment: Environment, company: Company, now: datetime) -> Document:
    """Give the engine's company as it stands at ``now`` (aware): plans, traits, usage of the open windows, overrides."""
    plans = [environment.plans[key].id for key in company.plans if key in environment.plans]
    return {
        **_owned(company.id),
        "keys": dict(company.keys),
        **({"base_plan_id": f"plan_{company.plan}"} if company.plan in environment.plans else {}),
        "plan_ids": plans,
        "plan_version_ids": [],
        "billing_product_ids": [],
        "traits": _traits(environment, "company", company.traits),
        "metrics": _metrics(company, now),
        "rules": _override_rules(environment, company, now),
        "entitlements": entitlement_documents(environment, company, now),
        "credit_balances": {f"bcrd_{key}": balance.remaining for key, balance in company.credits.items()},
        **_subscription(company),
    }


def user_document(environment: Environment, user: User) -> Document:
    """Give the engine's user."""
    return {
        **_owned(user.id),
        "keys": dict(user.keys),
        "traits": _traits(environment, "user", user.traits),
        "rules": [],
    }


def entitlement_documents(environment: Environment, company: Company, now: datetime) -> list[Document]:
    """Give what the company may use of each feature; also the HTTP API's ``FeatureEntitlement`` list."""
    return [
        _entitlement(environment, company, key, found.grant, now)
        for key, found in effective_grants(environment, company, now).items()
        if found.grant.value
    ]


def trait_text(value: object) -> str:
    """Give a trait's value as the service stores it: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), sort_keys=True)


def _owned(own_id: str) -> Document:
    return {"id": own_id, "account_id": ACCOUNT_ID, "environment_id": ENVIRONMENT_ID}


def _rule(own_id: str, name: str, kind: str, value: bool, conditions: Sequence[Document]) -> Document:  # noqa: FBT001
    return {
        **_owned(f"rule_{own_id}"),
        "name": name,
        "rule_type": kind,
        "priority": 0,
        "value": value,
        "conditions": list(conditions),
        "condition_groups": [],
    }


def _own_rule(environment: Environment, flag: Flag, index: int) -> Document:
    rule = flag.rules[index]
    base = f"{flag.key}_{index + 1}"
    conditions = [own_condition(environment, f"{base}_{n + 1}", one) for n, one in enumerate(rule.conditions)]
    groups = [
        {"conditions": [own_condition(environment, f"{base}_any{g + 1}_{n + 1}", one) for n, one in enumerate(group)]}
        for g, group in enumerate(rule.groups)
    ]
    document = _rule(base, rule.name, "standard", rule.value, conditions)
    return {**document, "priority": index + 1, "condition_groups": groups}


def _grant_rules(
    environment: Environment, feature: str, grant: Grant, *, base: str, name: str, kind: str, scope: list[Document]
) -> list[Document]:
    allows = granted(environment, base, feature, grant)
    rules = [_rule(base, name, kind, grant.value, [*scope, *allows])]
    denies = used_up(environment, f"{base}_exceeded", feature, grant)
    if denies:
        rules.append(_rule(f"{base}_exceeded", name, f"{kind}_usage_exceeded", False, [*scope, *denies]))
    return rules


def _override_rules(environment: Environment, company: Company, now: datetime) -> list[Document]:
    rules: list[Document] = []
    for key, found in effective_grants(environment, company, now).items():
        override = company.overrides.get(key)
        if override is None or found.source != override.id:
            continue
        scope = [membership(f"{override.id}_company", "company", [company.id])]
        own = _grant_rules(
            environment, key, found.grant, base=override.id, name=company.name, kind="company_override", scope=scope
        )
        rules += [{**rule, "flag_id": environment.flags[key].id} for rule in own]
    return rules


def _traits(environment: Environment, kind: EntityKind, traits: Mapping[str, object]) -> list[Document]:
    return [
        {"trait_definition": trait_definition(environment, kind, name, value), "value": trait_text(value)}
        for name, value in traits.items()
    ]


def _metrics(company: Company, now: datetime) -> list[Document]:
    return [
        {
            "account_id": ACCOUNT_ID,
            "environment_id": ENVIRONMENT_ID,
            "company_id": company.id,
            "event_subtype": event,
            "period": period,
            "month_reset": reset,
            "value": usage_count(company, event, period, reset, now),
            "created_at": company.created_at.isoformat(),
            "valid_until": end.isoformat() if (end := window_end(period, reset, now, company.subscription)) else None,
        }
        for event in company.counters
        for period, reset in WINDOWS
    ]


def _subscription(company: Company) -> Document:
    if company.subscription is None:
        return {}
    start, end = company.subscription.start, company.subscription.end
    return {
        "subscription": {"id": f"sub_{company.id}", "period_start": start.isoformat(), "period_end": end.isoformat()}
    }


def _entitlement(environment: Environment, company: Company, key: str, grant: Grant, now: datetime) -> Document:
    feature = environment.features[key]
    document: Document = {"feature_id": feature.id, "feature_key": key, "value_type": grant.value_type}
    document["event_name"] = document["event_subtype"] = feature.event
    document["allocation"] = allocation(company, grant)
    document["usage"] = feature_usage(environment, company, key, grant, now)
    if feature.event is not None and grant.value_type != "credit":
        period, reset = grant.period or "all_time", grant.reset or "first_of_month"
        end = window_end(period, reset, now, company.subscription)
        document["metric_period"] = period
        document["month_reset"] = reset
        document["metric_reset_at"] = end.isoformat() if end is not None else None
    if grant.credit is not None:
        balance = company.credits.get(grant.credit, Balance(0.0, 0.0))
        document["credit_id"] = f"bcrd_{grant.credit}"
        document["consumption_rate"] = grant.rate
        document["credit_total"] = balance.total
        document["credit_used"] = balance.total - balance.remaining
        document["credit_remaining"] = balance.remaining
    return {name: value for name, value in document.items() if value is not None}
