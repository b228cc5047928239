"""What one running server consists of, and how a change becomes deliveries."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from schematic_core.environment.model import Environment
from schematic_core.server.clock import Clock
from schematic_core.server.courier import Courier
from schematic_core.server.deliveries import Deliveries
from schematic_core.server.notices import notice
from schematic_core.server.records import Change
from schematic_core.server.state import State
from schematic_core.wire import dumps

__all__ = ["Fault", "Hub"]

_LONGEST_WAIT = 3600.0


@dataclass(slots=True)
class Fault:
    """What the development endpoints asked to go wrong with the next ``count`` requests under ``path``."""

    count: int
    path: str = "/"
    status: int | None = None
    delay: float = 0.0
    body: object = None
    headers: dict[str, str] = field(default_factory=dict)


class Hub:
    """State, clock and deliveries of one server; used in its loop alone."""

    def __init__(self, environment: Environment, clock: Clock) -> None:
        self.clock = clock
        self.state: State = State(environment, clock.now())
        self.deliveries: Deliveries = Deliveries(random.random)
        self.courier: Courier = Courier(self.deliveries, self.state.webhooks, clock)
        self.faults: list[Fault] = []
        self._timer: asyncio.TimerHandle | None = None

    def publish(self, changes: Sequence[Change]) -> None:
        """Queue what the webhooks want to hear of."""
        now = self.clock.now()
        for change in changes:
            feature = self.state.environment.features[change.feature].id if change.feature is not None else None
            wanting = [hook for hook in self.state.webhooks.values() if hook.wants(change.action, feature)]
            payload = dumps(notice(self.state, change, now)) if wanting else b""
            for webhook in wanting:
                self.deliveries.push(self.state.new_id("whev"), webhook.id, change.action, payload, now)
        if changes:
            self.courier.nudge()

    def wake(self) -> None:
        """Do what the clock has made due, and look again when the next thing will be."""
        self.publish(self.state.wake(self.clock.now()))
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        deadline = self.state.deadline()
        if deadline is not None:
            wait = min((deadline - self.clock.now()).total_seconds(), _LONGEST_WAIT)
            self._timer = asyncio.get_running_loop().call_later(max(wait, 0.001), self.wake)

    def take_fault(self, path: str) -> Fault | None:
        """Give the fault that this request must meet, if one was asked for."""
        for fault in self.faults:
            if path.startswith(fault.path):
                fault.count -= 1
                self.faults = [one for one in self.faults if one.count > 0]
                return fault
        return None

    def start(self) -> None:
        """Begin to send deliveries."""
        self.courier.start()
        self.wake()

    async def stop(self, timeout: float) -> None:
        """End within about ``timeout`` seconds."""
        if self._timer is not None:
            self._timer.cancel()
        await self.courier.stop(timeout)
