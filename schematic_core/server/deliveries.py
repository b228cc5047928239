"""Webhook deliveries: what is due when, in order for each endpoint, repeated until given up.

A machine. The shell sends what `take` gives and reports each with `settle`; until then the delivery is under way and
its endpoint gets nothing else. `deadline` says when to call `take` again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

__all__ = ["MAX_ATTEMPTS", "Deliveries", "Delivery"]

MAX_ATTEMPTS = 6
"""The first attempt and five repeats (``http-api.md`` section 20)."""

_LOG_KEPT = 1000
_FIRST_PAUSE = 1.0
_SUCCESS = range(200, 300)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One notice to one endpoint.

    ``status`` is ``pending``, ``success`` or ``failure``; ``due`` is when the next attempt may start (server's clock);
    ``response_code`` is that of the last attempt, None when no answer came; ``failure`` says why none did.
    """

    id: str
    webhook_id: str
    request_type: str
    payload: bytes = field(repr=False)
    created_at: datetime
    due: datetime
    status: str = "pending"
    attempts: int = 0
    response_code: int | None = None
    failure: str | None = None
    sent_at: datetime | None = None


class Deliveries:
    """Queues by endpoint, and the log of what became of them.

    Args:
        random: gives floats in [0, 1), for the jitter.
    """

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._queues: dict[str, deque[str]] = {}
        self._all: dict[str, Delivery] = {}
        self._under_way: set[str] = set()
        self._finished: deque[str] = deque()

    @property
    def log(self) -> list[Delivery]:
        """Every delivery still remembered, the newest first."""
        return list(reversed(self._all.values()))

    @property
    def pending(self) -> int:
        """How many are neither delivered nor given up."""
        return sum(len(queue) for queue in self._queues.values())

    def find(self, own_id: str) -> Delivery | None:
        """Give the delivery with an id, if it is remembered."""
        return self._all.get(own_id)

    def push(self, own_id: str, webhook_id: str, request_type: str, payload: bytes, now: datetime) -> Delivery:
        """Queue a notice, due at once behind what its endpoint has waiting."""
        delivery = Delivery(
            id=own_id, webhook_id=webhook_id, request_type=request_type, payload=payload, created_at=now, due=now
        )
        self._all[own_id] = delivery
        self._queues.setdefault(webhook_id, deque()).append(own_id)
        return delivery

    def take(self, now: datetime) -> list[Delivery]:
        """Give what is to be sent now, at most one for each endpoint; each must be settled."""
        due = [delivery for delivery in self._heads() if delivery.due <= now]
        self._under_way.update(delivery.id for delivery in due)
        return due

    def deadline(self) -> datetime | None:
        """Give when the next delivery is due; None while there is none to wait for."""
        return min((delivery.due for delivery in self._heads()), default=None)

    def settle(self, own_id: str, response_code: int | None, now: datetime, *, failure: str | None = None) -> Delivery:
        """Note how an attempt ended: with an answer's status, or None when none came and why."""
        self._under_way.discard(own_id)
        former = self._all[own_id]
        delivery = replace(
            former, attempts=former.attempts + 1, response_code=response_code, failure=failure, sent_at=now
        )
        if response_code is not None and response_code in _SUCCESS:
            return self._finish(replace(delivery, status="success"))
        if delivery.attempts >= MAX_ATTEMPTS:
            return self._finish(replace(delivery, status="failure"))
        self._all[own_id] = delivery = replace(delivery, due=now + self._pause(delivery.attempts))
        return delivery

    def drop(self, webhook_id: str) -> None:
        """Give up everything that waits for an endpoint."""
        for own_id in list(self._queues.get(webhook_id, ())):
            if own_id not in self._under_way:
                self._finish(replace(self._all[own_id], status="failure"))

    def _heads(self) -> list[Delivery]:
        heads = [queue[0] for queue in self._queues.values() if queue]
        return [self._all[own_id] for own_id in heads if own_id not in self._under_way]

    def _pause(self, attempts: int) -> timedelta:
        return timedelta(seconds=_FIRST_PAUSE * 2.0 ** (attempts - 1) * (0.5 + self._random()))

    def _finish(self, delivery: Delivery) -> Delivery:
        self._all[delivery.id] = delivery
        self._queues[delivery.webhook_id].remove(delivery.id)
        self._finished.append(delivery.id)
        if len(self._finished) > _LOG_KEPT:
            del self._all[self._finished.popleft()]
        return delivery
