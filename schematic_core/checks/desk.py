"""Shell: the answers' machine under one lock and one clock, for both faces and every thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from schematic_core.checks.answers import Answer, Answers, Flight, Token
from schematic_core.checks.outcome import Outcome
from schematic_core.checks.purges import Purges
from schematic_core.checks.question import RawQuestion, Subject, raw_question
from schematic_core.keys import Pairs
from schematic_core.values import CheckResult, Keys

__all__ = ["Desk"]

_monotonic = time.monotonic

_LONG_AGO = -1
"""A generation before the first: what was asked in it is never fresh."""


class Desk:
    """Guards `Answers`. No method calls out while it holds the lock.

    Args:
        make: gives an empty machine.
        clock: monotonic seconds.
        wall: the present, aware.
        remembers: False when the cache is switched off; then callers neither find nor put.
    """

    def __init__(
        self, make: Callable[[], Answers], clock: Callable[[], float], wall: Callable[[], datetime], *, remembers: bool
    ) -> None:
        self.remembers: bool = remembers
        self._make = make
        self._clock = clock
        self._wall = wall
        self._purges = Purges()
        self.after_fork_in_child()

    def after_fork_in_child(self) -> None:
        """Start anew: the inherited lock may be held, and inherited flights have lost their leaders."""
        self._lock = threading.RLock()  # a finaliser or signal handler may check while this thread holds it
        self._answers = self._make()
        self.aliases: dict[RawQuestion, Answer] = self._answers.aliases

    def retire(self) -> None:
        """Forget everything and remember nothing more: the client is closed."""
        with self._lock:
            self.remembers = False
            self._answers.drop([])

    def recall(self, flag_key: str, company: Keys | None, user: Keys | None) -> CheckResult | None:
        """Give the fresh answer to a question written like an earlier one; what is odd is left to the slow path."""
        try:
            answer = self.aliases.get(raw_question(flag_key, company, user))
        except Exception:  # noqa: BLE001 - keys may be objects of any kind, and the slow path says what is wrong with them
            return None
        return answer.result if answer is not None and answer.fresh_until > _monotonic() else None

    def find(self, subject: Subject) -> Answer | None:
        """Give what is remembered about ``subject``."""
        with self._lock:
            return self._answers.find(subject, self._clock())

    def put(self, subject: Subject, result: CheckResult | None, asked_in: int) -> None:
        """Remember what the service said; ``asked_in`` is the flight's generation."""
        with self._lock:
            self._answers.put(subject, result, asked_in, self._clock())

    def alias(self, raw: RawQuestion, subject: Subject) -> None:
        """Let ``raw`` find the answer to ``subject`` directly from now on."""
        with self._lock:
            answer = self._answers.find(subject, self._clock())
            if answer is not None and self.remembers:
                self._answers.alias(raw, answer)

    def join(self, subject: Subject, gives_up_at: float) -> tuple[Flight, bool]:
        """Board the request under way for ``subject``; True means that the caller leads and must land it."""
        with self._lock:
            return self._answers.join(subject, gives_up_at, self._clock())

    def land(self, flight: Flight, outcome: Outcome) -> None:
        """End a request and tell everybody who waits for it."""
        with self._lock:
            callbacks = self._answers.land(flight, outcome)
        for callback in callbacks:
            callback()

    def on_landing(self, flight: Flight, callback: Callable[[], None]) -> None:
        """Call back once ``flight`` has landed, perhaps at once, perhaps on another thread."""
        with self._lock:
            waits = not flight.has_landed
            if waits:
                flight.callbacks.append(callback)
        if not waits:
            callback()

    def drop(self, groups: Sequence[Collection[Token]]) -> list[Subject]:
        """Forget the answers that have one token of every group; all when there is no group."""
        with self._lock:
            self._purges.dropped(groups, self._wall())
            return self._answers.drop(groups)

    def expire_usage(self, tokens: Collection[Token]) -> list[Subject]:
        """Let answers that carry usage of these companies be asked again."""
        with self._lock:
            self._purges.used(tokens, self._wall())
            return self._answers.expire_usage(tokens)

    def believes(self, subject: Subject, row: CheckResult) -> bool:
        """Whether a provider's row is from after every purge that concerns it; if so, later purges will find it."""
        with self._lock:
            if self._purges.cover(subject, row):
                return False
            self._answers.put(subject, row, _LONG_AGO, self._clock())
            return True

    def is_current(self, subject: Subject, result: CheckResult, asked_in: int) -> bool:
        """Whether nothing that concerns an answer happened since it was asked for in generation ``asked_in``."""
        with self._lock:
            return self._answers.is_current(subject, result, asked_in)

    @property
    def generation(self) -> int:
        """How many times answers were dropped or expired so far."""
        return self._answers.generation

    def known_flags(self, company: Pairs, user: Pairs) -> list[str]:
        """List the flags with a last known answer about this context."""
        with self._lock:
            return self._answers.known_flags(company, user, self._clock())
