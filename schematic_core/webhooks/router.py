"""Handlers by pattern, in the order in which they were registered; routers may be part of others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar, Union

from schematic_core.errors import ConfigurationError
from schematic_core.webhooks.event import WebhookEvent

__all__ = ["Handler", "Router"]

Handler = Callable[[WebhookEvent[Any]], Any]
"""Takes the event; plain or ``async``. What it returns is ignored."""

H = TypeVar("H", bound=Handler)


class Router:
    """Handlers by pattern: a type, a prefix such as ``entitlement.*``, or ``*``; they run in order of registration.

    Needs no framework: an adapter, or an `Inbox` of your own, runs them.

    Example:
        >>> billing, router = Router(), Router()
        >>> @billing.on("company.plan_changed")
        ... def changed(event: WebhookEvent) -> None:
        ...     print("plan of", event.company_id)
        >>> router.include(billing)
        >>> [handler.__name__ for handler in router.matching("company.plan_changed")]
        ['changed']
    """

    def __init__(self) -> None:
        self._entries: list[Union[tuple[str, Handler], Router]] = []

    def __len__(self) -> int:
        """Count the handlers, those of included routers too."""
        return sum(1 for _ in self.registered())

    def on(self, pattern: str) -> Callable[[H], H]:
        """Register the decorated function, which stays as it is.

        Args:
            pattern: e.g. ``"company.plan_changed"``, ``"entitlement.*"`` or ``"*"``.

        Raises:
            ConfigurationError: the pattern has a star anywhere but alone or after a final dot.
        """
        stem = pattern.removesuffix(".*")
        if not stem or ("*" in stem and pattern != "*"):
            raise ConfigurationError(
                f"event type must be one type, a prefix such as 'company.*', or '*', not {pattern!r}"
            )

        def register(handler: H) -> H:
            self._entries.append((pattern, handler))
            return handler

        return register

    def include(self, router: Router) -> None:
        """Let the handlers of another router run at this place, those too that it is given later.

        Raises:
            ConfigurationError: the other one includes this one already, or is this one.
        """
        if router.reaches(self):
            raise ConfigurationError("a webhook router cannot include itself, directly or through others")
        self._entries.append(router)

    def matching(self, type_: str) -> list[Handler]:
        """List the handlers of one event type, in order of registration."""
        return [
            handler
            for pattern, handler in self.registered()
            if pattern in ("*", type_) or (pattern.endswith(".*") and type_.startswith(pattern[:-1]))
        ]

    def registered(self) -> Iterator[tuple[str, Handler]]:
        """Give every pattern with its handler, in order, those of included routers in their place."""
        for entry in tuple(self._entries):
            if isinstance(entry, Router):
                yield from entry.registered()
            else:
                yield entry

    def reaches(self, router: Router) -> bool:
        """Whether a router is this one, or included in it, directly or through others."""
        return router is self or any(isinstance(entry, Router) and entry.reaches(router) for entry in self._entries)
