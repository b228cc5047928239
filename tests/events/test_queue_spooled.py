"""The event queue and events that the spool keeps: when they expire, and when the spool may let go of them."""

from __future__ import annotations

import math

from schematic_core.events.values import Done, Encode, Entry, Limits, Record, Send
from tests.events.support import ACKNOWLEDGED, REJECTED, UNAVAILABLE, Turned, flag_check, track


def spooled(number: int) -> Record:
    return "spooled", number, 0.0, "track", '{"event":"used"}}', None, None, None


class Kept(Turned):
    """A queue whose shell serialises spooled records as the courier does."""

    def encode(self, encode: Encode, since: float = math.inf) -> None:
        entries = [Entry(r[1], "track", since, b"x" * 10, None, is_spooled=r[0] == "spooled") for r in encode.records]
        self.queue.store(entries)

    def take(self, since: float = math.inf) -> Send:
        while True:
            step = self.queue.next(self.now)
            if isinstance(step, Send):
                return step
            assert isinstance(step, Encode)
            self.encode(step, since)


def test_the_spool_lets_go_of_what_is_acknowledged_or_rejected() -> None:
    """And not of what is only put back."""
    kept = Kept()
    kept.push(spooled(0), spooled(1), track(2))
    kept.queue.urge(3)

    kept.take()
    kept.settle(UNAVAILABLE)
    assert kept.queue.take_finished() == []
    kept.now += 100.0
    kept.take()
    kept.settle(ACKNOWLEDGED)
    assert kept.queue.take_finished() == [0, 1]
    kept.push(spooled(3))
    kept.queue.urge(4)
    kept.take()
    kept.settle(REJECTED)
    assert kept.queue.take_finished() == [3]
    assert kept.queue.take_finished() == []


def test_a_spooled_event_ages_only_once_it_was_sent() -> None:
    """Before that the service cannot have it, so that however late, it is billed once."""
    kept = Kept(Limits(5.0, 1000, 1_000_000, 3600.0))
    kept.push(spooled(0))
    kept.queue.urge(1)
    step = kept.queue.next(kept.now)
    assert isinstance(step, Encode)
    kept.encode(step)
    kept.now += 100_000.0

    first = kept.take()
    kept.settle(UNAVAILABLE)
    kept.now += 3599.0
    again = kept.take()
    kept.settle(UNAVAILABLE)
    kept.now += 61.0
    kept.run()

    assert (first.batch.untried, again.batch.untried) == ((0,), ())
    assert dict(kept.queue.counts().dropped) == {"expired": 1}
    assert kept.queue.take_finished() == [0]


def test_an_event_that_was_sent_too_long_ago_is_reported_and_not_sent() -> None:
    """The service may have it, and may have forgotten that it does."""
    kept = Kept(Limits(5.0, 1000, 1_000_000, 3600.0))
    kept.push(spooled(0))
    kept.queue.urge(1)
    step = kept.queue.next(kept.now)
    assert isinstance(step, Encode)
    kept.encode(step, since=kept.now - 3600.0)

    kept.run()

    assert kept.sent == []
    assert kept.notices() == ["expired"]
    assert kept.queue.take_finished() == [0]


def test_an_overflow_frees_the_spool_too() -> None:
    """The bound of the queue is the bound of what this process keeps on file."""
    kept = Kept(Limits(5.0, 2, 1_000_000, 3600.0))

    kept.push(spooled(0), flag_check(1), spooled(2), spooled(3))

    assert dict(kept.queue.counts().dropped) == {"overflow_flag_check": 1, "overflow": 1}
    assert kept.queue.take_finished() == [0]


def test_what_a_closing_queue_leaves_is_kept_and_not_lost() -> None:
    """Only what no spool keeps is lost; both remain undelivered."""
    kept = Kept()
    kept.push(spooled(0), spooled(1), track(2))
    kept.queue.close(kept.now)

    assert isinstance(kept.queue.next(kept.now), Done)

    counts = kept.queue.counts()
    assert (counts.kept, dict(counts.dropped), kept.queue.left) == (2, {"undelivered": 1}, 3)
    assert kept.notices() == ["kept", "undelivered"]
    assert kept.queue.take_finished() == []


def test_an_event_that_the_hook_withholds_is_counted_apart() -> None:
    """From one that cannot be written; the spool keeps neither."""
    kept = Kept()
    kept.push(spooled(0), spooled(1), track(2))
    kept.queue.urge(3)
    step = kept.queue.next(kept.now)
    assert isinstance(step, Encode)

    kept.queue.store([], withheld={1})

    assert dict(kept.queue.counts().dropped) == {"before_send": 1, "unserialisable": 2}
    assert sorted(kept.queue.take_finished()) == [0, 1]


def test_trouble_is_known_until_it_is_over() -> None:
    """Immediate delivery waits for nothing while it lasts."""
    turned = Turned(outcomes=[UNAVAILABLE])
    turned.tracks(0)
    turned.queue.urge(1)
    turned.run()
    assert turned.queue.is_in_trouble

    turned.run_until(turned.now + 100.0)

    assert not turned.queue.is_in_trouble
