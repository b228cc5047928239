"""Which flag checks say something new within a period."""

from __future__ import annotations

from dataclasses import replace

from schematic_core.events.distinct import Distinct
from schematic_core.events.values import FlagCheckRecord
from schematic_core.values import CheckResult
from tests.events.support import VERDICT

ACME: dict[str, str] = {"id": "acme"}


def check(
    result: CheckResult = VERDICT,
    company: dict[str, str] = ACME,
    user: dict[str, str] | None = None,
    *,
    is_preflight: bool = False,
) -> FlagCheckRecord:
    return "flag_check", 1, 0.0, result, company, user or {}, is_preflight


def test_the_same_answer_is_new_once_per_period() -> None:
    """Whether it comes as the same objects or as others that say the same."""
    distinct = Distinct(5.0)
    same, other = check(), check(replace(VERDICT), dict(ACME))

    assert [distinct.is_new(record, 0.0) for record in (same, same, other, other)] == [True, False, False, False]
    assert distinct.is_new(same, 4.9) is False
    assert distinct.is_new(same, 5.0) is True


def test_whatever_differs_is_new() -> None:
    """Another value, reason, company, user, or a preflight."""
    distinct = Distinct(5.0)
    records = [
        check(),
        check(replace(VERDICT, value=False)),
        check(replace(VERDICT, reason="other")),
        check(replace(VERDICT, flag_key="reports")),
        check(replace(VERDICT, company_id="comp_1")),
        check(company={"id": "other"}),
        check(user={"id": "ada"}),
        check(is_preflight=True),
    ]

    assert [distinct.is_new(record, 0.0) for record in records] == [True] * 8


def test_its_memory_is_bounded() -> None:
    """Beyond ten thousand answers it begins anew."""
    distinct = Distinct(1e9)
    first = check()
    assert distinct.is_new(first, 0.0)

    for number in range(10_000):
        distinct.is_new(check(replace(VERDICT, reason=str(number))), 0.0)

    assert distinct.is_new(first, 0.0)
