"""Flow: checks in API mode, from the remembered answer over the service to the last known answer and the default."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from schematic_core.api.call import Call
from schematic_core.api.checks import check_call, checks_call
from schematic_core.checks.answers import Flight
from schematic_core.checks.defaults import FlagDefaults
from schematic_core.checks.desk import Desk
from schematic_core.checks.outcome import ABANDONED, BROKEN, HELD_BACK, LATE, Failure, Health, Outcome
from schematic_core.checks.question import Context, Question, Subject
from schematic_core.checks.tiers import Invoke, Tiers
from schematic_core.errors import ApiError, NotFoundError
from schematic_core.keys import check_row
from schematic_core.ports import CheckPorts
from schematic_core.values import (
    REASON_ERROR,
    REASON_FLAG_NOT_FOUND,
    REASON_NO_CONTEXT,
    CheckFlagOptions,
    CheckResult,
)
from schematic_core.wire import decode_check, decode_checks

__all__ = ["CheckFlow", "CheckRules", "Deadlines"]

_SERVICE_DOES_NOT_KNOW = "Flag not found"
_LANDING_GRACE = 1.0
_LONGEST = 86_400.0  # operating systems refuse to wait for much more
_NO_FLAGS = ("", ".", "..")  # no flag can have such a key: they cannot be a segment of a path


@dataclass(frozen=True, slots=True)
class CheckRules:
    """Bounds of checks, in seconds. ``namespace`` keeps environments apart that share a cache."""

    check_timeout: float
    ttl: float
    namespace: str


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Until when a check may go on.

    Args:
        check_timeout: seconds, when the check names none of its own.
        clock: monotonic seconds.
    """

    check_timeout: float
    clock: Callable[[], float]

    def of(self, options: CheckFlagOptions | None) -> float:
        """Give the deadline of a check that begins now, monotonic seconds."""
        timeout = None if options is None else options.timeout
        return self.clock() + min(self.check_timeout if timeout is None else timeout, _LONGEST)


@dataclass(frozen=True, slots=True)
class _Request:
    """One call that answers one flag or all flags of a context. The subject of the latter has an empty flag key."""

    subject: Subject
    make: Callable[[], Call]
    decode: Callable[[bytes, datetime], dict[str, CheckResult]]


class CheckFlow:
    """Answers checks over ports; knows no runtime. One per client, used by both faces.

    Args:
        rules: bounds.
        desk: remembered answers.
        tiers: cache providers beside it.
        health: whether the service is worth asking.
        defaults: defaults of flags.
        log: the client's log.
        clock: monotonic seconds.
        wall: the present, aware.
    """

    def __init__(
        self,
        rules: CheckRules,
        desk: Desk,
        tiers: Tiers,
        health: Health,
        defaults: FlagDefaults,
        log: logging.Logger | logging.LoggerAdapter[logging.Logger],
        clock: Callable[[], float],
        wall: Callable[[], datetime],
    ) -> None:
        self._rules = rules
        self._desk = desk
        self._tiers = tiers
        self._health = health
        self._defaults = defaults
        self._log = log
        self._clock = clock
        self._wall = wall
        self._deadlines = Deadlines(rules.check_timeout, clock)

    async def check(self, question: Question, ports: CheckPorts) -> CheckResult:
        """Answer one question; never raises but for cancellation."""
        if question.flag_key in _NO_FLAGS:
            return self._unknown(question)
        request = _single(question)
        if question.is_preflight or not self._desk.remembers:
            return self._settle(question, await self._fetch(request, self._deadlines.of(question.options), ports))
        deadline = self._deadlines.of(question.options)
        held = await self._held(question, request, deadline, ports)
        return held or self._settle(question, await self._share(request, deadline, ports))

    async def check_many(
        self, flag_keys: Sequence[str] | None, context: Context, options: CheckFlagOptions | None, ports: CheckPorts
    ) -> list[CheckResult]:
        """Answer several questions about one context, in the order asked; all flags when ``flag_keys`` is None."""
        deadline = self._deadlines.of(options)
        request = _bulk(context)
        if flag_keys is None:
            return await self._check_all(request, context, options, deadline, ports)
        questions = [Question(key, context, options) for key in flag_keys]
        if options is not None and options.is_preflight:
            return [await self.check(self._within(question, deadline), ports) for question in questions]
        held: dict[str, CheckResult | None] = {}
        if self._desk.remembers:
            held = {q.flag_key: await self._held(q, request, deadline, ports) for q in questions}
            if all(held.values()):
                return [result for q in questions if (result := held[q.flag_key])]
        asked_in = self._desk.generation
        outcome = await self._ask(request, deadline, ports)
        if not isinstance(outcome, Failure) and self._desk.remembers:
            self._remember_unknown(questions, outcome, asked_in)
        return [(isinstance(outcome, Failure) and held.get(q.flag_key)) or self._settle(q, outcome) for q in questions]

    async def _check_all(
        self,
        request: _Request,
        context: Context,
        options: CheckFlagOptions | None,
        deadline: float,
        ports: CheckPorts,
    ) -> list[CheckResult]:
        outcome = await self._ask(request, deadline, ports)
        if isinstance(outcome, Failure):
            keys = dict.fromkeys([*self._desk.known_flags(context.company, context.user), *self._defaults.known()])
        else:
            keys = dict.fromkeys(outcome)
        if options is not None and options.is_preflight and not isinstance(outcome, Failure):
            return await self.check_many(list(keys), context, options, ports)
        return [self._settle(Question(key, context, options), outcome) for key in keys]

    async def _held(
        self, question: Question, request: _Request, deadline: float, ports: CheckPorts
    ) -> CheckResult | None:
        """Give what is remembered and still good, starting its renewal when it is due."""
        answer = self._desk.find(question.subject)
        now = self._clock()
        if answer is not None and now < answer.fresh_until:
            return answer.result or self._unknown(question)
        if self._tiers:
            invoke = partial(ports.invoke, deadline)
            row = await self._tiers.read(self._row(question.subject), question.flag_key, invoke)
            if row is not None and self._desk.believes(question.subject, row):
                return row
        if answer is not None and answer.result is not None and now < answer.renewable_until:
            self._renew(request, ports)
            return answer.result
        return None

    def _renew(self, request: _Request, ports: CheckPorts) -> None:
        now = self._clock()
        if self._health.blocks(now):
            return
        deadline = now + self._rules.check_timeout
        flight, leads = self._desk.join(request.subject, deadline + _LANDING_GRACE)
        if not leads:
            return

        def job(background: CheckPorts) -> Coroutine[Any, Any, None]:
            return self._lead(flight, request, deadline, background)

        if not ports.spawn(job):
            self._desk.land(flight, ABANDONED)

    async def _ask(self, request: _Request, deadline: float, ports: CheckPorts) -> Outcome:
        if self._desk.remembers:
            return await self._share(request, deadline, ports)
        return await self._fetch(request, deadline, ports)

    async def _share(self, request: _Request, deadline: float, ports: CheckPorts) -> Outcome:
        """Ask the service, together with everybody who asks the same at this moment."""
        while True:
            flight, leads = self._desk.join(request.subject, deadline + _LANDING_GRACE)
            if leads:
                await self._lead(flight, request, deadline, ports)
            else:
                await ports.wait(partial(self._desk.on_landing, flight), deadline)
            if not flight.has_landed:
                return LATE
            outcome = flight.outcome
            # A leader that was cancelled, or had less time than we have, says nothing about our chances.
            if leads or outcome not in (ABANDONED, LATE) or self._clock() >= deadline:
                return outcome

    async def _lead(self, flight: Flight, request: _Request, deadline: float, ports: CheckPorts) -> None:
        outcome: Outcome = ABANDONED
        try:
            outcome = await self._fetch(request, deadline, ports)
            if not isinstance(outcome, Failure):
                outcome = await self._remember(flight, request, outcome, partial(ports.invoke, deadline))
        finally:
            self._desk.land(flight, outcome)

    async def _remember(self, flight: Flight, request: _Request, outcome: Outcome, invoke: Invoke) -> Outcome:
        assert not isinstance(outcome, Failure)
        _, company, user = request.subject
        dated: dict[str, CheckResult | None] = {}
        for flag_key, answered in outcome.items():
            subject = (flag_key, company, user)
            result = dated[flag_key] = self._dated(answered)
            kept = None if result is None else replace(result, source="cache")
            self._desk.put(subject, kept, flight.generation)
            if kept is not None and self._tiers and self._desk.is_current(subject, kept, flight.generation):
                await self._tiers.write(self._row(subject), kept, invoke)
                if not self._desk.is_current(subject, kept, flight.generation):
                    await self._tiers.forget([self._row(subject)], invoke)
        return dated

    def _dated(self, result: CheckResult | None) -> CheckResult | None:
        if result is None or result.as_of is None or not self._rules.ttl:
            return result
        return replace(result, valid_until=result.as_of + timedelta(seconds=self._rules.ttl))

    def _remember_unknown(self, questions: Sequence[Question], outcome: Outcome, asked_in: int) -> None:
        assert not isinstance(outcome, Failure)
        for question in questions:
            if outcome.get(question.flag_key) is None:
                self._desk.put(question.subject, None, asked_in)

    async def _fetch(self, request: _Request, deadline: float, ports: CheckPorts) -> Outcome:
        now = self._clock()
        if now >= deadline:
            return LATE
        if not self._health.allows(now):
            return HELD_BACK
        try:
            response = await ports.call(request.make(), deadline)
            results = request.decode(response.body, self._wall())
        except NotFoundError as error:
            self._health.succeeded()
            return {request.subject[0]: None} if request.subject[0] else self._health.failed(error, now, deadline - now)
        except ApiError as error:
            return self._health.failed(error, self._clock(), deadline - now)
        except Exception:  # noqa: BLE001 - a client of the user's own, handed in as http_client, may raise anything
            self._log.exception("a flag check failed outside the service")
            return BROKEN
        self._health.succeeded()
        has_context = bool(request.subject[1] or request.subject[2])
        return {key: _as_answer(result, has_context=has_context) for key, result in results.items()}

    def _settle(self, question: Question, outcome: Outcome) -> CheckResult:
        """Turn what became of asking into the answer: the service's, the last known one, or the default."""
        if not isinstance(outcome, Failure):
            return outcome.get(question.flag_key) or self._unknown(question)
        last = self._desk.find(question.subject) if self._desk.remembers else None
        if last is not None and last.result is not None:
            return replace(last.result, error=outcome.word)
        return CheckResult(
            value=self._defaults.of(question.flag_key, question.options),
            reason=REASON_ERROR,
            flag_key=question.flag_key,
            error=outcome.word,
        )

    def _unknown(self, question: Question) -> CheckResult:
        value = self._defaults.of(question.flag_key, question.options)
        return CheckResult(value=value, reason=REASON_FLAG_NOT_FOUND, flag_key=question.flag_key)

    def _within(self, question: Question, deadline: float) -> Question:
        left = max(0.0, deadline - self._clock())
        return replace(question, options=replace(question.options or CheckFlagOptions(), timeout=left))

    def _row(self, subject: Subject) -> str:
        return check_row(self._rules.namespace, *subject)


def _single(question: Question) -> _Request:
    def make() -> Call:
        company, user = dict(question.context.company), dict(question.context.user)
        return check_call(question.flag_key, company, user, question.options)

    def decode(body: bytes, now: datetime) -> dict[str, CheckResult]:
        return {question.flag_key: decode_check(body, question.flag_key, now)}

    return _Request(question.subject, make, decode)


def _bulk(context: Context) -> _Request:
    def make() -> Call:
        return checks_call(dict(context.company), dict(context.user))

    return _Request(("", context.company, context.user), make, decode_checks)


def _as_answer(result: CheckResult, *, has_context: bool) -> CheckResult | None:
    if result.flag_id is None and result.reason == _SERVICE_DOES_NOT_KNOW:
        return None
    return result if has_context else replace(result, reason=REASON_NO_CONTEXT)
