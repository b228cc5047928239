"""A bounded slice of the soak; `make soak` runs it for minutes."""

from __future__ import annotations

from schematic_core import Schematic
from tests.events.conftest import Capture
from tests.events.soak import Watch, flood, storm


def test_everything_accepted_arrives_once_after_a_storm() -> None:
    """5xx, resets, slowness, 429, answers cut short, batches taken in half: after dedupe nothing is missing or double."""
    report = storm(4.0)

    assert report.problems() == [], str(report)
    assert report.counts.dropped == {}
    assert report.unique == report.events == report.counts.sent
    assert report.arrivals > report.unique, "there was no repeat, so nothing was shown"


def test_a_flood_keeps_the_bounds() -> None:
    """Callers that never rest, and a host that is dead: memory is bounded, what is dropped is counted, the rest arrives."""
    report = flood(1.0)

    assert report.problems() == [], str(report)
    assert report.counts.dropped.keys() == {"overflow"}
    assert report.unique == report.counts.sent
    assert report.grown < 60_000_000, str(report)


def test_the_watch_sees_a_caller_in_the_sender(capture: Capture) -> None:
    """With immediate delivery callers do send, so a watch that saw nothing would be blind."""
    watch = Watch()

    with Schematic("k", event_capture_url=capture.url, event_delivery="immediate") as client, watch.on():
        client.track("used")

    assert watch.tracks == 1
    assert watch.entered["delivery.py:post"] == 1
