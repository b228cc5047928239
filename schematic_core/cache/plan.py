"""How a client's ``cache_providers`` become the answers kept in memory and the providers asked beside them."""

from __future__ import annotations

from typing import Any

from schematic_core.cache.local import DEFAULT_CACHE_SIZE, DEFAULT_CACHE_TTL, AsyncLocalCache, LocalCache
from schematic_core.config import Settings

__all__ = ["cache_plan"]


def cache_plan(settings: Settings) -> tuple[int, float, list[Any]]:
    """Give size and seconds of the answers kept in memory, and the providers asked beside it."""
    if settings.cache_providers is None:
        return DEFAULT_CACHE_SIZE, DEFAULT_CACHE_TTL / 1000, []
    own = [p for p in settings.cache_providers if type(p) in (LocalCache, AsyncLocalCache)]
    others = [p for p in settings.cache_providers if type(p) not in (LocalCache, AsyncLocalCache)]
    if not own:
        return DEFAULT_CACHE_SIZE, 0.0, others
    local = own[0].local if isinstance(own[0], AsyncLocalCache) else own[0]
    assert isinstance(local, LocalCache)
    return local.max_size, local.ttl / 1000, others
