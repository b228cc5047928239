"""The harness itself: its rows answer rightly on both sides is for ``make bench-once``; here, what it makes of numbers."""

from __future__ import annotations

import pytest

from tests.benchmarks.rows import ROWS, Measured, Row
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


def test_every_row_has_a_name_of_its_own_and_a_moonshot_above_its_bar() -> None:
    """Rows can be chosen by name, and the targets are not swapped."""
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert all(1 < row.bar < row.moonshot for row in ROWS)


def test_every_subject_can_be_asked_for_by_name() -> None:
    """A worker finds a subject under the name of its function."""
    assert all(name == subject.__name__ for name, subject in SUBJECTS.items())
