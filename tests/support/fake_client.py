"""A client at the seam between binding and clients: answers as the test says, remembers what it was asked and told."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, cast

from schematic_core.client import AsyncSchematic
from schematic_core.finished import FINISHED
from schematic_core.values import REASON_ERROR, CheckResult


def answer(flag: str = "exports", value: bool = True, **more: Any) -> CheckResult:
    """An answer of the service."""
    return CheckResult(value=value, reason="Matched standard rule", flag_key=flag, **{"source": "api", **more})


@dataclass
class FakeClient:
    """The plain face; ``aio`` is the other. Flags without an answer get the default, as in an outage."""

    answers: dict[str, CheckResult] = field(default_factory=dict)
    defaults: dict[str, bool] = field(default_factory=dict)
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    tracked: list[tuple[Any, ...]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    purged: list[dict[str, Any]] = field(default_factory=list)

    def allow(self, *flags: str) -> FakeClient:
        self.answers.update((flag, answer(flag)) for flag in flags)
        return self

    def deny(self, *flags: str, **more: Any) -> FakeClient:
        self.answers.update((flag, answer(flag, False, **more)) for flag in flags)
        return self

    @property
    def sync(self) -> FakeClient:
        return self

    @property
    def aio(self) -> AsyncFakeClient:
        return AsyncFakeClient(self)

    @property
    def events(self) -> list[tuple[str, int]]:
        return [(event, quantity) for event, _, _, quantity in self.tracked]

    def as_client(self) -> AsyncSchematic:
        """The async face, for an adapter, which takes real clients."""
        return cast("AsyncSchematic", AsyncFakeClient(self))

    def check_flag_with_entitlement(
        self, flag_key: str, company: Any = None, user: Any = None, options: Any = None
    ) -> CheckResult:
        self.asked.append((flag_key, company, user, options))
        default = CheckResult(value=self.defaults.get(flag_key, False), reason=REASON_ERROR, flag_key=flag_key)
        return self.answers.get(flag_key, default)

    def check_flags(
        self, flag_keys: Iterable[str] | None = None, company: Any = None, user: Any = None, options: Any = None
    ) -> list[CheckResult]:
        keys = list(self.answers) if flag_keys is None else list(flag_keys)
        self.asked.append((tuple(keys), company, user, options))
        return [self.answers.get(key, answer(key, False, source="default")) for key in keys]

    def track(
        self,
        event: str,
        company: Any = None,
        user: Any = None,
        traits: Any = None,
        *,
        quantity: int | None = None,
        options: Any = None,
    ) -> None:
        self.tracked.append((event, company, user, quantity))

    def flag_default(self, flag_key: str) -> bool:
        return self.defaults.get(flag_key, False)

    def purge(self, **what: Any) -> int:
        self.purged.append({name: value for name, value in what.items() if value is not None})
        return 0


class AsyncFakeClient:
    """The awaited face of a `FakeClient`, with the life cycle that an adapter drives."""

    def __init__(self, sync: FakeClient) -> None:
        self.sync = sync

    async def initialize(self, timeout: float | None = None) -> None:
        self.sync.told.append("initialize")

    async def flush(self, timeout: float | None = None) -> int:
        self.sync.told.append("flush")
        return 0

    async def close(self, timeout: float = 5.0) -> int:
        self.sync.told.append("close")
        return 0

    async def check_flag_with_entitlement(self, *question: Any) -> CheckResult:
        return self.sync.check_flag_with_entitlement(*question)

    async def check_flags(self, *question: Any) -> list[CheckResult]:
        return self.sync.check_flags(*question)

    def track(self, *event: Any, **more: Any) -> Coroutine[Any, Any, None]:
        self.sync.track(*event, **more)
        return FINISHED
