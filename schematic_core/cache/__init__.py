"""Caches for flag-check answers, under the contract's names."""

from schematic_core.cache.local import (
    DEFAULT_CACHE_SIZE,
    DEFAULT_CACHE_TTL,
    DEFAULT_MAX_ITEMS,
    DEFAULT_TTL_MS,
    AsyncLocalCache,
    LocalCache,
)
from schematic_core.cache.providers import AsyncCacheProvider, CacheProvider

__all__ = [
    "DEFAULT_CACHE_SIZE",
    "DEFAULT_CACHE_TTL",
    "DEFAULT_MAX_ITEMS",
    "DEFAULT_TTL_MS",
    "AsyncCacheProvider",
    "AsyncLocalCache",
    "CacheProvider",
    "LocalCache",
]
