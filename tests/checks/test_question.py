"""Questions as callers put them: which can be asked."""

from __future__ import annotations

from collections import UserString
from typing import Any

import pytest

from schematic_core.checks.question import ask
from schematic_core.keys import InvalidKeys
from schematic_core.values import CheckFlagOptions, EventUsage


@pytest.mark.parametrize(
    ("options", "is_preflight"),
    [
        (None, False),
        (CheckFlagOptions(timeout=1), False),
        (CheckFlagOptions(usage=0.5), True),
        (CheckFlagOptions(event_usage=EventUsage("made", 2)), True),
        (CheckFlagOptions(credit_cost={"bcrd_1": 2.5}), True),
    ],
)
def test_a_question_about_usage_to_come_is_a_preflight(options: CheckFlagOptions | None, is_preflight: bool) -> None:
    """Its answer must not be remembered; other options do not matter to what is remembered."""
    question = ask("exports", {"id": "acme"}, None, options)

    assert question.is_preflight is is_preflight
    assert question.subject == ("exports", (("id", "acme"),), ())


@pytest.mark.parametrize(
    ("flag_key", "options", "named"),
    [
        (7, None, "flag key"),
        (UserString("exports"), None, "flag key"),
        ("exports", {"usage": 1}, "options"),
        ("exports", CheckFlagOptions(timeout="soon"), "timeout"),  # type: ignore[arg-type]
        ("exports", CheckFlagOptions(usage=float("nan")), "usage"),
        ("exports", CheckFlagOptions(usage=True), "usage"),
        ("exports", CheckFlagOptions(event_usage="made"), "event_usage"),  # type: ignore[arg-type]
        ("exports", CheckFlagOptions(event_usage=EventUsage("made", float("inf"))), r"event_usage\.quantity"),
        ("exports", CheckFlagOptions(credit_cost=3), "credit_cost"),  # type: ignore[arg-type]
        ("exports", CheckFlagOptions(credit_cost={"bcrd_1": "2"}), r"credit_cost\['bcrd_1'\]"),  # type: ignore[dict-item]
    ],
)
def test_a_question_that_cannot_be_asked_is_refused_by_name(flag_key: Any, options: Any, named: str) -> None:
    """The message names what was wrong, for the log."""
    with pytest.raises(InvalidKeys, match=named):
        ask(flag_key, {"id": "acme"}, None, options)
