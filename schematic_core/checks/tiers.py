"""Flow: cache providers beside this process's memory, asked in order. A provider that fails counts as empty."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, Protocol

from schematic_core.ports import OutOfTime
from schematic_core.values import CheckResult

__all__ = ["Invoke", "Provider", "Tiers"]


class Provider(Protocol):
    """What is used of a cache provider: ``get``, ``set``, and ``delete`` when there is one; each plain or async."""

    def get(self, key: str, /) -> Any:
        """Give the row, or None."""
        ...

    def set(self, key: str, value: Any, /) -> Any:
        """Keep the row."""
        ...


Invoke = Callable[..., Coroutine[Any, Any, Any]]
"""How a face runs one method of a provider, plain or async: ``await invoke(method, *arguments)``."""


class Tiers:
    """The providers of one client.

    Args:
        providers: asked in order; the first that has the row wins.
        log: where failing providers are reported, once per episode each.
    """

    def __init__(
        self, providers: Sequence[Provider], log: logging.Logger | logging.LoggerAdapter[logging.Logger]
    ) -> None:
        self._providers = tuple(providers)
        self._log = log
        self._failing: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._providers)

    async def read(self, row: str, flag_key: str, invoke: Invoke) -> CheckResult | None:
        """Give the row of the first provider that has one; anything but an answer to this flag counts as none."""
        for provider in self._providers:
            found = _answer(await self._try(provider, invoke, provider.get, row), flag_key)
            if found is not None:
                return found
        return None

    async def write(self, row: str, result: CheckResult, invoke: Invoke) -> None:
        """Give an answer to every provider."""
        for provider in self._providers:
            await self._try(provider, invoke, provider.set, row, result)

    async def forget(self, rows: Sequence[str], invoke: Invoke) -> None:
        """Take rows out of every provider; one without ``delete`` gets None in their place."""
        for provider in self._providers:
            delete = getattr(provider, "delete", None)
            for row in rows:
                if delete is not None:
                    await self._try(provider, invoke, delete, row)
                else:
                    await self._try(provider, invoke, provider.set, row, None)

    async def _try(self, provider: Provider, invoke: Invoke, method: Callable[..., Any], *arguments: object) -> object:
        try:
            value = await invoke(method, *arguments)
        except OutOfTime:
            return None
        except Exception:  # noqa: BLE001 - a cache tier
            if id(provider) not in self._failing:
                self._failing.add(id(provider))
                name = type(provider).__name__
                self._log.warning("cache provider %s fails and counts as empty", name, exc_info=True)
            return None
        if id(provider) in self._failing:
            self._failing.discard(id(provider))
            self._log.info("cache provider %s works again", type(provider).__name__)
        return value


def _answer(row: object, flag_key: str) -> CheckResult | None:
    try:
        if isinstance(row, CheckResult) and row.flag_key == flag_key and isinstance(row.value, bool):
            return replace(row, source="cache")
    except AttributeError:  # pickled by a version whose answers had other members
        pass
    return None
