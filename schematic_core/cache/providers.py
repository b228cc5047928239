"""What a cache back end must offer to hold flag-check answers: the two classes that users subclass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import Generic, TypeVar

__all__ = ["AsyncCacheProvider", "CacheProvider"]

T = TypeVar("T")


class CacheProvider(ABC, Generic[T]):
    """Synchronous cache back end. Milliseconds, as in the vendor's contract.

    What the client stores are `CheckResult` values (picklable); a back end gives back what was set or None. One that raises
    counts as empty and is logged once per episode. Give it a time limit of its own: the async client waits for it no longer
    than the check may take, but nothing can interrupt a call that blocks a thread of the sync client. A method
    ``delete(key)`` is used when there is one.
    """

    @abstractmethod
    def get(self, key: str) -> T | None:
        """Give the value, or None when there is none or it has expired."""

    @abstractmethod
    def set(self, key: str, val: T, ttl_override: int | None = None) -> None:
        """Keep ``val``; ``ttl_override`` replaces the back end's own time to live, milliseconds."""


class AsyncCacheProvider(ABC, Generic[T]):
    """The same for an asynchronous back end, awaited on the loop that uses the client."""

    @abstractmethod
    async def get(self, key: str) -> T | None:
        """Give the value, or None when there is none or it has expired."""

    @abstractmethod
    async def set(self, key: str, value: T, ttl: int | None = None) -> None:
        """Keep ``value``; ``ttl`` replaces the back end's own time to live, milliseconds."""

    @abstractmethod
    async def delete(self, key: str) -> None:
        """Forget ``key``, if it is there."""

    @abstractmethod
    async def delete_missing(self, keys_to_keep: Collection[str], *, scan_pattern: str | None = None) -> None:
        """Forget every key that is not in ``keys_to_keep`` (and matches ``scan_pattern``, a glob, when given)."""
