"""Waiting, as pure decisions: backoff with full jitter, and a breaker that makes a dead service cost nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timezone

__all__ = ["Backoff", "Breaker", "retry_after_seconds"]

_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?")


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with full jitter between ``first`` and ``cap`` seconds.

    Args:
        first: upper end of the first wait, seconds.
        cap: upper end of every later wait, seconds.
        random: gives floats in [0, 1), e.g. ``random.random``.
    """

    first: float
    cap: float
    random: Callable[[], float]

    def delay(self, attempt: int) -> float:
        """Give the seconds to wait before repeat ``attempt`` (0 is the first repeat)."""
        ceiling = min(self.cap, self.first * 2.0 ** min(attempt, 32))
        return self.random() * ceiling


class Breaker:
    """Opens after failures in a row; then lets one probe through at a time, with growing pauses.

    States: closed (every call may go), open until ``probe_at`` (none may), probing (one is under way). The caller asks
    ``allows(now)`` before each call and then says ``succeeded()`` or ``failed(now)``.
    Not thread-safe by itself; a lost race lets at most one more probe through.
    """

    __slots__ = ("_backoff", "_failures", "_probe_at", "_threshold")

    def __init__(self, backoff: Backoff, threshold: int = 5) -> None:
        self._backoff = backoff
        self._threshold = threshold
        self._failures = 0
        self._probe_at = 0.0

    @property
    def is_open(self) -> bool:
        """Whether calls are being held back."""
        return self._failures >= self._threshold

    def blocks(self, now: float) -> bool:
        """Whether a call would be held back at ``now`` (monotonic seconds); asks without reserving the probe."""
        return self.is_open and now < self._probe_at

    def allows(self, now: float) -> bool:
        """Whether a call may go at ``now`` (monotonic seconds); while open, a yes reserves the probe."""
        if self.blocks(now):
            return False
        if self.is_open:
            self._probe_at = now + self._pause()
        return True

    def succeeded(self) -> None:
        """Close: the service answers."""
        self._failures = 0

    def failed(self, now: float) -> None:
        """Count a failure of the service at ``now`` (monotonic seconds)."""
        self._failures += 1
        if self.is_open:
            self._probe_at = now + self._pause()

    def _pause(self) -> float:
        return max(1.0, self._backoff.delay(self._failures - self._threshold))


def retry_after_seconds(header: str | None, now: float) -> float | None:
    """Give the seconds that a ``Retry-After`` header asks to wait; None when it is absent or says nothing readable.

    Args:
        header: a number of seconds (zero and fractions count) or an HTTP date (one in the past is zero).
        now: epoch seconds.
    """
    text = (header or "").strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    from email.utils import parsedate_to_datetime  # slow to load, seldom needed

    try:
        date = parsedate_to_datetime(text)
        if date.tzinfo is None:  # the oldest form of HTTP dates names no zone and means UTC
            date = date.replace(tzinfo=timezone.utc)
        return max(0.0, date.timestamp() - now)
    except (ValueError, OverflowError, TypeError):  # TypeError: what 3.10 raises for text that is no date
        return None
