"""Purges against rows of cache providers, which other processes write too."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from schematic_core.checks.purges import Purges
from schematic_core.checks.question import Subject
from schematic_core.values import CheckResult

THEN = datetime(2026, 1, 1, tzinfo=timezone.utc)
SUBJECT: Subject = ("exports", (("id", "acme"),), ())


def row(at: datetime | None = THEN, usage: int | None = None) -> CheckResult:
    return CheckResult(
        value=True, reason="r", flag_key="exports", company_id="comp_1", feature_usage=usage, as_of=at, source="cache"
    )


@pytest.mark.parametrize(
    ("groups", "is_covered"),
    [
        ([], True),
        ([[("company", "id", "acme"), ("company_id", "comp_9", "")]], True),
        ([[("company_id", "comp_1", "")]], True),
        ([[("flag", "exports", "")]], True),
        ([[("company", "id", "other")]], False),
        ([[("user", "id", "acme")]], False),
        ([[]], False),
    ],
)
def test_rows_from_before_a_purge_that_concerns_them_are_covered(
    groups: list[list[tuple[str, str, str]]], is_covered: bool
) -> None:
    purges = Purges()
    purges.dropped(groups, THEN)  # type: ignore[arg-type]  # kinds of tokens are literals

    assert purges.cover(SUBJECT, row()) is is_covered
    assert purges.cover(SUBJECT, row(None)) is is_covered
    assert purges.cover(SUBJECT, row(THEN.replace(tzinfo=None))) is is_covered
    assert not purges.cover(SUBJECT, row(THEN + timedelta(microseconds=1)))


def test_recorded_usage_covers_rows_that_carry_usage() -> None:
    purges = Purges()
    purges.used([("company", "id", "acme")], THEN)

    assert purges.cover(SUBJECT, row(usage=3))
    assert not purges.cover(SUBJECT, row())


def test_too_many_purges_become_one_of_everything() -> None:
    purges = Purges()
    purges.dropped([[("company", "id", f"c{n}") for n in range(10_001)]], THEN)

    assert purges.cover(SUBJECT, row())
    assert not purges.cover(SUBJECT, row(THEN + timedelta(seconds=1)))
