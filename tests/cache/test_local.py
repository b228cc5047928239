"""The cache in memory, under both contracts; `AsyncLocalCache` keeps its items in a `LocalCache`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from schematic_core.cache import AsyncLocalCache, LocalCache
from schematic_core.errors import ConfigurationError


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sync", "async"])
def cache(request: pytest.FixtureRequest, clock: Clock) -> LocalCache[str]:
    """A cache of two items and a second, reached through either contract."""
    if request.param == "sync":
        return LocalCache(2, 1000, clock=clock)
    return AsyncFace(AsyncLocalCache(2, 1000, clock=clock))


class AsyncFace(LocalCache[str]):
    """Runs the async contract's methods to their end, so that one test body serves both."""

    def __init__(self, cache: AsyncLocalCache[str]) -> None:
        super().__init__()
        self._cache = cache

    def get(self, key: str, default: Any = None) -> Any:
        found = asyncio.run(self._cache.get(key))
        return default if found is None else found

    def set(self, key: str, val: str, ttl_override: float | None = None) -> None:
        asyncio.run(self._cache.set(key, val, ttl_override))

    def delete(self, key: str) -> None:
        asyncio.run(self._cache.delete(key))


def test_an_item_lives_for_its_time_in_milliseconds(cache: LocalCache[str], clock: Clock) -> None:
    cache.set("a", "1")
    cache.set("b", "2", 5000)
    clock.now = 1.0

    assert (cache.get("a"), cache.get("b")) == (None, "2")


def test_the_item_written_longest_ago_makes_room(cache: LocalCache[str]) -> None:
    cache.set("a", "1")
    cache.set("b", "2")
    cache.set("a", "3")
    cache.set("c", "4")

    assert (cache.get("a"), cache.get("b"), cache.get("c")) == ("3", None, "4")


def test_deleting_what_is_not_there_is_fine(cache: LocalCache[str]) -> None:
    cache.set("a", "1")
    cache.delete("a")
    cache.delete("a")

    assert cache.get("a") is None


def test_a_cache_without_room_keeps_nothing() -> None:
    cache: LocalCache[int] = LocalCache(0, 1000)
    cache.set("a", 1)

    assert cache.get("a") is None


def test_everything_missing_from_a_list_can_be_deleted_within_a_pattern() -> None:
    async def main() -> list[str]:
        cache: AsyncLocalCache[int] = AsyncLocalCache()
        for key in ("flags:a", "flags:b", "users:c"):
            await cache.set(key, 1)
        await cache.delete_missing(["flags:a"], scan_pattern="flags:*")
        kept = cache.local.held()
        await cache.delete_missing(["flags:a"])
        return [*kept, "|", *cache.local.held()]

    assert asyncio.run(main()) == ["flags:a", "users:c", "|", "flags:a"]


@pytest.mark.parametrize("arguments", [(-1, 5), (1.5, 5), (True, 5), (5, -1), (5, "x"), (5, float("nan"))])
@pytest.mark.parametrize("kind", [LocalCache, AsyncLocalCache])
def test_a_wrong_size_or_time_is_refused(kind: Any, arguments: Any) -> None:
    with pytest.raises(ConfigurationError):
        kind(*arguments)
