"""One body of a test for both faces: a `Driver` awaits what the async client gives and passes the rest through."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from schematic_core.client import AsyncSchematic, Schematic


class Driver:
    """Calls a client's methods as if they were plain, whichever face it is."""

    def __init__(self, client: Any, run: Callable[[Any], Any]) -> None:
        self.client = client
        self.run = run

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.client, name)
        if not callable(attribute):
            return attribute

        def call(*arguments: Any, **keywords: Any) -> Any:
            value = attribute(*arguments, **keywords)
            return self.run(value) if inspect.isawaitable(value) else value

        return call


@contextmanager
def driving(face: str, *arguments: Any, **options: Any) -> Iterator[Driver]:
    """Give a driver for a client of this face (``"sync"`` or ``"async"``), closed at the end."""
    if face == "sync":
        with Schematic(*arguments, **options) as plain:
            yield Driver(plain, lambda value: value)
        return
    loop = asyncio.new_event_loop()
    client = AsyncSchematic(*arguments, **options)
    try:
        yield Driver(client, loop.run_until_complete)
    finally:
        loop.run_until_complete(client.close())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
