"""A client of either package that follows the stream, driven from outside as a benchmark needs it.

What is private to a package is used here alone: the place where its socket's reader hands frames over.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from time import perf_counter
from typing import Any

from tests.benchmarks.fixtures import FIXTURES, Fixture, frame
from tests.benchmarks.scene import Scene
from tests.benchmarks.subject import Loop, Package

__all__ = ["Follower", "connect", "connected", "unconnected"]

_MANY = 50_000
_DAY_MS = 86_400_000


def unconnected(package: Package, scene: Scene) -> Any:
    """Make an async client; the vendor's needs the loop for that. Entities are not bounded before 50,000."""
    module = package.module("client")
    config: dict[str, Any] = {
        "base_url": package.stream_url,
        "event_capture_url": package.url,
        "use_datastream": True,
        "log_level": logging.WARNING,
    }
    if package.is_ours:
        config["max_entities"] = _MANY
    else:
        local = package.module("cache").AsyncLocalCache
        config["datastream"] = module.DataStreamConfig(
            company_cache=local(max_items=_MANY, ttl=_DAY_MS), company_lookup_cache=local(max_items=_MANY, ttl=_DAY_MS)
        )
    return module.AsyncSchematic(scene.api_key, module.AsyncSchematicConfig(**config))


async def connect(package: Package, scene: Scene, client: Any) -> None:
    """Wait until a client answers flags here."""
    await client.initialize()
    if package.is_ours:
        return
    stream = client._datastream_client  # its ``initialize`` does not wait
    while await stream.get_flag(FIXTURES[scene.fixture].flag_key(scene.flags - 1)) is None:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.001)


async def connected(package: Package, scene: Scene) -> Any:
    """Make an async client, and wait until it answers flags here."""
    client = unconnected(package, scene)
    await connect(package, scene, client)
    return client


class Follower:
    """The client, on a loop of its own; ``checks`` counts the checks made through it."""

    def __init__(self, package: Package, fixture: str, *, flags: int = 1) -> None:
        self.fixture: Fixture = FIXTURES[fixture]
        self.user = self.fixture.user_keys or None
        self.loop = Loop()
        self.checks = 0
        self._is_ours = package.is_ours
        self.client = self.loop.run(connected(package, Scene(package.root, fixture, flags)))

    @property
    def sync(self) -> Any:
        """The sync client where there is one, of the same runtime."""
        return self.client.sync

    async def verdict(self, number: int = 0, flag: int = 0) -> list[object]:
        """Give the whole answer about a ``numbered`` company, in the parts that both packages name alike."""
        self.checks += 1
        result = await self.client.check_flag_with_entitlement(
            self.fixture.flag_key(flag), self.fixture.keys_of(number), self.user
        )
        entitlement = result.entitlement
        rest = [None, None] if entitlement is None else [entitlement.usage, entitlement.allocation]
        return [result.value, result.rule_type, *rest]

    async def settle(self) -> None:
        """Deliver the events so far, so that what is timed next only queues its own."""
        await (self.client.flush() if self._is_ours else self.client.event_buffer.flush())

    async def hold(self, numbers: Iterable[int]) -> None:
        """Push ``numbered`` companies, unasked; both packages keep those too."""
        companies = (self.fixture.numbered(number) for number in numbers)
        frames = [frame("Company", "full", company, company["id"]) for company in companies]
        if self._is_ours:
            await self.take(frames)
            return
        stream = self.client._datastream_client
        caches = stream._company_cache, stream._company_key_cache
        for cache in caches:  # it looks through all that is held at each write: ten thousand of these take a minute
            cache._evict_expired = _nothing
        await self.take(frames)
        for cache in caches:
            del cache._evict_expired

    async def change(self, updates: Iterable[tuple[int, int]]) -> float:
        """Push partials; pairs of the company's number and the change's. Gives the seconds that taking them in took."""
        ids = {number: self.fixture.numbered(number)["id"] for number, _ in updates}
        return await self.take(
            [frame("Company", "partial", self.fixture.change(change), ids[number]) for number, change in updates]
        )

    async def take(self, frames: list[str]) -> float:
        """Let the client take in frames as its socket's reader hands them over; gives the seconds."""
        if self._is_ours:
            return self._take_on_pump(frames)
        handle: Callable[[str], Awaitable[None]] = self.client._datastream_client._ws_client._handle_message
        started = perf_counter()
        for one in frames:
            await handle(one)
        return perf_counter() - started

    def _take_on_pump(self, frames: list[str]) -> float:
        pump = self.client._runtime.source._pump
        started = spent = 0.0
        is_done = threading.Event()

        def end() -> None:
            nonlocal spent
            spent = perf_counter() - started
            is_done.set()

        def begin() -> None:
            nonlocal started
            started = perf_counter()
            for one in frames:
                pump.post(partial(pump.heard, pump._call, one))
            pump.post(end)

        pump.post(begin)
        is_done.wait()
        return spent

    def close(self) -> None:
        """End the client."""
        self.loop.end(self.client)


def _nothing() -> None:
    """Evict nothing."""
