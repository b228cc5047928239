"""The event sender on a real socket: what it sends, tells, and leaves behind."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from typing import Any
from uuid import UUID

import httpx
import pytest

from schematic_core._version import __version__
from schematic_core.errors import UnauthorizedError
from schematic_core.events.recording import record_check
from schematic_core.events.thread import EventSender
from schematic_core.values import IdentifyOptions, TrackOptions
from tests.events.conftest import Capture, event_threads
from tests.events.support import VERDICT
from tests.support.upstream import Answer

Make = Callable[..., EventSender]


def test_nothing_starts_before_the_first_event(make: Make, capture: Capture) -> None:
    """Construction, counters and an empty flush need neither thread nor socket."""
    before = event_threads()

    sender = make()

    assert sender.flush(1.0) == 0
    assert sender.close(1.0) == 0
    assert event_threads() == before
    assert capture.requests == 0


def test_a_request_names_the_sender_and_carries_the_key(make: Make, capture: Capture) -> None:
    """Headers and the body's form are those of the capture host."""
    sender = make()
    sender.track("used", {"id": "acme"}, {"id": "ada"}, {"region": "eu"}, 2)

    assert sender.flush(10.0) == 0

    asked = capture.upstream.asked[0]
    assert (asked.method, asked.path) == ("POST", "/batch")
    assert asked.headers["user-agent"] == f"schematic-suite/{__version__}"
    assert asked.headers["x-schematic-client"] == "schematic-suite"
    assert asked.headers["x-schematic-api-key"] == "sk_test"
    assert asked.headers["content-type"] == "application/json"
    (event,) = asked.json["events"]
    assert event["api_key"] == "sk_test"
    assert event["body"] == {
        "event": "used",
        "company": {"id": "acme"},
        "user": {"id": "ada"},
        "traits": {"region": "eu"},
        "quantity": 2,
    }


def test_another_base_url_gets_the_rest_form(make: Make, capture: Capture) -> None:
    """Self-hosted services take events at their own event-batch endpoint."""
    sender = make(event_capture_url=None, base_url=capture.url)
    sender.track("used")

    assert sender.flush(10.0) == 0

    assert capture.upstream.events[0]["event_type"] == "track"
    assert "api_key" not in capture.upstream.events[0]


def test_the_first_event_goes_out_without_a_flush(make: Make, capture: Capture) -> None:
    """A lone event does not wait for the period."""
    make().track("used")

    assert capture.wait_for(lambda: capture.names == ["used"])


def test_a_full_batch_goes_out_without_a_flush(make: Make, capture: Capture) -> None:
    """Events that follow a round wait, but not once they fill a batch."""
    sender = make()
    sender.track("first")
    assert capture.wait_for(lambda: len(capture.taken) == 1)

    for _ in range(100):
        sender.track("used")

    assert capture.wait_for(lambda: len(capture.taken) == 101)


def test_all_kinds_of_events_travel(make: Make, capture: Capture) -> None:
    """Usage, identities and checks share the way."""
    sender = make()

    assert sender.track("used", options=TrackOptions("k1"))
    assert sender.identify({"id": 5}, {"keys": {"id": "acme"}}, "Ada", {"role": "owner"}, IdentifyOptions("k2"))
    assert record_check(sender.worker, VERDICT, {"id": "acme"}, {}, is_preflight=False)
    assert sender.flush(10.0) == 0

    assert [event["type"] for event in capture.taken] == ["track", "identify", "flag_check"]
    assert [event.get("idempotency_key") for event in capture.taken] == ["k1", "k2", None]
    assert capture.taken[1]["body"]["keys"] == {"id": "5"}


def test_keys_are_text_whole_numbers_or_uuids(make: Make, capture: Capture) -> None:
    """None means that the pair is not given."""
    sender = make()

    assert sender.track("used", {"id": 7, "uuid": UUID(int=1), "none": None}, {"id": "ada", "n": 3})
    assert sender.flush(10.0) == 0

    body = capture.taken[0]["body"]
    assert body["company"] == {"id": "7", "uuid": "00000000-0000-0000-0000-000000000001"}
    assert body["user"] == {"id": "ada", "n": "3"}


def test_what_the_caller_changes_later_is_not_sent(make: Make, capture: Capture) -> None:
    """An event is what it was at the call."""
    sender = make()
    company, tags = {"id": "acme"}, ["a"]
    traits = {"tags": tags, "n": 1}
    sender.track("used", company, None, traits)
    company["id"] = "other"
    tags.append("b")
    traits["n"] = 2

    sender.flush(10.0)

    body = capture.taken[0]["body"]
    assert body["company"] == {"id": "acme"}
    assert body["traits"] == {"tags": ["a"], "n": 1}


def test_a_retry_repeats_the_idempotency_key(make: Make, capture: Capture) -> None:
    """A lost answer bills nobody twice."""
    capture.script += [Answer(500), Answer(408), Answer(429, {}, {"retry-after": "0"})]
    sender = make()
    sender.track("used")

    assert sender.flush(10.0) == 0

    keys = [asked.json["events"][0]["idempotency_key"] for asked in capture.upstream.asked]
    assert len(keys) == 4
    assert len(set(keys)) == 1
    assert sender.counts.retried == 3


def test_senders_never_share_idempotency_keys(make: Make, capture: Capture) -> None:
    """Each has its own token."""
    for _ in range(2):
        sender = make()
        sender.track("used")
        sender.flush(10.0)

    assert len({event["idempotency_key"] for event in capture.taken}) == 2


def test_a_refused_key_is_told_once(make: Make, capture: Capture, caplog: pytest.LogCaptureFixture) -> None:
    """`on_error` and the log hear of a 401, and neither sees the key."""
    told: list[Exception] = []
    capture.script += [Answer(401), Answer(401)]
    sender = make(on_error=told.append, random=lambda: 0.9)
    sender.track("used")

    assert sender.flush(0.5) == 1
    assert sender.close(5.0) == 1

    assert type(told[0]) is UnauthorizedError
    assert len([record for record in caplog.records if "refuses" in record.message]) == 1
    assert "sk_test" not in caplog.text


def test_acknowledged_usage_is_told(make: Make) -> None:
    """The callback hears of the companies of each acknowledged `track`."""
    told: list[Any] = []
    sender = make(on_acknowledged=told.append)
    sender.track("used", {"id": "acme"})
    sender.track("used", {"id": "acme"})
    sender.track("used", None, {"id": "ada"})
    sender.identify({"id": "ada"}, {"keys": {"id": "other"}})

    sender.flush(10.0)
    sender.close(5.0)

    assert told == [({"id": "acme"}, {"id": "acme"})]


def test_callbacks_may_raise(make: Make, capture: Capture, caplog: pytest.LogCaptureFixture) -> None:
    """What a callback raises is logged and harms nothing."""

    def fail(_: object) -> None:
        raise RuntimeError("mine")

    capture.script += [Answer(400)]
    sender = make(on_acknowledged=fail, on_error=fail)
    sender.track("bad", {"id": "acme"})
    sender.flush(10.0)
    sender.track("good", {"id": "acme"})

    assert sender.flush(10.0) == 0
    sender.close(5.0)

    assert sorted(r.message for r in caplog.records if r.exc_info) == ["on_acknowledged raised", "on_error raised"]
    assert capture.names == ["good"]


def test_a_callback_may_flush(make: Make) -> None:
    """A flush on the sender's own thread does not wait for itself."""
    left: list[int] = []
    holder: list[EventSender] = []

    def flush(_: object) -> None:
        holder[0].track("late")
        left.append(holder[0].flush(None))

    holder.append(make(on_acknowledged=flush))
    holder[0].track("used", {"id": "acme"})

    holder[0].flush(10.0)
    holder[0].close(5.0)

    assert left == [1]


def test_the_factory_makes_the_http_client_and_we_close_it(make: Make, capture: Capture) -> None:
    """Proxies and certificates are the user's business; the client lives as long as the sender."""
    made: list[httpx.Client] = []

    def factory() -> httpx.Client:
        made.append(httpx.Client(headers={"X-Mine": "yes"}))
        return made[-1]

    sender = make(event_http_client=factory)
    for name in ("a", "b"):
        sender.track(name)
        sender.flush(10.0)
    sender.close(5.0)

    assert [asked.headers["x-mine"] for asked in capture.upstream.asked] == ["yes", "yes"]
    assert len(made) == 1
    assert made[0].is_closed


def test_a_factory_that_fails_loses_nothing(make: Make, capture: Capture) -> None:
    """Its events are kept and sent when it works."""
    faults = [RuntimeError("mine")]

    def factory() -> httpx.Client:
        if faults:
            raise faults.pop()
        return httpx.Client()

    sender = make(event_http_client=factory)
    sender.track("used")

    assert sender.flush(10.0) == 0
    assert capture.names == ["used"]


def test_redirects_are_not_followed(make: Make, capture: Capture) -> None:
    """Events and the key stay with the configured host."""
    capture.script += [Answer(302, {}, {"location": "/elsewhere"})]
    sender = make(random=lambda: 0.9)
    sender.track("used")

    assert sender.flush(0.3) == 1

    assert [asked.path for asked in capture.upstream.asked] == ["/batch"]


def test_flush_waits_for_what_was_queued_before_it(make: Make, capture: Capture) -> None:
    """It returns how many remain when its time is up, and 0 when all are through."""
    gate = threading.Event()
    capture.script += [Answer(200, {}, gate=gate)]
    sender = make()
    for _ in range(3):
        sender.track("used")

    assert sender.flush(0.05) == 3
    sender.track("later")
    gate.set()

    assert sender.flush(None) == 0
    assert sender.counts.sent == 4


def test_close_is_idempotent_and_ends_the_thread(make: Make, capture: Capture) -> None:
    """After it events are refused, counted, and start nothing."""
    sender = make()
    sender.track("used")
    before = event_threads()

    assert [sender.close(5.0), sender.close(5.0)] == [0, 0]

    assert event_threads() == before - 1
    assert not sender.track("late")
    assert not sender.identify({"id": "ada"})
    assert not record_check(sender.worker, VERDICT, {}, {}, is_preflight=False)
    assert sender.flush(1.0) == 0
    assert dict(sender.counts.dropped) == {"closed": 3}
    assert capture.names == ["used"]


def test_close_makes_one_last_try_and_says_what_is_left(make: Make, capture: Capture) -> None:
    """A pause after trouble is cut short; what fails then is reported lost."""
    capture.script += [Answer(503, {}, {"retry-after": "60"}), Answer(503)]
    lost: list[Exception] = []
    sender = make(on_error=lost.append)
    sender.track("used")
    assert sender.flush(0.3) == 1

    assert [sender.close(5.0), sender.close(5.0)] == [1, 1]

    assert capture.requests == 2
    assert dict(sender.counts.dropped) == {"undelivered": 1}
    assert [str(error) for error in lost] == ["events are lost: they could not be delivered before the end"]


def test_close_does_not_wait_for_a_service_that_hangs(make: Make, capture: Capture) -> None:
    """The deadline counts, whatever the socket does."""
    gate = threading.Event()
    capture.script += [Answer(200, {}, gate=gate)]
    sender = make()
    sender.track("used")
    assert capture.wait_for(lambda: capture.requests == 1)

    assert sender.close(0.1) == 1
    gate.set()


def test_close_sends_from_its_own_thread_when_none_can_start(
    make: Make, capture: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Near the end of the interpreter, or at a limit of threads, events are not lost."""
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "schematic-events":
            raise RuntimeError("can't create new thread at interpreter shutdown")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    sender = make()
    sender.track("used")
    assert sender.flush(0.1) == 1
    remaining = sender.close(5.0)
    monkeypatch.undo()

    assert remaining == 0
    assert capture.names == ["used"]


def test_a_thread_that_could_not_start_is_tried_again_with_the_next_event(
    make: Make, capture: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was out of threads for a moment does not sit on its events."""
    start = threading.Thread.start
    refusals = [RuntimeError("can't start new thread")]

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "schematic-events" and refusals:
            raise refusals.pop()
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    sender = make()
    sender.track("first")
    sender.track("second")
    arrived = capture.wait_for(lambda: len(capture.names) == 2)
    monkeypatch.undo()

    assert arrived
    assert capture.names == ["first", "second"]


def test_a_quantity_that_json_cannot_carry_is_told(
    make: Make, capture: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    """Such an event is lost alone, and not in silence."""
    sender = make()
    sender.track("bad", quantity=10**5000)
    sender.track("good")

    assert sender.flush(10.0) == 0
    assert capture.names == ["good"]
    assert "an event was dropped: track holds a value that JSON cannot carry" in caplog.text


def test_offline_drops_and_counts(make: Make, capture: Capture) -> None:
    """Nothing is queued, started or sent."""
    sender = make(offline=True)

    assert not sender.track("used")
    assert not sender.track(123)  # type: ignore[arg-type]

    assert dict(sender.counts.dropped) == {"offline": 2}
    assert sender.counts.queued == 0
    assert sender.close(1.0) == 0


def test_faults_are_logged_once_per_place_without_values(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """The log names the caller's file and line, the kind of fault, and nothing secret."""
    sender = make()
    caplog.set_level(logging.WARNING)

    for _ in range(3):
        sender.track("used", {"id": ["s3cret"]})  # type: ignore[dict-item]
    sender.track("used", None, None, {"bad": b"s3cret"})

    dropped, left_out = caplog.messages
    assert "test_sender.py:" in dropped
    assert "key 'id' must be text, int or UUID, not list" in dropped
    assert "test_sender.py:" in left_out
    assert "['bad']" in left_out
    assert "s3cret" not in caplog.text
    assert dict(sender.counts.dropped) == {"invalid": 3}


def test_unwritable_traits_are_told_once_per_name(
    make: Make, capture: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    """What only the serialisation can see is warned of by name."""
    sender = make()
    for _ in range(3):
        sender.track("used", None, None, {"ratio": float("nan"), "n": 1})

    sender.flush(10.0)

    assert [event["body"]["traits"] for event in capture.taken] == [{"n": 1}] * 3
    assert len([message for message in caplog.messages if "'ratio'" in message]) == 1


def test_nothing_a_caller_passes_raises(make: Make) -> None:
    """Wrong arguments cost that event only."""

    class Hostile:
        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError("no")

        def __repr__(self) -> str:
            raise RuntimeError("no")

    wrong: Any = Hostile()
    sender = make()

    answers = [
        sender.track(wrong),
        sender.track(None),  # type: ignore[arg-type]
        sender.track("e", 5),  # type: ignore[arg-type]
        sender.track("e", wrong),
        sender.track("e", {"id": wrong}),
        sender.track("e", {5: "a"}),  # type: ignore[dict-item]
        sender.track("e", None, ["a"]),  # type: ignore[arg-type]
        sender.track("e", None, {"id": True}),
        sender.track("e", None, None, wrong),
        sender.track("e", None, None, 5),  # type: ignore[arg-type]
        sender.track("e", None, None, None, wrong),
        sender.track("e", None, None, None, 0.5),  # type: ignore[arg-type]
        sender.track("e", None, None, None, None, wrong),
        sender.identify(wrong),
        sender.identify({}),
        sender.identify({"id": "ada"}, wrong),
        sender.identify({"id": "ada"}, None, wrong),
        sender.identify({"id": "ada"}, None, None, wrong),
        sender.identify({"id": "ada"}, None, None, None, wrong),
    ]

    assert not any(answers)
    assert dict(sender.counts.dropped) == {"invalid": len(answers)}
    assert sender.track("e", None, None, {"odd": wrong, "n": 1})


def test_the_repr_shows_no_secret(make: Make) -> None:
    """State and backlog only."""
    assert repr(make()) == "<EventSender open, 0 events waiting>"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_end_of_the_thread_loses_nothing(make: Make, capture: Capture) -> None:
    """When something ends the thread in the middle of a request, the next event starts another."""
    ended: list[str] = []

    class Fatal(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            ended.append("here")
            raise SystemExit

    sender = make(event_http_client=lambda: httpx.Client(transport=None if ended else Fatal()))
    sender.track("one")
    assert sender.flush(10.0) == 1

    sender.track("two")

    assert sender.flush(10.0) == 0
    assert capture.names == ["one", "two"]


def test_a_fault_in_the_thread_is_logged_and_loses_nothing(
    make: Make, capture: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    """Here a user's log filter raises inside our thread; the next flush starts another thread."""
    faults = [RuntimeError("mine")]

    def touchy(_: logging.LogRecord) -> bool:
        if faults:
            raise faults.pop()
        return True

    logger = logging.getLogger("tests.touchy")
    logger.addFilter(touchy)
    capture.script += [Answer(500)]
    sender = make(logger=logger)
    sender.track("used")
    assert sender.flush(10.0) == 1

    assert sender.flush(10.0) == 0

    logger.removeFilter(touchy)
    assert capture.names == ["used"]
    assert "the event sender stopped unexpectedly" in caplog.text


def test_a_sender_serves_every_loop_and_outlives_its_callers(make: Make, capture: Capture) -> None:
    """Built in one loop, used in another and outside; a cancelled task cancels no send."""

    async def build() -> EventSender:
        sender = make()
        sender.track("in the first loop")
        return sender

    async def use(sender: EventSender) -> None:
        async def request() -> None:
            sender.track("in a cancelled task")
            await asyncio.sleep(60)

        task = asyncio.create_task(request())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    sender = asyncio.run(build())
    asyncio.run(use(sender))

    assert sender.flush(10.0) == 0
    assert capture.names == ["in the first loop", "in a cancelled task"]


def test_a_broken_connection_costs_no_try(make: Make, capture: Capture) -> None:
    """A service may close an idle connection at any time; even the last request of a process survives that."""
    faults: list[Exception] = [httpx.RemoteProtocolError("server disconnected"), httpx.ReadError("reset")]

    class Flaky(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            if faults:
                raise faults.pop()
            return super().handle_request(request)

    sender = make(event_http_client=lambda: httpx.Client(transport=Flaky()))
    sender.track("one")
    assert sender.flush(10.0) == 0
    faults.append(httpx.ReadError("reset"))
    sender.track("two")

    assert sender.close(5.0) == 0
    assert capture.names == ["one", "two"]


def test_a_client_that_cannot_be_closed_harms_nothing(make: Make, capture: Capture) -> None:
    """The user's transport may fail when it ends."""

    class Stuck(httpx.HTTPTransport):
        def close(self) -> None:
            super().close()
            raise RuntimeError("mine")

    sender = make(event_http_client=lambda: httpx.Client(transport=Stuck()))
    sender.track("used")

    assert sender.close(5.0) == 0
    assert capture.names == ["used"]


def test_a_time_zone_that_fails_costs_its_event_only(make: Make, capture: Capture) -> None:
    """Code of the user's own types that raises in the background is contained."""

    class Nowhere(tzinfo):
        def utcoffset(self, _: datetime | None) -> timedelta:
            raise RuntimeError("mine")

        def dst(self, _: datetime | None) -> timedelta:
            raise RuntimeError("mine")

        def tzname(self, _: datetime | None) -> str:
            raise RuntimeError("mine")

    sender = make()
    sender.track("bad", options=TrackOptions(sent_at=datetime(2026, 1, 1, tzinfo=Nowhere())))
    sender.track("good")

    assert sender.flush(10.0) == 0
    assert capture.names == ["good"]
    assert dict(sender.counts.dropped) == {"unserialisable": 1}
