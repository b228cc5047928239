"""What the sync and the async client share: construction, defaults and purging."""

from __future__ import annotations

import os
from collections.abc import Mapping
from inspect import iscoroutinefunction as is_async
from typing import TYPE_CHECKING, ClassVar

from schematic_core.api.endpoints import RESOURCES
from schematic_core.config import ClientOptions, SchematicConfig, Settings, resolve
from schematic_core.errors import ConfigurationError
from schematic_core.events.values import EventCounts
from schematic_core.runtime import Runtime
from schematic_core.values import FlagDefault, Keys

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from schematic_core.datastream.client import DataStreamClient

__all__ = ["Face"]


class Face:
    """What both faces share.

    Args:
        api_key: secret key of one environment; ``SCHEMATIC_API_KEY`` otherwise. Not needed offline.
        config: options as an object; keyword arguments win over it.
        **options: members of `ClientOptions`, e.g. ``timeout=20.0``.

    Construction reads the environment (and the environment file, if there is one), checks every setting, and does nothing
    else: no further I/O, no thread, socket or event loop.

    Raises:
        ConfigurationError: a setting is unknown, missing or wrong; the message names it.
    """

    _is_async: ClassVar[bool]

    def __init__(
        self, api_key: str | None = None, config: SchematicConfig | None = None, **options: Unpack[ClientOptions]
    ) -> None:
        settings = resolve(api_key, options, config, environment=os.environ)
        self._refuse(settings)
        self._adopt(Runtime(settings))

    def _adopt(self, runtime: Runtime) -> None:
        """Keep what the paths of every check and event need, one step away."""
        self._runtime = runtime
        self._recall = runtime.recall
        self._worker = runtime.events.worker
        self._sent = runtime.events.sent

    def _refuse(self, settings: Settings) -> None:
        """Raise ``ConfigurationError`` for settings that this face cannot use."""
        method = getattr(settings.http_client, "send", None)
        if settings.http_client is not None and (method is None or is_async(method) is not self._is_async):
            needed = "httpx.AsyncClient" if self._is_async else "httpx.Client"
            raise ConfigurationError(f"http_client must be an {needed}, not {type(settings.http_client).__name__}")
        for provider in settings.cache_providers or ():
            if is_async(provider.get) and not self._is_async:
                raise ConfigurationError(
                    f"cache_providers holds a {type(provider).__name__}, which is for AsyncSchematic: its methods are async"
                )

    @classmethod
    def of_runtime(cls, runtime: Runtime) -> Self:
        """Give a face of a client that is already there."""
        face = cls.__new__(cls)
        face._adopt(runtime)  # noqa: SLF001 - of the class itself
        return face

    def __getattr__(self, name: str) -> object:
        """Give a resource of the HTTP API, e.g. ``client.companies``; made on first use."""
        if name not in RESOURCES:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        resource = self.__dict__[name] = self._resource(name)
        return resource

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *RESOURCES})

    def _resource(self, name: str) -> object:
        raise AttributeError(name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._runtime.settings!r})"

    @property
    def datastream(self) -> DataStreamClient | None:
        """The stream's status, listeners and what is held here; None without ``use_datastream``."""
        return self._runtime.datastream

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._runtime.settings

    @property
    def event_counts(self) -> EventCounts:
        """What became of this process's events so far: queued, waiting, sent, retried, dropped by reason."""
        return self._runtime.events.counts

    def set_flag_default(self, flag_key: str, value: FlagDefault) -> None:
        """Set the value of a flag for when nothing can answer; ``value`` may be a function."""
        self._runtime.defaults.update({flag_key: value})

    def set_flag_defaults(self, values: Mapping[str, FlagDefault]) -> None:
        """Set several defaults, e.g. ``{"exports": True}``; the others stay."""
        self._runtime.defaults.update(values)

    def flag_default(self, flag_key: str) -> bool:
        """Give the value of a flag for when nothing can answer; asks nobody."""
        return self._runtime.defaults.of(flag_key, None)

    def purge(
        self,
        *,
        company_id: str | None = None,
        user_id: str | None = None,
        flag_key: str | None = None,
        company: Keys | None = None,
        user: Keys | None = None,
    ) -> int:
        """Drop remembered answers to flag checks; with no argument all of them.

        Args:
            company_id: only answers about this company, or about one that shares a pair with ``company``.
            user_id: only answers about this user, or about one that shares a pair with ``user``.
            flag_key: only answers of this flag.
            company: keys, e.g. ``{"id": "acme"}``.
            user: keys.

        Returns:
            How many answers were dropped in this process. Rows of cache providers are dropped for these answers too.
        """
        return self._runtime.purge(company_id, user_id, flag_key, company, user)
