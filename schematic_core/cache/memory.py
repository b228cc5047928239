"""Machine: a bounded map whose items expire. No clock and no lock; a shell brings both."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import Generic, TypeVar

__all__ = ["MemoryCache"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_SWEEP_EVERY = 60.0


class MemoryCache(Generic[K, V]):
    """Keeps at most ``max_size`` items; the one written longest ago goes first.

    Args:
        max_size: items kept at most; 0 keeps none.

    Every method takes ``now``, monotonic seconds. Expired items are gone for every reader; their space is freed when
    they are touched, and by a sweep that ``put`` makes once a minute.
    """

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._items: dict[K, tuple[V, float]] = {}
        self._sweep_at = 0.0

    def __len__(self) -> int:
        return len(self._items)

    def get(self, key: K, default: V, now: float) -> V:
        """Give the item, or ``default`` when there is none that is still good."""
        found = self._items.get(key)
        if found is None:
            return default
        if found[1] <= now:
            del self._items[key]
            return default
        return found[0]

    def put(self, key: K, value: V, expires_at: float, now: float) -> None:
        """Keep ``value`` until ``expires_at`` (exclusive)."""
        if now >= self._sweep_at:
            self._sweep_at = now + _SWEEP_EVERY
            self._items = {k: item for k, item in self._items.items() if item[1] > now}
        self._items.pop(key, None)
        if self._max_size < 1:
            return
        self._items[key] = (value, expires_at)
        if len(self._items) > self._max_size:
            del self._items[next(iter(self._items))]

    def held(self) -> list[K]:
        """List the keys held, expired ones not yet swept included."""
        return list(self._items)

    def delete(self, key: K) -> None:
        """Forget one item, if it is there."""
        self._items.pop(key, None)

    def keep_only(self, keys: Collection[K]) -> None:
        """Forget every item whose key is not in ``keys``."""
        self._items = {k: item for k, item in self._items.items() if k in keys}
