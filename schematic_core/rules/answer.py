"""The engine's answer block: its layout, and the verdict in it put into words."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple

from schematic_core.rules.texts import Texts

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["ANSWER_BYTES", "FOR_EVER", "NO_SLOT", "Told", "Verdict", "read", "tell"]

ANSWER_BYTES = 96
"""Size of the block."""

NO_SLOT = -1
"""In place of a slot when there is none."""

FOR_EVER = 2**63 - 1
"""In place of a horizon when there is none."""

# Offsets and meanings are in engine.zig. Left out: the options of the question, and its clock.
read: Callable[..., tuple[Any, ...]] = Struct("<8s2i4x8si2q13s3xq24x").unpack_from
"""Gives three parts that ``tell`` reads and the rest: verdict, company, user, rule, entitlement slot, usage, allocation,
period, horizon. Together the three are all that a verdict depends on, unless a credit spend policy decided."""
_read_verdict = Struct("<4Bi").unpack
_read_rule = Struct("<2i").unpack
_read_period = Struct("<qIB").unpack
_read_breach = Struct("<72x2id8x").unpack_from

_HAS_USAGE, _HAS_RESET, _HAS_EVENT, _HAS_POLICY = 1, 2, 4, 8
_RULE_HELD, _POLICY_BREACHED = 1, 2

_RULE_TYPES = (
    None,
    "global_override",
    "company_override",
    "plan_entitlement",
    "company_override_usage_exceeded",
    "plan_entitlement_usage_exceeded",
    "standard",
    "default",
)
_PERIODS = (None, "all_time", "current_day", "current_week", "current_month")
_REASONS = {0: "No rules matched; default value for flag", 3: "Flag not found"}
_ERRORS = {4: "preflight usage cannot be negative", 5: "preflight credit cost cannot be negative"}


class Verdict(NamedTuple):
    """The members of a result that tell of the flag and its rule, under their names."""

    value: bool
    reason: str
    flag_key: str
    flag_id: str
    rule_id: str | None
    rule_type: str | None
    error: str | None
    feature_usage_event: str | None
    feature_usage_period: str | None
    credit_spend_policy: dict[str, Any] | None


class Told(NamedTuple):
    """A verdict, and what it says of the usage.

    Attributes:
        verdict: the verdict.
        reset_at: the next reset, cut to microseconds; None when no ``datetime`` can hold it, and when there is none.
        has_usage: whether the answer's usage and allocation mean anything.
        has_reset: whether there is a next reset.
    """

    verdict: Verdict
    reset_at: datetime | None
    has_usage: bool
    has_reset: bool


def tell(verdict: bytes, rule: bytes, period: bytes, block: Buffer, texts: Texts) -> Told:
    """Put the verdict of the last check into words.

    Args:
        verdict: as ``read`` gave it.
        rule: likewise.
        period: likewise.
        block: the whole answer.
        texts: of the same instance.
    """
    value, outcome, rule_type, parts, flag = _read_verdict(verdict)
    owner, slot = _read_rule(rule)
    seconds, nanos, period_number = _read_period(period)
    key, id_ = texts.flag(flag)
    rule_reason, rule_id, event = "", None, None
    if slot != NO_SLOT:
        rule_reason, rule_id, event = texts.rule(owner, slot, has_event=parts & _HAS_EVENT != 0)
    found = Verdict(
        value=value != 0,
        reason=rule_reason if outcome == _RULE_HELD else _reason(outcome, block, texts),
        flag_key=key,
        flag_id=id_,
        rule_id=rule_id,
        rule_type=_RULE_TYPES[rule_type],
        error=_ERRORS.get(outcome),
        feature_usage_event=event,
        feature_usage_period=_PERIODS[period_number],
        credit_spend_policy=_policy(block, texts) if parts & _HAS_POLICY else None,
    )
    has_reset = parts & _HAS_RESET != 0
    return Told(found, texts.instant(seconds, nanos) if has_reset else None, parts & _HAS_USAGE != 0, has_reset)


def _reason(outcome: int, block: Buffer, texts: Texts) -> str:
    if outcome == _POLICY_BREACHED:
        owner, slot, _ = _read_breach(block)
        return texts.policy_reason(owner, slot)
    return _REASONS.get(outcome, _REASONS[0])


def _policy(block: Buffer, texts: Texts) -> dict[str, Any]:
    owner, slot, cost = _read_breach(block)
    return {"cost": cost if math.isfinite(cost) else None, "policy": texts.policy(owner, slot)}
