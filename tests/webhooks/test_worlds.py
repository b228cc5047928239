"""Deliveries in plain code and on a loop, with handlers and stores of either kind; repeats across threads and forks."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from schematic_core.errors import ConfigurationError
from schematic_core.webhooks import (
    MAX_BODY_BYTES,
    Acknowledgement,
    Inbox,
    MemoryDeliveryStore,
    Router,
    WebhookEvent,
    sign,
)

SECRET = "whsec_test"
BODY = b'{"action":"company.updated","company_id":"comp_1"}'
where: contextvars.ContextVar[str] = contextvars.ContextVar("where", default="nowhere")


def receive(inbox: Inbox, world: str, body: Any = BODY) -> Acknowledgement:
    headers = sign(body, SECRET)
    if world == "plain":
        return inbox.receive_sync(body, headers)
    if world == "loop":
        return asyncio.run(inbox.receive(body, headers))

    async def plain_code_on_a_loop() -> Acknowledgement:
        return inbox.receive_sync(body, headers)

    return asyncio.run(plain_code_on_a_loop())


worlds = pytest.mark.parametrize("world", ["plain", "loop", "plain on a loop"])


@worlds
def test_handlers_of_both_kinds_run_in_order_everywhere(world: str) -> None:
    """One after the other, each to its end, with the context of whoever received the delivery."""
    router, seen = Router(), list[object]()

    @router.on("*")
    def first(event: WebhookEvent) -> None:
        seen.append(("plain", event.company_id, where.get()))

    @router.on("company.*")
    async def second(event: WebhookEvent) -> None:
        seen.append(("begun", where.get()))
        await asyncio.sleep(0.001)
        seen.append("ended")

    class Callable:
        async def __call__(self, event: WebhookEvent) -> None:
            await asyncio.sleep(0)
            seen.append("object")

    router.on("*")(Callable())
    router.on("*")(functools.partial(lambda number, event: seen.append(number), 4))
    where.set("here")
    try:
        assert receive(Inbox(SECRET, None, router), world).outcome == "handled"
    finally:
        where.set("nowhere")
    assert seen == [("plain", "comp_1", "here"), ("begun", "here"), "ended", "object", 4]


def test_a_plain_handler_meets_no_loop_in_plain_code_and_blocks_none_on_a_loop() -> None:
    """It may start a loop of its own, or call what refuses to be called inside one."""
    router, threads = Router(), list[int]()

    @router.on("*")
    async def awaited(event: WebhookEvent) -> None:
        await asyncio.sleep(0)

    @router.on("*")
    def plain(event: WebhookEvent) -> None:
        asyncio.run(asyncio.sleep(0))
        threads.append(threading.get_ident())

    for world in ("plain", "loop"):
        assert receive(Inbox(SECRET, None, router), world).status == 200
    assert threads[0] == threading.get_ident() != threads[1]


@worlds
@pytest.mark.parametrize("error", [ValueError("no"), StopIteration("no"), AssertionError("no")])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_failing_handler_is_a_500_everywhere(
    world: str, error: Exception, is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Later handlers wait for the repeat, which runs."""
    router, seen, errors = Router(), list[str](), [error]

    def plain(event: WebhookEvent) -> None:
        if errors:
            raise errors.pop()

    async def awaited(event: WebhookEvent) -> None:
        plain(event)

    router.on("*")(awaited if is_async else plain)
    router.on("*")(lambda event: seen.append(event.type))
    inbox = Inbox(SECRET, None, router)

    statuses = [receive(inbox, world).status, len(seen), receive(inbox, world).status]

    assert statuses == [500, 0, 200]
    assert seen == ["company.updated"]
    assert "no" in caplog.text


@worlds
def test_a_store_may_be_asynchronous_everywhere(world: str) -> None:
    """Claims, successes and failures are awaited."""
    log: list[str] = []

    class Store:
        async def claim(self, key: str, lease: float) -> bool:
            await asyncio.sleep(0)
            log.append("claim")
            return log.count("done") == 0

        async def done(self, key: str) -> None:
            await asyncio.sleep(0)
            log.append("done")

        async def release(self, key: str) -> None:
            await asyncio.sleep(0)
            log.append("release")

    router, failures = Router(), [ValueError()]

    @router.on("*")
    def sometimes(event: WebhookEvent) -> None:
        if failures:
            raise failures.pop()

    inbox = Inbox(SECRET, None, router, store=Store())
    outcomes = [receive(inbox, world).outcome for _ in range(3)]
    assert outcomes == ["failed", "handled", "repeated"]
    assert log == ["claim", "release", "claim", "done", "claim"]


def test_an_own_runner_is_used_on_a_loop() -> None:
    """Adapters bring their framework's threads."""
    router, ran = Router(), list[object]()
    router.on("*")(print)

    async def run(handler: Any, event: WebhookEvent) -> None:
        ran.append(handler)

    assert receive(Inbox(SECRET, None, router, run), "loop").status == 200
    assert ran == [print]


@pytest.mark.parametrize("body", [bytearray(BODY), memoryview(BODY), BODY.decode()])
def test_every_raw_body_is_taken(body: Any) -> None:
    """And is the same delivery."""
    inbox = Inbox(SECRET, None, Router())
    assert [receive(inbox, "plain", one).outcome for one in (body, BODY)] == ["handled", "repeated"]


def test_what_is_no_raw_body_is_a_400() -> None:
    """A parsed one cannot be verified."""
    parsed: Any = {"action": "x"}
    assert Inbox(SECRET, None, Router()).receive_sync(parsed, sign(BODY, SECRET)).outcome == "malformed_body"


def test_a_body_over_the_bound_is_refused_before_it_is_hashed() -> None:
    """Should an adapter have read it whole."""
    body = b" " * (MAX_BODY_BYTES + 1)
    assert Inbox(SECRET, None, Router()).receive_sync(body, {}).status == 413


@pytest.mark.parametrize("secrets", ["", "  ", [], [""], ["good", " "], None, b"bytes"])
def test_an_inbox_without_a_secret_cannot_be_made(secrets: Any) -> None:
    """At configuration time, not with the first delivery."""
    with pytest.raises(ConfigurationError, match="webhook_secret"):
        Inbox(secrets, None, Router())


def test_a_client_that_cannot_drop_answers_has_the_delivery_sent_again(caplog: pytest.LogCaptureFixture) -> None:
    """Handlers would see stale answers."""

    class Broken:
        def purge(self, **what: object) -> None:
            raise OSError("the cache is gone")

    router, ran = Router(), list[object]()
    router.on("*")(ran.append)
    assert receive(Inbox(SECRET, Broken(), router), "plain") == Acknowledgement(500, "failed")
    assert ran == []
    assert "the cache is gone" in caplog.text


@pytest.mark.parametrize("kind", ["threads", "tasks"])
def test_concurrent_duplicates_run_once(kind: str) -> None:
    """However many of one delivery come at the same moment; each but the first is told to come again, or is a repeat."""
    router, ran = Router(), list[int]()

    @router.on("*")
    def slow(event: WebhookEvent) -> None:
        time.sleep(0.002)  # so that the others arrive meanwhile
        ran.append(event.raw["n"])

    inbox = Inbox(SECRET, None, router)
    bodies = [json.dumps({"action": "company.updated", "n": n}).encode() for n in range(20)] * 16
    if kind == "threads":
        with ThreadPoolExecutor(16) as pool:
            outcomes = list(pool.map(lambda body: receive(inbox, "plain", body).outcome, bodies))
    else:

        async def all_at_once() -> list[Acknowledgement]:
            return await asyncio.gather(*(inbox.receive(body, sign(body, SECRET)) for body in bodies))

        outcomes = [one.outcome for one in asyncio.run(all_at_once())]

    assert sorted(ran) == list(range(20))
    assert outcomes.count("handled") == 20
    assert set(outcomes) <= {"handled", "in_progress", "repeated"}


def test_one_store_lets_one_of_many_threads_claim() -> None:
    """Claiming is one step."""
    store = MemoryDeliveryStore()
    barrier = threading.Barrier(16)

    def claim(_number: int) -> list[bool]:
        barrier.wait(10.0)
        return [store.claim(str(key), 60.0) for key in range(200)]

    with ThreadPoolExecutor(16) as pool:
        claims = list(pool.map(claim, range(16)))
    assert [sum(column) for column in zip(*claims, strict=True)] == [1] * 200


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_is_not_held_up_by_its_parent() -> None:
    """Neither by a lock held at the moment of the fork, nor by a delivery that the parent is handling; it keeps what is done."""
    router, ran = Router(), list[object]()
    router.on("*")(ran.append)
    store = MemoryDeliveryStore()
    inbox = Inbox(SECRET, None, router, store=store)
    receive(inbox, "plain")
    inbox._under_way["0" * 64] = object()
    with store._lock:
        pid = os.fork()
        if pid == 0:
            repeated = receive(inbox, "plain").outcome == "repeated"
            fresh = receive(inbox, "plain", BODY + b" ").outcome == "handled"
            os._exit(0 if repeated and fresh and not inbox._under_way else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert len(ran) == 1
