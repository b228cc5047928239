"""Shell: caches in this process's memory, safe for threads, under the contract's names and units (milliseconds)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from fnmatch import fnmatchcase
from typing import TypeVar, overload

from schematic_core.cache.memory import MemoryCache
from schematic_core.cache.providers import AsyncCacheProvider, CacheProvider
from schematic_core.errors import ConfigurationError

__all__ = [
    "DEFAULT_CACHE_SIZE",
    "DEFAULT_CACHE_TTL",
    "DEFAULT_MAX_ITEMS",
    "DEFAULT_TTL_MS",
    "AsyncLocalCache",
    "LocalCache",
]

T = TypeVar("T")
D = TypeVar("D")

DEFAULT_CACHE_SIZE = 1000
DEFAULT_CACHE_TTL = 5000
DEFAULT_MAX_ITEMS = 1000
DEFAULT_TTL_MS = 5000


def _seconds(name: str, milliseconds: float) -> float:
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, (int, float)) or not milliseconds >= 0:
        raise ConfigurationError(f"{name} must be milliseconds, zero or more, not {milliseconds!r}")
    return milliseconds / 1000


def _size(name: str, size: int) -> int:
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise ConfigurationError(f"{name} must be a whole number, zero or more, not {size!r}")
    return size


class LocalCache(CacheProvider[T]):
    """Bounded cache in memory.

    Args:
        max_size: items kept at most (the oldest goes first).
        ttl: milliseconds an item is good for.
        clock: monotonic seconds.

    Any value can be kept, None included: ``get`` with a ``default`` of your own tells it from nothing.
    """

    def __init__(
        self,
        max_size: int = DEFAULT_CACHE_SIZE,
        ttl: float = DEFAULT_CACHE_TTL,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.max_size: int = _size("max_size", max_size)
        self.ttl: float = _seconds("ttl", ttl) * 1000
        self._clock = clock
        self._lock = threading.Lock()
        self._items: MemoryCache[str, object] = MemoryCache(max_size)

    @overload
    def get(self, key: str) -> T | None: ...
    @overload
    def get(self, key: str, default: D) -> T | D: ...
    def get(self, key: str, default: object = None) -> object:
        """Give the value, or ``default`` when there is none or it has expired."""
        with self._lock:
            return self._items.get(key, default, self._clock())

    def set(self, key: str, val: T, ttl_override: float | None = None) -> None:
        """Keep ``val`` for ``ttl_override`` milliseconds, or the cache's own time to live."""
        ttl = self.ttl if ttl_override is None else ttl_override
        with self._lock:
            now = self._clock()
            self._items.put(key, val, now + _seconds("ttl_override", ttl), now)

    def delete(self, key: str) -> None:
        """Forget ``key``, if it is there."""
        with self._lock:
            self._items.delete(key)

    def keep_only(self, keys: Collection[str]) -> None:
        """Forget every key that is not in ``keys``."""
        with self._lock:
            self._items.keep_only(keys)

    def held(self) -> list[str]:
        """List the keys held, expired ones not yet swept included."""
        with self._lock:
            return list(self._items.held())

    def __len__(self) -> int:
        with self._lock:
            return len(self._items)


class AsyncLocalCache(AsyncCacheProvider[T]):
    """The same cache with the asynchronous contract; bound to no loop.

    Args:
        max_items: items kept at most (the oldest goes first).
        ttl: milliseconds an item is good for.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        max_items: int = DEFAULT_MAX_ITEMS,
        ttl: float = DEFAULT_TTL_MS,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.local: LocalCache[T] = LocalCache(_size("max_items", max_items), ttl, clock=clock)

    async def get(self, key: str) -> T | None:
        """Give the value, or None when there is none or it has expired."""
        return self.local.get(key)

    async def set(self, key: str, value: T, ttl: float | None = None) -> None:
        """Keep ``value`` for ``ttl`` milliseconds, or the cache's own time to live."""
        self.local.set(key, value, ttl)

    async def delete(self, key: str) -> None:
        """Forget ``key``, if it is there."""
        self.local.delete(key)

    async def delete_missing(self, keys_to_keep: Collection[str], *, scan_pattern: str | None = None) -> None:
        """Forget every key not in ``keys_to_keep``; with ``scan_pattern`` only keys that match this glob."""
        kept = set(keys_to_keep)
        if scan_pattern is not None:
            kept.update(key for key in self.local.held() if not fnmatchcase(key, scan_pattern))
        self.local.keep_only(kept)
