"""Sends webhook deliveries: one task in the server's loop, one request at a time to each endpoint."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from urllib.parse import urlsplit

import httpx

from schematic_core.server.clock import Clock
from schematic_core.server.deliveries import Deliveries, Delivery
from schematic_core.server.records import Webhook
from schematic_core.webhooks import sign

__all__ = ["Courier"]

_log = logging.getLogger("schematic.server")

_ATTEMPT_TIMEOUT = 10.0


class Courier:
    """Carries out what the deliveries machine says. Lives in one loop: `start`, `nudge` and `stop` are called there.

    Args:
        deliveries: what is to be sent.
        webhooks: the endpoints by id; looked at for each attempt.
        clock: says what is due; signatures carry real time, for receivers compare them with theirs.
    """

    def __init__(self, deliveries: Deliveries, webhooks: Mapping[str, Webhook], clock: Clock) -> None:
        self._deliveries = deliveries
        self._webhooks = webhooks
        self._clock = clock
        self._client: httpx.AsyncClient | None = None
        self._changed: asyncio.Event | None = None
        self._task: asyncio.Task[None] | None = None
        self._attempts: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to send."""
        self._changed = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run(self._changed))

    def nudge(self) -> None:
        """Look again at what is due: something was queued, or the clock was moved."""
        if self._changed is not None:
            self._changed.set()

    async def stop(self, timeout: float) -> int:
        """Wait up to ``timeout`` seconds for what is on its way, then end.

        Returns:
            How many deliveries were not made.
        """
        waiting = asyncio.get_running_loop().create_task(self._drained())
        await asyncio.wait({waiting}, timeout=timeout)
        tasks = [task for task in (waiting, self._task, *self._attempts) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()
        left = self._deliveries.pending
        if left:
            _log.warning("stopped with %d webhook deliveries not made", left, extra={"schematic_count": left})
        return left

    async def post(self, webhook: Webhook, payload: bytes) -> tuple[int | None, str | None]:
        """Make one attempt.

        Returns:
            The answer's status and None, or None and why there was no answer.
        """
        if self._client is None:  # made when first needed: loading the certificates takes longer than starting
            self._client = httpx.AsyncClient(timeout=_ATTEMPT_TIMEOUT, follow_redirects=False, trust_env=False)
        signed = sign(payload, webhook.secret, self._clock.wall())
        headers = {"Content-Type": "application/json", **signed}
        try:
            async with self._client.stream("POST", webhook.url, content=payload, headers=headers) as response:
                return response.status_code, None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:  # ValueError: a host that IDNA refuses
            return None, f"{type(error).__name__}: {error}"

    async def _run(self, changed: asyncio.Event) -> None:
        while True:
            changed.clear()
            for delivery in self._deliveries.take(self._clock.now()):
                attempt = asyncio.get_running_loop().create_task(self._attempt(delivery))
                self._attempts.add(attempt)
                attempt.add_done_callback(self._attempts.discard)
            deadline = self._deliveries.deadline()
            wait = None if deadline is None else max(0.0, (deadline - self._clock.now()).total_seconds())
            try:
                await asyncio.wait_for(changed.wait(), wait)
            except asyncio.TimeoutError:
                continue

    async def _attempt(self, delivery: Delivery) -> None:
        webhook = self._webhooks.get(delivery.webhook_id)
        status, failure = await self.post(webhook, delivery.payload) if webhook is not None else (None, "deleted")
        settled = self._deliveries.settle(delivery.id, status, self._clock.now(), failure=failure)
        if webhook is not None and settled.status == "pending" and settled.attempts == 1:
            _log.warning(
                "webhook delivery %s to %s failed and is repeated: %s",
                settled.id,
                _place(webhook.url),
                failure or status,
                extra={"schematic_webhook_id": settled.webhook_id},
            )
        if settled.status == "failure":
            _log.error(
                "gave up webhook delivery %s after %d attempts: %s",
                settled.id,
                settled.attempts,
                failure or status,
                extra={"schematic_webhook_id": settled.webhook_id},
            )
        if delivery.webhook_id not in self._webhooks:
            self._deliveries.drop(delivery.webhook_id)
        self.nudge()

    async def _drained(self) -> None:
        while self._attempts or self._is_first_attempt_waiting():
            if self._attempts:
                await asyncio.wait(set(self._attempts))
            await asyncio.sleep(0)

    def _is_first_attempt_waiting(self) -> bool:
        deadline = self._deliveries.deadline()
        return deadline is not None and deadline <= self._clock.now()


def _place(url: str) -> str:
    """Give a URL without what may be secret in it: user, password, query."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
