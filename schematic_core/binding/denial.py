"""When a gate stays shut, and what it answers then."""

from __future__ import annotations

from http import HTTPStatus

from schematic_core.errors import FeatureDenied
from schematic_core.values import CheckResult

__all__ = ["PROBLEM_MEDIA_TYPE", "RETRY_AFTER", "problem", "refusal"]

PROBLEM_MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = 5
"""Seconds after which asking again makes sense when nothing could answer (choice: how long an answer counts as fresh)."""

_STATUSES = {
    "not_entitled": HTTPStatus.PAYMENT_REQUIRED,
    "limit_reached": HTTPStatus.PAYMENT_REQUIRED,
    "no_identity": HTTPStatus.UNAUTHORIZED,
    "unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
}
_TITLES = {
    "not_entitled": ("Not entitled", "the plan does not include {feature!r}"),
    "limit_reached": ("Limit reached", "the limit of {feature!r} is used up"),
    "no_identity": ("Not identified", "nobody is identified who could be entitled to {feature!r}"),
    "unavailable": ("Unavailable", "whether {feature!r} is allowed cannot be said right now"),
}


def refusal(result: CheckResult, *, is_anonymous: bool, status: int | None = None) -> FeatureDenied | None:
    """Give the denial that ``result`` means for a gate, or None when the gate opens.

    Args:
        result: the check's answer.
        is_anonymous: whether nobody was identified.
        status: HTTP status that replaces the usual one, e.g. 404 to hide the feature.

    Source: decisions.md section 6, codes.
    """
    if result.value:
        return None
    code = _code(result, is_anonymous=is_anonymous)
    return FeatureDenied(result.flag_key, code, int(_STATUSES[code]) if status is None else status, result)


def problem(denied: FeatureDenied) -> dict[str, object]:
    """Give the body of a denial, ready for JSON.

    Returns:
        ``{"type", "title", "status", "detail", "code", "feature"}``, with ``usage``, ``allocation`` and ``resets_at``
        (RFC 3339) of that feature where they are known. Nothing about other features.

    Source: RFC 9457.
    """
    title, detail = _TITLES[denied.code]
    body: dict[str, object] = {
        "type": f"urn:schematic:denied:{denied.code}",
        "title": title,
        "status": denied.status,
        "detail": detail.format(feature=denied.feature),
        "code": denied.code,
        "feature": denied.feature,
    }
    stated = denied.result.to_dict()
    entitlement = denied.result.entitlement
    granted = entitlement.to_dict() if entitlement is not None else {}
    measured = {
        "usage": stated.get("feature_usage", granted.get("usage")),
        "allocation": stated.get("feature_allocation", granted.get("allocation")),
        "resets_at": stated.get("feature_usage_reset_at", granted.get("metric_reset_at")),
    }
    body.update((name, value) for name, value in measured.items() if value is not None)
    return body


def _code(result: CheckResult, *, is_anonymous: bool) -> str:
    if is_anonymous:
        return "no_identity"
    if result.source == "default":
        return "unavailable"
    if (result.rule_type or "").endswith("_usage_exceeded") or result.credit_spend_policy is not None:
        return "limit_reached"
    return "not_entitled"
