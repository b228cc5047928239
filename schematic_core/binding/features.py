"""The two faces of a request's view: `Features` to await, `SyncFeatures` to call."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

from schematic_core.binding import flow
from schematic_core.binding.flow import Found
from schematic_core.binding.identity import Identity
from schematic_core.binding.meter import Usage
from schematic_core.binding.ports import Clients
from schematic_core.binding.view import View, Wait
from schematic_core.checks.sync import drive
from schematic_core.finished import FINISHED
from schematic_core.values import CheckFlagOptions, CheckResult, TrackOptions

__all__ = ["Features", "SyncFeatures"]


class _Face:
    __slots__ = ("_view",)

    def __init__(self, view: View) -> None:
        self._view = view

    @property
    def identity(self) -> Identity | None:
        """Who the request is about; None while nothing has needed to know."""
        return self._view.identity

    def peek(self, key: str, *, default: bool | None = None) -> bool:
        """Give the value of a flag that was asked or loaded before; never any I/O, for templates and serializers.

        Args:
            key: of the flag.
            default: the value when it was not loaded; the flag's own default otherwise.
        """
        return self._view.peek(key, default=default)

    def _track(self, event: str, quantity: int, traits: Mapping[str, Any] | None, options: TrackOptions | None) -> None:
        self._view.meter.add(Usage(event, quantity, traits, options))


class Features(_Face):
    """Answers checks about the current request; each flag is decided once. Nothing is asked before the first call.

    ``flag``, ``entitlement`` and ``load`` never raise for trouble with the service: the flag's default answers.
    """

    __slots__ = ("_asking",)

    def __init__(self, view: View) -> None:
        super().__init__(view)
        self._asking = _AsyncAsking(view.clients)

    @property
    def sync(self) -> SyncFeatures:
        """The plain face of the same view, for code in worker threads."""
        return SyncFeatures(self._view)

    async def flag(self, key: str, *, default: bool | None = None) -> bool:
        """Give a flag's value; ``default`` when nothing can answer."""
        return (await flow.entitlement(self._view, self._asking, key, default=default)).value

    async def entitlement(self, key: str, *, default: bool | None = None, usage: float | None = None) -> CheckResult:
        """Give a flag's whole answer: value, reason, allocation, usage.

        Args:
            key: of the flag.
            default: the value when nothing can answer.
            usage: units about to be used: would it still be allowed then?
        """
        return await flow.entitlement(self._view, self._asking, key, default=default, usage=usage)

    async def load(self, *keys: str) -> None:
        """Ask several flags with one request, for `peek`; all flags without arguments."""
        await flow.load(self._view, self._asking, keys)

    async def require(
        self, key: str, *, status: int | None = None, usage: float | None = None, default: bool | None = None
    ) -> CheckResult:
        """Give a flag's answer if it is on.

        Raises:
            FeatureDenied: it is off; ``status`` replaces the usual HTTP status.
        """
        return self._view.admit(
            await flow.entitlement(self._view, self._asking, key, default=default, usage=usage), status
        )

    def track(
        self,
        event: str,
        quantity: int = 1,
        *,
        traits: Mapping[str, Any] | None = None,
        options: TrackOptions | None = None,
    ) -> Awaitable[None]:
        """Report usage by whoever the request is about; counted once the request succeeded. May be awaited or not."""
        self._track(event, quantity, traits, options)
        return FINISHED

    def refresh(self) -> Awaitable[None]:
        """Forget every answer, so that the next ask asks the service. May be awaited or not."""
        self._view.refresh()
        return FINISHED

    async def identify(self) -> Identity:
        """Give who the request is about, finding out if nobody did yet."""
        return await flow.identify(self._view, self._asking)


class SyncFeatures(_Face):
    """The plain face of the same view, for code that does not await; see `Features`."""

    __slots__ = ("_asking",)

    def __init__(self, view: View) -> None:
        super().__init__(view)
        self._asking = _SyncAsking(view.clients, view.wait)

    @property
    def aio(self) -> Features:
        """The awaited face of the same view."""
        return Features(self._view)

    def flag(self, key: str, *, default: bool | None = None) -> bool:
        """Give a flag's value; see `Features.flag`."""
        return self.entitlement(key, default=default).value

    def entitlement(self, key: str, *, default: bool | None = None, usage: float | None = None) -> CheckResult:
        """Give a flag's whole answer; see `Features.entitlement`."""
        return drive(flow.entitlement(self._view, self._asking, key, default=default, usage=usage))

    def load(self, *keys: str) -> None:
        """Ask several flags with one request; see `Features.load`."""
        drive(flow.load(self._view, self._asking, keys))

    def require(
        self, key: str, *, status: int | None = None, usage: float | None = None, default: bool | None = None
    ) -> CheckResult:
        """Give a flag's answer if it is on; see `Features.require`."""
        return self._view.admit(self.entitlement(key, default=default, usage=usage), status)

    def track(
        self,
        event: str,
        quantity: int = 1,
        *,
        traits: Mapping[str, Any] | None = None,
        options: TrackOptions | None = None,
    ) -> None:
        """Report usage; see `Features.track`."""
        self._track(event, quantity, traits, options)

    def refresh(self) -> None:
        """Forget every answer; see `Features.refresh`."""
        self._view.refresh()

    def identify(self) -> Identity:
        """Give who the request is about, finding out if nobody did yet."""
        return drive(flow.identify(self._view, self._asking))


def _options(usage: float | None) -> CheckFlagOptions | None:
    return None if usage is None else CheckFlagOptions(usage=usage)  # without options a client answers fastest


class _AsyncAsking:
    __slots__ = ("_clients",)

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    async def check(self, flag_key: str, who: Identity, usage: float | None) -> CheckResult:
        return await self._clients.aio.check_flag_with_entitlement(flag_key, who.company, who.user, _options(usage))

    async def check_many(self, flag_keys: Sequence[str] | None, who: Identity) -> list[CheckResult]:
        return await self._clients.aio.check_flags(flag_keys, who.company, who.user)

    async def identity(self, found: Found) -> Identity | None:
        if found is None or isinstance(found, Identity):
            return found
        return await found if inspect.isawaitable(found) else found


class _SyncAsking:
    __slots__ = ("_clients", "_wait")

    def __init__(self, clients: Clients, wait: Wait | None) -> None:
        self._clients = clients
        self._wait = wait

    async def check(self, flag_key: str, who: Identity, usage: float | None) -> CheckResult:
        return self._clients.sync.check_flag_with_entitlement(flag_key, who.company, who.user, _options(usage))

    async def check_many(self, flag_keys: Sequence[str] | None, who: Identity) -> list[CheckResult]:
        return self._clients.sync.check_flags(flag_keys, who.company, who.user)

    async def identity(self, found: Found) -> Identity | None:
        if not inspect.isawaitable(found):
            return found
        if self._wait is None:
            raise RuntimeError("the identity function is async; await features.identify() before plain code asks")
        return self._wait(found)
