"""What became of asking the service, and whether asking it is worth it at the moment."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Union

from schematic_core.errors import (
    ApiError,
    BadRequestError,
    ConnectionFailed,
    ForbiddenError,
    NotFoundError,
    ParsingError,
    TimedOut,
    UnauthorizedError,
)
from schematic_core.timing import Breaker
from schematic_core.values import CheckResult

__all__ = ["Failure", "Health", "Outcome"]

_A_FAIR_CHANCE = 1.0


@dataclass(frozen=True, slots=True)
class Failure:
    """The service gave no answer. ``word`` is short and stable, e.g. ``"timed_out"`` or ``"http_503"``."""

    word: str


Outcome = Union[Mapping[str, Union[CheckResult, None]], Failure]
"""The service's answers by flag key (None or absent: it does not know the flag), or why there are none."""

ABANDONED: Final = Failure("abandoned")
LATE: Final = Failure("timed_out")
HELD_BACK: Final = Failure("service_unavailable")
BROKEN: Final = Failure("client_error")


class Health:
    """Judges the service's health from its answers; says so once when it changes.

    Args:
        breaker: holds calls back while the service is down.
        log: where changes are reported.
    """

    def __init__(self, breaker: Breaker, log: logging.Logger | logging.LoggerAdapter[logging.Logger]) -> None:
        self._breaker = breaker
        self._log = log
        self._is_failing = False

    def blocks(self, now: float) -> bool:
        """Whether a call would be held back at ``now`` (monotonic seconds)."""
        return self._breaker.blocks(now)

    def allows(self, now: float) -> bool:
        """Whether a call may go at ``now``; while the service is down a yes is the one probe."""
        return self._breaker.allows(now)

    def succeeded(self) -> None:
        """Count an answer of the service, a refusal of one question included."""
        self._breaker.succeeded()
        if self._is_failing:
            self._is_failing = False
            self._log.info("flag checks reach the service again")

    def failed(self, error: ApiError, now: float, allowed: float) -> Failure:
        """Classify an error met at ``now`` by a call that had ``allowed`` seconds."""
        failure = Failure(_word(error))
        self._log.debug("flag check failed: %s", failure.word, exc_info=error)
        if isinstance(error, BadRequestError):
            self.succeeded()
            return failure
        if isinstance(error, TimedOut) and allowed < _A_FAIR_CHANCE:
            return failure  # the caller's haste says nothing about the service
        self._breaker.failed(now)
        if not self._is_failing:
            self._is_failing = True
            refused = isinstance(error, (UnauthorizedError, ForbiddenError))
            hint = "; is the API key right?" if refused else ""
            self._log.warning(
                "flag checks cannot reach the service (%s)%s",
                failure.word,
                hint,
                extra={"schematic_error": failure.word},
            )
        return failure


def _word(error: ApiError) -> str:
    if isinstance(error, TimedOut):
        return "timed_out"
    if isinstance(error, ConnectionFailed):
        return "connection_failed"
    if isinstance(error, ParsingError):
        return "unreadable_answer"
    if isinstance(error, NotFoundError):
        return "flag_not_found"
    return f"http_{error.status_code}" if error.status_code is not None else "no_answer"
