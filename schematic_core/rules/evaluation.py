"""What the rules engine answers, as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

__all__ = ["Evaluation"]

_RENAMED = {"error": "err"}
_INTERNAL = frozenset({"horizon_ms"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Result of evaluating one flag.

    Attributes:
        value: the flag's value.
        reason: why, e.g. ``'Matched plan entitlement rule "Pro" (rule_1)'``.
        flag_key: key of the flag.
        flag_id: id of the flag; may be empty.
        company_id: id of the company, when one was given.
        user_id: id of the user, when one was given.
        error: set when the options could not be meant, e.g. a negative usage; the value is then the flag's default.
        rule_id: id of the rule that held, None when none did.
        rule_type: its type, e.g. ``"plan_entitlement"``.
        entitlement: what the company may use of the feature of the flag's key, as the company's document states it,
            absent fields left out, e.g. ``{"feature_id": "feat_1", "feature_key": "seats", "value_type": "numeric"}``.
        feature_usage: units used in the period; set together with ``feature_allocation``.
        feature_allocation: units allowed in the period.
        feature_usage_event: event whose metric counts the usage.
        feature_usage_period: ``"all_time"``, ``"current_day"``, ``"current_week"`` or ``"current_month"``.
        feature_usage_reset_at: when the period starts anew: RFC 3339 in UTC with all digits there are, e.g.
            ``"2023-11-20T05:06:07.123+00:00"``. It may lie in the past, when a subscription ended.
        credit_spend_policy: the policy that denied a draw, ``{"cost": 2.0, "policy": {"id": "pol_1", ...}}``.
        horizon_ms: the same inputs give the same result at every clock from the one of this evaluation to before this
            one, milliseconds since 1970; None: at every later clock.

    Source: ``rules-engine.md`` sections 11 and 12.
    """

    value: bool
    reason: str
    flag_key: str
    flag_id: str
    company_id: str | None = None
    user_id: str | None = None
    error: str | None = None
    rule_id: str | None = None
    rule_type: str | None = None
    entitlement: dict[str, Any] | None = None
    feature_usage: int | None = None
    feature_allocation: int | None = None
    feature_usage_event: str | None = None
    feature_usage_period: str | None = None
    feature_usage_reset_at: str | None = None
    credit_spend_policy: dict[str, Any] | None = None
    horizon_ms: int | None = None

    @property
    def reset_at(self) -> datetime | None:
        """``feature_usage_reset_at`` as an aware datetime, cut to microseconds.

        None when there is no reset, or when it is none that a ``datetime`` can hold (a leap second, a year beyond 9999).
        """
        text = self.feature_usage_reset_at
        if text is None:
            return None
        moment, _, fraction = text.removesuffix("+00:00").partition(".")
        try:
            return datetime.fromisoformat(f"{moment}.{fraction:0<6.6}+00:00")
        except ValueError:
            return None

    def to_dict(self) -> dict[str, Any]:
        """Give the fields that are present under the engine's names, ready for JSON (``error`` is ``err`` there)."""
        names = (field.name for field in fields(self) if field.name not in _INTERNAL)
        return {_RENAMED.get(name, name): value for name in names if (value := getattr(self, name)) is not None}
