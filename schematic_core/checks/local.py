"""Shell: flags and entities of this process, and the answers evaluated on them, for both faces and every thread.

One lock guards the replica. An answer is remembered (a *memo*) with the stamps of the company's and the user's version, and
until the clock says that it may differ. What all memos depend on (the flags, whether the source stands by what is here) is
dealt with by starting an empty dict of memos. So a remembered check is one look-up, three comparisons and no lock; what is
found in a dict that was replaced meanwhile was right when the check began.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import NamedTuple, Union

from schematic_core.checks.evaluate import Evaluator, Parts
from schematic_core.checks.local_flow import ASK_SERVICE, Need
from schematic_core.checks.question import Context, Question, RawQuestion, Subject
from schematic_core.datastream.replica import Applied, Change, Conflict, Replica
from schematic_core.datastream.versions import EntityVersion, FlagVersion, Kind, Stamp
from schematic_core.errors import ConfigurationError, EngineError
from schematic_core.events.recording import record_check
from schematic_core.events.worker import Worker
from schematic_core.keys import Pairs, pairs
from schematic_core.rules.engine import Engine
from schematic_core.values import REASON_NO_CONTEXT, CheckResult, Keys, Source, Standing

__all__ = ["REASON_KEY_CONFLICT", "Bounds", "Local"]

REASON_KEY_CONFLICT = "key conflict"
MAX_MEMOS = 200_000
LONGEST_MEMO = 30.0
"""Seconds: the wall clock may be set, and a fork may go unnoticed."""

_monotonic = time.monotonic
_NOBODY = Stamp()


@dataclass(frozen=True, slots=True)
class Bounds:
    """How old local answers may be, seconds; and whether the source knows every entity there is (an environment file)."""

    stale_after: float
    serve_stale: float
    ttl: float | None = None
    is_complete: bool = False


class Memo:
    """An answer, until when (monotonic) and on which versions it holds, and whom it was asked for."""

    __slots__ = ("company", "company_keys", "result", "until", "user", "user_keys")

    def __init__(self, result: CheckResult, until: float, company: Stamp, user: Stamp, subject: Subject) -> None:
        self.result = result
        self.until = until
        self.company = company
        self.user = user
        self.company_keys: dict[str, str] = dict(subject[1])
        self.user_keys: dict[str, str] = dict(subject[2])


@dataclass(slots=True, eq=False)
class _Life:
    """One connection from the moment everything was here; ``ended_at`` is monotonic."""

    generation: int
    standing: Standing = field(default_factory=Standing)
    ended_at: float | None = None


class _Found(NamedTuple):
    """What to evaluate, and the life of its oldest part."""

    parts: Parts
    life: _Life


class Local:
    """Answers checks from what is held here.

    Args:
        make_replica: gives an empty replica.
        engine: holds the documents and evaluates.
        source: what answers say of their origin.
        bounds: how old they may be.
        worker: takes the events of answered checks.
        log: the client's log.
        clock: monotonic seconds.
        wall: epoch seconds.
    """

    def __init__(
        self,
        make_replica: Callable[[], Replica],
        engine: Engine,
        source: Source,
        bounds: Bounds,
        worker: Worker,
        log: logging.Logger | logging.LoggerAdapter[logging.Logger],
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._make_replica = make_replica
        self._evaluator = Evaluator(engine, source)
        self._source: Source = source
        self._bounds = bounds
        self._worker = worker
        self._log = log
        self._clock = clock
        self._wall = wall
        self._is_closed = False
        self._is_failing = False
        self.after_fork_in_child()

    def after_fork_in_child(self) -> None:
        """Start anew and empty: the inherited lock may be held, and the connection is the parent's."""
        self.lock = threading.RLock()  # a finaliser or signal handler may check while this thread holds it
        self.memos: dict[RawQuestion, Memo] = {}
        self._replica = self._make_replica()
        self._life: _Life | None = None
        self._lives: dict[int, _Life] = {}

    # -- questions

    def recall(self, flag_key: str, company: Keys | None, user: Keys | None) -> CheckResult | None:
        """Give the answer to a question asked before in the same way, and record the check; None when there is none."""
        try:
            memo = self.memos.get(
                (
                    flag_key,
                    () if company is None else tuple(company.items()),
                    () if user is None else tuple(user.items()),
                )
            )
        except Exception:  # noqa: BLE001 - keys may be objects of any kind, and the slow path says what is wrong with them
            return None
        if memo is None or memo.until <= _monotonic() or not memo.company.is_current or not memo.user.is_current:
            return None
        memo.company.is_used = memo.user.is_used = True
        record_check(self._worker, memo.result, memo.company_keys, memo.user_keys, is_preflight=False)
        return memo.result

    def alias(self, raw: RawQuestion, subject: Subject) -> None:
        """Let ``raw`` find the answer to ``subject`` directly from now on."""
        memos = self.memos
        memo = memos.get(subject)
        if memo is not None and raw not in memos:
            self._keep(memos, raw, memo)

    def consult(self, question: Question) -> Union[CheckResult, Need]:
        """Answer from what is here, if it may be used as it is; see `LocalSource`."""
        now = self._clock()
        with self.lock:
            memos, life = self.memos, self._life
            if life is None or self._is_old(life, now, self._bounds.stale_after):
                return ASK_SERVICE
            found = self._gather(question, now, life, is_live=life.ended_at is None)
        if not isinstance(found, _Found):
            return found
        return self._evaluate(question, found, memos) or ASK_SERVICE

    def last_known(self, question: Question) -> CheckResult | None:
        """Answer from what is here, however old it is within ``serve_stale``."""
        now = self._clock()
        with self.lock:
            life = self._life
            if life is None:
                return None
            found = self._gather(question, now, life, is_live=False)
        if isinstance(found, CheckResult):
            return found
        if isinstance(found, Need) or self._is_old(found.life, now, self._bounds.serve_stale):
            return None
        return self._evaluate(question, found, None)

    def flag_keys(self) -> list[str] | None:
        """List every flag; None when they are not all here."""
        now = self._clock()
        with self.lock:
            life = self._life
            if life is None or self._is_old(life, now, self._bounds.stale_after):
                return None
            return [flag.key for flag in self._replica.flags()]

    def record(self, result: CheckResult, context: Context, *, is_preflight: bool) -> None:
        """Record that a check was answered here."""
        record_check(self._worker, result, dict(context.company), dict(context.user), is_preflight=is_preflight)

    def on_tracked(self, company: Mapping[str, str] | None, event: str, quantity: int | None) -> None:
        """Let usage count here at once, until the stream says what it is. Takes no lock; the next check does the work."""
        if company:
            self._replica.bump(pairs(company), event, 1 if quantity is None else quantity)

    # -- the source's side

    @contextmanager
    def changing(self) -> Iterator[Replica]:
        """Hold the lock, for quick changes of the replica."""
        with self.lock:
            yield self._replica

    @property
    def replica(self) -> Replica:
        """What is held, for preparing changes outside the lock; only the source's thread does."""
        return self._replica

    def renew(self) -> None:
        """Begin with an empty replica; for a source that says everything anew, within `changing`."""
        self._replica = self._make_replica()
        self._replica.begin()

    def apply(self, change: Change) -> Applied:
        """Apply a prepared change."""
        with self.lock:
            applied = self._replica.apply(change)
            if applied.is_flags:
                self.memos = {}
        return applied

    def up(self) -> None:
        """The source stands by what is here from now on: all flags came on this connection."""
        now = self._clock()
        with self.lock:
            if self._is_closed:
                return
            life = self._life = _Life(self._replica.generation)
            self._lives = {
                number: one
                for number, one in self._lives.items()
                if one.ended_at is None or now < one.ended_at + self._bounds.serve_stale
            }
            self._lives[life.generation] = life
            self.memos = {}

    def down(self) -> None:
        """The source does not stand by it any more."""
        with self.lock:
            if self._life is not None and self._life.ended_at is None:
                self._life.ended_at = self._clock()
                self._life.standing.until = datetime.fromtimestamp(self._wall(), timezone.utc)
                self.memos = {}

    def close(self) -> None:
        """Answer nothing more, and let go of what is held."""
        with self.lock:
            self._is_closed = True
            self._life = None
            self._lives = {}
            self.memos = {}
            self._replica = self._make_replica()

    # -- one evaluation

    def _is_old(self, life: _Life, now: float, most: float) -> bool:
        return life.ended_at is not None and now >= life.ended_at + most

    def _gather(
        self, question: Question, now: float, life: _Life, *, is_live: bool
    ) -> Union[_Found, CheckResult, Need]:
        flag = self._replica.find_flag(question.flag_key)
        if flag is None:
            return ASK_SERVICE
        context = question.context
        if not (context.company or context.user):
            return self._default(flag, REASON_NO_CONTEXT, life)
        needed: list[tuple[Kind, Pairs]] = []
        found: list[EntityVersion | None] = []
        sides: tuple[tuple[Kind, Pairs], ...] = (("company", context.company), ("user", context.user))
        for kind, keys in sides:
            version = self._replica.find(kind, keys) if keys else None
            if isinstance(version, Conflict):
                ids = " and ".join(version.ids)
                return self._default(flag, REASON_KEY_CONFLICT, life, error=f"keys of the {kind} belong to {ids}")
            if version is not None and version.bumps:
                version = self._counted(version, keys)
            if version is not None and is_live and not self._replica.is_confirmed(version, now):
                version = None
            if keys and version is None and not self._bounds.is_complete:
                if self._replica.is_missing(kind, keys, now):
                    return ASK_SERVICE
                needed.append((kind, keys))
            found.append(version)
        if needed:
            return Need(tuple(needed))
        held = [version for version in found if version is not None]
        lives = [self._lives.get(version.generation, life) for version in held]
        oldest = min([life, *lives], key=lambda one: one.generation)
        return _Found(Parts(flag, found[0], found[1], oldest.standing), oldest)

    def _counted(self, version: EntityVersion, keys: Pairs) -> EntityVersion | None:
        """Give the version after tracked usage was counted into it."""
        change = self._replica.prepare_bumps(version, datetime.fromtimestamp(self._wall(), timezone.utc))
        if change is not None:
            self._replica.apply(change)
        found = self._replica.find(version.kind, keys)
        return None if isinstance(found, Conflict) else found

    def _default(self, flag: FlagVersion, reason: str, life: _Life, error: str | None = None) -> CheckResult:
        return CheckResult(
            value=flag.default_value,
            reason=reason,
            flag_key=flag.key,
            flag_id=flag.id,
            error=error,
            source=self._source,
            as_of=datetime.fromtimestamp(self._wall(), timezone.utc),
            standing=life.standing,
        )

    def _evaluate(self, question: Question, found: _Found, memos: dict[RawQuestion, Memo] | None) -> CheckResult | None:
        now, wall = self._clock(), self._wall()
        try:
            result, horizon_ms = self._evaluator.evaluate(question.options, found.parts, wall)
        except (EngineError, ConfigurationError) as error:
            if not self._is_failing:
                self._is_failing = True
                self._log.warning("flags cannot be evaluated here and are asked for over HTTP: %s", error)
            return None
        self._is_failing = False
        if memos is not None and not question.is_preflight:
            left = LONGEST_MEMO if horizon_ms is None else horizon_ms / 1000 - wall
            until = min(now + LONGEST_MEMO, now + left, self._good_until(found))
            company, user = found.parts.company, found.parts.user
            stamps = company.stamp if company is not None else _NOBODY, user.stamp if user is not None else _NOBODY
            self._keep(memos, question.subject, Memo(result, until, *stamps, question.subject))
        return result

    def _good_until(self, found: _Found) -> float:
        """Give until when what an answer rests on may be used as it is, monotonic seconds."""
        _, company, user, _ = found.parts
        times = [float("inf") if found.life.ended_at is None else found.life.ended_at + self._bounds.stale_after]
        if self._bounds.ttl is not None:
            times += [version.confirmed_at + self._bounds.ttl for version in (company, user) if version is not None]
        return min(times)

    def _keep(self, memos: dict[RawQuestion, Memo], raw: RawQuestion, memo: Memo) -> None:
        if len(memos) >= MAX_MEMOS and raw not in memos:
            with self.lock:
                memos.pop(next(iter(memos)), None)
        memos[raw] = memo
