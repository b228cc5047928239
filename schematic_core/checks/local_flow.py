"""Flow: checks answered in this process, and what is asked when they cannot be: the stream, the service, the last known state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple, Protocol, Union

from schematic_core.checks.defaults import FlagDefaults
from schematic_core.checks.flow import CheckFlow, Deadlines
from schematic_core.checks.question import Context, Question
from schematic_core.datastream.versions import Kind
from schematic_core.keys import Pairs
from schematic_core.ports import CheckPorts
from schematic_core.values import REASON_FLAG_NOT_FOUND, CheckFlagOptions, CheckResult

__all__ = ["ASK_SERVICE", "Landing", "LocalAnswers", "LocalFlow", "LocalSource", "Need"]

_STREAM_TIMEOUT = 2.0
_MAX_ROUNDS = 3


class Need(NamedTuple):
    """Why there is no local answer: entities that are not here, or not as they are now. None: the stream cannot help."""

    entities: tuple[tuple[Kind, Pairs], ...] = ()


ASK_SERVICE = Need()


class Landing(Protocol):
    """A question to the stream, under way or answered; ``outcome`` is ``"answered"`` when consulting again is worth it."""

    @property
    def outcome(self) -> str:
        """``"waiting"``, ``"answered"``, ``"missing"`` or ``"failed"``."""
        ...


class LocalAnswers(Protocol):
    """Answers from what is held in this process. Nothing here waits or raises."""

    def consult(self, question: Question) -> Union[CheckResult, Need]:
        """Answer from what is here, if it may be used as it is."""
        ...

    def last_known(self, question: Question) -> CheckResult | None:
        """Answer from what is here, however old it is within ``serve_stale``."""
        ...

    def flag_keys(self) -> list[str] | None:
        """List every flag; None when they are not all here."""
        ...

    def record(self, result: CheckResult, context: Context, *, is_preflight: bool) -> None:
        """Record that a check was answered."""
        ...


class LocalSource(Protocol):
    """What fills the replica: a stream or an environment file. Nothing here waits or raises."""

    def start(self) -> None:
        """Begin to follow the source; nothing when that has happened."""
        ...

    def request(self, entities: Iterable[tuple[Kind, Pairs]]) -> list[Landing]:
        """Ask the stream for entities; empty when it cannot be asked now."""
        ...

    def on_landing(self, landing: Landing, callback: Callable[[], None]) -> None:
        """Call back once it is answered, perhaps at once, perhaps on another thread."""
        ...


class LocalFlow:
    """Answers checks from a local source, otherwise from the service. One per client, used by both faces.

    Args:
        local: the answers.
        source: the stream or the environment file.
        service: checks over HTTP; None when there is no service, then the source is the whole truth.
        defaults: of flags.
        deadlines: bounds of checks.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        local: LocalAnswers,
        source: LocalSource,
        service: CheckFlow | None,
        defaults: FlagDefaults,
        deadlines: Deadlines,
        clock: Callable[[], float],
    ) -> None:
        self._local = local
        self._source = source
        self._service = service
        self._defaults = defaults
        self._deadlines = deadlines
        self._clock = clock

    async def check(self, question: Question, ports: CheckPorts) -> CheckResult:
        """Answer one question; never raises but for cancellation."""
        self._source.start()
        deadline = self._deadlines.of(question.options)
        (found,) = await self._consult([question], deadline, ports)
        if found is not None:
            self._local.record(found, question.context, is_preflight=question.is_preflight)
            return found
        (answer,) = await self._elsewhere([question], deadline, ports)
        return answer

    async def check_many(
        self, flag_keys: Sequence[str] | None, context: Context, options: CheckFlagOptions | None, ports: CheckPorts
    ) -> list[CheckResult]:
        """Answer several questions about one context, in the order asked; all flags when ``flag_keys`` is None."""
        self._source.start()
        deadline = self._deadlines.of(options)
        keys = self._local.flag_keys() if flag_keys is None else flag_keys
        if keys is None and self._service is not None:
            return await self._service.check_many(None, context, options, ports)
        questions = [Question(key, context, options) for key in keys or ()]
        found = await self._consult(questions, deadline, ports)
        rest = [question for question, result in zip(questions, found, strict=True) if result is None]
        others = iter(await self._elsewhere(rest, deadline, ports))
        return [next(others) if result is None else result for result in found]

    async def _consult(
        self, questions: Sequence[Question], deadline: float, ports: CheckPorts
    ) -> list[CheckResult | None]:
        """Give the local answers, None where there is none, once the stream was asked for what they lack."""
        answers: list[CheckResult | None] = [None] * len(questions)
        latest = min(deadline, self._clock() + _STREAM_TIMEOUT)
        for _ in range(_MAX_ROUNDS):
            needed: dict[tuple[Kind, Pairs], None] = {}
            for place, question in enumerate(questions):
                if answers[place] is not None:
                    continue
                found = self._local.consult(question)
                if isinstance(found, CheckResult):
                    answers[place] = found
                else:
                    needed.update(dict.fromkeys(found.entities))
            if not needed or not await self._request(needed, latest, ports):
                break
        return answers

    async def _request(self, entities: Iterable[tuple[Kind, Pairs]], latest: float, ports: CheckPorts) -> bool:
        landings = self._source.request(entities)
        for landing in landings:
            await ports.wait(partial(self._source.on_landing, landing), latest)
        return any(landing.outcome == "answered" for landing in landings)

    async def _elsewhere(self, questions: Sequence[Question], deadline: float, ports: CheckPorts) -> list[CheckResult]:
        """Ask the service; where it cannot answer, the last known local state does."""
        if not questions or self._service is None:
            return [self._unknown(question) for question in questions]
        left = max(0.0, deadline - self._clock())
        options = replace(questions[0].options or CheckFlagOptions(), timeout=left)
        if len(questions) == 1:
            answers = [await self._service.check(replace(questions[0], options=options), ports)]
        else:
            keys = [question.flag_key for question in questions]
            answers = await self._service.check_many(keys, questions[0].context, options, ports)
        return [
            answer if answer.error is None else self._local.last_known(question) or answer
            for question, answer in zip(questions, answers, strict=True)
        ]

    def _unknown(self, question: Question) -> CheckResult:
        value = self._defaults.of(question.flag_key, question.options)
        return CheckResult(value=value, reason=REASON_FLAG_NOT_FOUND, flag_key=question.flag_key)
