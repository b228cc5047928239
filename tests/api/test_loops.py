"""The async executor and event loops: short-lived ones, two at once, cancellation."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from schematic_core.api.aio import AsyncExecutor
from schematic_core.api.call import Call
from schematic_core.errors import ConnectionFailed, TimedOut
from tests.api.conftest import settings_for
from tests.support.upstream import Answer, Upstream

GET = Call(method="GET", path="/x")


def test_one_executor_serves_one_loop_after_the_other(upstream: Upstream) -> None:
    """Each loop has its own connections, and ends without leaving one open."""
    executor = AsyncExecutor(settings_for(upstream.url))

    async def twice() -> int:
        return (await executor.run(GET)).status + (await executor.run(GET)).status

    assert [asyncio.run(twice()) for _ in range(3)] == [400, 400, 400]
    gc.collect()  # an open connection would warn here, and warnings are errors
    executor.close_soon()


def test_two_live_loops_share_one_executor(upstream: Upstream) -> None:
    """Loops on different threads do not disturb each other."""
    executor = AsyncExecutor(settings_for(upstream.url))
    together = threading.Barrier(2, timeout=10.0)

    async def meet() -> int:
        first = await executor.run(GET)
        await asyncio.to_thread(together.wait)
        second = await executor.run(GET)
        await asyncio.to_thread(together.wait)
        return first.status + second.status

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(lambda _: asyncio.run(meet()), range(2))) == [400, 400]


def test_calls_at_once_share_one_client(upstream: Upstream) -> None:
    """First uses that race make one client in the end."""
    executor = AsyncExecutor(settings_for(upstream.url))

    async def many() -> set[int]:
        answers = await asyncio.gather(*(executor.run(GET) for _ in range(10)))
        await executor.close()
        return {answer.status for answer in answers}

    assert asyncio.run(many()) == {200}


def test_cancelling_a_call_cancels_it(upstream: Upstream) -> None:
    """The cancellation passes through, and the executor goes on working."""
    gate = threading.Event()
    executor = AsyncExecutor(settings_for(upstream.url))
    upstream.respond = lambda _: Answer(200, 1, gate=gate)

    async def scene() -> int:
        task = asyncio.create_task(executor.run(GET))
        await asyncio.to_thread(upstream.wait_for, lambda: len(upstream.asked) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.set()
        return (await executor.run(GET)).status

    assert asyncio.run(scene()) == 200


def test_closing_from_another_thread_closes_on_the_loop(upstream: Upstream) -> None:
    """The blocking face can end what runs on a loop it does not own."""
    executor = AsyncExecutor(settings_for(upstream.url))

    async def scene() -> None:
        await executor.run(GET)
        await asyncio.to_thread(executor.close_soon)
        with pytest.raises(ConnectionFailed, match="closed"):
            await executor.run(GET)

    asyncio.run(scene())
    gc.collect()


def test_closing_while_the_client_is_made_leaves_nothing_open(upstream: Upstream) -> None:
    """A call that began before the close ends typed."""
    executor = AsyncExecutor(settings_for(upstream.url))

    async def scene() -> None:
        call = asyncio.create_task(executor.run(GET))
        await asyncio.sleep(0)
        await executor.close()
        with pytest.raises(ConnectionFailed, match="closed"):
            await call

    asyncio.run(scene())
    gc.collect()
    assert upstream.asked == []


def test_a_full_thread_pool_of_the_application_holds_up_no_call(upstream: Upstream) -> None:
    """The client is made, and names are looked up, on threads of our own."""
    executor = AsyncExecutor(settings_for(upstream.url.replace("127.0.0.1", "localhost")))
    blocked = threading.Event()

    async def use() -> int:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        filling = loop.run_in_executor(None, blocked.wait, 20.0)
        try:
            return (await asyncio.wait_for(executor.run(GET), 10.0)).status
        finally:
            blocked.set()
            await filling
            await executor.close()

    assert asyncio.run(use()) == 200


def test_a_look_up_that_hangs_takes_no_thread_from_the_application(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the loop's thread pool nor the end of the loop waits for it."""
    executor = AsyncExecutor(settings_for("http://hang.test", max_retries=0))
    gate = threading.Event()
    system = socket.getaddrinfo

    def hang(host: Any, *arguments: Any, **more: Any) -> Any:
        return gate.wait(20.0) if host in ("hang.test", b"hang.test") else system(host, *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", hang)

    async def use() -> bool:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        with pytest.raises(TimedOut):
            await executor.run(GET, deadline=time.monotonic() + 0.5)
        await executor.close()
        return await asyncio.wait_for(asyncio.to_thread(lambda: not gate.is_set()), 10.0)

    assert asyncio.run(use())
    assert not gate.is_set()
    gate.set()
