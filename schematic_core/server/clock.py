"""The server's clock: real time, moved by as much as the development endpoints say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

__all__ = ["Clock"]

_FIRST, _LAST = datetime(2000, 1, 1, tzinfo=timezone.utc), datetime(2200, 1, 1, tzinfo=timezone.utc)


def _present() -> datetime:
    return datetime.now(timezone.utc)


class Clock:
    """Gives the present, aware and in UTC, in whole milliseconds as the rules engine takes it."""

    def __init__(self, present: Callable[[], datetime] = _present) -> None:
        self._present = present
        self._offset = timedelta()

    def now(self) -> datetime:
        """Give the server's present."""
        now = self._present() + self._offset
        return now.replace(microsecond=now.microsecond // 1000 * 1000)

    def wall(self) -> datetime:
        """Give real time, which receivers of webhooks compare signatures with."""
        return self._present()

    def set(self, instant: datetime) -> None:
        """Make ``instant`` (aware) the present; time goes on from there.

        Raises:
            ValueError: it lies outside the years 2000 to 2199.
        """
        if not _FIRST <= instant < _LAST:
            raise ValueError("the clock must be between the years 2000 and 2199")
        self._offset = instant - self._present()

    def advance(self, seconds: float) -> None:
        """Move the present by ``seconds``; less than zero moves it back.

        Raises:
            ValueError: it would lie outside the years 2000 to 2199.
        """
        try:
            moved = self.now() + timedelta(seconds=seconds)
        except OverflowError as error:
            raise ValueError("the clock must be between the years 2000 and 2199") from error
        self.set(moved)
