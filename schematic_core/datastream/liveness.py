"""Whether the other end is still there: silence, a ping, and when to give up."""

from __future__ import annotations

from typing import Literal

from schematic_core.datastream.limits import ConnectionLimits

__all__ = ["Liveness"]


class Liveness:
    """The silence on one connection. Anything that arrives ends it."""

    __slots__ = ("_dead_at", "_limits", "_look_at")

    def __init__(self, limits: ConnectionLimits, now: float) -> None:
        self._limits = limits
        self.heard(now)

    @property
    def next_at(self) -> float:
        """When to `wake` next; between ping and end often, so that a pong is noticed soon."""
        return self._look_at if self._dead_at is None else min(self._look_at, self._dead_at)

    def heard(self, now: float) -> None:
        """End the silence."""
        self._look_at = now + self._limits.ping_after
        self._dead_at: float | None = None

    def wake(self, now: float) -> Literal["ping", "dead"] | None:
        """Say what the time asks for. Who wakes late still gives the ping its time, for the silence may be his own."""
        if now < self.next_at:
            return None
        if self._dead_at is None:
            self._dead_at = now + self._limits.dead_after - self._limits.ping_after
            self._look_at = now + self._limits.pong_look
            return "ping"
        self._look_at = now + self._limits.pong_look
        return "dead" if now >= self._dead_at else None
