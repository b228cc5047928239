"""The engine's answers as results: in the engine's own form, and in the one that callers of a client see."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Union

from schematic_core.rules.answer import FOR_EVER, NO_SLOT, Told, read, tell
from schematic_core.rules.evaluation import Evaluation
from schematic_core.rules.texts import Texts
from schematic_core.values import CheckResult, Source, Standing

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Origin", "Results"]

Origin = tuple[Source, Union[Standing, None], datetime]
"""Where the documents came from, the standing of the stream they came by, and when it stood by them."""

MAX_TOLD = 4096
"""Verdicts remembered; most are of a flag's own rules, and so the same for all companies."""

_new = object.__new__


class _Draft:
    """A `CheckResult` that can still be written: the same slots, so the same layout, but not frozen.

    Written where it is needed, at a sixth of what the constructor of the frozen class takes (see ``quick``).
    """

    __slots__ = tuple(CheckResult.__dataclass_fields__)


class Results:
    """Makes the results of one instance, and remembers the verdicts in them.

    Args:
        texts: of the same instance, whose handles never come to mean other documents.

    ``block`` is always the answer of the last check.
    """

    def __init__(self, texts: Texts) -> None:
        self._texts = texts
        self._told: dict[tuple[bytes, bytes, bytes], Told] = {}

    def check_result(self, block: Buffer, origin: Origin) -> tuple[CheckResult, int | None]:
        """Give what callers of a client see, and the millisecond before which it holds."""
        head, company, user, rule, slot, usage, allocation, period, horizon_ms = read(block)
        verdict, reset_at, has_usage, _ = self._told.get((head, rule, period)) or self._tell(head, rule, period, block)
        texts = self._texts
        draft: Any = _new(_Draft)
        (
            draft.value,
            draft.reason,
            draft.flag_key,
            draft.flag_id,
            draft.rule_id,
            draft.rule_type,
            draft.error,
            draft.feature_usage_event,
            draft.feature_usage_period,
            draft.credit_spend_policy,
        ) = verdict
        draft.company_id = texts.ids[company]
        draft.user_id = texts.ids[user]
        draft.feature_usage = usage if has_usage else None
        draft.feature_allocation = allocation if has_usage else None
        draft.feature_usage_reset_at = reset_at
        draft.entitlement = None if slot == NO_SLOT else texts.entitlement(company, slot)
        draft.source, draft.standing, draft.as_of = origin
        draft.valid_until = None
        draft.__class__ = CheckResult
        return draft, None if horizon_ms == FOR_EVER else horizon_ms

    def evaluation(self, block: Buffer, _origin: None) -> Evaluation:
        """Give all that the engine says."""
        head, company, user, rule, slot, usage, allocation, period, horizon_ms = read(block)
        verdict, _, has_usage, has_reset = self._told.get((head, rule, period)) or self._tell(head, rule, period, block)
        texts = self._texts
        return Evaluation(
            **verdict._asdict(),
            company_id=texts.ids[company],
            user_id=texts.ids[user],
            feature_usage=usage if has_usage else None,
            feature_allocation=allocation if has_usage else None,
            feature_usage_reset_at=texts.reset_at() if has_reset else None,
            entitlement=None if slot == NO_SLOT else texts.echo(company, slot),
            horizon_ms=None if horizon_ms == FOR_EVER else horizon_ms,
        )

    def _tell(self, head: bytes, rule: bytes, period: bytes, block: Buffer) -> Told:
        told = tell(head, rule, period, block, self._texts)
        if told.verdict.credit_spend_policy is None:
            if len(self._told) >= MAX_TOLD:
                self._told.clear()
            self._told[head, rule, period] = told
        return told
