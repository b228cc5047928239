"""The harness itself: its rows answer rightly on both sides is for ``make bench-once``; here, what it makes of numbers."""

from __future__ import annotations

import pytest

from schematic_core.rules import check
from tests.benchmarks.fixtures import REALISTIC, TRIVIAL, encoded
from tests.benchmarks.measuring import Measured, Row
from tests.benchmarks.rows import ROWS
from tests.benchmarks.subjects import SUBJECTS
from tests.benchmarks.table import heading, is_reached, line

ROW = Row("check", "cached check", "us", 2, 3, lambda _bench: None)


@pytest.mark.parametrize(
    ("ratio", "verdict", "passes"), [(1.99, "BELOW BAR", False), (2.0, "bar", True), (3.0, "moonshot", True)]
)
def test_a_row_passes_from_its_bar_on(ratio: float, verdict: str, passes: bool) -> None:
    """The bar and the moonshot are reached by meeting them exactly, and missed below."""
    measured = Measured(vendor=ratio, ours=1.0, ratio=ratio)

    assert is_reached(ROW, measured) is passes
    assert line(ROW, measured).endswith(verdict)
    assert len(line(ROW, measured).removesuffix(verdict)) == len(heading().removesuffix("verdict"))


def test_a_row_without_a_vendors_side_only_reports() -> None:
    """It has no ratio, no verdict, and never fails."""
    alone = Row("engine", "engine call alone", "us", None, None, lambda _bench: None)
    measured = Measured(None, 1.5, None)

    assert is_reached(alone, measured)
    assert line(alone, measured).split() == ["engine", "call", "alone", "1.5", "us"]


@pytest.mark.parametrize(("stall", "verdict"), [(5.0, "moonshot"), (20.0, "bar"), (20.1, "BELOW BAR")])
def test_an_absolute_row_must_stay_within_its_bar(stall: float, verdict: str) -> None:
    """Whatever the vendor's side takes, ours alone is judged."""
    row = Row("stall", "longest stall", "ms", 20, 5, lambda _bench: None, is_absolute=True)
    measured = Measured(300.0, stall, 300.0 / stall)

    assert line(row, measured).endswith(verdict)
    assert is_reached(row, measured) is (verdict != "BELOW BAR")


def test_every_row_has_a_name_of_its_own_and_a_moonshot_above_its_bar() -> None:
    """Rows can be chosen by name, and the targets are not swapped."""
    assert len({row.name for row in ROWS}) == len(ROWS)
    for row in ROWS:
        lower, higher = (row.moonshot, row.bar) if row.is_absolute else (row.bar, row.moonshot)
        assert row.bar is row.moonshot is None or 1 < (lower or 0) < (higher or 0)


def test_fixtures_have_the_size_and_the_answer_that_the_targets_name() -> None:
    """Realistic: a company of 6.6 KB and a flag of 9 KB with twelve rules; what decides is what they say."""
    assert 6_300 <= len(encoded(REALISTIC.company)) <= 6_900
    assert 8_700 <= len(encoded(REALISTIC.flag)) <= 9_300
    assert [len(REALISTIC.company[name]) for name in ("traits", "metrics", "entitlements")] == [20, 10, 5]
    assert REALISTIC.user is not None
    assert (len(REALISTIC.flag["rules"]), len(REALISTIC.user["traits"])) == (12, 8)
    for fixture in (REALISTIC, TRIVIAL):
        result = check(fixture.flag, fixture.company, fixture.user)
        assert (result.value, result.rule_type) == (fixture.value, fixture.rule_type)
    assert check(REALISTIC.flag, REALISTIC.used(501)).feature_usage == 1
    assert TRIVIAL.used(1) == TRIVIAL.company
    other = REALISTIC.numbered(7)
    result = check(REALISTIC.flag, other, REALISTIC.user)
    assert (result.value, result.company_id, other["keys"]["id"]) == (True, "comp_acme_7", "acme-7")
    assert not check(TRIVIAL.flag, TRIVIAL.numbered(7)).value


def test_every_subject_can_be_asked_for_by_name() -> None:
    """A worker finds a subject under the name of its function."""
    assert all(name == subject.__name__ for name, subject in SUBJECTS.items())
