"""The types of webhook events, and the patterns that choose among them."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["REQUEST_TYPES", "chosen_types"]

REQUEST_TYPES: tuple[str, ...] = (
    "subscription.trial.ended",
    "company.created",
    "company.deleted",
    "company.override.created",
    "company.override.deleted",
    "company.override.expired",
    "company.override.updated",
    "company.plan_changed",
    "company.scheduled_downgrade",
    "company.updated",
    "credit.limit.reached",
    "credit.limit.warning",
    "credit.purchase.success",
    "credit.usage_warning_reached",
    "entitlement.limit.reached",
    "entitlement.limit.warning",
    "entitlement.soft_limit.reached",
    "entitlement.soft_limit.warning",
    "entitlement.tier_limit.reached",
    "entitlement.tier_limit.warning",
    "feature.created",
    "feature.deleted",
    "feature.updated",
    "flag.created",
    "flag.deleted",
    "flag_rules.updated",
    "flag.updated",
    "plan.created",
    "plan.deleted",
    "plan.entitlement.created",
    "plan.entitlement.deleted",
    "plan.entitlement.updated",
    "plan.updated",
    "plan_version.deleted",
    "rule.deleted",
    "test.send",
    "user.created",
    "user.deleted",
    "user.updated",
    "auto.topup.hard.failure",
    "auto.topup.retry.exceeded",
    "auto.topup.success",
)
"""Every type that a webhook may ask for, in the order of the API's document."""


def chosen_types(patterns: Iterable[str]) -> tuple[str, ...]:
    """Give the types that patterns choose: ``*`` all, ``company.*`` those that begin so, else the one of that name."""
    wanted = tuple(patterns)
    return tuple(one for one in REQUEST_TYPES if any(_covers(pattern, one) for pattern in wanted))


def _covers(pattern: str, request_type: str) -> bool:
    return pattern in {"*", request_type} or (pattern.endswith(".*") and request_type.startswith(pattern[:-1]))
