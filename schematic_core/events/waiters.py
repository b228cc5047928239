"""Shell: callers that wait for their events, in `flush`."""

from __future__ import annotations

import threading
from collections.abc import Iterable

__all__ = ["Waiter", "Waiters"]


class Waiter:
    """One caller that waits for the events below a number."""

    __slots__ = ("is_settled", "is_urged", "target", "turn")

    def __init__(self, target: int) -> None:
        self.target: int = target
        self.turn: threading.Lock = threading.Lock()
        self.turn.acquire()
        self.is_urged: bool = False
        self.is_settled: bool = False


class Waiters:
    """Everybody who waits. Callers come and go on any thread; each is woken once."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[Waiter] = []

    def now(self) -> list[Waiter]:
        """Give those who wait at present."""
        return list(self._waiting)

    def add(self, target: int) -> Waiter:
        """Begin to wait."""
        waiter = Waiter(target)
        self._waiting.append(waiter)
        return waiter

    def discard(self, waiter: Waiter) -> bool:
        """Wait no more; whether it was still waiting."""
        try:
            self._waiting.remove(waiter)
        except ValueError:
            return False
        return True

    def answer(self, settled: Iterable[Waiter]) -> None:
        """Wake those whose events are delivered or lost."""
        for waiter in settled:
            waiter.is_settled = True
            if self.discard(waiter):
                waiter.turn.release()

    def dismiss(self) -> None:
        """Wake everybody: nobody is working for them any more."""
        for waiter in self.now():
            if self.discard(waiter):
                waiter.turn.release()
