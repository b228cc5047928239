"""The clients, under the contract's names: `Schematic` and `AsyncSchematic`, two faces of one runtime."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from schematic_core.cache import LocalCache
from schematic_core.checks.sync import drive
from schematic_core.config import AsyncSchematicConfig, DataStreamConfig, SchematicConfig
from schematic_core.events.recording import track
from schematic_core.face import Face
from schematic_core.finished import FINISHED
from schematic_core.values import (
    REASON_CLOSED,
    REASON_ERROR,
    REASON_FLAG_NOT_FOUND,
    REASON_OFFLINE,
    CheckFlagOptions,
    CheckResult,
    EventUsage,
    IdentifyOptions,
    Keys,
    TrackOptions,
)

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from schematic_core.api.methods import AsyncResource, Resource
    from schematic_core.api.resources import (
        AsyncCompaniesResource,
        AsyncEntitlementsResource,
        AsyncEventsResource,
        AsyncFeaturesResource,
        AsyncPlansResource,
        AsyncWebhooksResource,
        CompaniesResource,
        EntitlementsResource,
        EventsResource,
        FeaturesResource,
        PlansResource,
        WebhooksResource,
    )
    from schematic_core.checks.question import Question
    from schematic_core.runtime import Runtime
    from schematic_core.types import EventBodyIdentifyCompany

__all__ = [
    "REASON_CLOSED",
    "REASON_ERROR",
    "REASON_FLAG_NOT_FOUND",
    "REASON_OFFLINE",
    "AsyncSchematic",
    "AsyncSchematicConfig",
    "CheckFlagOptions",
    "CheckResult",
    "DataStreamConfig",
    "EventUsage",
    "IdentifyOptions",
    "LocalCache",
    "Schematic",
    "SchematicConfig",
    "TrackOptions",
]


def _asked(
    runtime: Runtime, flag_key: str, company: Keys | None, user: Keys | None, options: CheckFlagOptions | None
) -> Question | CheckResult:
    """Give the question to put to the flow, or the answer when there is no need to."""
    if options is None and runtime.local is not None:
        answer = runtime.local.check_again(flag_key, company, user)
        if answer is not None:
            return answer
    return runtime.ask(flag_key, company, user, options)


class Schematic(Face):
    """The synchronous client. Safe to share between threads, and usable in forked children.

    Example:
        >>> from schematic_core import Schematic
        >>> with Schematic(offline=True, flag_defaults={"exports": True}) as client:
        ...     client.check_flag("exports", company={"id": "acme"})
        True
    """

    _is_async = False

    if TYPE_CHECKING:
        features: FeaturesResource
        companies: CompaniesResource
        plans: PlansResource
        entitlements: EntitlementsResource
        events: EventsResource
        webhooks: WebhooksResource

    def _resource(self, name: str) -> Resource:
        from schematic_core.api.methods import Resource

        return Resource(name, self._runtime.call)

    @property
    def aio(self) -> AsyncSchematic:
        """The async face of the same client: same settings, answers and events. Closing either closes both."""
        return AsyncSchematic.of_runtime(self._runtime)

    def initialize(self, timeout: float | None = None) -> None:
        """Get ready ahead of the first check; optional, and never longer than ``timeout`` seconds (``start_timeout``).

        With DataStream it comes back when flags can be answered here, or when the time is over: then the service is
        asked over HTTP, and connecting goes on in the background.
        """
        self._runtime.events.start()
        self._runtime.start(timeout)

    def check_flag(
        self,
        flag_key: str,
        company: Keys | None = None,
        user: Keys | None = None,
        options: CheckFlagOptions | None = None,
    ) -> bool:
        """Give the flag's value for a company and a user; never raises, the default answers when nothing else can.

        Args:
            flag_key: e.g. ``"exports"``.
            company: keys, e.g. ``{"id": "acme"}``.
            user: keys, e.g. ``{"email": "ada@acme.test"}``.
            options: default, timeout and preflight of this check.
        """
        if options is None:
            remembered = self._recall(flag_key, company, user)
            if remembered is not None:
                return remembered.value
        return self._check(flag_key, company, user, options).value

    def check_flag_with_entitlement(
        self,
        flag_key: str,
        company: Keys | None = None,
        user: Keys | None = None,
        options: CheckFlagOptions | None = None,
    ) -> CheckResult:
        """Give the flag's value with its reason, source, age, and what the company may use; never raises."""
        if options is None:
            remembered = self._recall(flag_key, company, user)
            if remembered is not None:
                return remembered
        return self._check(flag_key, company, user, options)

    def _check(
        self, flag_key: str, company: Keys | None, user: Keys | None, options: CheckFlagOptions | None
    ) -> CheckResult:
        asked = _asked(self._runtime, flag_key, company, user, options)
        if isinstance(asked, CheckResult):
            return asked
        result = drive(self._runtime.flow.check(asked, self._runtime.ports))
        self._runtime.remember_raw(asked, company, user)
        return result

    def check_flags(
        self,
        flag_keys: Iterable[str] | None = None,
        company: Keys | None = None,
        user: Keys | None = None,
        options: CheckFlagOptions | None = None,
    ) -> list[CheckResult]:
        """Give several flags for one company and user with one request, in the order asked; all flags for None."""
        asked = self._runtime.ask_many(flag_keys, company, user, options)
        if isinstance(asked, list):
            return asked
        return drive(self._runtime.flow.check_many(*asked, options, self._runtime.ports))

    track = track

    def identify(
        self,
        keys: Keys,
        company: EventBodyIdentifyCompany | Mapping[str, Any] | None = None,
        name: str | None = None,
        traits: Mapping[str, Any] | None = None,
        options: IdentifyOptions | None = None,
    ) -> None:
        """Create or update a user, and a company: queue an event and return. Never waits, never raises.

        Args:
            keys: the user's, e.g. ``{"email": "ada@acme.test"}``.
            company: ``{"keys": {"id": "acme"}, "name": "Acme", "traits": {"region": "eu"}}`` or the model of it.
            name: the user's.
            traits: the user's, JSON values; None as a value clears a trait.
            options: idempotency key.
        """
        self._runtime.events.identify(keys, company, name, traits, options)

    def flush(self, timeout: float | None = None) -> int:
        """Wait until everything queued so far is delivered or given up, at most ``timeout`` seconds.

        Returns:
            How many of those events remain.
        """
        return self._runtime.events.flush(timeout)

    def close(self, timeout: float = 5.0) -> int:
        """Deliver what is queued within ``timeout`` seconds and end the client; safe to repeat.

        A closed client answers defaults (reason `REASON_CLOSED`) and drops events. An ``http_client`` of yours stays open.

        Returns:
            How many events could not be delivered.
        """
        return self._runtime.close(timeout)

    shutdown = close

    def __enter__(self) -> Self:
        self.initialize()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncSchematic(Face):
    """The asynchronous client: the methods of `Schematic`, awaited. Bound to no event loop, and made without one.

    ``track`` and ``identify`` queue at the call; awaiting what they give costs nothing and may be left out.

    Example:
        >>> import asyncio
        >>> from schematic_core import AsyncSchematic
        >>> async def main() -> bool:
        ...     async with AsyncSchematic(offline=True, flag_defaults={"exports": True}) as client:
        ...         return await client.check_flag("exports", company={"id": "acme"})
        >>> asyncio.run(main())
        True
    """

    _is_async = True

    if TYPE_CHECKING:
        features: AsyncFeaturesResource
        companies: AsyncCompaniesResource
        plans: AsyncPlansResource
        entitlements: AsyncEntitlementsResource
        events: AsyncEventsResource
        webhooks: AsyncWebhooksResource

    def _resource(self, name: str) -> AsyncResource:
        from schematic_core.api.methods import AsyncResource

        return AsyncResource(name, self._runtime.call_async)

    @property
    def sync(self) -> Schematic:
        """The sync face of the same client: same settings, answers and events. Closing either closes both."""
        return Schematic.of_runtime(self._runtime)

    async def initialize(self, timeout: float | None = None) -> None:
        """Get ready ahead of the first check; see `Schematic.initialize`."""
        self._runtime.events.start()
        await self._runtime.start_async(timeout)

    async def check_flag(
        self,
        flag_key: str,
        company: Keys | None = None,
        user: Keys | None = None,
        options: CheckFlagOptions | None = None,
    ) -> bool:
        """Give the flag's value; see `Schematic.check_flag`."""
        if options is None:
            remembered = self._recall(flag_key, company, user)
            if remembered is not None:
                return remembered.value
        return (await self._check(flag_key, company, user, options)).value

    async def check_flag_with_entitlement(
        self,
        flag_key: str,
        company: Keys | None = None,
        user: Keys | None = None,
        options: CheckFlagOptions | None = None,
    ) -> CheckResult:
        """Give the flag's whole answer; see `Schematic.check_flag_with_entitlement`."""
        if options is None:
            remembered = self._recall(flag_key, company, user)
            if remembered is not None:
                return remembered
        return await self._check(flag_key, company, user, options)

    async def _check(
        self, flag_key: str, company: Keys | None, user: Keys | None, options: CheckFlagOptions | None
    ) -> CheckResult:
        asked = _asked(self._runtime, flag_key, company, user, options)
        if isinstance(asked, CheckResult):
            return asked
        self._runtime.meet_loop()
        result = await self._runtime.flow.check(asked, self._runtime.async_ports)
        self._runtime.remember_raw(asked, company, user)
        return result

    async def check_flags(
        self,
        flag_keys: Iterable[str] | None = None,
        company: Keys | None = None,
        user: Keys | None = None,
        options: CheckFlagOptions | None = None,
    ) -> list[CheckResult]:
        """Give several flags with one request, in the order asked; see `Schematic.check_flags`."""
        asked = self._runtime.ask_many(flag_keys, company, user, options)
        if isinstance(asked, list):
            return asked
        self._runtime.meet_loop()
        return await self._runtime.flow.check_many(*asked, options, self._runtime.async_ports)

    def track(
        self,
        event: str,
        company: Keys | None = None,
        user: Keys | None = None,
        traits: Mapping[str, Any] | None = None,
        quantity: int | None = None,
        options: TrackOptions | None = None,
    ) -> Awaitable[None]:
        """Report usage; see `Schematic.track`. The event is queued when this returns, awaited or not.

        With immediate delivery, awaiting it waits until the event was sent, while the loop goes on.
        """
        track(self, event, company, user, traits, quantity, options)
        return FINISHED if self._sent is None else self._sent()

    def identify(
        self,
        keys: Keys,
        company: EventBodyIdentifyCompany | Mapping[str, Any] | None = None,
        name: str | None = None,
        traits: Mapping[str, Any] | None = None,
        options: IdentifyOptions | None = None,
    ) -> Awaitable[None]:
        """Create or update a user and a company; see `Schematic.identify`. Queued when this returns, awaited or not."""
        self._runtime.events.identify(keys, company, name, traits, options)
        return FINISHED if self._sent is None else self._sent()

    async def flush(self, timeout: float | None = None) -> int:
        """Wait until everything queued so far is delivered or given up; gives how many of those events remain."""
        return await self._runtime.flush_async(timeout)

    async def close(self, timeout: float = 5.0) -> int:
        """Deliver what is queued within ``timeout`` seconds and end the client; see `Schematic.close`."""
        return await self._runtime.close_async(timeout)

    shutdown = close

    async def __aenter__(self) -> Self:
        await self.initialize()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
