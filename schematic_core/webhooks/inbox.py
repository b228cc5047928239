"""Flow of one delivery: verify, recognise repeats, drop the answers it makes wrong, run the handlers."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from typing import Protocol

from schematic_core import lifecycle
from schematic_core.checks.sync import drive
from schematic_core.config import webhook_secrets
from schematic_core.errors import WebhookSignatureError
from schematic_core.webhooks.body import MAX_BODY_BYTES, Acknowledgement, too_large
from schematic_core.webhooks.event import TEST_EVENT, Purge, WebhookEvent, affected, verify
from schematic_core.webhooks.receipt import Headers
from schematic_core.webhooks.router import Router
from schematic_core.webhooks.running import BLOCKING, OnLoop, Runner, World
from schematic_core.webhooks.signing import DEFAULT_TOLERANCE, Body, Instant, Secrets, raw_body
from schematic_core.webhooks.store import LEASE, DeliveryStore, MemoryDeliveryStore

__all__ = ["Inbox", "Purger"]

_log = logging.getLogger("schematic.webhooks")
_OK = 200
_FAILED = Acknowledgement(500, "failed")
_IN_PROGRESS = Acknowledgement(503, "in_progress", retry_after=5)


class Purger(Protocol):
    """What the inbox needs from a client; `Schematic` and `AsyncSchematic` have it."""

    def purge(
        self,
        *,
        company_id: str | None = None,
        user_id: str | None = None,
        company: Mapping[str, str] | None = None,
        user: Mapping[str, str] | None = None,
    ) -> object:
        """Drop remembered answers; all without arguments."""


class Inbox:
    """Takes deliveries for one router: `receive` on an event loop, `receive_sync` in plain code. Needs no framework.

    Args:
        secrets: of the endpoint, one or several; all are tried.
        client: whose remembered answers are dropped; None where there is no client in this process.
        router: whose handlers are told.
        run: calls one handler for `receive`; without it, plain handlers run on a thread of asyncio's.
        store: where handled deliveries are remembered; this process otherwise.
        tolerance: seconds a timestamp may differ from the present; None checks no clock.

    Raises:
        ConfigurationError: there is no secret, or a blank one.

    Example:
        >>> from schematic_core.webhooks import sign
        >>> router = Router()
        >>> @router.on("company.*")
        ... def told(event: WebhookEvent) -> None:
        ...     print(event.type, event.company_id)
        >>> body = b'{"action": "company.updated", "company_id": "comp_1"}'
        >>> Inbox("whsec_test", None, router).receive_sync(body, sign(body, "whsec_test")).status
        company.updated comp_1
        200
    """

    def __init__(
        self,
        secrets: Secrets,
        client: Purger | None,
        router: Router,
        run: Runner | None = None,
        *,
        store: DeliveryStore | None = None,
        tolerance: float | None = DEFAULT_TOLERANCE,
    ) -> None:
        self._secrets = webhook_secrets(secrets or "", {})
        self._client = client
        self._router = router
        self._on_loop = OnLoop(run)
        self._store = store or MemoryDeliveryStore()
        self._tolerance = tolerance
        self.after_fork_in_child()
        lifecycle.register(self)

    def after_fork_in_child(self) -> None:
        """Forget what the parent is handling: here nobody is, and nobody would ever say that it ended."""
        self._under_way: dict[str, object] = {}

    def verify(self, body: Body, headers: Headers, now: Instant = None) -> WebhookEvent:
        """Give the event of a genuine delivery after dropping the answers that it makes wrong.

        Raises:
            WebhookSignatureError: it is not genuine; logged with its reason only.
        """
        event = self._verified(body, headers, now)
        self._purge(affected(event))
        return event

    async def receive(self, body: Body, headers: Headers, now: Instant = None) -> Acknowledgement:
        """Handle one delivery, and say how to answer it. Raises nothing but what ends the task or the process."""
        return await self._receive(body, headers, now, self._on_loop)

    def receive_sync(self, body: Body, headers: Headers, now: Instant = None) -> Acknowledgement:
        """Handle one delivery on this thread, async handlers too; else as `receive`."""
        return drive(self._receive(body, headers, now, BLOCKING))

    async def _receive(self, body: Body, headers: Headers, now: Instant, world: World) -> Acknowledgement:
        try:
            raw = raw_body(body)
            if len(raw) > MAX_BODY_BYTES:
                return too_large()
            event = self._verified(raw, headers, now)
        except WebhookSignatureError as error:
            return Acknowledgement(400, error.code)
        try:
            self._purge(affected(event))  # for a repeat too: it may be the first that this process hears of it
        except Exception:  # noqa: BLE001 - caches of the user's, or a client that cannot be made
            _log.exception("remembered answers could not be dropped; the delivery will be sent again")
            return _FAILED
        if event.type == TEST_EVENT:
            return await self._handle(event, world)
        key = hashlib.sha256(raw).hexdigest()
        mine = object()
        under_way = self._under_way
        if under_way.setdefault(key, mine) is not mine:  # one step, so that threads cannot both pass
            _log.debug("a %s came again while it is being handled", event.type)
            return _IN_PROGRESS  # not 200: should the first try fail, the event would be lost
        try:
            return await self._handle_once(key, event, world)
        finally:
            del under_way[key]

    def _verified(self, body: Body, headers: Headers, now: Instant) -> WebhookEvent:
        try:
            return verify(body, headers, self._secrets, self._tolerance, now=now)
        except WebhookSignatureError as error:
            _log.warning("refused a webhook delivery: %s", error, extra={"schematic_code": error.code})
            raise

    async def _handle_once(self, key: str, event: WebhookEvent, world: World) -> Acknowledgement:
        try:
            is_new = await world.settle(self._store.claim(key, LEASE))
        except Exception:  # noqa: BLE001 - a store of the user's
            _log.exception("the store of webhook deliveries failed; the delivery will be sent again")
            return _FAILED
        if not is_new:
            _log.debug("acknowledged a repeated %s", event.type)
            return Acknowledgement(_OK, "repeated")
        acknowledgement = _FAILED
        try:
            acknowledgement = await self._handle(event, world)
        finally:
            await self._note(key, world, is_done=acknowledgement.status == _OK)
        return acknowledgement

    async def _note(self, key: str, world: World, *, is_done: bool) -> None:
        try:
            await world.settle(self._store.done(key) if is_done else self._store.release(key))
        except Exception:  # noqa: BLE001 - a store of the user's; its claim on the delivery expires
            _log.exception("the store of webhook deliveries failed; how a delivery ended was not noted")

    async def _handle(self, event: WebhookEvent, world: World) -> Acknowledgement:
        try:
            for handler in self._router.matching(event.type):
                await world.run(handler, event)
        except Exception:  # noqa: BLE001 - user code
            _log.exception(
                "a webhook handler failed; the delivery will be sent again", extra={"schematic_type": event.type}
            )
            return _FAILED
        return Acknowledgement(_OK, "handled")

    def _purge(self, purge: Purge | None) -> None:
        if purge is None or self._client is None:
            return
        self._client.purge(company_id=purge.company_id, user_id=purge.user_id, company=purge.company, user=purge.user)
