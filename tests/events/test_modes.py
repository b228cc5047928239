"""Settings of delivery, on both faces: the endpoint, immediate sending, the hook, flag checks, dates, prewarming."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from schematic_core.client import AsyncSchematic, IdentifyOptions, Schematic, TrackOptions
from schematic_core.errors import ConfigurationError
from schematic_core.events.recording import record_check
from schematic_core.events.thread import EventSender
from schematic_core.values import CheckResult
from tests.events.conftest import Capture, event_threads
from tests.events.support import VERDICT
from tests.support.faces import Driver, driving
from tests.support.upstream import Answer

Make = Callable[..., EventSender]
Connect = Callable[..., Driver]


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest, capture: Capture) -> Iterator[Connect]:
    """Make clients of either face."""
    opened: list[Any] = []

    def connect(**settings: Any) -> Driver:
        given = {"event_capture_url": capture.url, "event_buffer_period": 60.0, **settings}
        opened.append(driving(request.param, "sk_test", **given))
        driver: Driver = opened[-1].__enter__()
        return driver

    yield connect
    for one in opened:
        one.__exit__(None, None, None)


def said(capture: Capture) -> list[Any]:
    return [event for asked in capture.upstream.asked for event in asked.json["events"]]


# -- the endpoint


def test_the_rest_batch_may_be_chosen_with_an_address_of_its_own(connect: Connect, capture: Capture) -> None:
    """A proxy may speak either form."""
    client = connect(event_endpoint="rest", event_capture_url=capture.url + "/proxy/")
    client.track("used")

    assert client.flush(10.0) == 0

    assert [event["event_type"] for event in capture.upstream.events] == ["track"]
    assert "api_key" not in capture.upstream.events[0]


def test_the_capture_form_may_be_chosen_for_ones_own_service(connect: Connect, capture: Capture) -> None:
    """Events never leave the host that was named."""
    client = connect(event_endpoint="capture", event_capture_url=None, base_url=capture.url)
    client.track("used")

    assert client.flush(10.0) == 0

    assert [asked.path for asked in capture.upstream.asked if asked.path == "/batch"] == ["/batch"]
    assert capture.taken[0]["api_key"] == "sk_test"


# -- options


def test_all_options_travel(connect: Connect, capture: Capture) -> None:
    """Of a `track` and of an `identify`, on either face."""
    client = connect()
    client.track("used", options=TrackOptions("k1", lease_id="lse_1"))
    client.track("used", options=TrackOptions("k2", reservation_id="res_1"))
    client.identify({"id": "ada"}, options=IdentifyOptions("k3", trusted_client_clock=True))

    assert client.flush(10.0) == 0

    leased, reserved, identified = capture.taken
    assert (leased["idempotency_key"], leased["body"]["lease_id"]) == ("k1", "lse_1")
    assert (reserved["idempotency_key"], reserved["body"]["reservation_id"]) == ("k2", "res_1")
    assert (identified["idempotency_key"], identified["trusted_client_clock"]) == ("k3", True)


def test_wrong_combinations_are_dropped_and_told(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    """A backfill without a time would bill the present."""
    client = connect()
    client.track("used", options=TrackOptions(backfill=True))
    client.identify({"id": "ada"}, options=IdentifyOptions(backfill=True))

    assert client.flush(10.0) == 0

    assert "backfill needs sent_at" in caplog.text
    assert dict(client.event_counts.dropped) == {"unserialisable": 1, "invalid": 1}


def test_events_may_go_without_a_date(connect: Connect, capture: Capture) -> None:
    """Whoever wants the receipt to count and nothing else."""
    client = connect(event_sent_at=False)
    client.track("used")

    assert client.flush(10.0) == 0

    assert "sent_at" not in capture.taken[0]


@pytest.mark.parametrize("face", [Schematic, AsyncSchematic])
def test_a_trusted_clock_without_dates_is_refused(face: Any) -> None:
    """One of the two settings is a mistake."""
    with pytest.raises(ConfigurationError, match="trusted_client_clock needs"):
        face("k", trusted_client_clock=True, event_sent_at=False)


# -- immediate delivery


def test_immediate_delivery_sends_before_track_returns(connect: Connect, capture: Capture) -> None:
    """On the caller's own thread, over one kept connection; nothing is left for the exit."""
    client = connect(event_delivery="immediate")
    before = event_threads()

    for number in range(3):
        client.track(str(number))
        assert capture.names[-1] == str(number)
    client.identify({"id": "ada"})

    assert [event["type"] for event in capture.taken] == ["track", "track", "track", "identify"]
    assert len(capture.upstream.asked) == 4
    if isinstance(client.client, Schematic):
        assert event_threads() == before


def test_immediate_delivery_waits_no_longer_than_its_bound(connect: Connect, capture: Capture) -> None:
    """The event stays queued and goes on in the background; nothing is raised, and the next calls wait for nothing."""
    gate = threading.Event()
    capture.script += [Answer(503, {}, gate=gate)]
    client = connect(event_delivery="immediate", event_send_timeout=0.3)

    began = time.monotonic()
    client.track("first")
    took = time.monotonic() - began
    client.track("second")
    gate.set()

    assert 0.25 < took < 5.0
    assert capture.wait_for(lambda: set(capture.names) == {"first", "second"})


def test_in_trouble_immediate_delivery_only_queues(make: Make, capture: Capture) -> None:
    """An outage is noticed once, not by every call."""
    capture.script += [Answer(503, {}, {"retry-after": "60"})] * 3
    sender = make(event_delivery="immediate", event_send_timeout=0.5)
    sender.track("first")
    began = time.monotonic()

    for _ in range(20):
        sender.track("used")

    assert time.monotonic() - began < 0.5
    assert sender.counts.waiting == 21


def test_threads_send_immediately_one_after_another(make: Make, capture: Capture) -> None:
    """Each finds its own event delivered when its call returns."""
    sender = make(event_delivery="immediate", event_send_timeout=20.0)
    missing: list[str] = []

    def work(name: str) -> None:
        for number in range(5):
            sender.track(f"{name}-{number}")
            if f"{name}-{number}" not in capture.names:
                missing.append(name)

    threads = [threading.Thread(target=work, args=(str(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60.0)

    assert missing == []
    assert len(set(capture.names)) == 40


def test_flush_and_close_work_without_a_thread(make: Make, capture: Capture) -> None:
    """On the caller's own thread as well."""
    capture.script += [Answer(503), Answer(503)]
    sender = make(event_delivery="immediate", event_send_timeout=0.001)
    before = event_threads()
    assert record_check(sender.worker, VERDICT, {}, {}, is_preflight=False) is True
    sender.close(10.0)
    assert event_threads() <= before + 1
    other = make(event_delivery="immediate")
    other._worker.inbox.append(("track", next(other._worker.numbers), 0.0, "used", None, None, None, None, None))

    assert other.flush(10.0) == 0
    assert event_threads() == before
    assert other.close(10.0) == 0


def test_a_callback_that_tracks_does_not_wait_for_itself(make: Make, capture: Capture) -> None:
    """It runs on the very thread that sends."""
    holder: list[EventSender] = []
    told: list[float] = []

    def usage(_: object) -> None:
        if not told:
            began = time.monotonic()
            holder[0].track("late")
            holder[0].flush(1.0)
            told.append(time.monotonic() - began)

    holder.append(make(event_delivery="immediate", on_acknowledged=usage))
    holder[0].track("used", {"id": "acme"})

    assert told[0] < 1.0
    assert holder[0].flush(10.0) == 0
    assert capture.names == ["used", "late"]


def test_immediate_delivery_holds_up_no_event_loop(capture: Capture) -> None:
    """`track` queues; what it gives may be awaited, made a task of, or left alone."""
    gate = threading.Event()
    capture.script += [Answer(200, {}, gate=gate)]

    async def main() -> tuple[float, float, bool]:
        client = AsyncSchematic("k", event_capture_url=capture.url, event_delivery="immediate")
        began = time.monotonic()
        waiting = client.track("awaited")
        client.track("left alone").close()  # type: ignore[attr-defined]  # a coroutine's
        queued = time.monotonic() - began
        task: asyncio.Task[None] = asyncio.create_task(waiting)  # type: ignore[arg-type]  # it is a coroutine in every respect
        for _ in range(5):
            await asyncio.sleep(0.01)
        was_waiting = not task.done()
        gate.set()
        await task
        took = time.monotonic() - began
        await client.track("last")
        sync_face = client.sync
        sync_face.track("from the sync face, on a loop")
        await client.close()
        return queued, took, was_waiting

    queued, took, was_waiting = asyncio.run(main())

    assert queued < 0.5
    assert was_waiting
    assert took < 5.0
    assert capture.names == ["awaited", "left alone", "last", "from the sync face, on a loop"]


def test_what_is_awaited_may_be_cancelled(capture: Capture) -> None:
    """The event is delivered all the same."""
    gate = threading.Event()
    capture.script += [Answer(200, {}, gate=gate)]

    async def main() -> None:
        client = AsyncSchematic("k", event_capture_url=capture.url, event_delivery="immediate")
        task = asyncio.ensure_future(client.track("used"))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.set()
        await client.close()

    asyncio.run(main())

    assert capture.names == ["used"]


def test_a_dropped_client_with_immediate_delivery_leaves_nothing_open(capture: Capture) -> None:
    """Its connection goes with it; warnings are errors here."""
    sender = EventSender(Schematic("k", event_capture_url=capture.url, event_delivery="immediate").settings)
    sender.track("used")

    del sender

    assert capture.names == ["used"]


# -- the hook


def test_the_hook_changes_and_drops_events(connect: Connect, capture: Capture) -> None:
    """It sees each event once, as a dictionary without the API key, whatever the number of tries."""
    seen: list[dict[str, Any]] = []
    capture.script += [Answer(503)]

    def hook(event: dict[str, Any]) -> dict[str, Any] | None:
        seen.append(event)
        if event["body"].get("event") == "secret":
            return None
        event["body"].setdefault("traits", {})["region"] = "eu"
        return event

    client = connect(before_send=hook)
    for name in ("used", "secret"):
        client.track(name, company={"id": "acme"})
    client.identify({"id": "ada"}, traits={"email": "ada@acme.test"})

    assert client.flush(20.0) == 0

    assert [event["type"] for event in seen] == ["track", "track", "identify"]
    assert not any("api_key" in event for event in seen)
    assert [event["body"]["traits"] for event in capture.taken] == [
        {"region": "eu"},
        {"email": "ada@acme.test", "region": "eu"},
    ]
    assert dict(client.event_counts.dropped) == {"before_send": 1}


@pytest.mark.parametrize("fault", ["raises", "gives nonsense", "gives what JSON cannot carry"])
def test_a_hook_that_fails_drops_nothing_and_is_told_once(
    connect: Connect, capture: Capture, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    """The events go out as they were, even if it had changed them in part."""

    def hook(event: dict[str, Any]) -> Any:
        event["body"]["event"] = "changed"
        if fault == "raises":
            raise RuntimeError("mine")
        return 5 if fault == "gives nonsense" else {**event, "body": {"bad": object()}}

    client = connect(before_send=hook)
    client.track("one")
    client.track("two")

    assert client.flush(10.0) == 0

    assert capture.names == ["one", "two"]
    assert len([m for m in caplog.messages if "before_send failed" in m]) == 1


def test_the_hook_sees_what_the_spool_kept(connect: Connect, capture: Capture, tmp_path: Any) -> None:
    """The file has the event as it was recorded; the wire has it as the hook wants it."""

    def hook(event: dict[str, Any]) -> dict[str, Any] | None:
        return None if event["body"]["event"] == "secret" else {**event, "body": {"event": "changed"}}

    client = connect(before_send=hook, event_spool=tmp_path / "spool")
    client.track("used")
    client.track("secret")

    assert client.flush(10.0) == 0

    assert capture.names == ["changed"]
    assert capture.taken[0]["idempotency_key"]
    assert dict(client.event_counts.dropped) == {"before_send": 1}


# -- flag checks


def checks(sender: EventSender, *results: CheckResult) -> list[bool]:
    return [record_check(sender.worker, one, {"id": "acme"}, {}, is_preflight=False) for one in results]


def test_all_flag_checks_are_sent_by_default(make: Make, capture: Capture) -> None:
    """Each of them, however alike."""
    sender = make()
    checks(sender, *[VERDICT] * 5)

    assert sender.flush(10.0) == 0

    assert len(capture.taken) == 5


def test_distinct_flag_checks_are_sent_once_per_period(make: Make, capture: Capture) -> None:
    """The rest is counted apart: nothing is lost that was not said."""
    sender = make(flag_check_events="distinct")
    other = CheckResult(value=False, reason="other", flag_key="exports")
    assert checks(sender, VERDICT, VERDICT, other, VERDICT, other) == [True] * 5

    assert sender.flush(10.0) == 0

    assert [event["body"]["value"] for event in capture.taken] == [True, False]
    assert (sender.counts.queued, sender.counts.repeats, dict(sender.counts.dropped)) == (2, 3, {})


def test_no_flag_checks_are_recorded_when_none_are_wanted(make: Make, capture: Capture) -> None:
    """Nothing is queued and nothing starts; usage goes on."""
    sender = make(flag_check_events="none")
    before = event_threads()

    assert checks(sender, VERDICT, VERDICT) == [False, False]

    assert event_threads() == before
    assert (sender.counts.queued, dict(sender.counts.dropped)) == (0, {})
    assert sender.track("used")
    assert sender.close(10.0) == 0
    assert capture.names == ["used"]
    assert checks(sender, VERDICT) == [False]
    assert dict(sender.counts.dropped) == {"closed": 1}


# -- prewarming


def test_an_acknowledged_identify_asks_for_its_entities(make: Make, capture: Capture) -> None:
    """Only where it was wanted, and only once the service has it."""
    asked: list[Any] = []

    class Stream:
        def request(self, entities: Any, /) -> None:
            asked.extend(entities)

    gate = threading.Event()
    capture.script += [Answer(200, {}, gate=gate)]
    sender = make()
    sender.prewarmed_by(Stream())
    sender.identify({"id": "ada"}, {"keys": {"id": "acme"}}, options=IdentifyOptions(prewarm=True))
    sender.identify({"id": "eve"})
    sender.identify({}, {"keys": {"id": "beta"}}, options=IdentifyOptions(prewarm=True))
    assert asked == []
    gate.set()

    assert sender.flush(10.0) == 0
    sender.close(10.0)

    assert asked == [("user", (("id", "ada"),)), ("company", (("id", "acme"),)), ("company", (("id", "beta"),))]


def test_prewarming_means_nothing_without_a_stream(connect: Connect, capture: Capture) -> None:
    """The event is sent as ever."""
    client = connect()
    client.identify({"id": "ada"}, options=IdentifyOptions(prewarm=True))

    assert client.flush(10.0) == 0
    assert len(capture.taken) == 1


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("event_endpoint", "batch"),
        ("event_delivery", "sync"),
        ("flag_check_events", "some"),
        ("event_send_timeout", 0),
        ("event_spool", 5),
        ("event_sent_at", "perhaps"),
        ("before_send", "hook"),
    ],
)
@pytest.mark.parametrize("face", [Schematic, AsyncSchematic])
def test_a_wrong_setting_of_delivery_fails_at_construction(face: Any, setting: str, value: object) -> None:
    """And is named."""
    with pytest.raises(ConfigurationError, match=setting):
        face("k", **{setting: value})
