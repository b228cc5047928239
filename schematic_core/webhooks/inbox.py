"""Flow of one delivery: verify, recognise repeats, drop the answers it makes wrong, run the handlers."""

from __future__ import annotations

import hashlib
import inspect
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from schematic_core.errors import ConfigurationError, WebhookSignatureError
from schematic_core.webhooks.event import TEST_EVENT, Purge, WebhookEvent, affected, verify
from schematic_core.webhooks.receipt import Headers
from schematic_core.webhooks.signing import DEFAULT_TOLERANCE, Instant
from schematic_core.webhooks.store import LEASE, DeliveryStore, MemoryDeliveryStore

__all__ = ["MAX_BODY_BYTES", "Acknowledgement", "Handler", "Handlers", "Inbox", "Purger", "too_large"]

MAX_BODY_BYTES = 1024 * 1024

Handler = Callable[[WebhookEvent], Any]
"""Takes the event; plain or ``async``. What it returns is ignored."""

H = TypeVar("H", bound=Handler)
T = TypeVar("T")

_log = logging.getLogger("schematic.webhooks")
_OK = 200


class Purger(Protocol):
    """What the inbox needs from a client."""

    def purge(
        self,
        *,
        company_id: str | None = None,
        user_id: str | None = None,
        company: Any = None,
        user: Any = None,
    ) -> object:
        """Drop remembered answers; all without arguments."""


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What to answer: ``{"status": 400, "outcome": "mismatch"}``. 200 ends a delivery, anything else has it sent again.

    ``retry_after``, where given, belongs in a header ``Retry-After``, seconds.
    """

    status: int
    outcome: str
    retry_after: int | None = None


_FAILED = Acknowledgement(500, "failed")
_IN_PROGRESS = Acknowledgement(503, "in_progress", retry_after=5)


def too_large() -> Acknowledgement:
    """Give the answer to a body over `MAX_BODY_BYTES`."""
    _log.warning("refused a webhook delivery: its body is larger than %d bytes", MAX_BODY_BYTES)
    return Acknowledgement(413, "too_large")


class Handlers:
    """Handlers by pattern: a type, a prefix such as ``entitlement.*``, or ``*``; they run in order of registration."""

    def __init__(self) -> None:
        self._registered: list[tuple[str, Handler]] = []

    def __len__(self) -> int:
        return len(self._registered)

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
            self._registered.append((pattern, handler))
            return handler

        return register

    def matching(self, type_: str) -> list[Handler]:
        """List the handlers of one event type, in order of registration."""
        return [
            handler
            for pattern, handler in self._registered
            if pattern in ("*", type_) or (pattern.endswith(".*") and type_.startswith(pattern[:-1]))
        ]


class Inbox:
    """Takes deliveries for one set of handlers.

    Args:
        secrets: of the endpoint; all are tried.
        client: whose remembered answers are dropped.
        handlers: who is told.
        run: calls one handler; raises what the handler raises. How a plain one is kept off an event loop is its business.
        store: where handled deliveries are remembered.
        tolerance: seconds a timestamp may differ from the present.
    """

    def __init__(
        self,
        secrets: tuple[str, ...],
        client: Purger,
        handlers: Handlers,
        run: Callable[[Handler, WebhookEvent], Awaitable[object]],
        *,
        store: DeliveryStore | None = None,
        tolerance: float | None = DEFAULT_TOLERANCE,
    ) -> None:
        self._secrets = secrets
        self._client = client
        self._handlers = handlers
        self._run = run
        self._store = store or MemoryDeliveryStore()
        self._tolerance = tolerance
        self._under_way: dict[str, object] = {}

    def verify(self, body: bytes, headers: Headers, now: Instant = None) -> WebhookEvent:
        """Give the event of a genuine delivery after dropping the answers that it makes wrong.

        Raises:
            WebhookSignatureError: it is not genuine; logged with its reason only.
        """
        try:
            event = verify(body, headers, self._secrets, tolerance=self._tolerance, now=now)
        except WebhookSignatureError as error:
            _log.warning("refused a webhook delivery: %s", error, extra={"schematic_code": error.code})
            raise
        self._purge(affected(event))
        return event

    async def receive(self, body: bytes, headers: Headers, now: Instant = None) -> Acknowledgement:
        """Handle one delivery, and say how to answer it. Raises nothing but what ends the task or the process."""
        try:
            event = self.verify(body, headers, now)
        except WebhookSignatureError as error:
            return Acknowledgement(400, error.code)
        if event.type == TEST_EVENT:
            return await self._handle(event)
        key = hashlib.sha256(body).hexdigest()
        mine = object()
        if self._under_way.setdefault(key, mine) is not mine:  # one step, so that threads cannot both pass
            _log.debug("a %s came again while it is being handled", event.type)
            return _IN_PROGRESS  # not 200: should the first try fail, the event would be lost
        try:
            return await self._handle_once(key, event)
        finally:
            del self._under_way[key]

    async def _handle_once(self, key: str, event: WebhookEvent) -> Acknowledgement:
        try:
            is_new = await _settled(self._store.claim(key, LEASE))
        except Exception:  # noqa: BLE001 - a store of the user's
            _log.exception("the store of webhook deliveries failed; the delivery will be sent again")
            return _FAILED
        if not is_new:
            _log.debug("acknowledged a repeated %s", event.type)
            return Acknowledgement(_OK, "repeated")
        acknowledgement = _FAILED
        try:
            acknowledgement = await self._handle(event)
        finally:
            await self._note(key, is_done=acknowledgement.status == _OK)
        return acknowledgement

    async def _note(self, key: str, *, is_done: bool) -> None:
        try:
            await _settled(self._store.done(key) if is_done else self._store.release(key))
        except Exception:  # noqa: BLE001 - a store of the user's; its claim on the delivery expires
            _log.exception("the store of webhook deliveries failed; how a delivery ended was not noted")

    async def _handle(self, event: WebhookEvent) -> Acknowledgement:
        try:
            for handler in self._handlers.matching(event.type):
                await self._run(handler, event)
        except Exception:  # noqa: BLE001 - user code
            _log.exception(
                "a webhook handler failed; the delivery will be sent again", extra={"schematic_type": event.type}
            )
            return _FAILED
        return Acknowledgement(_OK, "handled")

    def _purge(self, purge: Purge | None) -> None:
        if purge is None:
            return
        self._client.purge(company_id=purge.company_id, user_id=purge.user_id, company=purge.company, user=purge.user)


async def _settled(value: Awaitable[T] | T) -> T:
    return await value if inspect.isawaitable(value) else value
