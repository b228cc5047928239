"""The stream's life: forks, event loops, cancellation, the end in every state, the interpreter's exit, dropped clients."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schematic_core import lifecycle
from schematic_core.client import AsyncSchematic, CheckFlagOptions, Schematic
from tests.datastream.support import (
    ACME,
    TINY,
    Script,
    Service,
    ask,
    following,
    full,
    hasten,
    in_child,
    playing,
    stream_of,
    stream_threads,
    until,
    until_on_loop,
)
from tests.support.faces import Driver
from tests.support.upstream import Upstream

Follow = Callable[..., Driver]

ROOT = Path(__file__).parents[2]

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
forks_with_threads = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def _new(url: str, **options: Any) -> Schematic:
    client = Schematic("dev", base_url=url, use_datastream=True, event_buffer_period=60.0, **options)
    hasten(client)
    return client


# -- forks


def _answers_here(client: Driver) -> bool:
    """Whether a client comes to answer by itself."""
    client.initialize(10.0)
    return until(lambda: ask(client).source == "stream") and ask(client).value is True


@needs_fork
@forks_with_threads
def test_a_child_connects_on_its_own_and_the_parent_s_connection_goes_on(follow: Follow, service: Service) -> None:
    """The child answers, nothing of it is heard on the parent's connection, and pushes still reach the parent."""
    client = follow()
    assert ask(client).source == "stream"
    (parent,) = service.connections

    assert in_child(lambda: _answers_here(client) and ask(client, company=TINY).source == "stream")

    seen = {one["id"]: one for one in service.connections}
    assert len(seen) == 2
    assert seen[parent["id"]] == parent
    service.plan("acme", "free")
    assert until(lambda: ask(client).entitlement.allocation == 2)
    assert until(lambda: len(service.open) == 1)


@needs_fork
@forks_with_threads
def test_a_child_of_a_parent_that_never_started_starts_by_itself(follow: Follow, service: Service) -> None:
    """With its first check, or when it is told to get ready."""
    client = follow(initialize=False)

    assert in_child(lambda: _answers_here(client))
    assert until(lambda: service.open == [])
    assert client.datastream.status == "idle"
    client.initialize()
    assert ask(client).source == "stream"


@needs_fork
@forks_with_threads
def test_a_child_is_not_held_up_by_locks_that_were_held(service: Service) -> None:
    """Whichever thread of the parent held them."""
    client = _new(service.url)
    client.initialize()
    client.check_flag("exports", ACME)
    stream, local = stream_of(client), client._runtime.local
    assert local is not None
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with local.lock, stream._pump._lock, stream._starting:
            held.set()
            done.wait(20.0)

    holding = threading.Thread(target=hold)
    holding.start()
    held.wait(10.0)

    is_fine = in_child(lambda: _answers_here(Driver(client, lambda value: value)))

    done.set()
    holding.join()
    client.close(1.0)
    assert is_fine


@needs_fork
@forks_with_threads
def test_a_child_to_which_no_hook_told_of_the_fork_starts_anew(service: Service) -> None:
    """As under servers that run no fork hooks: the process id tells."""
    client = _new(service.url)
    client.initialize()
    client.check_flag("exports", ACME)
    stream = stream_of(client)
    lifecycle.unregister(stream)

    is_fine = in_child(lambda: until(lambda: client.check_flag_with_entitlement("exports", TINY).source == "stream"))

    assert is_fine
    assert len(service.connections) == 2
    assert until(lambda: len(service.open) == 1)
    client.close(1.0)


@needs_fork
@forks_with_threads
def test_listeners_hear_of_the_child_s_stream(service: Service) -> None:
    """They were added to the client, not to one process's connection."""
    client = _new(service.url)
    client.initialize()
    heard: list[str] = []
    stream_of(client).on_status(heard.append)

    def starts() -> bool:
        client.initialize()
        return heard == ["connecting", "ready"]

    assert in_child(starts)
    assert heard == []
    client.close(1.0)


def _work(client: Schematic, told: Any) -> None:
    client.initialize()
    told.put(client.check_flag_with_entitlement("exports", ACME).source)


@needs_fork
@forks_with_threads
def test_a_multiprocessing_child_answers_and_ends(service: Service) -> None:
    """With exit code 0 and without a hang."""
    client = _new(service.url)
    client.initialize()
    context = multiprocessing.get_context("fork")
    told = context.SimpleQueue()

    child = context.Process(target=_work, args=(client, told))
    child.start()
    child.join(20.0)

    assert (child.exitcode, told.get()) == (0, "stream")
    assert until(lambda: len(service.open) == 1)
    client.close(1.0)
    told.close()


# -- event loops


def _async(url: str, **options: Any) -> AsyncSchematic:
    client = AsyncSchematic("dev", base_url=url, use_datastream=True, event_buffer_period=60.0, **options)
    hasten(client)
    return client


def test_one_client_serves_one_loop_after_another(service: Service) -> None:
    """Its stream belongs to none of them."""
    client = _async(service.url)

    async def check() -> str:
        await client.initialize()
        return (await client.check_flag_with_entitlement("exports", ACME)).source

    sources = [asyncio.run(check()) for _ in range(3)]
    asyncio.run(client.close())

    assert sources == ["stream"] * 3
    assert len(service.connections) == 1


def test_an_answer_for_a_loop_that_is_closed_harms_nobody(script: Script, upstream: Upstream) -> None:
    """Who waited there is gone; the next loop has the entity."""
    answers, script.answer = script.answer, lambda kind, keys: []
    client = _async(upstream.url)
    hasten(client, url=script.url, resource_timeout=60.0)

    async def give_up() -> None:
        await client.initialize()
        asked = asyncio.ensure_future(client.check_flag("exports", ACME, options=CheckFlagOptions(timeout=30.0)))
        assert await until_on_loop(lambda: script.asked("Company"))
        assert not asked.done()

    async def check() -> str:
        return (await client.check_flag_with_entitlement("exports", ACME)).source

    asyncio.run(give_up())
    script.line.send(*answers("Company", ACME))

    assert until(lambda: script.line.is_open and asyncio.run(check()) == "stream")
    assert script.asked("Company") == [ACME]
    asyncio.run(client.close())


def test_a_cancelled_check_leaves_nothing_behind(script: Script, upstream: Upstream) -> None:
    """The next one with the same keys joins the request that is under way, and both end with it."""
    answers, script.answer = script.answer, lambda kind, keys: []
    client = _async(upstream.url)
    hasten(client, url=script.url, resource_timeout=60.0)
    options = CheckFlagOptions(timeout=30.0)

    async def check() -> Any:
        await client.initialize()
        first = asyncio.ensure_future(client.check_flag_with_entitlement("exports", ACME, options=options))
        assert await until_on_loop(lambda: script.asked("Company"))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        second = asyncio.ensure_future(client.check_flag_with_entitlement("exports", ACME, options=options))
        await asyncio.sleep(0.05)
        assert not second.done()
        script.line.send(*answers("Company", ACME))
        result = await second
        await client.close()
        return result

    assert asyncio.run(check()).source == "stream"
    assert script.asked("Company") == [ACME]
    assert upstream.asked == []


# -- the end


def test_closing_twice_is_closing_once(follow: Follow, service: Service) -> None:
    """The threads end, the server hears a goodbye."""
    client = follow()

    client.close(1.0)
    client.close(1.0)

    assert until(lambda: stream_threads() == [])
    assert until(lambda: service.open == [])
    assert service.connections[0]["code"] == 1000


def test_closing_before_the_start_starts_nothing(follow: Follow, service: Service) -> None:
    """Nor does a check afterwards, and nobody waits for a stream that will not come."""
    client = follow(initialize=False)

    client.close(1.0)
    ask(client)
    client.initialize(30.0)

    assert client.datastream.wait_ready(30.0) is False
    assert (service.connections, stream_threads()) == ([], [])


def test_closing_while_dialling_leaves_no_connection(listen: Follow, script: Script) -> None:
    """A handshake that succeeds after the end is not kept."""
    gate = threading.Event()
    refuse = script.refuse

    def hold(connection: Any, request: Any) -> Any:
        gate.wait(10.0)
        return refuse(connection, request)

    script.refuse = hold  # type: ignore[method-assign]  # of this one
    client = listen(initialize=False)
    client.datastream.start()
    assert until(lambda: client.datastream.status == "connecting")

    client.close(1.0)
    assert client.datastream.status == "closed"
    gate.set()

    assert until(lambda: stream_threads() == [])
    assert until(lambda: not any(line.is_open for line in script.lines))


def test_a_server_that_cannot_be_reached_does_not_hold_up_the_end(face: str) -> None:
    """Whether it is being dialled or waited for."""
    with following(face, "http://127.0.0.1:1", initialize=False, limits={"first_backoff": 60.0}) as client:
        client.initialize(0.05)
        client.close(0.1)

        assert client.datastream.status == "closed"
        assert until(lambda: stream_threads() == [])


def test_checks_that_wait_end_with_the_client(script: Script, upstream: Upstream) -> None:
    """At once, with what the service says or the default."""
    script.answer = lambda kind, keys: []
    with following("sync", upstream.url, stream_url=script.url, limits={"resource_timeout": 60.0}) as client:
        answers: list[Any] = []
        options = CheckFlagOptions(timeout=40.0)
        checking = threading.Thread(target=lambda: answers.append(ask(client, options=options)))
        checking.start()
        assert until(lambda: script.asked("Company"))

        client.close(1.0)
        checking.join(10.0)

    assert [one.source for one in answers] in (["api"], ["default"])


def test_checks_that_wait_end_with_the_connection(listen: Follow, script: Script, upstream: Upstream) -> None:
    """A loss fails them at once, and the service answers."""
    script.answer = lambda kind, keys: script.line.cut() or []  # type: ignore[func-returns-value]
    client = listen(limits={"resource_timeout": 60.0, "first_backoff": 60.0})

    answer = ask(client, options=CheckFlagOptions(timeout=40.0))

    assert answer.source == "api"
    assert len(upstream.asked) == 1


def test_a_listener_may_close_the_client(service: Service) -> None:
    """On the stream's own thread."""
    client = _new(service.url)
    told = threading.Event()

    def close(status: str) -> None:
        if status == "ready":
            client.close(1.0)
            told.set()

    stream_of(client).on_status(close)
    client.initialize()

    assert told.wait(10.0)
    assert until(lambda: stream_threads() == [] and service.open == [])
    assert client.check_flag_with_entitlement("exports", ACME).source == "default"


def test_the_end_does_not_hold_up_the_loop(script: Script, upstream: Upstream) -> None:
    """Even when the stream's thread is busy: other tasks go on while a client is closed."""
    gate = threading.Event()
    client = _async(upstream.url)
    hasten(client, url=script.url)

    async def close() -> int:
        await client.initialize()
        stream_of(client).on_change(lambda _change: gate.wait(10.0))
        script.line.send(full(script.entities["acme"]))
        await asyncio.sleep(0.1)  # the listener must have been called, of which nothing tells
        closing = asyncio.ensure_future(client.close(2.0))
        turns = 0
        while not closing.done() and turns < 20:
            await asyncio.sleep(0.005)
            turns += 1
        gate.set()
        await closing
        return turns

    assert asyncio.run(close()) == 20


# -- the interpreter's exit

PRELUDE = """
import sys, asyncio, logging, threading, time
from schematic_core import Schematic, AsyncSchematic
from tests.datastream.support import hasten, stream_of
logging.basicConfig()
url, stream = sys.argv[1:]
def make(kind):
    client = kind("dev", base_url=url, use_datastream=True)
    hasten(client, url=stream or None)
    return client
"""


@pytest.fixture
def run() -> Callable[..., tuple[int, str]]:
    """Run a program to its end; gives its exit code and all that it printed."""

    def run(program: str, url: str, stream_url: str = "") -> tuple[int, str]:
        command = [sys.executable, "-W", "error", "-c", PRELUDE + program, url, stream_url]
        ended = subprocess.run(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30.0, check=False
        )
        return ended.returncode, ended.stdout

    return run


LIVE = """
client = make(Schematic)
client.initialize(10.0)
assert client.check_flag_with_entitlement("exports", {"id": "acme"}).source == "stream"
"""


def test_a_program_with_a_live_stream_ends(run: Callable[..., tuple[int, str]], service: Service) -> None:
    """Quietly, and the server hears a goodbye."""
    assert run(LIVE, service.url) == (0, "")
    assert until(lambda: service.open == [])
    assert service.connections[0]["code"] == 1000


@pytest.mark.parametrize("pongs", [True, False])
def test_a_program_ends_while_the_server_is_stalled(
    run: Callable[..., tuple[int, str]], service: Service, pongs: bool
) -> None:
    """A goodbye that nobody returns holds up the exit for a moment only."""
    stall = f"""
import httpx
httpx.post(url + "/_dev/stream/stall", json={{"seconds": 60, "pongs": {pongs}}})
"""

    assert run(LIVE + stall, service.url) == (0, "")


def test_a_program_ends_while_it_dials(run: Callable[..., tuple[int, str]]) -> None:
    """A handshake that nobody answers does not hold up the exit."""
    import socket

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"

        assert run("client = make(Schematic)\nclient.initialize(0.2)\n", url) == (0, "")


def test_a_loop_that_ends_without_closing_the_client_is_no_trouble(
    run: Callable[..., tuple[int, str]], service: Service
) -> None:
    """No warning, no hang; events are delivered by the exit."""
    program = """
async def main():
    client = make(AsyncSchematic)
    await client.initialize(10.0)
    assert (await client.check_flag_with_entitlement("exports", {"id": "acme"})).source == "stream"
    client.track("export_created", {"id": "acme"})
    return client
client = asyncio.run(main())
"""

    assert run(program, service.url) == (0, "")
    assert [len(service.events(kind)) for kind in ("track", "flag_check")] == [1, 1]


def test_a_program_ends_while_its_threads_check(run: Callable[..., tuple[int, str]], service: Service) -> None:
    """In the middle of everything, with as many events as can be delivered by the exit."""
    program = """
client = make(Schematic)
def check(client):
    while True:
        client.check_flag("exports", {"id": "acme"})
        time.sleep(0.005)
client.initialize(10.0)
for _ in range(3):
    threading.Thread(target=check, args=(client,), daemon=True).start()
time.sleep(0.1)
"""

    assert run(program, service.url) == (0, "")


# -- dropped clients


def test_dropped_clients_take_threads_and_sockets_along(service: Service) -> None:
    """Twenty of them, none closed."""
    clients = [_new(service.url) for _ in range(20)]
    for client in clients:
        client.initialize()
        client.check_flag("exports", ACME)
    watched = [weakref.ref(client._runtime) for client in clients]
    assert len(service.open) == 20

    clients.clear()
    del client
    gc.collect()

    assert [one() for one in watched] == [None] * 20
    assert until(lambda: stream_threads() == [])
    assert until(lambda: service.open == [])


def test_a_dropped_client_that_never_connected_is_collected(upstream: Upstream) -> None:
    """Its dials end as well."""
    client = _new(upstream.url)
    client.initialize(0.05)
    watched = weakref.ref(stream_of(client))

    del client

    assert until(lambda: gc.collect() >= 0 and watched() is None)  # a thread that starts may hold it for a moment
    assert until(lambda: stream_threads() == [])


def test_many_disturbances_leave_no_threads() -> None:
    """Every connection's reader ends with it."""
    with playing() as script:
        client = _new("http://127.0.0.1:1")
        hasten(client, url=script.url)
        client.initialize()
        for _ in range(10):
            assert until(lambda: script.lines[-1:] and script.line.is_open and stream_of(client).status == "ready")
            cut = script.line
            cut.cut()
            assert until(lambda cut=cut: script.line is not cut)  # type: ignore[misc]  # mypy knows no such defaults

        assert until(lambda: len(stream_threads()) == 2)
        client.close(0.1)
        assert until(lambda: stream_threads() == [])
