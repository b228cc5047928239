"""Shell: run something that blocks while an event loop goes on, on a thread of its own that no other work can delay."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar, cast

__all__ = ["off_loop"]

T = TypeVar("T")


async def off_loop(function: Callable[[], T]) -> T:
    """Await ``function``, run on a daemon thread; a cancelled caller leaves it running to its end.

    The loop's own thread pool is not used: an application may have filled it.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(value: T | None, error: Exception | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(cast("T", value))

    def work() -> None:
        value, error = None, None
        try:
            value = function()
        except Exception as raised:  # noqa: BLE001 - handed to the caller, whatever it is
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop has ended, and the caller with it
            loop.call_soon_threadsafe(settle, value, error)

    threading.Thread(target=work, name="schematic-off-loop", daemon=True).start()
    return await done
