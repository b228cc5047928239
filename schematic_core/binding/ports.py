"""What the binding needs of a client: the two faces of one, as the suite's clients have them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from schematic_core.values import CheckFlagOptions, CheckResult, Keys, TrackOptions

__all__ = ["AsyncClient", "Clients", "SyncClient"]


class SyncClient(Protocol):
    """The plain face; `schematic_core.Schematic` is one. None of these raises."""

    def check_flag_with_entitlement(
        self,
        flag_key: str,
        company: Keys | None = None,
        user: Keys | None = None,
        options: CheckFlagOptions | None = None,
    ) -> CheckResult:
        """Give one flag's answer."""

    def check_flags(
        self,
        flag_keys: Iterable[str] | None = None,
        company: Keys | None = None,
        user: Keys | None = None,
        options: CheckFlagOptions | None = None,
    ) -> list[CheckResult]:
        """Give several flags' answers with one request."""

    def track(
        self,
        event: str,
        company: Keys | None = None,
        user: Keys | None = None,
        traits: Mapping[str, Any] | None = None,
        *,
        quantity: int | None = None,
        options: TrackOptions | None = None,
    ) -> object:
        """Queue a usage event."""

    def flag_default(self, flag_key: str) -> bool:
        """Give the value for when nothing can answer."""

    def purge(
        self,
        *,
        company_id: str | None = None,
        user_id: str | None = None,
        flag_key: str | None = None,
        company: Keys | None = None,
        user: Keys | None = None,
    ) -> int:
        """Drop remembered answers."""


class AsyncClient(Protocol):
    """The awaited face; `schematic_core.AsyncSchematic` is one."""

    async def check_flag_with_entitlement(
        self,
        flag_key: str,
        company: Keys | None = None,
        user: Keys | None = None,
        options: CheckFlagOptions | None = None,
    ) -> CheckResult:
        """Give one flag's answer."""

    async def check_flags(
        self,
        flag_keys: Iterable[str] | None = None,
        company: Keys | None = None,
        user: Keys | None = None,
        options: CheckFlagOptions | None = None,
    ) -> list[CheckResult]:
        """Give several flags' answers with one request."""


class Clients(Protocol):
    """Both faces of one client; each may come alive when first read."""

    @property
    def sync(self) -> SyncClient:
        """The plain face."""

    @property
    def aio(self) -> AsyncClient:
        """The awaited face."""
