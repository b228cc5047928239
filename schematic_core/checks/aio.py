"""Shell: the ports of a check for the async face, on whichever loop the caller runs."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Callable, Coroutine
from typing import Any

from schematic_core.api.aio import AsyncExecutor
from schematic_core.api.call import Call, Response
from schematic_core.ports import CheckPorts, OutOfTime

__all__ = ["AsyncPorts"]

_PROVIDER_TIMEOUT = 1.0


class AsyncPorts:
    """Suspends the calling task; keeps no loop."""

    def __init__(self, executor: AsyncExecutor, clock: Callable[[], float]) -> None:
        self._executor = executor
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()

    async def call(self, call: Call, deadline: float) -> Response:
        """Make one API call."""
        return await self._executor.run(call, deadline=deadline)

    async def wait(self, subscribe: Callable[[Callable[[], None]], None], deadline: float) -> None:
        """Suspend until what ``subscribe`` was given is called, or until ``deadline``."""
        loop = asyncio.get_running_loop()
        landed: asyncio.Future[None] = loop.create_future()

        def tell() -> None:
            if not landed.done():
                landed.set_result(None)

        def on_any_thread() -> None:
            with contextlib.suppress(RuntimeError):  # the waiter's loop has ended, and the waiter with it
                loop.call_soon_threadsafe(tell)

        subscribe(on_any_thread)
        await asyncio.wait({landed}, timeout=max(0.0, deadline - self._clock()))

    async def invoke(self, deadline: float, method: Callable[..., Any], *arguments: object) -> Any:
        """Await an async provider's method; run a plain one on a thread, so that it cannot hold up the loop."""
        allowed = deadline - self._clock()
        if allowed <= 0:
            raise OutOfTime
        try:
            return await asyncio.wait_for(_run(method, arguments), min(_PROVIDER_TIMEOUT, allowed))
        except asyncio.TimeoutError:
            if allowed < _PROVIDER_TIMEOUT:
                raise OutOfTime from None
            raise

    def spawn(self, job: Callable[[CheckPorts], Coroutine[Any, Any, None]]) -> bool:
        """Run ``job`` as a task of the calling loop."""
        task = asyncio.get_running_loop().create_task(job(self), name="schematic-renewal")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True


async def _run(method: Callable[..., Any], arguments: tuple[object, ...]) -> Any:
    if inspect.iscoroutinefunction(method):
        return await method(*arguments)
    value = await asyncio.to_thread(method, *arguments)
    return await value if inspect.isawaitable(value) else value  # e.g. a wrapped async method
