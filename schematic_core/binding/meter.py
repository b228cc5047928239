"""Machine: usage reported while a request runs, held until its outcome is known, then sent or dropped once.

Two steps make it free of locks although worker threads add while the event loop settles: every report is queued first, and
whoever finds the meter open empties the queue. A report that comes after ``settle`` goes out at once, one that comes after
``discard`` is dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from schematic_core.values import TrackOptions

__all__ = ["Meter", "Usage"]


@dataclass(frozen=True, slots=True)
class Usage:
    """One report of usage: ``quantity`` units of ``event``."""

    event: str
    quantity: int = 1
    traits: Mapping[str, Any] | None = None
    options: TrackOptions | None = None


class Meter:
    """Holds usage until it is settled.

    Args:
        send: hands one report to the client; never blocks, never raises.
    """

    __slots__ = ("_held", "_is_settled", "_send")

    def __init__(self, send: Callable[[Usage], object]) -> None:
        self._send = send
        self._held: deque[Usage] | None = deque()
        self._is_settled = False

    @property
    def is_pending(self) -> bool:
        """Whether usage is waiting for the outcome."""
        return bool(self._held) and not self._is_settled

    def add(self, usage: Usage) -> None:
        """Hold ``usage``, or send or drop it when the outcome is known."""
        held = self._held
        if held is not None:
            held.append(usage)
            if self._is_settled:
                self._drain(held)

    def settle(self) -> None:
        """Success: send what is held, and from now on everything at once. Later calls change nothing."""
        held = self._held
        if held is not None and not self._is_settled:
            self._is_settled = True
            self._drain(held)

    def discard(self) -> None:
        """Failure: drop what is held and everything that still comes. Changes nothing once settled."""
        if not self._is_settled:
            self._held = None

    def _drain(self, held: deque[Usage]) -> None:
        while True:
            try:
                usage = held.popleft()
            except IndexError:
                return
            self._send(usage)
