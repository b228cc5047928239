"""Options of DataStream, under the contract's names and in its units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from schematic_core.errors import ConfigurationError

if TYPE_CHECKING:
    from schematic_core.cache import AsyncCacheProvider

__all__ = ["DataStreamConfig"]

DAY_MS = 86_400_000
MAX_MESSAGE_SIZE = 104_857_600
_SHARED = ("company_cache", "company_lookup_cache", "user_cache", "user_lookup_cache", "flag_cache")


class DataStreamConfig:
    """How a client follows the stream; goes into ``datastream`` of a client's options. Keyword-only.

    Args:
        cache_ttl: milliseconds after which a company or user that the stream said nothing about is asked for again (24
            hours); None: never.
        company_cache: for sharing companies between processes; not supported yet.
        company_lookup_cache: likewise, keys of companies.
        user_cache: likewise, users.
        user_lookup_cache: likewise, keys of users.
        flag_cache: likewise, flags.
        replicator_mode: read what a replicator keeps in shared caches, without a socket; not supported yet.
        replicator_health_url: where the replicator tells whether it is ready.
        replicator_health_check: milliseconds between looks at that.
        max_message_size: bytes of the largest message taken from the stream (100 MiB).

    Raises:
        ConfigurationError: a value cannot be; the message names the option.
    """

    __slots__ = (
        *_SHARED,
        "cache_ttl",
        "max_message_size",
        "replicator_health_check",
        "replicator_health_url",
        "replicator_mode",
    )

    def __init__(
        self,
        *,
        cache_ttl: int | None = DAY_MS,
        company_cache: AsyncCacheProvider[Any] | None = None,
        company_lookup_cache: AsyncCacheProvider[Any] | None = None,
        user_cache: AsyncCacheProvider[Any] | None = None,
        user_lookup_cache: AsyncCacheProvider[Any] | None = None,
        flag_cache: AsyncCacheProvider[Any] | None = None,
        replicator_mode: bool = False,
        replicator_health_url: str | None = None,
        replicator_health_check: int | None = None,
        max_message_size: int = MAX_MESSAGE_SIZE,
    ) -> None:
        self.cache_ttl: int | None = None if cache_ttl is None else _positive("cache_ttl", cache_ttl)
        self.company_cache = company_cache
        self.company_lookup_cache = company_lookup_cache
        self.user_cache = user_cache
        self.user_lookup_cache = user_lookup_cache
        self.flag_cache = flag_cache
        self.replicator_mode = replicator_mode
        self.replicator_health_url = replicator_health_url
        self.replicator_health_check = replicator_health_check
        self.max_message_size: int = _positive("max_message_size", max_message_size)
        shared = next((name for name in _SHARED if getattr(self, name) is not None), None)
        if shared is not None:
            raise ConfigurationError(f"datastream.{shared}: caches shared between processes are not supported yet")
        if replicator_mode:
            raise ConfigurationError("datastream.replicator_mode is not supported yet")

    def __repr__(self) -> str:
        return f"DataStreamConfig(cache_ttl={self.cache_ttl}, max_message_size={self.max_message_size})"


def _positive(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(f"datastream.{name} must be a whole number above zero, not {value!r}")
    return value
