"""The order of answers: what is here, what the stream fetches, the service, the last known state, the default."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import pytest

from schematic_core.api.call import Call, Response
from schematic_core.checks.answers import Answers
from schematic_core.checks.defaults import FlagDefaults
from schematic_core.checks.desk import Desk
from schematic_core.checks.flow import CheckFlow, CheckRules, Deadlines
from schematic_core.checks.local_flow import ASK_SERVICE, Landing, LocalFlow, Need
from schematic_core.checks.outcome import Health
from schematic_core.checks.question import Context, Question, context
from schematic_core.checks.sync import drive
from schematic_core.checks.tiers import Tiers
from schematic_core.datastream.versions import Kind
from schematic_core.errors import ConnectionFailed
from schematic_core.keys import Pairs
from schematic_core.ports import CheckPorts
from schematic_core.timing import Backoff, Breaker
from schematic_core.values import CheckFlagOptions, CheckResult
from tests.checks.test_flow import verdict, verdicts

LOG = logging.getLogger("schematic.test")
ACME = context({"id": "acme"}, None)
NEED_ACME = Need((("company", (("id", "acme"),)),))


def local(flag: str = "exports", *, value: bool = True) -> CheckResult:
    return CheckResult(value=value, reason="local", flag_key=flag, source="stream")


class Ask:
    """A request to the stream that ends with ``outcome``."""

    def __init__(self, outcome: str) -> None:
        self.outcome = outcome


class World:
    """A flow over scripted local answers, a scripted stream and a scripted service."""

    def __init__(self, *, has_service: bool = True) -> None:
        self.now = 100.0
        self.consulted: deque[CheckResult | Need] = deque()
        self.outcomes: deque[str] = deque()
        self.known: dict[str, CheckResult] = {}
        self.keys: list[str] | None = ["exports", "reports"]
        self.recorded: list[tuple[CheckResult, Context, bool]] = []
        self.requested: list[tuple[Kind, Pairs]] = []
        self.starts = 0
        self.answers: list[bytes | Exception] = []
        self.calls: list[Call] = []
        self.waited_until: list[float] = []
        defaults = FlagDefaults({"exports": True}, LOG)
        service = CheckFlow(
            CheckRules(3.0, 5.0, "ns"),
            Desk(lambda: Answers(100, 5.0, 10.0, 60.0), lambda: self.now, lambda: None, remembers=False),  # type: ignore[arg-type, return-value]  # never asked
            Tiers((), LOG),
            Health(Breaker(Backoff(1.0, 30.0, lambda: 0.5), 50), LOG),
            defaults,
            LOG,
            lambda: self.now,
            lambda: None,  # type: ignore[arg-type, return-value]  # the age of answers is not looked at
        )
        deadlines = Deadlines(3.0, lambda: self.now)
        self.flow = LocalFlow(self, self, service if has_service else None, defaults, deadlines, lambda: self.now)

    # the replica

    def consult(self, question: Question) -> CheckResult | Need:
        return self.consulted.popleft()

    def last_known(self, question: Question) -> CheckResult | None:
        return self.known.get(question.flag_key)

    def flag_keys(self) -> list[str] | None:
        return self.keys

    def record(self, result: CheckResult, context: Context, *, is_preflight: bool) -> None:
        self.recorded.append((result, context, is_preflight))

    # the stream

    def start(self) -> None:
        self.starts += 1

    def request(self, entities: Iterable[tuple[Kind, Pairs]]) -> list[Landing]:
        self.requested += entities
        return [Ask(self.outcomes.popleft())] if self.outcomes else []

    def on_landing(self, landing: Landing, callback: Callable[[], None]) -> None:
        callback()

    # the ports

    async def call(self, call: Call, deadline: float) -> Response:
        self.calls.append(call)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Response(200, {}, answer)

    async def wait(self, subscribe: Callable[[Callable[[], None]], None], deadline: float) -> None:
        subscribe(lambda: self.waited_until.append(deadline))

    async def invoke(self, deadline: float, method: Callable[..., Any], *arguments: object) -> Any:
        raise AssertionError("there are no providers")

    def spawn(self, job: Callable[[CheckPorts], Coroutine[Any, Any, None]]) -> bool:
        raise AssertionError("nothing is renewed")

    # what tests do

    def check(self, options: CheckFlagOptions | None = None) -> CheckResult:
        return drive(self.flow.check(Question("exports", ACME, options), self))

    def check_many(self, flags: list[str] | None, options: CheckFlagOptions | None = None) -> list[CheckResult]:
        return drive(self.flow.check_many(flags, ACME, options, self))


def test_what_is_here_answers_and_is_recorded() -> None:
    """Neither the stream nor the service is asked."""
    world = World()
    world.consulted.append(local())

    result = world.check()

    assert result == local()
    assert world.recorded == [(result, ACME, False)]
    assert (world.starts, world.requested, world.calls) == (1, [], [])


def test_what_is_missing_is_asked_of_the_stream_within_two_seconds() -> None:
    """Then the replica is consulted again."""
    world = World()
    world.consulted += [NEED_ACME, local()]
    world.outcomes.append("answered")

    assert world.check() == local()
    assert world.requested == [("company", (("id", "acme"),))]
    assert world.waited_until == [102.0]


@pytest.mark.parametrize("outcome", ["missing", "failed", "waiting"])
def test_an_entity_that_the_stream_does_not_bring_is_asked_of_the_service(outcome: str) -> None:
    """The answer of the service is recorded by the service."""
    world = World()
    world.consulted.append(NEED_ACME)
    world.outcomes.append(outcome)
    world.answers.append(verdict())

    assert world.check().source == "api"
    assert world.recorded == []


def test_without_a_connection_the_service_is_asked_at_once() -> None:
    """Nobody waits for a stream that cannot be asked."""
    world = World()
    world.consulted.append(NEED_ACME)
    world.answers.append(verdict())

    assert world.check().source == "api"
    assert world.waited_until == []


def test_a_replica_that_never_has_enough_does_not_hold_a_check_for_ever() -> None:
    """After three rounds the service is asked."""
    world = World()
    world.consulted += [NEED_ACME] * 3
    world.outcomes += ["answered"] * 3
    world.answers.append(verdict())

    assert world.check().source == "api"
    assert len(world.requested) == 3


def test_a_short_timeout_bounds_the_wait_for_the_stream_and_the_call() -> None:
    """The check's own timeout is for everything together."""
    world = World()
    world.consulted.append(NEED_ACME)
    world.outcomes.append("failed")
    world.answers.append(verdict())

    world.check(CheckFlagOptions(timeout=0.5))

    assert world.waited_until == [100.5]


def test_when_the_service_cannot_answer_the_last_known_state_does() -> None:
    """Our outage must not switch off paying customers."""
    world = World()
    world.consulted.append(ASK_SERVICE)
    world.known["exports"] = local(value=False)
    world.answers.append(ConnectionFailed(message="down"))

    assert world.check() == local(value=False)


def test_when_nothing_is_known_the_default_answers() -> None:
    """The reason and the error say so."""
    world = World()
    world.consulted.append(ASK_SERVICE)
    world.answers.append(ConnectionFailed(message="down"))

    result = world.check()

    assert (result.value, result.source, result.error) == (True, "default", "connection_failed")


def test_a_preflight_is_answered_here_too() -> None:
    """And recorded as one."""
    world = World()
    world.consulted.append(local())

    world.check(CheckFlagOptions(usage=2))

    assert [is_preflight for _, _, is_preflight in world.recorded] == [True]


def test_several_flags_are_answered_here_with_one_request_for_what_they_lack() -> None:
    """In the order asked; nothing is recorded for them."""
    world = World()
    world.consulted += [NEED_ACME, local("reports"), local("exports")]
    world.outcomes.append("answered")

    results = world.check_many(["exports", "reports"])

    assert [result.flag_key for result in results] == ["exports", "reports"]
    assert len(world.requested) == 1
    assert world.recorded == []


def test_flags_that_cannot_be_answered_here_are_asked_together() -> None:
    """The others keep their local answers."""
    world = World()
    world.consulted += [ASK_SERVICE, local("reports"), ASK_SERVICE]
    world.answers.append(verdicts("exports", "seats"))

    results = world.check_many(["exports", "reports", "seats"])

    assert [(result.flag_key, result.source) for result in results] == [
        ("exports", "api"),
        ("reports", "stream"),
        ("seats", "api"),
    ]
    assert len(world.calls) == 1


def test_all_flags_are_those_of_the_stream() -> None:
    """The service is not asked which there are."""
    world = World()
    world.consulted += [local("exports"), local("reports")]

    assert [result.flag_key for result in world.check_many(None)] == ["exports", "reports"]


def test_all_flags_come_from_the_service_while_they_are_not_here() -> None:
    """For instance at start."""
    world = World()
    world.keys = None
    world.answers.append(verdicts("a", "b"))

    assert [(result.flag_key, result.source) for result in world.check_many(None)] == [("a", "api"), ("b", "api")]


def test_without_a_service_what_is_not_here_gets_its_default() -> None:
    """An environment file is the whole truth."""
    world = World(has_service=False)
    world.keys = None
    world.consulted.append(ASK_SERVICE)

    result = world.check()

    assert (result.value, result.reason, result.source) == (True, "Flag not found - using default value", "default")
    assert world.check_many(None) == []
