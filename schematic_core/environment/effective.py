"""What a company may use, and has used, at one moment: its overrides before its plans, the open windows alone."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime

from schematic_core.environment.model import Company, Environment, Grant
from schematic_core.environment.periods import Period, Reset, window_start

__all__ = ["Effective", "allocation", "effective_grants", "feature_usage", "usage_count", "whole_number"]

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Effective:
    """One feature's grant with its period settled; ``source`` is the override's or the plan's id."""

    grant: Grant
    source: str


def effective_grants(environment: Environment, company: Company, now: datetime) -> dict[str, Effective]:
    """Give the grant that counts for each feature of the company, in the order of the features.

    An override counts before any plan, until it expires. Of several plans the most generous counts. An override without
    a period takes that of the plan's grant, when there is one.
    """
    found: dict[str, Effective] = {}
    for feature in environment.features:
        plan = _best_of_plans(environment, company, feature)
        override = company.overrides.get(feature)
        if override is not None and (override.expires_at is None or override.expires_at > now):
            grant = override.grant
            if grant.period is None and plan is not None and grant.value_type in {"numeric", "trait"}:
                grant = replace(grant, period=plan.grant.period, reset=grant.reset or plan.grant.reset)
            found[feature] = Effective(grant, override.id)
        elif plan is not None:
            found[feature] = plan
    return found


def usage_count(company: Company, event: str, period: Period, reset: Reset, now: datetime) -> int:
    """Give how often ``event`` happened in the window that holds ``now``; 0 once a new window has begun."""
    key: tuple[Period, Reset] = (period, reset if period == "current_month" else "first_of_month")
    counted = company.counters.get(event, {}).get(key)
    if counted is None:
        return 0
    start, count = counted
    return count if start == window_start(*key, now, company.subscription) else 0


def feature_usage(
    environment: Environment, company: Company, feature_key: str, grant: Grant, now: datetime
) -> int | None:
    """Give the usage of a feature under a grant; None when it has none (boolean features, credits)."""
    feature = environment.features[feature_key]
    if feature.trait is not None:
        return whole_number(company.traits.get(feature.trait))
    if feature.event is None or grant.value_type == "credit":
        return None
    return usage_count(company, feature.event, grant.period or "all_time", grant.reset or "first_of_month", now)


def allocation(company: Company, grant: Grant) -> int | None:
    """Give the limit that a grant sets for this company; None when it sets none."""
    if grant.trait is not None:
        return whole_number(company.traits.get(grant.trait))
    return grant.limit


def whole_number(value: object) -> int:
    """Read a trait's value as a whole number; 0 when it is none (``rules-engine.md`` 6.3)."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, str) and _WHOLE.fullmatch(value) else 0


def _best_of_plans(environment: Environment, company: Company, feature: str) -> Effective | None:
    offers = [
        Effective(plan.grants[feature], plan.id)
        for key in company.plans
        if (plan := environment.plans.get(key)) is not None and feature in plan.grants
    ]
    return max(offers, key=lambda offer: _generosity(offer.grant), default=None)


def _generosity(grant: Grant) -> tuple[bool, bool, int]:
    unbounded = grant.value_type in {"unlimited", "boolean"}
    return grant.value, unbounded, grant.limit or 0
