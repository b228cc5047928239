"""The story of a check over scripted ports: no socket, no thread, a hand-turned clock."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Coroutine
from datetime import datetime, timezone
from functools import partial
from typing import Any

import pytest

from schematic_core.api.call import Call, Response
from schematic_core.checks.answers import Answers, Flight
from schematic_core.checks.defaults import FlagDefaults
from schematic_core.checks.desk import Desk
from schematic_core.checks.flow import CheckFlow, CheckRules
from schematic_core.checks.outcome import ABANDONED, Failure, Health
from schematic_core.checks.question import Context, Question
from schematic_core.checks.sync import BackgroundThreads, drive
from schematic_core.checks.tiers import Provider, Tiers
from schematic_core.errors import (
    ApiError,
    BadRequestError,
    ConnectionFailed,
    InternalServerError,
    NotFoundError,
    TimedOut,
)
from schematic_core.ports import CheckPorts
from schematic_core.timing import Backoff, Breaker
from schematic_core.values import CheckFlagOptions, CheckResult

LOG = logging.getLogger("schematic.test")
ACME = Context((("id", "acme"),), ())


def verdict(flag: str = "exports", *, value: bool = True) -> bytes:
    return json.dumps({"data": {"flag": flag, "flag_id": "flag_1", "value": value, "reason": "r"}}).encode()


def verdicts(*flags: str) -> bytes:
    data = [{"flag": flag, "flag_id": f"flag_{flag}", "value": True, "reason": "r"} for flag in flags]
    return json.dumps({"data": {"flags": data}}).encode()


class Scripted:
    """Ports that answer from a script; a wait lets ``while_waiting`` happen."""

    def __init__(self, *script: bytes | Exception, has_room: bool = True) -> None:
        self.script = list(script)
        self.calls: list[Call] = []
        self.jobs: list[Coroutine[Any, Any, None]] = []
        self.has_room = has_room
        self.while_waiting: Callable[[Flight], None] = lambda _: None
        self.while_calling: Callable[[], object] = lambda: None

    async def call(self, call: Call, deadline: float) -> Response:
        self.calls.append(call)
        self.while_calling()
        answer = self.script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Response(200, {}, answer)

    async def wait(self, subscribe: Callable[[Callable[[], None]], None], deadline: float) -> None:
        assert isinstance(subscribe, partial)
        self.while_waiting(subscribe.args[0])

    async def invoke(self, deadline: float, method: Callable[..., Any], *arguments: object) -> Any:
        return method(*arguments)

    def spawn(self, job: Callable[[CheckPorts], Coroutine[Any, Any, None]]) -> bool:
        if self.has_room:
            self.jobs.append(job(self))
        return self.has_room


class World:
    """A flow with its parts and a clock that tests turn."""

    def __init__(self, *providers: Provider, remembers: bool = True, threshold: int = 5) -> None:
        self.now = 100.0
        self.desk = Desk(lambda: Answers(100, 5.0, 10.0, 60.0), lambda: self.now, self.wall, remembers=remembers)
        self.flow = CheckFlow(
            CheckRules(3.0, 5.0, "ns"),
            self.desk,
            Tiers(providers, LOG),
            Health(Breaker(Backoff(1.0, 30.0, lambda: 0.5), threshold), LOG),
            FlagDefaults({"exports": True}, LOG),
            LOG,
            lambda: self.now,
            self.wall,
        )

    def wall(self) -> datetime:
        return datetime.fromtimestamp(self.now, timezone.utc)

    def check(self, ports: Scripted, options: CheckFlagOptions | None = None, flag: str = "exports") -> CheckResult:
        return drive(self.flow.check(Question(flag, ACME, options), ports))

    def check_many(
        self, ports: Scripted, flags: list[str] | None, options: CheckFlagOptions | None = None
    ) -> list[CheckResult]:
        return drive(self.flow.check_many(flags, ACME, options, ports))


def test_an_answer_goes_from_fresh_over_renewable_to_asked_again() -> None:
    world, ports = World(), Scripted(verdict(), verdict(value=False), verdict())

    sources = [world.check(ports).source]
    world.now += 4.9
    sources.append(world.check(ports).source)
    world.now += 0.2
    stale = world.check(ports)
    drive(ports.jobs.pop())
    renewed = world.check(ports)
    world.now += 10.0
    sources.append(world.check(ports).source)

    assert sources == ["api", "cache", "api"]
    assert (stale.value, renewed.value, len(ports.calls)) == (True, False, 3)


def test_no_renewal_starts_while_one_is_under_way_or_the_service_is_down() -> None:
    world, ports = World(threshold=1), Scripted(verdict(), InternalServerError())
    world.check(ports)
    world.now += 6.0

    world.check(ports)
    world.check(ports)
    assert len(ports.jobs) == 1
    drive(ports.jobs.pop())
    world.check(ports)

    assert ports.jobs == []


def test_a_renewal_without_room_is_forgotten_so_that_the_next_one_may_try() -> None:
    world, ports = World(), Scripted(verdict(), has_room=False)
    world.check(ports)
    world.now += 6.0

    assert world.check(ports).value is True
    ports.has_room = True
    world.check(ports)

    assert len(ports.jobs) == 1
    ports.jobs.pop().close()


def test_a_follower_shares_the_leader_s_answer() -> None:
    world, ports = World(), Scripted()
    flight, _ = world.desk.join(("exports", ACME.company, ()), world.now + 9)
    shared = CheckResult(value=False, reason="shared", flag_key="exports")
    ports.while_waiting = lambda _: world.desk.land(flight, {"exports": shared})

    assert world.check(ports) is shared
    assert ports.calls == []


def test_a_flag_made_while_all_were_asked_is_not_remembered_as_unknown() -> None:
    world, ports = World(), Scripted(verdicts("other"), verdict())
    ports.while_calling = lambda: world.desk.drop([])

    world.check_many(ports, ["exports"])
    ports.while_calling = lambda: None
    result = world.check(ports)

    assert (result.value, result.source, len(ports.calls)) == (True, "api", 2)


def test_a_follower_whose_time_is_up_answers_the_default() -> None:
    world, ports = World(), Scripted()
    world.desk.join(("exports", ACME.company, ()), world.now + 9)

    result = world.check(ports)

    assert (result.value, result.error) == (True, "timed_out")


@pytest.mark.parametrize("outcome", [ABANDONED, Failure("timed_out")])
def test_a_follower_takes_the_lead_when_the_leader_s_failure_says_nothing(outcome: Failure) -> None:
    world, ports = World(), Scripted(verdict(value=False))
    flight, _ = world.desk.join(("exports", ACME.company, ()), world.now + 9)
    ports.while_waiting = lambda _: world.desk.land(flight, outcome)

    assert (world.check(ports).value, len(ports.calls)) == (False, 1)


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (TimedOut(), "timed_out"),
        (ConnectionFailed(), "connection_failed"),
        (InternalServerError(status_code=503), "http_503"),
        (BadRequestError(), "http_400"),
        (ApiError(), "no_answer"),
        (RuntimeError("of a client of the user's own"), "client_error"),
    ],
)
def test_a_failure_is_named_in_a_word_and_the_default_answers(error: Exception, word: str) -> None:
    result = World().check(Scripted(error))

    assert (result.value, result.source, result.error) == (True, "default", word)


def test_no_time_left_means_no_call() -> None:
    ports = Scripted()

    assert World().check(ports, CheckFlagOptions(timeout=0)).error == "timed_out"
    assert ports.calls == []


def test_a_refused_question_does_not_count_against_the_service() -> None:
    world, ports = World(threshold=1), Scripted(BadRequestError(), NotFoundError(), verdict())

    world.check(ports, flag="a")
    world.check(ports, flag="b")

    assert world.check(ports).source == "api"


def test_with_the_cache_off_every_check_asks_and_nothing_is_kept() -> None:
    world, ports = World(remembers=False), Scripted(verdict(), verdict(), verdicts("exports"), InternalServerError())

    assert [world.check(ports).source for _ in range(2)] == ["api", "api"]
    assert world.check_many(ports, ["exports", "other"])[0].source == "api"
    assert world.check(ports).source == "default"


def test_several_flags_that_are_renewable_are_renewed_by_one_request() -> None:
    world, ports = World(), Scripted(verdicts("a", "b"), verdicts("a", "b"))
    world.check_many(ports, ["a", "b"])
    world.now += 6.0

    results = world.check_many(ports, ["a", "b"])
    drive(ports.jobs.pop())

    assert [result.source for result in results] == ["cache", "cache"]
    assert (len(ports.calls), ports.jobs) == (2, [])


def test_several_flags_fall_back_one_by_one_when_the_service_fails() -> None:
    world, ports = World(), Scripted(verdict("a"), InternalServerError())
    world.check(ports, flag="a")

    results = world.check_many(ports, ["a", "exports", "other"])

    assert [(r.value, r.source) for r in results] == [(True, "cache"), (True, "default"), (False, "default")]


def test_a_preflight_of_all_flags_lists_them_first_and_asks_each() -> None:
    world, ports = World(), Scripted(verdicts("a", "b"), verdict("a", value=False), verdict("b"))

    results = world.check_many(ports, None, CheckFlagOptions(usage=1))

    assert [(r.flag_key, r.value) for r in results] == [("a", False), ("b", True)]
    assert [call.path for call in ports.calls] == ["/flags/check", "/flags/a/check", "/flags/b/check"]


def test_an_unknown_endpoint_for_all_flags_is_a_failure_not_an_empty_list() -> None:
    results = World().check_many(Scripted(NotFoundError()), None)

    assert [(r.flag_key, r.error) for r in results] == [("exports", "flag_not_found")]


def test_a_verdict_that_says_not_found_is_an_unknown_flag() -> None:
    body = json.dumps({"data": {"flag": "exports", "value": False, "reason": "Flag not found"}}).encode()

    result = World().check(Scripted(body))

    assert (result.value, result.reason) == (True, "Flag not found - using default value")


@pytest.mark.parametrize("flag", ["", ".", ".."])
def test_a_key_that_no_flag_can_have_is_unknown_without_asking(flag: str) -> None:
    """It cannot be a segment of a path."""
    ports = Scripted()

    assert World().check(ports, flag=flag).reason == "Flag not found - using default value"
    assert ports.calls == []


def test_no_call_is_made_while_the_service_is_down_and_the_last_answer_serves() -> None:
    world, ports = World(threshold=1), Scripted(verdict(value=False), InternalServerError(status_code=503))
    world.check(ports)
    world.now += 11.0

    results = [world.check(ports) for _ in range(2)]

    assert [(r.value, r.error) for r in results] == [(False, "http_503"), (False, "service_unavailable")]
    assert len(ports.calls) == 2


def test_the_caller_s_haste_is_not_held_against_the_service() -> None:
    world, ports = World(threshold=1), Scripted(TimedOut(), verdict())

    hasty = world.check(ports, CheckFlagOptions(timeout=0.5))

    assert (hasty.error, world.check(ports).source) == ("timed_out", "api")


class Rows:
    """A cache provider; ``on_set`` may happen during a write."""

    def __init__(self) -> None:
        self.rows: dict[str, Any] = {}
        self.on_set: Callable[[], object] = lambda: None

    def get(self, key: str) -> Any:
        return self.rows.get(key)

    def set(self, key: str, value: Any) -> None:
        self.rows[key] = value
        self.on_set()


def test_a_provider_s_row_spares_another_process_the_call() -> None:
    """Two clients share a cache; the second asks nobody, and a row it does not have is asked for."""
    shared = Rows()
    World(shared).check(Scripted(verdict()))
    ports = Scripted(verdict("other"))
    world = World(shared)

    results = [world.check(ports), world.check(ports, flag="other")]

    assert [(r.value, r.source) for r in results] == [(True, "cache"), (True, "api")]
    assert [call.path for call in ports.calls] == ["/flags/other/check"]


def test_a_row_from_before_a_purge_is_not_believed() -> None:
    """Another process may have written it back."""
    shared = Rows()
    World(shared).check(Scripted(verdict()))
    world, ports = World(shared), Scripted(verdict(value=False))
    world.desk.drop([])

    assert (world.check(ports).value, len(ports.calls)) == (False, 1)


def test_an_answer_purged_while_it_is_written_leaves_no_row() -> None:
    """The purge may have come before the row was there."""
    shared = Rows()
    world = World(shared)
    shared.on_set = lambda: world.desk.drop([]) if None not in shared.rows.values() else None

    world.check(Scripted(verdict()))

    assert list(shared.rows.values()) == [None]


def test_a_flow_that_suspends_under_the_sync_client_is_a_mistake_of_ours() -> None:
    class Suspending:
        def __await__(self) -> Any:
            yield

    async def flow() -> None:
        await Suspending()

    with pytest.raises(RuntimeError, match="suspended"):
        drive(flow())


def test_background_threads_refuse_what_they_cannot_hold() -> None:
    import threading

    threads = BackgroundThreads(max_threads=1, max_waiting=1)
    gate, done = threading.Event(), threading.Event()

    def wait() -> None:
        gate.wait(10)

    assert threads.submit(wait)
    accepted = [threads.submit(done.set) for _ in range(50)]
    gate.set()

    assert accepted.count(False) >= 48
    assert done.wait(10)


def test_a_job_that_fails_does_not_end_the_thread(caplog: pytest.LogCaptureFixture) -> None:
    import threading

    threads, done = BackgroundThreads(max_threads=1), threading.Event()

    def fail() -> None:
        raise RuntimeError("job failed")

    threads.submit(fail)
    threads.submit(done.set)

    assert done.wait(10)
    assert "renewing an answer failed" in caplog.text
