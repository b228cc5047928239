"""The situations in which the vendor's buffer loses, doubles or delays events, each with the opposite result.

Numbers are those of the table in the events specification, section 4; the remaining rows are in `test_sender.py` (15 to
19, 22), `test_queue.py` (20) and `test_processes.py` (9 to 14, 16).
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any

from schematic_core.events.thread import EventSender
from tests.events.conftest import Capture, event_threads
from tests.events.support import options
from tests.support.upstream import Answer

Make = Callable[..., EventSender]


def test_an_outage_longer_than_any_retry_span_delivers_once(make: Make, capture: Capture) -> None:
    """Row 1: fifteen failures in a row, then the service recovers."""
    capture.script += [Answer(500)] * 15
    sender = make()
    sender.track("used")

    assert sender.flush(20.0) == 0

    assert capture.names == ["used"]


def test_callers_do_not_wait_for_a_slow_service(make: Make, capture: Capture) -> None:
    """Rows 2, 3 and 5: while a request hangs, a thousand events from many threads are queued; then all arrive."""
    gate = threading.Event()
    capture.script += [Answer(200, {}, gate=gate)]
    sender = make()
    sender.track("used")
    assert capture.wait_for(lambda: capture.requests == 1)

    def produce() -> None:
        for _ in range(10):
            sender.track("used")

    producers = [threading.Thread(target=produce) for _ in range(100)]
    for producer in producers:
        producer.start()
    for producer in producers:
        producer.join(10.0)

    assert not any(producer.is_alive() for producer in producers)
    assert sender.counts.queued == 1001
    gate.set()
    assert sender.flush(10.0) == 0
    assert len(capture.taken) == 1001


def test_callers_do_not_wait_for_a_failing_service(make: Make, capture: Capture) -> None:
    """Row 3: nothing is lost either."""
    capture.script += [Answer(503)] * 3
    sender = make()
    for _ in range(101):
        sender.track("used")

    assert sender.flush(20.0) == 0

    assert len(capture.taken) == 101


def test_many_threads_never_exceed_the_services_limit(make: Make, capture: Capture) -> None:
    """Row 4: sixteen threads with sixty events each, all arrive once, none in a batch above a hundred."""
    sender = make()

    def produce(name: str) -> None:
        for number in range(60):
            sender.track(f"{name}-{number}")

    producers = [threading.Thread(target=produce, args=(str(n),)) for n in range(16)]
    for producer in producers:
        producer.start()
    for producer in producers:
        producer.join(10.0)

    assert sender.flush(20.0) == 0
    assert len(capture.taken) == 960
    assert len(set(capture.names)) == 960
    assert len({event["idempotency_key"] for event in capture.taken}) == 960


def test_one_bad_trait_spoils_nothing_else(make: Make, capture: Capture) -> None:
    """Rows 6, 7 and 8: NaN, an arbitrary object and bytes are left out; no private field goes out."""

    class Account:
        def __init__(self) -> None:
            self._secret = "s3cret"

    sender = make()
    traits: list[dict[str, Any]] = [{"n": float("nan")}, {"o": Account()}, {"b": b"\xff"}, {"fine": 1}]
    for one in traits:
        sender.track("used", None, None, {"ok": 1, **one})

    assert sender.flush(10.0) == 0

    assert [event["body"]["traits"] for event in capture.taken] == [{"ok": 1}] * 3 + [{"ok": 1, "fine": 1}]


def test_one_bad_event_spoils_nothing_else(make: Make, capture: Capture) -> None:
    """The service rejects a batch for one event: the other ninety-nine arrive, the one is reported."""
    answer = capture.upstream.respond

    def pick(asked: Any) -> Answer:
        if any(event["body"]["event"] == "bad" for event in asked.json["events"]):
            return Answer(400, {"error": "bad event"})
        return answer(asked)

    capture.upstream.respond = pick
    sender = make()
    for number in range(100):
        sender.track("bad" if number == 42 else "good")

    assert sender.flush(20.0) == 0

    assert capture.names == ["good"] * 99
    assert dict(sender.counts.dropped) == {"rejected": 1}


def test_a_service_with_a_smaller_limit_gets_smaller_batches(make: Make, capture: Capture) -> None:
    """Batches that are too large are split, and later ones are smaller from the start."""
    capture.max_size = 30
    sender = make()
    for number in range(300):
        sender.track(str(number))

    assert sender.flush(20.0) == 0

    assert capture.names == [str(number) for number in range(300)]


def test_a_dead_service_costs_bounded_memory(make: Make, capture: Capture) -> None:
    """Row 20: the bound holds at any time, the newest events survive, and it is reported once."""
    gate = threading.Event()
    capture.script += [Answer(503, {}, gate=gate)]
    lost: list[Exception] = []
    sender = make(event_queue_max=50, on_error=lost.append)
    sender.track("first")
    assert capture.wait_for(lambda: capture.requests == 1)

    for number in range(500):
        sender.track(str(number))
        assert sender.counts.waiting <= 50

    gate.set()
    assert sender.flush(10.0) == 0
    sender.close(5.0)
    assert capture.names == ["first"] + [str(number) for number in range(451, 500)]
    assert dict(sender.counts.dropped) == {"overflow": 451}
    assert [str(error) for error in lost] == ["the event queue is full, the oldest events are being lost"]


def test_dropped_clients_leave_nothing_behind(capture: Capture) -> None:
    """Row 21: twenty senders that nobody closed are collected, their events sent, their threads gone."""
    before = event_threads()
    holders: list[weakref.ref[EventSender]] = []

    class Client:
        """Holds a sender that holds a method of it, as real clients do."""

        def __init__(self) -> None:
            settings = options(event_capture_url=capture.url, event_buffer_period=60.0, on_error=self.told)
            self.sender = EventSender(settings, on_acknowledged=self.told)

        def told(self, _: object) -> None:
            """Hear of something."""

    for number in range(20):
        client = Client()
        client.sender.track(str(number), {"id": "acme"})
        holders.append(weakref.ref(client.sender))
    del client
    started = [thread for thread in threading.enumerate() if thread.name == "schematic-events"]

    assert event_threads() <= before + 20
    for thread in started:
        thread.join(10.0)
    assert event_threads() == before
    assert [holder() for holder in holders] == [None] * 20
    assert sorted(capture.names, key=int) == [str(number) for number in range(20)]


def test_creating_and_closing_leaves_threads_flat(make: Make, capture: Capture) -> None:
    """However many clients come and go, no thread stays."""
    before = event_threads()

    for _ in range(30):
        sender = make()
        sender.track("used")
        assert sender.close(10.0) == 0

    assert event_threads() == before
    assert len(capture.taken) == 30
