"""The engine's answer block: its layout, and how an evaluation is put together from it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from struct import Struct
from typing import Any, NamedTuple

from schematic_core.rules.evaluation import Evaluation

__all__ = ["ANSWER_BYTES", "Answer", "TextKind", "evaluation", "unpack"]

_LAYOUT = Struct("<4B7i3qIB3xq2idq")
ANSWER_BYTES = 96
"""Size of the block."""

_NO_SLOT = -1
_HAS_USAGE, _HAS_RESET, _HAS_EVENT, _HAS_POLICY = 1, 2, 4, 8
_FOR_EVER = 2**63 - 1
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


TextSource = Callable[[int, int, int], str]
"""Gives a text for a kind, a handle and a slot."""


class TextKind:
    """Texts that the engine writes on demand, numbered as in ``texts.zig`` (plain numbers: they are keys on the hot path)."""

    RULE_REASON = 0
    RULE_ID = 1
    RULE_EVENT = 2
    ENTITLEMENT = 3
    POLICY = 4
    POLICY_REASON = 5
    ENTITY_ID = 6
    FLAG_KEY = 7
    RESET_AT = 8
    ERROR_PATH = 9


class Answer(NamedTuple):
    """The fields of the block in order; ``engine.zig`` says what they mean."""

    value: int
    outcome: int
    rule_type: int
    parts: int
    flag: int
    company: int
    user: int
    options: int
    rule_owner: int
    rule_slot: int
    entitlement_slot: int
    usage: int
    allocation: int
    reset_seconds: int
    reset_nanos: int
    period: int
    horizon_ms: int
    policy_owner: int
    policy_slot: int
    policy_cost: float
    now_ms: int


def unpack(block: bytes | bytearray) -> Answer:
    """Read the block."""
    return Answer._make(_LAYOUT.unpack(block))


def evaluation(answer: Answer, text: TextSource) -> Evaluation:
    """Put an evaluation together.

    Args:
        answer: the block of the check.
        text: gives a text of the engine for a kind, a handle and a slot. Must be asked before the next check.
    """
    has_rule = answer.rule_slot != _NO_SLOT
    has_event = answer.parts & _HAS_EVENT
    has_usage = answer.parts & _HAS_USAGE
    return Evaluation(
        value=bool(answer.value),
        reason=_reason(answer, text),
        flag_key=text(TextKind.FLAG_KEY, answer.flag, 0),
        flag_id=text(TextKind.ENTITY_ID, answer.flag, 0),
        company_id=text(TextKind.ENTITY_ID, answer.company, 0) if answer.company else None,
        user_id=text(TextKind.ENTITY_ID, answer.user, 0) if answer.user else None,
        error=_ERRORS.get(answer.outcome),
        rule_id=text(TextKind.RULE_ID, answer.rule_owner, answer.rule_slot) if has_rule else None,
        rule_type=_RULE_TYPES[answer.rule_type],
        entitlement=_entitlement(answer, text),
        feature_usage=answer.usage if has_usage else None,
        feature_allocation=answer.allocation if has_usage else None,
        feature_usage_event=text(TextKind.RULE_EVENT, answer.rule_owner, answer.rule_slot) if has_event else None,
        feature_usage_period=_PERIODS[answer.period],
        feature_usage_reset_at=text(TextKind.RESET_AT, 0, 0) if answer.parts & _HAS_RESET else None,
        credit_spend_policy=_policy(answer, text) if answer.parts & _HAS_POLICY else None,
        horizon_ms=None if answer.horizon_ms == _FOR_EVER else answer.horizon_ms,
    )


def _reason(answer: Answer, text: TextSource) -> str:
    if answer.outcome == _RULE_HELD:
        return text(TextKind.RULE_REASON, answer.rule_owner, answer.rule_slot)
    if answer.outcome == _POLICY_BREACHED:
        return text(TextKind.POLICY_REASON, answer.policy_owner, answer.policy_slot)
    return _REASONS.get(answer.outcome, _REASONS[0])


def _entitlement(answer: Answer, text: TextSource) -> dict[str, Any] | None:
    if answer.entitlement_slot == _NO_SLOT:
        return None
    return _object(text(TextKind.ENTITLEMENT, answer.company, answer.entitlement_slot))


def _policy(answer: Answer, text: TextSource) -> dict[str, Any]:
    cost = answer.policy_cost if math.isfinite(answer.policy_cost) else None
    return {"cost": cost, "policy": _object(text(TextKind.POLICY, answer.policy_owner, answer.policy_slot))}


def _object(document: str) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(document)
    return parsed
