"""Run handlers and wait for stores from either kind of code: on an event loop, or on a thread that has none."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar, Union

from schematic_core.webhooks.event import WebhookEvent
from schematic_core.webhooks.router import Handler

__all__ = ["BLOCKING", "OnLoop", "Runner", "World"]

T = TypeVar("T")

Runner = Callable[[Handler, WebhookEvent[Any]], Awaitable[object]]
"""Calls one handler; raises what the handler raises. How a plain one is kept off an event loop is its business."""


class World(Protocol):
    """How a flow of the inbox calls what is the user's. That of plain code blocks instead of suspending."""

    async def run(self, handler: Handler, event: WebhookEvent[Any]) -> object:
        """Run a handler to its end."""

    async def settle(self, value: Union[Awaitable[T], T]) -> T:
        """Give what a method of a store gave, once it is there."""


class OnLoop:
    """On an event loop: awaits what can be awaited.

    Args:
        run: calls one handler; without it, plain ones run on a thread of asyncio's, so that they may block.
    """

    def __init__(self, run: Runner | None = None) -> None:
        self._run = run or _on_loop

    async def run(self, handler: Handler, event: WebhookEvent[Any]) -> object:
        """Run a handler to its end."""
        return await self._run(handler, event)

    async def settle(self, value: Union[Awaitable[T], T]) -> T:
        """Await it if need be."""
        return await value if inspect.isawaitable(value) else value


class _Blocking:
    """On a thread of plain code: calls plain handlers here, and gives async ones a loop that lasts as long as they do.

    Between them no loop runs, so that a plain handler may start one or refuse to be called inside one, as Django's ORM
    does. Where a loop does run on the calling thread, async handlers have theirs on another thread.
    """

    async def run(self, handler: Handler, event: WebhookEvent[Any]) -> object:
        """Run a handler to its end."""
        return await self.settle(handler(event))

    async def settle(self, value: Union[Awaitable[T], T]) -> T:
        """Wait for it if need be."""
        return _complete(value) if inspect.isawaitable(value) else value


BLOCKING = _Blocking()


async def _on_loop(handler: Handler, event: WebhookEvent[Any]) -> object:
    if inspect.iscoroutinefunction(handler):
        return await handler(event)
    from asyncio import to_thread

    result = await to_thread(_call, handler, event)
    return await result if inspect.isawaitable(result) else result


def _call(handler: Handler, event: WebhookEvent[Any]) -> object:
    try:
        return handler(event)
    except StopIteration as error:  # a future cannot carry it: whoever waits would wait for ever
        raise RuntimeError("a webhook handler raised StopIteration") from error


def _complete(value: Awaitable[T]) -> T:
    import asyncio

    async def awaited() -> T:
        return await value

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(awaited())
    from concurrent.futures import ThreadPoolExecutor
    from contextvars import copy_context

    with ThreadPoolExecutor(1, thread_name_prefix="schematic-webhook") as elsewhere:
        return elsewhere.submit(copy_context().run, asyncio.run, awaited()).result()
