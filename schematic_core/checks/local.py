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
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from operator import attrgetter
from typing import Union

from schematic_core.checks.evaluate import Evaluator
from schematic_core.checks.local_flow import ASK_SERVICE, Need
from schematic_core.checks.memos import Bounds, Found, Life, Memo
from schematic_core.checks.question import Context, Question, RawQuestion, Subject, raw_question
from schematic_core.datastream.replica import Applied, Change, Conflict, Replica
from schematic_core.datastream.versions import EntityVersion, FlagVersion, Kind
from schematic_core.errors import ConfigurationError, EngineError
from schematic_core.events.recording import record_check
from schematic_core.events.worker import Worker
from schematic_core.keys import Pairs, pairs
from schematic_core.rules.engine import Engine
from schematic_core.values import REASON_NO_CONTEXT, CheckFlagOptions, CheckResult, Keys, Source

__all__ = ["REASON_KEY_CONFLICT", "Bounds", "Local"]

REASON_KEY_CONFLICT = "key conflict"
MAX_MEMOS = 200_000
LONGEST_MEMO = 30.0
"""Seconds: the wall clock may be set, and a fork may go unnoticed."""

_monotonic = time.monotonic
_NEVER = float("inf")
_generation = attrgetter("generation")


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
        self._evaluator.after_fork_in_child()
        self.lock: threading.RLock = (
            threading.RLock()
        )  # a finaliser or signal handler may check while this thread holds it
        self.memos: dict[RawQuestion, Memo] = {}
        self._replica = self._make_replica()
        self._life: Life | None = None
        self._lives: dict[int, Life] = {}

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

    def check_again(self, flag_key: str, company: Keys | None, user: Keys | None) -> CheckResult | None:
        """Answer anew what was asked before in the same way and rests on an entity that changed; None: the flow must.

        It spares what the flow does to understand a question, which costs more than the answer. The answer is remembered
        no longer than the former one was to be, so that the flow has its turn now and then.
        """
        memos = self.memos
        try:
            raw = raw_question(flag_key, company, user)
            former = memos.get(raw)
        except Exception:  # noqa: BLE001 - as in `recall`
            return None
        now = self._clock()
        if former is None or former.until <= now:
            return None
        with self.lock:
            life = self._life
            if life is None or life.ended_at is not None or memos is not self.memos:
                return None
            found = self._gather_or_pass(former.subject, now, life, is_live=True)
        if not isinstance(found, Found):
            return None
        answer = self._evaluate(None, found)
        if answer is None:
            return None
        result, until = answer
        company_keys, user_keys = former.company_keys, former.user_keys
        memos[raw] = Memo(result, min(until, former.until), found, company_keys, user_keys)
        record_check(self._worker, result, company_keys, user_keys, is_preflight=False)
        return result

    def alias(self, raw: RawQuestion, subject: Subject) -> None:
        """Let ``raw`` find the answer to ``subject`` directly from now on."""
        memos = self.memos
        memo = memos.get(subject)
        if memo is not None and memos.get(raw) is not memo:
            self._keep(memos, raw, memo)

    def consult(self, question: Question) -> Union[CheckResult, Need]:
        """Answer from what is here, if it may be used as it is; see `LocalSource`."""
        now = self._clock()
        memo = None if question.is_preflight else self.memos.get(question.subject)
        if memo is not None and now < memo.until and memo.company.is_current and memo.user.is_current:
            memo.company.is_used = memo.user.is_used = True
            return memo.result
        with self.lock:
            memos, life = self.memos, self._life
            if life is None or self._is_old(life, now, self._bounds.stale_after):
                return ASK_SERVICE
            found = self._gather_or_pass(question.subject, now, life, is_live=life.ended_at is None)
        if not isinstance(found, Found):
            return found
        is_doubted = self._replica.is_doubted(found.company, found.user)  # and there is no connection to ask
        is_old = self._is_old(found.life, now, self._bounds.stale_after)  # nor did the latest one confirm it
        answer = None if is_doubted or is_old else self._evaluate(question.options, found)
        if answer is None:
            return ASK_SERVICE
        result, until = answer
        if not question.is_preflight:
            context = question.context
            self._keep(memos, question.subject, Memo(result, until, found, dict(context.company), dict(context.user)))
        return result

    def last_known(self, question: Question) -> CheckResult | None:
        """Answer from what is here, however old it is within ``serve_stale``."""
        now = self._clock()
        with self.lock:
            life = self._life
            if life is None or self._is_old(life, now, self._bounds.serve_stale):
                return None
            found = self._gather_or_pass(question.subject, now, life, is_live=False)
        if isinstance(found, CheckResult):
            return found
        if isinstance(found, Need) or self._is_old(found.life, now, self._bounds.serve_stale):
            return None
        answer = self._evaluate(question.options, found)
        return None if answer is None else answer[0]

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

    def fresh(self) -> Replica:
        """Give an empty replica for a source that says everything anew; see `replace`."""
        replica = self._make_replica()
        replica.begin()
        return replica

    def replace(self, replica: Replica) -> None:
        """Answer from another replica from now on, which is complete."""
        with self.lock:
            self._replica = replica
            self.up()

    def apply(self, change: Change) -> Applied:
        """Apply a prepared change."""
        with self.lock:
            applied = self._replica.apply(change)
            if applied.is_flags or applied.is_moved:
                self.memos = {}
        return applied

    def up(self) -> None:
        """The source stands by what is here from now on: all flags came on this connection."""
        now = self._clock()
        with self.lock:
            if self._is_closed:
                return
            self._is_failing = False  # not at each success: one bad company would be told of again and again
            life = self._life = Life(self._replica.generation)
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

    def _is_old(self, life: Life, now: float, most: float) -> bool:
        return life.ended_at is not None and now >= life.ended_at + most

    def _gather_or_pass(
        self, subject: Subject, now: float, life: Life, *, is_live: bool
    ) -> Union[Found, CheckResult, Need]:
        """Gather what to evaluate; nothing when this thread was interrupted in the engine, by a signal handler that checks."""
        try:
            return self._gather(subject, now, life, is_live=is_live)
        except EngineError:
            return ASK_SERVICE

    def _gather(self, subject: Subject, now: float, life: Life, *, is_live: bool) -> Union[Found, CheckResult, Need]:
        flag_key, company_keys, user_keys = subject
        flag = self._replica.find_flag(flag_key)
        if flag is None:
            return ASK_SERVICE
        if not (company_keys or user_keys):
            return self._default(flag, REASON_NO_CONTEXT, life)
        company = self._side("company", company_keys, flag, now, life, is_live=is_live)
        if company is ASK_SERVICE or isinstance(company, CheckResult):
            return company
        user = self._side("user", user_keys, flag, now, life, is_live=is_live)
        if user is ASK_SERVICE or isinstance(user, CheckResult):
            return user
        if isinstance(company, Need) or isinstance(user, Need):
            return Need(tuple(entity for side in (company, user) if isinstance(side, Need) for entity in side.entities))
        if not is_live:  # otherwise the connection of now stands by both
            lives = [self._life_of(version, life) or life for version in (company, user) if version is not None]
            life = min([life, *lives], key=_generation)
        return Found(flag, company, user, life)

    def _side(
        self, kind: Kind, keys: Pairs, flag: FlagVersion, now: float, life: Life, *, is_live: bool
    ) -> Union[EntityVersion, CheckResult, Need, None]:
        """Give the company or the user as it may be used now, with tracked usage counted into it; else the answer without it.

        None: there is none, and that is all there is to know.
        """
        if not keys:
            return None
        version = self._replica.find(kind, keys)
        if isinstance(version, Conflict):
            ids = " and ".join(version.ids)
            return self._default(flag, REASON_KEY_CONFLICT, life, error=f"keys of the {kind} belong to {ids}")
        if version is not None and version.bumps:
            version = self._counted(version, keys)
        if version is not None:
            # What the connection of now confirmed, it stands by.
            is_good = self._replica.is_confirmed(version, now) if is_live else self._life_of(version, life) is not None
            if is_good:
                return version
        if self._bounds.is_complete:
            return None
        return ASK_SERVICE if self._replica.is_missing(kind, keys, now) else Need(((kind, keys),))

    def _life_of(self, version: EntityVersion, life: Life) -> Life | None:
        """Give the connection that last stood by a version; None when that is longer ago than ``serve_stale``.

        A connection that was lost before everything was here stood by nothing.
        """
        if version.generation >= life.generation:
            return life
        known = (number for number in self._lives if number <= version.generation)
        return self._lives.get(max(known, default=0))

    def _counted(self, version: EntityVersion, keys: Pairs) -> EntityVersion | None:
        """Give the version after tracked usage was counted into it."""
        change = self._replica.prepare_bumps(version, datetime.fromtimestamp(self._wall(), timezone.utc))
        if change is not None:
            self._replica.apply(change)
        found = self._replica.find(version.kind, keys)
        return None if isinstance(found, Conflict) else found

    def _default(self, flag: FlagVersion, reason: str, life: Life, error: str | None = None) -> CheckResult:
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

    def _evaluate(self, options: CheckFlagOptions | None, found: Found) -> tuple[CheckResult, float] | None:
        """Give the answer, and until when it may be given again (monotonic seconds); None when the engine cannot."""
        now, wall = self._clock(), self._wall()
        flag, company, user, life = found
        try:
            result, horizon_ms = self._evaluator.evaluate(options, flag, company, user, life.standing, wall)
        except (EngineError, ConfigurationError) as error:
            if not self._is_failing:
                self._is_failing = True
                self._log.warning("flags cannot be evaluated here and are asked for over HTTP: %s", error)
            return None
        left = LONGEST_MEMO if horizon_ms is None else min(LONGEST_MEMO, horizon_ms / 1000 - wall)
        return result, min(now + left, self._good_until(company, user, life))

    def _good_until(self, company: EntityVersion | None, user: EntityVersion | None, life: Life) -> float:
        """Give until when what an answer rests on may be used as it is, monotonic seconds."""
        until = _NEVER if life.ended_at is None else life.ended_at + self._bounds.stale_after
        ttl = self._bounds.ttl
        if ttl is not None:
            if company is not None:
                until = min(until, company.confirmed_at + ttl)
            if user is not None:
                until = min(until, user.confirmed_at + ttl)
        return until

    def _keep(self, memos: dict[RawQuestion, Memo], raw: RawQuestion, memo: Memo) -> None:
        if len(memos) >= MAX_MEMOS and raw not in memos:
            with self.lock, suppress(RuntimeError):  # others add without the lock
                memos.pop(next(iter(memos)), None)
        memos[raw] = memo
