"""The bounded map behind the local caches, with a hand-turned clock."""

from __future__ import annotations

from schematic_core.cache.memory import MemoryCache


def test_an_expired_item_is_gone_at_once_and_its_space_is_freed_when_it_is_touched() -> None:
    """The moment of expiry is exclusive."""
    cache: MemoryCache[str, int] = MemoryCache(10)
    cache.put("a", 1, expires_at=5.0, now=0.0)
    cache.put("b", 2, expires_at=6.0, now=0.0)

    assert (cache.get("a", 0, now=4.9), cache.get("a", 0, now=5.0)) == (1, 0)
    assert cache.held() == ["b"]
    assert len(cache) == 1


def test_a_write_sweeps_what_nobody_touches_at_most_once_a_minute() -> None:
    """Keys that are never asked again do not stay for ever."""
    cache: MemoryCache[str, int] = MemoryCache(10)
    cache.put("a", 1, expires_at=1.0, now=0.0)

    cache.put("b", 2, expires_at=99.0, now=59.9)
    assert len(cache) == 2
    cache.put("c", 3, expires_at=99.0, now=60.0)

    assert cache.held() == ["b", "c"]
