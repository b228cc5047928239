"""Cache providers in order: which row counts, what a failing one costs, and how a row is taken out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from schematic_core.checks.sync import drive
from schematic_core.checks.tiers import Tiers
from schematic_core.ports import OutOfTime
from schematic_core.values import CheckResult

LOG = logging.getLogger("schematic.test")
ROW = CheckResult(value=True, reason="r", flag_key="exports", source="api")


class Rows:
    """A provider that can only read and write; it raises ``fault`` as long as there is one."""

    def __init__(self, **rows: Any) -> None:
        self.rows: dict[str, Any] = rows
        self.asked = 0
        self.fault: Exception | None = None

    def get(self, key: str) -> Any:
        self.asked += 1
        if self.fault is not None:
            raise self.fault
        return self.rows.get(key)

    def set(self, key: str, value: Any) -> None:
        self.rows[key] = value


class Deleting(Rows):
    """A provider that can forget."""

    def delete(self, key: str) -> None:
        del self.rows[key]


async def invoke(method: Callable[..., Any], *arguments: object) -> Any:
    return method(*arguments)


def read(tiers: Tiers) -> CheckResult | None:
    return drive(tiers.read("row", "exports", invoke))


def test_the_first_provider_with_a_row_answers() -> None:
    """Later ones are not asked, and the answer says that it comes from a cache."""
    empty, first, second = Rows(), Rows(row=ROW), Rows(row=ROW)

    found = read(Tiers([empty, first, second], LOG))

    assert found is not None
    assert (found.flag_key, found.value, found.source) == ("exports", True, "cache")
    assert (empty.asked, first.asked, second.asked) == (1, 1, 0)


@pytest.mark.parametrize(
    "row",
    [
        None,
        "a stranger's",
        CheckResult(value=True, reason="r", flag_key="other"),
        CheckResult(value="yes", reason="r", flag_key="exports"),  # type: ignore[arg-type]
        CheckResult.__new__(CheckResult),
    ],
)
def test_what_is_no_answer_to_this_flag_counts_as_none(row: Any) -> None:
    """Caches are shared with other programs and older versions; the next provider is asked instead."""
    found = read(Tiers([Rows(row=row), Rows(row=ROW)], LOG))

    assert found is not None
    assert read(Tiers([Rows(row=row)], LOG)) is None


def test_an_answer_is_written_to_every_provider() -> None:
    """Each keeps the row under the same name."""
    first, second = Rows(), Rows()

    drive(Tiers([first, second], LOG).write("row", ROW, invoke))

    assert first.rows == second.rows == {"row": ROW}


def test_a_provider_that_cannot_delete_gets_none_in_place_of_the_row() -> None:
    """Either way the row is no answer any more; other rows stay."""
    plain, deleting = Rows(a=ROW, b=ROW, c=ROW), Deleting(a=ROW, b=ROW, c=ROW)

    drive(Tiers([plain, deleting], LOG).forget(["a", "b"], invoke))

    assert plain.rows == {"a": None, "b": None, "c": ROW}
    assert deleting.rows == {"c": ROW}


def test_a_failing_provider_counts_as_empty_and_is_told_once_per_episode(caplog: pytest.LogCaptureFixture) -> None:
    """The next provider answers meanwhile; each episode has one warning with a traceback, and one line at its end."""
    shaky = Rows(row=ROW)
    tiers = Tiers([shaky, Rows(row=ROW)], LOG)
    caplog.set_level(logging.INFO)

    for fault in (ConnectionError("down"), ConnectionError("down"), None, None, ConnectionError("again")):
        shaky.fault = fault
        assert read(tiers) is not None

    said = [(record.levelname, record.exc_info is not None) for record in caplog.records]
    assert said == [("WARNING", True), ("INFO", False), ("WARNING", True)]


def test_a_caller_out_of_time_says_nothing_about_the_provider(caplog: pytest.LogCaptureFixture) -> None:
    """The row counts as absent, and nobody is told that the provider fails."""
    late = Rows(row=ROW)
    late.fault = OutOfTime()

    assert read(Tiers([late], LOG)) is None
    assert caplog.records == []


def test_without_providers_there_is_nothing_to_ask() -> None:
    """The flow skips tiers that are empty."""
    assert not Tiers([], LOG)
    assert Tiers([Rows()], LOG)
