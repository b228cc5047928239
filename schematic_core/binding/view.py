"""What one request knows: who it is about, the answers it got, the usage it reported. No I/O, no await."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Union

from schematic_core.binding.denial import refusal
from schematic_core.binding.identity import Identity
from schematic_core.binding.meter import Meter, Usage
from schematic_core.binding.ports import Clients
from schematic_core.values import CheckResult

__all__ = ["ANONYMOUS", "Resolve", "View", "Wait"]

ANONYMOUS = Identity()
"""Nobody."""

Wait = Callable[[Awaitable[Union[Identity, None]]], Union[Identity, None]]
"""Gives a worker thread the result of something that must run on the event loop."""

Resolve = Callable[[], Union[Identity, Awaitable[Union[Identity, None]], None]]
"""Finds the identity when it is first needed."""

_log = logging.getLogger("schematic.binding")


class View:
    """State behind `Features` and `SyncFeatures` of one request. Each flag is decided once and keeps its answer.

    Args:
        clients: both faces of the client.
        identity: who the request is about; None while that is not known.
        resolve: finds the identity when it is first needed; without it, an unknown identity is `ANONYMOUS`.
        wait: lets plain code have an identity that ``resolve`` finds with ``async``; without it that raises.
        remembers: whether answers are kept for later asks. A connection that lives for hours should not.

    Long-lived scopes (``remembers=False``) send usage as soon as the identity is known; the others hold it until
    ``meter.settle()``.
    """

    __slots__ = ("_answers", "_missed", "clients", "identity", "meter", "remembers", "resolve", "wait")

    def __init__(
        self,
        clients: Clients,
        identity: Identity | None = None,
        *,
        resolve: Resolve | None = None,
        wait: Wait | None = None,
        remembers: bool = True,
    ) -> None:
        self.clients: Clients = clients
        self.resolve: Resolve | None = resolve
        self.wait: Wait | None = wait
        self.remembers: bool = remembers
        self.identity: Identity | None = None
        self.meter: Meter = Meter(self._send)
        self._answers: dict[tuple[str, float | None], CheckResult] = {}
        self._missed = False
        if identity is not None or resolve is None:
            self.identify(identity)

    def identify(self, identity: Identity | None) -> Identity:
        """Settle who the request is about; another identity than before forgets the answers given so far.

        Raises:
            TypeError: the application's identity function gave something else.
        """
        if identity is not None and not isinstance(identity, Identity):
            raise TypeError(f"identity must give an Identity or None, not {type(identity).__name__}")
        chosen = identity or ANONYMOUS
        if self.identity is not None and self.identity != chosen:
            self._answers.clear()
        self.identity = chosen
        if not self.remembers:
            self.meter.settle()
        return chosen

    def recall(self, flag_key: str, usage: float | None = None) -> CheckResult | None:
        """Give the answer this request already has, or None when it must ask."""
        return self._answers.get((flag_key, usage)) if self.remembers else None

    def remember(self, result: CheckResult, usage: float | None = None) -> CheckResult:
        """Keep an answer and give the one that counts: the first, should two tasks have asked at once."""
        if not self.remembers:
            self._answers[result.flag_key, usage] = result
            return result
        return self._answers.setdefault((result.flag_key, usage), result)

    def missing(self, flag_keys: Iterable[str]) -> list[str]:
        """List the flags that must be asked."""
        return [key for key in dict.fromkeys(flag_keys) if self.recall(key) is None]

    def peek(self, flag_key: str, *, default: bool | None = None) -> bool:
        """Give what is known without asking; the default for what is not, logged once."""
        result = self._answers.get((flag_key, None))
        if result is not None:
            return decided(result, default=default).value
        if not self._missed:
            self._missed = True
            _log.warning("peek at a flag that was not loaded: %s; load it first", flag_key)
        return self.clients.sync.flag_default(flag_key) if default is None else default

    def refresh(self) -> None:
        """Forget the answers, here and in the client's cache for this identity; the next ask asks the service."""
        self._answers.clear()
        who = self.identity
        if who is not None and who.company is not None:
            self.clients.sync.purge(company=who.company)
        if who is not None and who.user is not None:
            self.clients.sync.purge(user=who.user)

    def admit(self, result: CheckResult, status: int | None = None) -> CheckResult:
        """Give ``result`` back when it opens a gate.

        Raises:
            FeatureDenied: it does not.
        """
        is_anonymous = self.identity is None or self.identity.is_anonymous
        denied = refusal(result, is_anonymous=is_anonymous, status=status)
        if denied is not None:
            raise denied
        return result

    def _send(self, usage: Usage) -> None:
        who = self.identity or ANONYMOUS
        self.clients.sync.track(
            usage.event, who.company, who.user, usage.traits, quantity=usage.quantity, options=usage.options
        )


def decided(result: CheckResult, *, default: bool | None) -> CheckResult:
    """Let the caller's own default decide where nothing could answer; an answer stands as it is."""
    if default is None or result.source != "default" or result.value == default:
        return result
    return replace(result, value=default)
