"""What one running server consists of, and how a change becomes deliveries and frames."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from schematic_core.environment.model import Environment
from schematic_core.server.clock import Clock
from schematic_core.server.connections import Connections
from schematic_core.server.courier import Courier
from schematic_core.server.deliveries import Deliveries
from schematic_core.server.notices import notice
from schematic_core.server.records import Change
from schematic_core.server.state import State
from schematic_core.server.streams import Close, Streams
from schematic_core.wire import dumps

__all__ = ["Fault", "Hub"]

_LONGEST_WAIT = 3600.0
_CLOSE_TIMEOUT = 0.3
_GOING_AWAY = Close(1001, "the server is stopping")


@dataclass(slots=True)
class Fault:
    """What the development endpoints asked to go wrong with the next ``count`` requests under ``path``.

    ``code`` is for the handshakes of ``/datastream``: they succeed, and the connection is closed with it.
    """

    count: int
    path: str = "/"
    status: int | None = None
    code: int | None = None
    delay: float = 0.0
    body: object = None
    headers: dict[str, str] = field(default_factory=dict)


class Hub:
    """State, clock, deliveries and streams of one server; used in its loop alone."""

    def __init__(self, environment: Environment, clock: Clock) -> None:
        self.clock = clock
        self.state: State = State(environment, clock.now())
        self.deliveries: Deliveries = Deliveries(random.random)
        self.courier: Courier = Courier(self.deliveries, self.state.webhooks, clock)
        self.streams: Streams = Streams(self.state, clock.now())
        self.connections: Connections = Connections()
        self.faults: list[Fault] = []
        self._timer: asyncio.TimerHandle | None = None

    def publish(self, changes: Sequence[Change]) -> None:
        """Queue what the webhooks want to hear of, and tell the streams; to be called after any change of the state."""
        now = self.clock.now()
        for change in changes:
            feature = self.state.environment.features[change.feature].id if change.feature is not None else None
            wanting = [hook for hook in self.state.webhooks.values() if hook.wants(change.action, feature)]
            payload = dumps(notice(self.state, change, now)) if wanting else b""
            for webhook in wanting:
                self.deliveries.push(self.state.new_id("whev"), webhook.id, change.action, payload, now)
        if changes:
            self.courier.nudge()
        self.streams.push(now)
        self.stir()

    def wake(self) -> None:
        """Do what the clock has made due, and look again when the next thing will be."""
        self.publish(self.state.wake(self.clock.now()))

    def stir(self) -> None:
        """Send what the streams have queued; look when the clock makes the next thing due."""
        self.connections.nudge()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        deadlines = [one for one in (self.state.deadline(), self.streams.deadline()) if one is not None]
        if deadlines and not self.connections.is_stopping:
            wait = min((min(deadlines) - self.clock.now()).total_seconds(), _LONGEST_WAIT)
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

    async def stop_streams(self) -> None:
        """Close every connection to ``/datastream`` as a server does that goes away; it may be done already."""
        self.streams.close_all(_GOING_AWAY)
        await self.connections.stop(_CLOSE_TIMEOUT)

    async def stop(self, timeout: float) -> None:
        """End within about ``timeout`` seconds."""
        await self.stop_streams()
        if self._timer is not None:
            self._timer.cancel()
        await self.courier.stop(timeout)
