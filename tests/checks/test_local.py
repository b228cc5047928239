"""What is answered from the entities of this process, with a hand-turned clock and the real engine."""

from __future__ import annotations

import gc
import logging
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from itertools import count
from typing import Any, cast

import pytest

from schematic_core.checks.evaluate import EngineHolder
from schematic_core.checks.local import LONGEST_MEMO, MAX_MEMOS, Bounds, Local
from schematic_core.checks.local_flow import ASK_SERVICE, Need
from schematic_core.checks.question import ask, raw_question
from schematic_core.datastream.replica import Replica
from schematic_core.datastream.versions import EntityVersion, FlagVersion, Stamp
from schematic_core.errors import ConfigurationError, EngineError
from schematic_core.events.worker import Worker
from schematic_core.keys import pairs
from schematic_core.rules.engine import Engine
from schematic_core.values import REASON_NO_CONTEXT, CheckFlagOptions, CheckResult
from tests.datastream.frames import entitlement, message, metric
from tests.datastream.support import ACME, ADA, company, flag, plan_flag

LOG = logging.getLogger("schematic.test")
STALE_AFTER, SERVE_STALE, TTL, NOT_FOUND_TTL = 30.0, 3600.0, 86_400.0, 10.0
NEED_ACME = Need((("company", (("id", "acme"),)),))
Json = dict[str, Any]


def metric_flag(key: str = "exports", limit: int = 3, period: str = "all_time", rule_type: str = "standard") -> Json:
    """Give a flag that is on while an event was counted fewer than ``limit`` times."""
    owners = {"account_id": "acc", "environment_id": "env"}
    condition = {"id": "c", **owners, "condition_type": "metric", "operator": "lt", "event_subtype": "export"}
    counted = {"metric_period": period, "metric_value": limit, "trait_value": "", "resource_ids": []}
    rule = {"id": "r", **owners, "name": "limit", "rule_type": rule_type, "priority": 1, "value": True}
    return flag(key, rules=[{**rule, "conditions": [{**condition, **counted}], "condition_groups": []}])


class Records:
    """Takes what is recorded, as the worker of events does, and sends it to nobody."""

    refusing = None
    notice = 1_000_000

    def __init__(self) -> None:
        self.inbox: list[Any] = []
        self.numbers = count()

    def wall(self) -> float:
        return 0.0


class World:
    """Local answers, and a source that says what the test says. The clock begins with the real one, which `recall` reads."""

    def __init__(self, engine: Engine, *, is_complete: bool = False, ttl: float | None = None, size: int = 100) -> None:
        self.now = time.monotonic()
        self.wall = time.time()
        self.engine = engine
        self.records = Records()
        self.local = Local(
            lambda: Replica(EngineHolder(engine), max_entities=size, ttl=ttl, not_found_ttl=NOT_FOUND_TTL),
            engine,
            "stream",
            Bounds(STALE_AFTER, SERVE_STALE, ttl, is_complete=is_complete),
            cast("Worker", self.records),  # all that is used of it
            LOG,
            clock=lambda: self.now,
            wall=lambda: self.wall,
        )

    def connect(self, *flags: Json) -> None:
        """Come up on a new connection; the flags are those given, or as before."""
        self.local.replica.begin()
        if flags:
            self.flags(*flags)
        self.local.up()

    def lose(self) -> None:
        self.local.down()

    def flags(self, *flags: Json) -> None:
        self.local.apply(self.local.replica.prepare_flags([message("Flags", "full", list(flags))]))

    def hear(self, entity_type: str, message_type: str, data: Any, entity_id: str | None = None) -> None:
        change = self.local.replica.prepare(message(entity_type, message_type, data, entity_id), self.now)
        assert change is not None
        self.local.apply(change)

    def company(self, *plans: str, **members: Any) -> None:
        self.hear("Company", "full", company("comp_1", ACME, *plans, **members))

    def ask(self, key: str = "exports", company: Any = ACME, user: Any = None, **preflight: Any) -> CheckResult | Need:
        return self.local.consult(ask(key, company, user, CheckFlagOptions(**preflight) if preflight else None))

    def answer(self, *arguments: Any, **keywords: Any) -> CheckResult:
        found = self.ask(*arguments, **keywords)
        assert isinstance(found, CheckResult), found
        return found

    def known(self, key: str = "exports", company: Any = ACME) -> CheckResult | None:
        return self.local.last_known(ask(key, company, None, None))

    def recalled(self, key: str = "exports", company: Any = ACME, user: Any = None) -> CheckResult | None:
        return self.local.recall(key, company, user)


@pytest.fixture(scope="module")
def engine() -> Engine:
    """One of this module's own, so that its instance can be lost."""
    return Engine()


@pytest.fixture
def world(engine: Engine) -> World:
    return World(engine)


@pytest.fixture
def live(world: World) -> World:
    """Live, with one flag and one company that has its plan."""
    world.connect(plan_flag())
    world.company("plan_pro")
    return world


# -- whether there is an answer


def test_before_everything_is_here_there_is_none(world: World) -> None:
    """Though a company may be here already."""
    world.local.replica.begin()
    world.company("plan_pro")

    assert world.ask() is ASK_SERVICE
    assert (world.known(), world.local.flag_keys(), world.recalled()) == (None, None, None)


def test_what_is_here_is_answered_as_it_is_now(live: World) -> None:
    """With where it came from and since when."""
    answer = live.answer()

    assert (answer.value, answer.source, answer.company_id) == (True, "stream", "comp_1")
    assert (answer.age, answer.is_stale) == (0.0, False)
    assert answer.as_of == datetime.fromtimestamp(live.wall, timezone.utc)
    assert live.local.flag_keys() == ["exports"]


def test_what_is_missing_is_named(live: World) -> None:
    """All of it at once; whoever is there is not."""
    assert live.ask(user=ADA) == Need((("user", (("id", "ada"),)),))
    assert live.ask(company={"id": "x"}, user=ADA) == Need((("company", (("id", "x"),)), ("user", (("id", "ada"),))))


def test_a_flag_that_is_not_here_is_for_the_service(live: World) -> None:
    """The stream has all that there are."""
    assert live.ask("other") is ASK_SERVICE


def test_without_keys_the_default_of_the_flag_answers(live: World) -> None:
    """The engine is not asked."""
    live.flags(flag("exports", default=True))

    answer = live.answer(company=None)

    assert (answer.value, answer.reason, answer.source, answer.flag_id) == (
        True,
        REASON_NO_CONTEXT,
        "stream",
        "flag_exports",
    )


def test_keys_of_two_companies_are_a_conflict(live: World) -> None:
    """The default of the flag answers, and the error names both."""
    live.hear("Company", "full", company("comp_2", {"slug": "b"}))

    answer = live.answer(company={"id": "acme", "slug": "b"})

    assert (answer.value, answer.reason, answer.error) == (
        False,
        "key conflict",
        "keys of the company belong to comp_1 and comp_2",
    )
    assert live.recalled(company={"id": "acme", "slug": "b"}) is None


def test_a_source_that_knows_everybody_answers_for_those_it_does_not_know(engine: Engine) -> None:
    """As the service does: without the entity."""
    world = World(engine, is_complete=True)
    world.connect(plan_flag())

    answer = world.answer(company={"id": "nobody"}, user=ADA)

    assert (answer.value, answer.company_id, answer.user_id) == (False, None, None)


def test_whoever_the_service_does_not_know_is_for_the_service_for_a_while(live: World) -> None:
    """Then the stream is asked again; somebody who shows up is known at once."""
    with live.local.changing() as replica:
        replica.note_missing("company", pairs({"id": "late"}), live.now)

    assert live.ask(company={"id": "late"}) is ASK_SERVICE
    live.now += NOT_FOUND_TTL
    assert live.ask(company={"id": "late"}) == Need((("company", (("id", "late"),)),))
    live.hear("Company", "full", company("comp_2", {"id": "late"}, "plan_pro"))
    assert live.answer(company={"id": "late"}).value is True


# -- how old answers may be


def test_a_lost_connection_makes_answers_stale_and_then_ends_them(live: World) -> None:
    """``stale_after`` seconds; what was answered before says so, too."""
    before = live.answer()

    live.lose()

    meanwhile = live.answer()
    assert [(one.value, one.is_stale) for one in (before, meanwhile)] == [(True, True)] * 2
    assert before.standing is meanwhile.standing
    live.now += STALE_AFTER - 0.001
    assert live.answer().is_stale
    assert live.local.flag_keys() == ["exports"]
    live.now += 0.001
    assert live.ask() is ASK_SERVICE
    assert live.local.flag_keys() is None


def test_when_nobody_else_answers_what_was_known_last_does(live: World) -> None:
    """Up to ``serve_stale`` seconds, the answers without an evaluation as well."""
    live.lose()

    live.now += SERVE_STALE - 0.001
    known = live.known()
    assert known is not None
    assert (known.value, known.is_stale) == (True, True)
    assert live.known(company=None) is not None
    live.now += 0.001
    assert (live.known(), live.known(company=None)) == (None, None)


def test_nothing_is_known_of_who_is_not_here(live: World) -> None:
    """Nor of a flag that is not."""
    assert (live.known(company={"id": "x"}), live.known("other")) == (None, None)


def test_age_counts_from_the_loss(live: World) -> None:
    """By the wall clock."""
    live.wall -= 100.0
    answer = live.answer()
    live.lose()

    assert answer.standing is not None
    assert answer.standing.until == datetime.fromtimestamp(live.wall, timezone.utc)
    assert answer.age >= 100.0


def test_a_second_loss_changes_nothing(live: World) -> None:
    """The first one was the end."""
    live.lose()
    live.now += STALE_AFTER / 2
    live.lose()
    live.now += STALE_AFTER / 2

    assert live.ask() is ASK_SERVICE


def test_after_a_return_entities_are_asked_for_before_they_answer(live: World) -> None:
    """Until this connection has said something of them."""
    live.lose()
    live.connect()

    assert live.ask() == NEED_ACME
    live.company("plan_pro")
    assert (live.answer().value, live.answer().is_stale) == (True, False)


def test_what_a_lost_refresh_leaves_is_as_old_as_its_connection(live: World) -> None:
    """Connected or not: what nobody confirms is known as stale, since the loss of the one that did."""
    live.lose()
    live.now += 100.0
    live.connect()

    known = live.known()

    assert known is not None
    assert known.is_stale
    assert live.ask() == NEED_ACME


def test_an_entity_that_the_latest_connection_did_not_confirm_is_no_younger_for_it(live: World) -> None:
    """After that one is lost, too, the service is asked first: its answer would be older than ``stale_after``."""
    live.lose()
    live.now += STALE_AFTER
    live.connect()
    live.now += 1.0
    live.lose()

    assert live.ask() is ASK_SERVICE
    assert live.known() is not None


def test_an_entity_older_than_anybody_remembers_is_unknown(live: World) -> None:
    """``serve_stale`` counts from the loss of the connection that confirmed it, whatever came after."""
    live.lose()
    live.now += SERVE_STALE
    live.connect()
    live.lose()
    live.connect()

    assert live.known() is None
    assert live.ask() == NEED_ACME


def test_a_connection_lost_before_everything_was_here_stood_by_nothing(live: World) -> None:
    """What it said of an entity is as old as the last one that was whole."""
    live.lose()
    live.now += 100.0
    live.local.replica.begin()
    live.company("plan_pro", "plan_other")
    live.local.replica.begin()
    live.local.up()
    live.now += 1.0

    known = live.known()

    assert known is not None
    assert known.is_stale
    live.now += SERVE_STALE
    assert live.known() is None


def test_a_time_to_live_asks_for_an_entity_again(engine: Engine) -> None:
    """Even though the connection stands; the answers remembered end with it."""
    world = World(engine, ttl=5.0)
    world.connect(plan_flag())
    world.company("plan_pro")
    world.answer()
    assert world.local.memos[ask("exports", ACME, None, None).subject].until == world.now + 5.0

    world.now += 5.1

    assert world.ask() == NEED_ACME


def test_a_reload_leaves_nothing_confirmed(live: World) -> None:
    """On the same connection."""
    live.local.down()
    live.local.replica.begin()
    assert live.answer().is_stale

    live.local.up()

    assert live.ask() == NEED_ACME


def test_a_closed_one_answers_nothing(live: World) -> None:
    """Nor does it come up again."""
    live.answer()

    live.local.close()
    live.local.up()

    assert live.ask() is ASK_SERVICE
    assert (live.recalled(), live.known(), live.local.flag_keys()) == (None, None, None)


# -- answers remembered


def test_an_answer_is_remembered_and_each_check_of_it_recorded(live: World) -> None:
    """The very object, without another evaluation."""
    answer = live.answer()

    recalled = [live.recalled() for _ in range(3)]

    assert all(one is answer for one in recalled)
    assert [(one[0], *one[3:]) for one in live.records.inbox] == [("flag_check", answer, ACME, {}, False)] * 3


def test_another_way_to_write_the_same_question_finds_the_same_answer(live: World) -> None:
    """Once it has been told."""
    keys = {"slug": "a", "id": "acme"}
    live.hear("Company", "full", company("comp_1", keys, "plan_pro"))
    question = ask("exports", keys, None, None)
    answer = live.answer(company=keys)
    assert live.recalled(company=keys) is None

    live.local.alias(raw_question("exports", keys, None), question.subject)

    assert live.recalled(company=keys) is answer
    assert live.recalled(company={"id": "acme", "slug": "a"}) is answer
    live.local.alias(raw_question("exports", {"x": "y"}, None), ask("exports", {"x": "y"}, None, None).subject)
    assert live.recalled(company={"x": "y"}) is None


CHANGES: dict[str, Callable[[World], None]] = {
    "a full company": lambda world: world.company(),
    "a partial": lambda world: world.hear("Company", "partial", {"plan_ids": None}, "comp_1"),
    "a delete": lambda world: world.hear("Company", "delete", None, "comp_1"),
    "a full user": lambda world: world.hear("User", "full", {**company("user_1", ADA), "traits": []}),
    "a flag": lambda world: world.hear("Flag", "full", plan_flag(plan="plan_other")),
    "a flag's end": lambda world: world.hear("Flag", "delete", {"key": "exports"}),
    "all flags": lambda world: world.flags(plan_flag(plan="plan_other")),
    "a loss": lambda world: world.lose(),
    "a return": lambda world: world.connect(),
    "usage": lambda world: world.local.on_tracked(ACME, "export", 1),
    "not found": lambda world: world.local.replica.note_missing("company", pairs(ACME), world.now),
    "the end": lambda world: world.local.close(),
    "a fork": lambda world: world.local.after_fork_in_child(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_ends_what_is_remembered(world: World, change: str) -> None:
    """Of the company, the user, the flags, the connection, and by usage tracked here."""
    world.connect(plan_flag())
    world.company("plan_pro", metrics=[metric()])
    world.hear("User", "full", company("user_1", ADA))
    world.answer(user=ADA)
    assert world.recalled(user=ADA) is not None

    CHANGES[change](world)

    assert world.recalled(user=ADA) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda world: world.hear("Company", "full", company("comp_2", {"id": "other"})),
        lambda world: world.hear("User", "full", company("user_2", {"id": "other"})),
        lambda world: world.local.on_tracked(ACME, "unheard-of", 1),
        lambda world: world.local.on_tracked({"id": "other"}, "export", 1),
        lambda world: world.local.on_tracked(None, "export", 1),
        lambda world: world.local.on_tracked(ACME, "export", 0),
    ],
)
def test_changes_of_others_end_nothing(world: World, change: Callable[[World], None]) -> None:
    """Nor does the same message again."""
    world.connect(plan_flag())
    world.company("plan_pro", metrics=[metric()])
    answer = world.answer()

    change(world)
    world.company("plan_pro", metrics=[metric()])

    assert world.recalled() is answer


def test_a_preflight_is_neither_remembered_nor_answered_from_memory(live: World) -> None:
    """It asks about what has not happened."""
    live.flags(metric_flag())
    live.company("plan_pro", metrics=[metric(value=2)])

    assert live.answer(usage=5).value is False
    assert live.recalled() is None
    assert live.answer().value is True
    assert live.recalled() is not None


def test_an_answer_with_a_usage_that_begins_anew_ends_then(live: World) -> None:
    """By the clock, without a message."""
    midnight = (live.wall // 86_400 + 1) * 86_400
    live.wall = midnight - 20.0
    live.flags(metric_flag(limit=3, period="current_day", rule_type="plan_entitlement"))
    live.company(metrics=[metric(value=2, period="current_day")])

    before = live.answer()
    memo = live.local.memos[ask("exports", ACME, None, None).subject]
    live.now, live.wall = live.now + 20.0, midnight

    assert before.feature_usage_reset_at == datetime.fromtimestamp(midnight, timezone.utc)
    assert memo.until == pytest.approx(live.now, abs=0.01)
    assert live.answer().feature_usage_reset_at == datetime.fromtimestamp(midnight + 86_400, timezone.utc)


def test_no_answer_is_remembered_for_long(live: World) -> None:
    """The wall clock may be set, and a fork may go unnoticed."""
    live.answer()
    assert live.recalled() is not None

    live.now -= LONGEST_MEMO + 1.0  # as if it had been asked then
    live.local.memos.clear()
    live.answer()

    assert live.recalled() is None


def test_what_is_remembered_while_stale_ends_with_stale_after(live: World) -> None:
    """Not later because it was asked for late."""
    live.lose()
    live.now += STALE_AFTER - 1.0

    live.answer()

    memo = live.local.memos[ask("exports", ACME, None, None).subject]
    assert memo.until == pytest.approx(live.now + 1.0)


def test_what_is_remembered_is_bounded(live: World) -> None:
    """The oldest goes first."""
    answer = live.answer()
    first = next(iter(live.local.memos))
    spare = live.local.memos[first]
    live.local.memos.update({("x", number): spare for number in range(MAX_MEMOS - 1)})

    live.answer("exports", ACME, {})
    live.local.alias(("one", "more"), ask("exports", ACME, None, None).subject)
    live.local.alias(("and", "another"), ask("exports", ACME, None, None).subject)

    assert len(live.local.memos) == MAX_MEMOS
    assert first not in live.local.memos
    assert answer is spare.result


def test_the_bound_holds_while_many_threads_remember(live: World) -> None:
    """And none of them meets an error."""
    live.answer()
    memo = next(iter(live.local.memos.values()))
    live.local.memos.update({("x", number): memo for number in range(MAX_MEMOS - 100)})

    def remember(thread: int) -> None:
        for number in range(2000):
            live.local._keep(live.local.memos, (thread, number), memo)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads take turns between any two steps
    try:
        with ThreadPoolExecutor(8) as pool:
            for done in [pool.submit(remember, thread) for thread in range(8)]:
                done.result(30.0)
    finally:
        sys.setswitchinterval(interval)

    assert len(live.local.memos) <= MAX_MEMOS + 8


def test_odd_keys_find_nothing_and_raise_nothing(live: World) -> None:
    """The slow path says what is wrong with them."""
    live.answer()

    odd: Any = [1, {"id": ["a"]}, {"id": {}}, object(), "text"]

    assert [live.recalled(company=keys) for keys in odd] == [None] * 5


# -- usage


def test_tracked_usage_counts_with_the_next_check(live: World) -> None:
    """Metrics and what the entitlement says of them."""
    live.flags(metric_flag(limit=3))
    live.company(metrics=[metric(value=1)], entitlements=[entitlement(event_name="export", usage=1, allocation=3)])
    assert live.answer().value is True

    live.local.on_tracked(ACME, "export", None)
    assert live.answer().value is True
    live.local.on_tracked(ACME, "export", 1)

    answer = live.answer()
    assert answer.value is False
    assert answer.entitlement is None or answer.entitlement.usage == 3


def test_tracking_takes_no_lock(live: World) -> None:
    """Whoever holds it, and in whatever handler the caller is."""
    live.flags(metric_flag())
    live.company(metrics=[metric(value=2)])
    live.answer()
    tracked = threading.Event()

    def track() -> None:
        live.local.on_tracked(ACME, "export", 1)
        tracked.set()

    with live.local.changing():
        threading.Thread(target=track).start()
        assert tracked.wait(10.0)

    assert live.recalled() is None
    assert live.answer().value is False


# -- the engine


def test_an_engine_that_lost_its_instance_answers_again(live: World, engine: Engine) -> None:
    """What was held is handed in anew by the next check; versions stay as they are."""
    assert live.answer().value is True
    for place in engine._places.values():
        place.instance = None  # as after a trap

    assert [live.answer("exports", ACME, None, usage=1).value for _ in range(2)] == [True, True]
    assert live.answer().value is True


def test_an_instance_lost_under_many_threads_answers_all_of_them(live: World, engine: Engine) -> None:
    """Each document is handed in as often as it takes."""

    def check(number: int) -> bool:
        if number % 10 == 0:
            for place in engine._places.values():
                with place.lock:
                    place.instance = None
        found = live.ask(usage=1)
        return not isinstance(found, CheckResult) or found.value

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(check, range(200)))
    assert live.answer(usage=1).value is True


class _Broken:
    """The engine, but for evaluations, which fail in the way given."""

    def __init__(self, engine: Engine, error: Exception) -> None:
        self._engine = engine
        self.errors: list[Exception | None] = [error] * 1000
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def result(self, *arguments: Any, **keywords: Any) -> Any:
        self.asked += 1
        error = self.errors.pop(0)
        if error is not None:
            raise error
        return self._engine.result(*arguments, **keywords)


@pytest.mark.parametrize(
    "error",
    [
        ConfigurationError("local evaluation needs wasmtime"),
        EngineError("the engine could not go on", code="trapped"),
        EngineError("a handle is not valid any more", code="stale_handle"),
    ],
)
def test_an_engine_that_cannot_answer_sends_checks_to_the_service(
    engine: Engine, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """And says so once."""
    broken: Any = _Broken(engine, error)
    world = World(broken)
    world.connect(plan_flag())
    world.company("plan_pro")

    assert [world.ask() for _ in range(5)] == [ASK_SERVICE] * 5
    assert world.known() is None
    assert [record.getMessage() for record in caplog.records] == [
        f"flags cannot be evaluated here and are asked for over HTTP: {error}"
    ]


def test_a_trouble_that_comes_and_goes_is_told_once_a_connection(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """One company that the engine cannot digest must not fill the log."""
    broken: Any = _Broken(engine, EngineError("it could not go on", code="trapped"))
    broken.errors = [EngineError("it could not go on", code="trapped"), None] * 10
    world = World(broken)
    world.connect(plan_flag())
    world.company("plan_pro")

    kinds = [isinstance(world.ask(usage=1), CheckResult) for _ in range(6)]
    world.connect()
    world.company("plan_pro")
    world.ask(), world.ask()

    assert kinds == [False, True] * 3
    assert len(caplog.records) == 2


# -- processes and threads


def test_a_forked_child_begins_with_nothing_and_with_free_locks(live: World) -> None:
    """The parent's connection is not its own."""
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with live.local.lock, live.local._evaluator._lock:
            held.set()
            done.wait(10.0)

    holding = threading.Thread(target=hold)
    holding.start()
    held.wait(10.0)

    live.local.after_fork_in_child()

    assert live.local.lock.acquire(blocking=False)
    assert live.local._evaluator._lock.acquire(blocking=False)
    live.local.lock.release()
    live.local._evaluator._lock.release()
    done.set()
    holding.join()
    assert live.ask() is ASK_SERVICE
    live.connect(plan_flag())
    live.company("plan_pro")
    assert live.answer().value is True


def test_a_handler_may_check_while_its_own_thread_holds_the_lock(live: World) -> None:
    """A signal's, or a finaliser's."""
    with live.local.changing():
        assert live.answer().value is True


def test_a_memo_keeps_no_entity_alive(live: World) -> None:
    """Only its stamp."""
    live.answer()
    memo = next(iter(live.local.memos.values()))

    seen: dict[int, Any] = {}
    waiting: list[Any] = [memo]
    while waiting:
        one = waiting.pop()
        if id(one) not in seen and not isinstance(one, type):
            seen[id(one)] = one
            waiting += gc.get_referents(one)

    assert Stamp in {type(one) for one in seen.values()}
    assert not [one for one in seen.values() if isinstance(one, (EntityVersion, FlagVersion))]


def test_a_question_asked_before_is_answered_anew_when_its_company_changed(live: World) -> None:
    """Without the flow, and recorded; but not while anything is in doubt."""
    live.answer()
    live.company()

    again = live.local.check_again("exports", ACME, None)

    assert again is not None
    assert (again.value, live.recalled()) == (False, again)
    assert len(live.records.inbox) == 2
    assert live.local.check_again("exports", {"id": "other"}, None) is None
    live.lose()
    assert live.local.check_again("exports", ACME, None) is None


# -- whom keys mean


def test_a_key_that_moves_to_another_company_ends_what_was_remembered(live: World) -> None:
    """The former owner has not changed, yet the question does not mean it any more."""
    live.hear("Company", "full", company("comp_1", {"id": "acme", "sku": "x"}, "plan_pro"))
    assert live.answer(company={"sku": "x"}).company_id == "comp_1"

    live.hear("Company", "full", company("comp_2", {"sku": "x"}))

    assert live.recalled(company={"sku": "x"}) is None
    assert (live.answer(company={"sku": "x"}).company_id, live.answer(company={"sku": "x"}).value) == ("comp_2", False)


def test_a_key_that_nobody_had_ends_what_was_remembered_when_somebody_gets_it(live: World) -> None:
    """Two keys were asked and one was enough; now they belong to two companies."""
    both = {"id": "acme", "ref": "r9"}
    assert live.answer(company=both).value is True

    live.hear("Company", "full", company("comp_2", {"id": "tiny", "ref": "r9"}))

    assert live.recalled(company=both) is None
    assert live.answer(company=both).reason == "key conflict"


def test_other_companies_that_come_and_go_end_nothing(live: World) -> None:
    """Only keys that were asked for matter."""
    first = live.answer()

    for number in range(20):
        live.hear("Company", "full", company(f"comp_{number + 2}", {"id": f"other {number}"}))

    assert live.recalled() is first


def test_usage_waits_while_the_engine_is_busy_in_this_very_thread(engine: Engine) -> None:
    """As for a signal handler that checks: the company stays, and its usage is counted by the next check."""

    class Interrupted(EngineHolder):
        is_busy = False

        def hold(self, kind: Any, text: bytes) -> Any:
            if self.is_busy:
                raise EngineError("the engine is busy in this very thread", code="busy")
            return super().hold(kind, text)

    holder = Interrupted(engine)
    world = World(engine)
    world.local.replace(Replica(holder, max_entities=10, ttl=None, not_found_ttl=NOT_FOUND_TTL))
    world.connect(metric_flag(limit=1))
    world.company(metrics=[metric("export", 0)])
    assert world.answer().value is True
    world.local.on_tracked(ACME, "export", 1)

    holder.is_busy = True
    assert world.local.check_again("exports", ACME, None) is None
    assert world.ask() == ASK_SERVICE
    assert world.known() is None
    holder.is_busy = False

    assert world.answer().value is False


# -- what was asked before, and has changed


def test_an_answer_given_anew_is_remembered_and_recorded_as_the_former_one(live: World) -> None:
    """Without the way that every new question goes; the new answer is remembered and recorded as the former one."""
    assert live.answer().value is True
    live.company()

    assert live.recalled() is None
    again = live.local.check_again("exports", ACME, None)

    assert again is not None
    assert again.value is False
    assert live.recalled() is again
    assert [record[3] for record in live.records.inbox] == [again, again]


def test_nothing_is_answered_anew_that_was_not_asked_or_that_nobody_stands_by(live: World) -> None:
    """The flow knows what to do then."""
    assert live.local.check_again("exports", ACME, None) is None
    assert live.local.check_again("exports", 7, None) is None  # type: ignore[arg-type]  # no mapping at all

    live.answer()
    live.lose()

    assert live.local.check_again("exports", ACME, None) is None


def test_an_answer_given_anew_is_remembered_no_longer_than_the_former(live: World) -> None:
    """So that the flow has its turn, which notices e.g. a fork that no hook told of."""
    live.answer()
    live.now += LONGEST_MEMO - 1.0
    live.company()
    assert live.local.check_again("exports", ACME, None) is not None

    live.now += 2.0

    assert live.local.check_again("exports", ACME, None) is None
