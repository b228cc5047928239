"""Flows of a view: decide a flag, load several, find out who is asking. Awaited by one face, driven in one step by the other."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol, Union

from schematic_core.binding.identity import Identity
from schematic_core.binding.view import View, decided
from schematic_core.values import CheckResult

__all__ = ["Asking", "Found", "entitlement", "identify", "load"]

Found = Union[Identity, Awaitable[Union[Identity, None]], None]
"""What an identity function gives, plain or ``async``."""


class Asking(Protocol):
    """How one face asks the client and the application. The plain face's methods block instead of suspending."""

    async def check(self, flag_key: str, who: Identity, usage: float | None) -> CheckResult:
        """Ask one flag."""

    async def check_many(self, flag_keys: Sequence[str] | None, who: Identity) -> list[CheckResult]:
        """Ask several flags with one request; all for None."""

    async def identity(self, found: Found) -> Identity | None:
        """Wait for what the identity function gives."""


async def entitlement(
    view: View, asking: Asking, flag_key: str, *, default: bool | None = None, usage: float | None = None
) -> CheckResult:
    """Give the request's one answer for a flag."""
    result = view.recall(flag_key, usage)
    if result is None:
        who = view.identity or await identify(view, asking)
        result = view.remember(await asking.check(flag_key, who, usage), usage)
    return decided(result, default=default)


async def load(view: View, asking: Asking, flag_keys: Sequence[str]) -> None:
    """Ask what is missing of ``flag_keys``; all flags when there are none."""
    missing = view.missing(flag_keys)
    if flag_keys and not missing:
        return
    who = view.identity or await identify(view, asking)
    for result in await asking.check_many(missing or None, who):
        view.remember(result)


async def identify(view: View, asking: Asking) -> Identity:
    """Give who the request is about, asking the application if nobody did yet."""
    if view.identity is None:
        return view.identify(await asking.identity(view.resolve() if view.resolve is not None else None))
    return view.identity
