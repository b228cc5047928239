"""Functions of the application that are told of the stream cannot harm it."""

from __future__ import annotations

import logging

import pytest

from schematic_core.datastream.listeners import Listeners, News

LOG = logging.getLogger("schematic.test")


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt, SystemExit])
def test_whatever_a_listener_raises_is_logged_and_the_others_are_told(
    fault: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """One that calls ``sys.exit()`` must not end the stream's thread."""
    told: list[str] = []
    listeners: Listeners[str] = Listeners("news", LOG)

    def raising(_: str) -> None:
        raise fault

    listeners.add(raising)
    listeners.add(told.append)

    listeners.tell("something")

    assert told == ["something"]
    assert [record.getMessage() for record in caplog.records] == ["a listener of news raised"]


def test_a_listener_that_was_taken_away_is_told_nothing_more() -> None:
    """The others are."""
    told: list[tuple[str, int]] = []
    listeners: Listeners[int] = Listeners("news", LOG)
    remove = listeners.add(lambda number: told.append(("first", number)))
    listeners.add(lambda number: told.append(("second", number)))
    listeners.tell(1)

    remove()
    listeners.tell(2)

    assert told == [("first", 1), ("second", 1), ("second", 2)]


def test_each_kind_of_trouble_is_told_once_until_all_is_well() -> None:
    """Whatever happens how often in between."""
    news = News(LOG)
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]  # the shortest handler
    LOG.addHandler(handler)
    try:
        for _ in range(3):
            news.tell_once("garbled", logging.WARNING, "cannot read %s", "it")
        news.forget()
        news.tell_once("garbled", logging.WARNING, "cannot read %s", "it")
    finally:
        LOG.removeHandler(handler)

    assert messages == ["cannot read it"] * 2
