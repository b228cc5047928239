"""Machine: since when rows of cache providers are believed.

A purge cannot name rows that this process never wrote or has forgotten, so it is remembered here, and rows from before it
count as none.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from schematic_core.checks.answers import Token, carries_usage, tokens_of
from schematic_core.checks.question import Subject
from schematic_core.values import CheckResult

__all__ = ["Purges"]

_MAX_TOKENS = 10_000


class _Since:
    """The last instant by token; when there are too many, one instant for all."""

    def __init__(self) -> None:
        self._all: datetime | None = None
        self._by_token: dict[Token, datetime] = {}

    def record(self, tokens: Collection[Token], at: datetime) -> None:
        self._by_token.update(dict.fromkeys(tokens, at))
        if len(self._by_token) > _MAX_TOKENS:
            self.record_all(at)

    def record_all(self, at: datetime) -> None:
        self._all = at
        self._by_token.clear()

    def covers(self, tokens: Collection[Token], as_of: datetime | None) -> bool:
        instants = [at for at in (self._all, *map(self._by_token.get, tokens)) if at is not None]
        return any(as_of is None or as_of.tzinfo is None or as_of <= at for at in instants)


class Purges:
    """Remembers what was purged when; wall-clock instants, since rows come from other processes too. No lock."""

    def __init__(self) -> None:
        self._dropped = _Since()
        self._used = _Since()

    def dropped(self, groups: Sequence[Collection[Token]], at: datetime) -> None:
        """Record that answers with one token of every group were dropped at ``at``; all when there is no group."""
        if groups:
            self._dropped.record(groups[0], at)  # at least what was meant: a row too many asked again costs one call
        else:
            self._dropped.record_all(at)

    def used(self, tokens: Collection[Token], at: datetime) -> None:
        """Record that usage of these companies was recorded at ``at``."""
        self._used.record(tokens, at)

    def cover(self, subject: Subject, row: CheckResult) -> bool:
        """Whether ``row``, read from a provider, is from before a purge that concerns it."""
        tokens = tokens_of(subject, row)
        if self._dropped.covers(tokens, row.as_of):
            return True
        return carries_usage(row) and self._used.covers(tokens, row.as_of)
