"""Remember which deliveries were handled, so that a repeat is acknowledged without running handlers again."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Protocol

from schematic_core import lifecycle

__all__ = ["LEASE", "DeliveryStore", "MemoryDeliveryStore"]

LEASE = 60.0


class DeliveryStore(Protocol):
    """Where deliveries are remembered; the methods may be plain or ``async``. ``key`` is the body's SHA-256 in hex."""

    def claim(self, key: str, lease: float) -> bool | Awaitable[bool]:
        """Take a delivery for ``lease`` seconds; False when it is done, or claimed by somebody else just now."""

    def done(self, key: str) -> Awaitable[None] | None:
        """Remember a claimed delivery as handled."""

    def release(self, key: str) -> Awaitable[None] | None:
        """Give a claimed delivery back, so that its repeat is handled."""


class MemoryDeliveryStore:
    """Deliveries of this process: ``max_entries`` at most, each for ``window`` seconds. Safe between threads.

    Args:
        window: seconds a handled delivery is remembered.
        max_entries: deliveries remembered at most; the oldest go first.
        clock: monotonic seconds.
    """

    def __init__(
        self, window: float = 3600.0, max_entries: int = 10_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._window = window
        self._max_entries = max_entries
        self._clock = clock
        self._held_until: OrderedDict[str, float] = OrderedDict()
        self.after_fork_in_child()
        lifecycle.register(self)

    def after_fork_in_child(self) -> None:
        """Take a lock of its own, for the parent's may be held; what the parent handled stays handled."""
        self._lock = threading.Lock()

    def claim(self, key: str, lease: float) -> bool:
        """Take a delivery for ``lease`` seconds; False when it is done or claimed."""
        with self._lock:
            now = self._clock()
            if self._held_until.get(key, now) > now:
                return False
            self._put(key, now + lease)
            return True

    def done(self, key: str) -> None:
        """Remember a delivery as handled."""
        with self._lock:
            self._put(key, self._clock() + self._window)

    def release(self, key: str) -> None:
        """Forget a delivery."""
        with self._lock:
            self._held_until.pop(key, None)

    def _put(self, key: str, until: float) -> None:
        self._held_until[key] = until
        self._held_until.move_to_end(key)
        while len(self._held_until) > self._max_entries:
            self._held_until.popitem(last=False)
