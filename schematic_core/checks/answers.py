"""Machine: the answers remembered in API mode, and the questions under way. No clock and no lock; `desk` brings both.

An answer is *fresh* for its time to live, may be served while one refresh runs until twice that (*renewable*), and is kept as
the last known answer until ``kept_until``. Answers are found by subject; ``aliases`` maps the raw form in which callers ask to
the same object, so that a hit costs one look-up. An answer is changed in place, so an alias never shows an older one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Literal

from schematic_core.checks.outcome import ABANDONED, Outcome
from schematic_core.checks.question import RawQuestion, Subject
from schematic_core.keys import Pairs
from schematic_core.values import CheckResult

__all__ = ["Answer", "Answers", "Flight", "Token", "carries_usage", "tokens_of"]

NEVER = float("-inf")
_MAX_ALIASES = 8
_MAX_USED = 10_000

Token = tuple[Literal["flag", "company", "company_id", "user", "user_id"], str, str]
"""By what answers are found again to be dropped, e.g. ``("company", "id", "acme")`` or ``("flag", "exports", "")``."""


@dataclass(slots=True, eq=False)
class Answer:
    """What the service said last about one subject; ``result`` is None when it did not know the flag."""

    subject: Subject
    result: CheckResult | None = None
    fresh_until: float = NEVER
    renewable_until: float = NEVER
    kept_until: float = NEVER
    asked_in: int = -1
    tokens: tuple[Token, ...] = ()
    raws: list[RawQuestion] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Flight:
    """One request under way, joined by everybody who asks the same. ``outcome`` is set once, by the leader."""

    subject: Subject
    generation: int
    gives_up_at: float
    outcome: Outcome = ABANDONED
    has_landed: bool = False
    callbacks: list[Callable[[], None]] = field(default_factory=list)


class Answers:
    """Answers by subject, at most ``max_size`` of them; the one renewed longest ago goes first.

    Args:
        max_size: answers kept at most; 0 keeps none.
        ttl: seconds an answer is fresh; 0 when only other tiers decide freshness.
        not_found_ttl: seconds an unknown flag is remembered.
        serve_stale: seconds an answer is kept as the last known one.
    """

    def __init__(self, max_size: int, ttl: float, not_found_ttl: float, serve_stale: float) -> None:
        self._max_size = max_size
        self._ttl = ttl
        self._not_found_ttl = not_found_ttl
        self._serve_stale = serve_stale
        self._answers: dict[Subject, Answer] = {}
        self._by_token: dict[Token, set[Subject]] = {}
        self._flights: dict[Subject, Flight] = {}
        self.aliases: dict[RawQuestion, Answer] = {}
        self.generation: int = 0
        self._dropped_in = 0
        self._used_in: dict[Token, int] = {}
        self._all_used_in = 0

    def __len__(self) -> int:
        return len(self._answers)

    def find(self, subject: Subject, now: float) -> Answer | None:
        """Give the answer to ``subject``, however old it may be within ``kept_until``."""
        answer = self._answers.get(subject)
        if answer is not None and answer.kept_until <= now:
            self._remove(answer)
            return None
        return answer

    def put(self, subject: Subject, result: CheckResult | None, asked_in: int, now: float) -> Answer:
        """Remember what the service said when it was asked in generation ``asked_in``; not fresh unless `is_current`.

        What was asked before a purge, but answered late, does not replace what was asked after it.
        """
        held = self._answers.get(subject)
        if held is not None and held.asked_in > asked_in:
            return held
        answer = self._answers.pop(subject, None) or Answer(subject)
        self._unindex(answer)
        ttl = self._not_found_ttl if result is None else self._ttl
        is_current = self.is_current(subject, result, asked_in)
        answer.result = result
        answer.asked_in = asked_in
        answer.renewable_until = now + 2 * ttl if is_current and result is not None else NEVER
        answer.kept_until = now + (ttl if result is None else max(ttl, self._serve_stale))
        answer.tokens = tokens_of(subject, result)
        answer.fresh_until = now + ttl if is_current else NEVER
        if self._max_size < 1:
            return answer
        self._answers[subject] = answer
        for token in answer.tokens:
            self._by_token.setdefault(token, set()).add(subject)
        if len(self._answers) > self._max_size:
            self._remove(next(iter(self._answers.values())))
        return answer

    def is_current(self, subject: Subject, result: CheckResult | None, asked_in: int) -> bool:
        """Whether no answer was dropped, and no usage that ``result`` states was recorded, since generation ``asked_in``.

        Usage counts by company: a busy one must not keep everybody else's answers from being remembered.
        """
        if asked_in < self._dropped_in:
            return False
        return result is None or not carries_usage(result) or not self._is_used(subject, result, asked_in)

    def alias(self, raw: RawQuestion, answer: Answer) -> None:
        """Let ``raw`` find ``answer`` directly, as long as it is kept."""
        is_kept = self._answers.get(answer.subject) is answer
        if is_kept and raw not in self.aliases and len(answer.raws) < _MAX_ALIASES:
            answer.raws.append(raw)
            self.aliases[raw] = answer

    def join(self, subject: Subject, gives_up_at: float, now: float) -> tuple[Flight, bool]:
        """Board the request under way for ``subject``; True means that the caller leads and must land it.

        Nobody boards a request made before a purge or before usage of its company: its answer may be from before them.
        """
        flight = self._flights.get(subject)
        if flight is not None and now < flight.gives_up_at and not self._is_outdated(flight):
            return flight, False
        flight = self._flights[subject] = Flight(subject, self.generation, gives_up_at)
        return flight, True

    def land(self, flight: Flight, outcome: Outcome) -> list[Callable[[], None]]:
        """End a request with its outcome; the caller runs the callbacks, outside any lock."""
        if self._flights.get(flight.subject) is flight:
            del self._flights[flight.subject]
        flight.outcome = outcome
        flight.has_landed = True
        callbacks, flight.callbacks = flight.callbacks, []
        return callbacks

    def drop(self, groups: Iterable[Collection[Token]]) -> list[Subject]:
        """Forget the answers that have one token of every group; all when there is no group. Gives their subjects."""
        self.generation += 1
        self._dropped_in = self.generation
        subjects = self._matching(list(groups))
        for subject in subjects:
            self._remove(self._answers[subject])
        return subjects

    def expire_usage(self, tokens: Collection[Token]) -> list[Subject]:
        """Let answers that have one of ``tokens`` and carry usage be asked again; they stay as last known answers."""
        self.generation += 1
        self._used_in.update(dict.fromkeys(tokens, self.generation))
        if len(self._used_in) > _MAX_USED:
            self._all_used_in = self.generation
            self._used_in.clear()
        expired = []
        for subject in self._matching([tokens]):
            answer = self._answers[subject]
            if answer.result is not None and carries_usage(answer.result):
                answer.fresh_until = answer.renewable_until = NEVER
                expired.append(subject)
        return expired

    def known_flags(self, company: Pairs, user: Pairs, now: float) -> list[str]:
        """List the flags with a last known answer about this context; scans, for when the service is down."""
        return [
            answer.subject[0]
            for answer in self._answers.values()
            if answer.subject[1:] == (company, user) and answer.result is not None and answer.kept_until > now
        ]

    def _matching(self, groups: list[Collection[Token]]) -> list[Subject]:
        if not groups:
            return list(self._answers)
        sets = [set().union(*(self._by_token.get(token, ()) for token in group)) for group in groups]
        return list(set.intersection(*sets))

    def _is_used(self, subject: Subject, result: CheckResult | None, since: int) -> bool:
        used = (self._used_in.get(token, self._all_used_in) for token in tokens_of(subject, result))
        return any(generation > since for generation in used)

    def _is_outdated(self, flight: Flight) -> bool:
        return flight.generation < self._dropped_in or self._is_used(flight.subject, None, flight.generation)

    def _remove(self, answer: Answer) -> None:
        del self._answers[answer.subject]
        self._unindex(answer)
        answer.fresh_until = answer.renewable_until = answer.kept_until = NEVER
        for raw in answer.raws:
            self.aliases.pop(raw, None)
        answer.raws.clear()

    def _unindex(self, answer: Answer) -> None:
        for token in answer.tokens:
            subjects = self._by_token[token]
            subjects.discard(answer.subject)
            if not subjects:
                del self._by_token[token]
        answer.tokens = ()


def tokens_of(subject: Subject, result: CheckResult | None) -> tuple[Token, ...]:
    """List by what an answer is found again."""
    flag_key, company, user = subject
    tokens: list[Token] = [("flag", flag_key, "")]
    tokens += [("company", name, value) for name, value in company]
    tokens += [("user", name, value) for name, value in user]
    if result is not None and result.company_id:
        tokens.append(("company_id", result.company_id, ""))
    if result is not None and result.user_id:
        tokens.append(("user_id", result.user_id, ""))
    return tuple(tokens)


def carries_usage(result: CheckResult) -> bool:
    """Whether an answer states usage, so that recorded usage makes it old."""
    held = result.entitlement
    return result.feature_usage is not None or (
        held is not None and any(v is not None for v in (held.usage, held.credit_used, held.credit_remaining))
    )
