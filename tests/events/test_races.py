"""The sender's start, flush and close, each at the same moment as the others, with threads switched as often as can be."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from schematic_core.events.loop import arrivals
from schematic_core.events.thread import EventSender
from tests.events.conftest import Capture
from tests.events.support import Turned, options, track

Make = Callable[..., EventSender]


@pytest.fixture(autouse=True)
def _switching() -> Iterator[None]:
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def at_once(*works: Callable[[], None]) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20.0)


def test_a_flush_beside_the_first_event_waits_for_its_delivery(make: Make, capture: Capture) -> None:
    """While one thread starts the sender, the flush of another neither gives up nor calls the queue empty."""
    early: list[str] = []

    for turn in range(20):
        sender = make()

        def use(name: str, sender: EventSender = sender) -> None:
            sender.track(name)
            if sender.flush(10.0) != 0 or name not in capture.names:
                early.append(name)

        at_once(*(lambda name=f"{turn}-{part}": use(name) for part in range(4)))

    assert early == []


def test_a_close_beside_the_first_event_delivers_it_once(make: Make, capture: Capture) -> None:
    """Only one loop at a time works on the queue, and what comes too late is counted."""
    for turn in range(60):
        sender = make()
        accepted: list[bool] = []

        def use(sender: EventSender = sender, accepted: list[bool] = accepted, name: str = str(turn)) -> None:
            accepted.append(sender.track(name))

        at_once(use, lambda sender=sender: sender.close(5.0) and None)  # type: ignore[misc]  # a bound default

        counts = sender.counts
        lost = counts.dropped.get("undelivered", 0)
        assert counts.queued == sum(accepted) == counts.sent + counts.waiting + lost
        assert capture.names.count(str(turn)) == counts.sent


def test_an_event_that_comes_after_the_end_is_counted_as_undelivered() -> None:
    """A caller may be on its way while the queue is closed."""
    turned = Turned()
    turned.queue.close(turned.now)
    turned.run()

    turned.tracks(1)

    counts = turned.queue.counts()
    assert (counts.queued, counts.waiting, dict(counts.dropped)) == (1, 0, {"undelivered": 1})
    assert turned.queue.left == 1


def test_an_interrupted_look_into_the_inbox_loses_nothing() -> None:
    """A signal handler that ends the process may interrupt a caller anywhere."""
    sender = EventSender(options(event_capture_url="http://127.0.0.1:9"))
    sender._worker.inbox.extend(track(number) for number in range(3))
    taken = []

    for record in arrivals(sender._worker.inbox, 3):
        taken.append(record)
        if len(taken) == 2:
            break

    assert [record[1] for record in taken] == [0, 1]
    assert [record[1] for record in sender._worker.inbox] == [1, 2]  # sent twice under one idempotency key, never lost


def test_an_interrupted_push_still_sends_what_it_took() -> None:
    """The time of the next round is set before the first event is taken in."""
    turned = Turned()

    def interrupted() -> Iterator[object]:
        yield track(0)
        raise SystemExit

    with pytest.raises(SystemExit):
        turned.queue.push(interrupted(), turned.now)  # type: ignore[arg-type]  # yields records
    turned.run_until(turned.now + 1.0)

    assert turned.acknowledged == [0]
