"""Deliveries: order of handlers, repeats, purging, failures."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from typing import Any

import pytest

from schematic_core.errors import ConfigurationError
from schematic_core.webhooks import (
    MAX_BODY_BYTES,
    Inbox,
    MemoryDeliveryStore,
    Router,
    WebhookEvent,
    sign,
    too_large,
)

SECRET = "whsec_test"
NOW = 1767225600.0


class Purges:
    def __init__(self, log: list[Any]) -> None:
        self.log = log

    def purge(self, **what: Any) -> None:
        self.log.append(("purge", {k: v for k, v in what.items() if v is not None}))


async def run_here(handler: Any, event: WebhookEvent) -> None:
    result = handler(event)
    if inspect.isawaitable(result):
        await result


def delivery(action: str = "company.updated", **more: Any) -> bytes:
    return json.dumps({"action": action, "company_id": "comp_1", **more}).encode()


class Scene:
    """An inbox, its handlers, and a log of what happened."""

    def __init__(self, store: Any = None) -> None:
        self.log: list[Any] = []
        self.handlers = Router()
        self.inbox = Inbox((SECRET,), Purges(self.log), self.handlers, run_here, store=store)

    def deliver(self, body: bytes, secret: str = SECRET) -> tuple[int, str]:
        acknowledgement = asyncio.run(self.inbox.receive(body, sign(body, secret, now=NOW), now=NOW))
        return acknowledgement.status, acknowledgement.outcome


def test_handlers_run_in_order_after_the_purge() -> None:
    """Matching handlers, plain and async, run as registered, once the answers concerned are dropped."""
    scene = Scene()
    for pattern in ("*", "company.updated", "company.*", "company.deleted", "user.*"):

        @scene.handlers.on(pattern)
        def plain(event: WebhookEvent, pattern: str = pattern) -> None:
            scene.log.append(pattern)

    @scene.handlers.on("company.updated")
    async def awaited(event: WebhookEvent) -> None:
        scene.log.append(event.company_id)

    assert scene.deliver(delivery()) == (200, "handled")
    assert scene.log == [("purge", {"company_id": "comp_1"}), "*", "company.updated", "company.*", "comp_1"]


def test_a_type_without_handlers_is_acknowledged() -> None:
    """Nobody listening is no reason to have it sent again."""
    assert Scene().deliver(delivery("comet.landed")) == (200, "handled")


def test_a_prefix_matches_whole_words() -> None:
    """``flag.*`` is not about ``flag_rules``."""
    handlers = Router()
    handlers.on("flag.*")(print)
    assert handlers.matching("flag_rules.updated") == []
    assert handlers.matching("flag") == []
    assert handlers.matching("flag.updated") == [print]


@pytest.mark.parametrize("pattern", ["", "company*", "*.updated", ".*", "a.*.b", "a.*.*"])
def test_a_pattern_that_can_never_match_is_refused(pattern: str) -> None:
    """A typing error shows where it was made."""
    with pytest.raises(ConfigurationError, match="event type"):
        Router().on(pattern)


def test_handlers_can_be_counted() -> None:
    """An application that registered any cannot start without a secret; one without need not have one."""
    handlers = Router()
    assert not handlers
    handlers.on("*")(print)
    handlers.on("flag.*")(print)
    assert len(handlers) == 2


def test_a_body_over_the_bound_is_answered_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Adapters stop reading at the bound; the log says which it was."""
    acknowledgement = too_large()
    assert (acknowledgement.status, acknowledgement.outcome) == (413, "too_large")
    assert str(MAX_BODY_BYTES) in caplog.text


def test_a_repeat_is_acknowledged_and_not_run() -> None:
    """The same body arrives again, perhaps with a new timestamp: handlers ran already."""
    scene = Scene()
    scene.handlers.on("*")(lambda event: scene.log.append(event.type))

    outcomes = [scene.deliver(delivery()), scene.deliver(delivery()), scene.deliver(delivery(n=2))]

    assert outcomes == [(200, "handled"), (200, "repeated"), (200, "handled")]
    assert scene.log.count("company.updated") == 2


def test_a_test_delivery_always_runs() -> None:
    """``test.send`` has the same body each time, and is meant to be seen each time."""
    scene = Scene()
    scene.handlers.on("test.send")(lambda event: scene.log.append(event.type))
    body = b'{"action":"test.send"}'
    assert [scene.deliver(body), scene.deliver(body)] == [(200, "handled")] * 2
    assert scene.log == ["test.send"] * 2


def test_a_failing_handler_has_the_delivery_sent_again(caplog: pytest.LogCaptureFixture) -> None:
    """It answers 500, is not marked done, stops the later handlers, and leaves its traceback and no secrets in the log."""
    scene = Scene()
    failures = [ValueError("first try")]

    @scene.handlers.on("*")
    async def sometimes(event: WebhookEvent) -> None:
        if failures:
            raise failures.pop()

    scene.handlers.on("*")(lambda event: scene.log.append("later"))

    with caplog.at_level(logging.DEBUG, "schematic"):
        assert scene.deliver(delivery()) == (500, "failed")
        assert "later" not in scene.log
        assert scene.deliver(delivery()) == (200, "handled")

    assert scene.log.count("later") == 1
    assert "first try" in caplog.text
    assert SECRET not in caplog.text


def test_a_forged_delivery_reaches_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """It is answered 400 with the code, purges nothing, and its reason is logged without its content."""
    scene = Scene()
    scene.handlers.on("*")(lambda event: scene.log.append("ran"))
    with caplog.at_level(logging.DEBUG, "schematic"):
        assert scene.deliver(delivery(private="sesame"), secret="other") == (400, "mismatch")
    assert scene.log == []
    assert "sesame" not in caplog.text
    assert "does not match" in caplog.text


def test_a_cancelled_handler_releases_the_delivery() -> None:
    """Cancellation passes through, and the repeat runs."""
    scene = Scene()
    tries: list[asyncio.Event] = []

    @scene.handlers.on("*")
    async def slow(event: WebhookEvent) -> None:
        if tries:
            tries.pop().set()
            await asyncio.Event().wait()

    async def cancel() -> None:
        started = asyncio.Event()
        tries.append(started)
        task = asyncio.create_task(scene.inbox.receive(delivery(), sign(delivery(), SECRET, now=NOW), now=NOW))
        await asyncio.wait_for(started.wait(), 10.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert scene.deliver(delivery()) == (200, "handled")


def test_an_asynchronous_store_serves_too() -> None:
    """A store may await its database."""

    class Store:
        def __init__(self) -> None:
            self.memory = MemoryDeliveryStore()

        async def claim(self, key: str, lease: float) -> bool:
            return self.memory.claim(key, lease)

        async def done(self, key: str) -> None:
            self.memory.done(key)

        async def release(self, key: str) -> None:
            self.memory.release(key)

    scene = Scene(Store())
    assert [scene.deliver(delivery()), scene.deliver(delivery())] == [(200, "handled"), (200, "repeated")]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_claim_expires_and_a_handled_delivery_is_forgotten_after_the_window() -> None:
    """A process that died while handling blocks a repeat for the lease only."""
    clock = Clock()
    store = MemoryDeliveryStore(clock=clock)

    assert store.claim("a", 60.0)
    assert not store.claim("a", 60.0)
    clock.now = 60.0
    assert store.claim("a", 60.0)
    store.done("a")
    clock.now += 3599.0
    assert not store.claim("a", 60.0)
    clock.now += 1.0
    assert store.claim("a", 60.0)
    store.release("a")
    assert store.claim("a", 60.0)


def test_the_memory_is_bounded() -> None:
    """The oldest deliveries are forgotten first."""
    store = MemoryDeliveryStore(max_entries=2)
    assert [store.claim(key, 60.0) for key in "abc"] == [True] * 3
    assert [store.claim(key, 60.0) for key in "cba"] == [False, False, True]


def test_a_repeat_that_comes_while_the_first_is_handled_is_sent_again() -> None:
    """An acknowledgement then would lose the event, should the first try fail."""
    scene = Scene()
    outcomes: list[tuple[str, int | None]] = []
    failures = [ValueError("no")]

    async def main() -> None:
        started, gate = asyncio.Event(), asyncio.Event()

        @scene.handlers.on("*")
        async def slow(event: WebhookEvent) -> None:
            started.set()
            await gate.wait()
            if failures:
                raise failures.pop()

        async def deliver() -> None:
            acknowledgement = await scene.inbox.receive(delivery(), sign(delivery(), SECRET, now=NOW), now=NOW)
            outcomes.append((acknowledgement.outcome, acknowledgement.retry_after))

        first = asyncio.create_task(deliver())
        await asyncio.wait_for(started.wait(), 10.0)
        await deliver()
        gate.set()
        await first
        await deliver()
        await deliver()

    asyncio.run(main())
    assert outcomes == [("in_progress", 5), ("failed", None), ("handled", None), ("repeated", None)]


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        ("claim", [(500, "failed"), (500, "failed")]),
        ("done", [(200, "handled"), (200, "repeated")]),
        ("release", [(200, "handled"), (200, "repeated")]),
    ],
)
def test_a_store_that_fails_raises_nothing(
    broken: str, expected: list[tuple[int, str]], caplog: pytest.LogCaptureFixture
) -> None:
    """Without a claim nothing runs; how a delivery ended is best effort."""

    class Store(MemoryDeliveryStore):
        def claim(self, key: str, lease: float) -> bool:
            return self._or_fail("claim") or super().claim(key, lease)

        def done(self, key: str) -> None:
            self._or_fail("done")
            super().done(key)

        def release(self, key: str) -> None:
            self._or_fail("release")
            super().release(key)

        def _or_fail(self, step: str) -> bool:
            if step == broken:
                raise OSError("the database is gone")
            return False

    scene = Scene(Store())
    assert [scene.deliver(delivery()), scene.deliver(delivery())] == expected
    assert ("the database is gone" in caplog.text) is (broken != "release")


def test_a_store_that_fails_to_release_raises_nothing() -> None:
    """The claim expires by itself."""

    class Store(MemoryDeliveryStore):
        def release(self, key: str) -> None:
            raise OSError("the database is gone")

    scene = Scene(Store())

    @scene.handlers.on("*")
    def fails(event: WebhookEvent) -> None:
        raise ValueError("no")

    assert scene.deliver(delivery()) == (500, "failed")
