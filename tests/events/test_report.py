"""Notices in words: how loud, how often, and what they carry."""

from __future__ import annotations

import logging
from typing import get_args

import pytest

from schematic_core.events.intake import Unfit
from schematic_core.events.report import say, say_lost
from schematic_core.events.values import Notice, NoticeKind, Outcome

LOG = logging.getLogger("schematic.test")


@pytest.mark.parametrize("kind", get_args(NoticeKind))
@pytest.mark.parametrize("outcome", [None, Outcome("rejected", 400, "HTTP status 400")])
def test_losses_are_errors_trouble_is_a_warning_and_its_end_is_information(
    kind: NoticeKind, outcome: Outcome | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Count and status go along for machines."""
    caplog.set_level(logging.INFO)

    say(LOG, Notice(kind, 3, outcome))

    (record,) = caplog.records
    levels = {"trouble": "WARNING", "refused": "WARNING", "recovered": "INFO", "kept": "WARNING"}
    assert record.levelname == levels.get(kind, "ERROR")
    assert vars(record)["schematic_events"] == 3
    assert vars(record)["schematic_status"] == (None if outcome is None else 400)


def test_the_cause_of_trouble_is_in_its_line(caplog: pytest.LogCaptureFixture) -> None:
    """Where a request was the cause, the line says what came of it."""
    say(LOG, Notice("trouble", outcome=Outcome("retry", 503, "HTTP status 503")))

    assert "(HTTP status 503)" in caplog.text


def test_each_way_of_filling_an_event_wrongly_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """A loop with a mistake in it does not fill the log; another mistake is still told."""
    told: set[str] = set()

    for way in ("traits", "traits", "company", "traits"):
        say_lost(LOG, Unfit(f"{way} must be a mapping"), told)

    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "an event was dropped: traits must be a mapping"),
        ("WARNING", "an event was dropped: company must be a mapping"),
    ]


def test_an_event_that_cannot_be_written_is_told_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """It is no mistake that the suite foresees, so each one is worth a look."""
    told: set[str] = set()

    for _ in range(2):
        say_lost(LOG, RecursionError("too deep"), told)

    assert [(record.levelname, record.exc_info is not None) for record in caplog.records] == [("ERROR", True)] * 2
    assert told == set()
