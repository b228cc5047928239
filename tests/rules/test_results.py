"""Results for callers of a client: equal to evaluations, quick, and never another question's."""

from __future__ import annotations

import copy
import pickle
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import FrozenInstanceError, fields
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from schematic_core.errors import EngineError
from schematic_core.rules import Engine, Evaluation
from schematic_core.rules.documents import options_of
from schematic_core.rules.engine import Handle
from schematic_core.rules.failure import Trapped
from schematic_core.rules.quick import quick
from schematic_core.rules.results import MAX_TOLD
from schematic_core.rules.texts import MAX_ASKED, MAX_PREPARED
from schematic_core.values import CheckResult, Entitlement, Standing
from schematic_core.wire import parse_instant
from tests.benchmarks.fixtures import encoded
from tests.rules.corpus import Case, cases
from tests.rules.models import company, condition, flag, metric, policy, rule, user

STANDING = Standing()
AS_OF = datetime(2026, 1, 1, tzinfo=timezone.utc)
OWN_FORM = {"entitlement", "feature_usage_reset_at"}
OF_THE_CALLER = {"source", "as_of", "standing", "valid_until"}


def ask(engine: Engine, *handles: Handle | None, now_ms: int = 0) -> tuple[CheckResult, int | None]:
    asked, owner, person, options = (*handles, None, None, None)[:4]
    assert asked is not None
    return engine.result(asked, owner, person, options, now_ms=now_ms, source="stream", standing=STANDING, as_of=AS_OF)


def put_company(engine: Engine, **changes: Any) -> Handle:
    held = engine.put_company(encoded(company(**changes)))
    assert held is not None
    return held


def names_company(*ids: str, name: str = "Pro") -> dict[str, Any]:
    return rule("standard", condition("company", resource_ids=list(ids)), id=f"rule_{name}", name=name)


# -- what a result says


def put(engine: Engine, case: Case) -> list[Handle | None]:
    options = options_of(**case.options)
    return [
        engine.put_flag(case.flag.encode()),
        engine.put_company(case.company.encode()),
        engine.put_user(case.user.encode()),
        None if options is None else engine.put_options(options),
    ]


def differences(result: CheckResult, horizon_ms: int | None, wanted: Evaluation) -> list[str]:
    shared = [field.name for field in fields(CheckResult) if field.name not in OWN_FORM | OF_THE_CALLER]
    found = [name for name in shared if getattr(result, name) != getattr(wanted, name)]
    if result.feature_usage_reset_at != wanted.reset_at:
        found.append("feature_usage_reset_at")
    if horizon_ms != wanted.horizon_ms:
        found.append("horizon_ms")
    return found + ([] if told(result.entitlement) == brief(wanted.entitlement) else ["entitlement"])


def told(entitlement: Entitlement | None) -> dict[str, object] | None:
    if entitlement is None:
        return None
    members = {field.name: getattr(entitlement, field.name) for field in fields(Entitlement)}
    return {name: value for name, value in members.items() if value is not None}


def brief(echo: dict[str, Any] | None) -> dict[str, object] | None:
    if echo is None:
        return None
    names = {field.name for field in fields(Entitlement)}
    members = {name: value for name, value in echo.items() if name in names}
    if "metric_reset_at" in members:
        members["metric_reset_at"] = parse_instant(members["metric_reset_at"])
    return {name: value for name, value in members.items() if value is not None}


@pytest.mark.parametrize("unchecked", [True, False], ids=["unchecked", "ordinary"])
def test_results_say_what_evaluations_say(unchecked: bool) -> None:
    """Over a slice of the conformance cases, member by member, at the first time and when it is remembered."""
    engine = Engine(unchecked=unchecked)
    wrong, count = [], 0
    for case in cases():
        if case.expect is None or case.number % (5 if unchecked else 50):
            continue
        count += 1
        handles = put(engine, case)
        first = ask(engine, *handles, now_ms=case.now_ms)
        wanted = engine.check(handles[0], *handles[1:], now_ms=case.now_ms)  # type: ignore[arg-type] # a flag has a handle
        again = ask(engine, *handles, now_ms=case.now_ms)
        wrong += [f"case {case.number}: {name}" for name in differences(*first, wanted)]
        if first != again:
            wrong.append(f"case {case.number}: another result the second time")
        for handle in handles:
            if handle is not None:
                engine.drop(handle)

    assert count > (2000 if unchecked else 200)
    assert wrong == []
    assert engine.stats().entities == 0


def test_a_result_carries_its_origin() -> None:
    """Source, standing and time are those of the call, also when the rest is remembered."""
    engine = Engine()
    asked = engine.put_flag(encoded(flag()))
    other, later = Standing(), AS_OF + timedelta(hours=1)

    first, _ = ask(engine, asked)
    second, _ = engine.result(asked, None, None, None, now_ms=0, source="file", standing=None, as_of=later)
    third, _ = engine.result(asked, None, None, None, now_ms=0, source="stream", standing=other, as_of=later)

    assert (first.source, first.standing, first.as_of) == ("stream", STANDING, AS_OF)
    assert (second.source, second.standing, second.as_of) == ("file", None, later)
    assert third.standing is other
    assert first.valid_until is second.valid_until is None


def test_resets_are_cut_to_microseconds_and_left_out_where_no_datetime_holds_them() -> None:
    """Instead of a wrong instant."""
    tested = condition("metric", "gte", event_subtype="ev", metric_value=0, metric_period="current_month")
    tested["metric_period_month_reset"] = "billing_cycle"
    engine = Engine()
    asked = engine.put_flag(encoded(flag(rule("plan_entitlement", tested))))

    def reset(now_ms: int, start: str) -> datetime | None:
        given = {"id": "s", "period_start": start, "period_end": "9999-12-31T23:59:59Z"}
        result, _ = ask(engine, asked, put_company(engine, subscription=given), now_ms=now_ms)
        assert result.feature_usage_period == "current_month"
        return result.feature_usage_reset_at

    assert reset(0, "1970-01-09T00:00:00.1234567Z") == datetime(1970, 1, 9, 0, 0, 0, 123456, timezone.utc)
    assert reset(0, "1970-01-31T23:59:60Z") is None
    assert reset(253402300800000 * 2, "2000-01-01T00:00:00Z") == datetime(9999, 12, 31, 23, 59, 59, 0, timezone.utc)
    assert reset(2**62, "+012345-01-01T00:00:00Z") is None


def test_each_result_of_a_denied_draw_has_a_mapping_of_its_own() -> None:
    """Whoever changes it changes no other result."""
    engine = Engine()
    priced = condition("credit", credit_id="cr", consumption_rate=2.0)
    asked = engine.put_flag(encoded(flag(rule("standard", priced))))
    owner = put_company(engine, credit_balances={"cr": 100.0}, credit_spend_policies=[policy(limit=1)])

    first, _ = ask(engine, asked, owner)
    second, _ = ask(engine, asked, owner)

    assert first.credit_spend_policy is not None
    assert first.credit_spend_policy == second.credit_spend_policy
    assert first.credit_spend_policy is not second.credit_spend_policy
    assert first.reason == "A draw of 2 credits exceeds the company limit of 1 credit per request"


def test_results_are_frozen_values_like_any_other() -> None:
    """Made in another way than by the constructor, they cannot be told from those."""
    made = quick(Entitlement)(feature_id="f", feature_key="k", value_type="numeric", usage=3)
    wanted = Entitlement(feature_id="f", feature_key="k", value_type="numeric", usage=3)
    engine = Engine()
    result, _ = ask(engine, engine.put_flag(encoded(flag())))

    assert type(made) is Entitlement
    assert (made, hash(made), repr(made)) == (wanted, hash(wanted), repr(wanted))
    assert type(result) is CheckResult
    assert result == CheckResult(
        **{field.name: getattr(result, field.name) for field in fields(CheckResult)}  # each member is there
    )
    assert pickle.loads(pickle.dumps(made)) == copy.copy(made) == made
    with pytest.raises(FrozenInstanceError):
        result.value = True  # type: ignore[misc] # the fault under test
    assert "standing" not in result.to_dict()


def test_quick_constructors_leave_the_dataclass_as_it_was_and_want_what_has_no_default() -> None:
    """A forgotten member is an error, not a hole."""
    before = [(field.name, field.type, field.kw_only) for field in fields(Entitlement)]

    make = quick(Entitlement, ("usage", "feature_id"))

    assert [(field.name, field.type, field.kw_only) for field in fields(Entitlement)] == before
    assert make(3, "f", feature_key="k", value_type="v").usage == 3
    with pytest.raises(TypeError, match="value_type"):
        make(3, "f", feature_key="k")


# -- what is remembered


def test_what_was_told_of_a_dropped_document_is_never_told_of_the_next_in_its_place() -> None:
    """Through more documents than one place has generations, with texts, rules and entitlements of their own."""
    engine = Engine()
    seen = set()
    for turn in range(2500):
        entitlement = {"feature_id": f"feat_{turn}", "feature_key": "key_1", "value_type": "numeric", "usage": turn}
        asked = engine.put_flag(encoded(flag(names_company(f"co_{turn}", name=f"n{turn}"), id=f"flag_{turn}")))
        owner = put_company(engine, id=f"co_{turn}", entitlements=[entitlement])
        person = engine.put_user(encoded(user(id=f"us_{turn}")))
        assert person is not None

        result, _ = ask(engine, asked, owner, person)

        ids = result.flag_id, result.company_id, result.user_id, result.rule_id
        assert ids == (f"flag_{turn}", f"co_{turn}", f"us_{turn}", f"rule_n{turn}")
        assert result.entitlement == Entitlement(**entitlement)  # type: ignore[arg-type] # names and values as there
        for handle in (asked, owner, person):
            engine.drop(handle)
            seen.add(handle.number)
        if turn % 100 == 0:
            with pytest.raises(EngineError) as caught:
                ask(engine, asked, owner, person)
            assert caught.value.code == "stale_handle"

    assert len(seen) == 3 * 2500
    instance = engine._place().instance
    assert instance is not None
    texts = instance.texts
    assert [*texts._flags, *texts.ids, *texts._rules, *texts._entitlements] == [0]  # nobody's id
    assert len(instance.results._told) <= MAX_TOLD


def test_memory_of_verdicts_is_bounded() -> None:
    """And answers stay right when it starts anew."""
    engine = Engine()
    flags = [engine.put_flag(encoded(flag(id=f"flag_{number}"))) for number in range(MAX_TOLD + 50)]

    for _ in range(2):
        assert [ask(engine, asked)[0].flag_id for asked in flags] == [f"flag_{n}" for n in range(MAX_TOLD + 50)]
        assert len(engine._place().instance.results._told) <= MAX_TOLD  # type: ignore[union-attr] # it runs


def test_what_the_next_version_of_a_company_will_tell_is_ready_before_it_is_asked() -> None:
    """The entitlements that checks told before, as far as the new version has them, and no others' values."""
    engine = Engine()
    asked = engine.put_flag(encoded(flag()))

    def version(*usages: int) -> tuple[Handle, int]:
        rows = [
            {"feature_id": f"f{at}", "feature_key": key, "value_type": "numeric", "usage": usage}
            for at, (key, usage) in enumerate(zip(("a", "key_1"), usages, strict=False))
        ]
        held = put_company(engine, entitlements=rows)
        instance = engine._place().instance
        assert instance is not None
        return held, len(instance.texts._entitlements.get(held.number, {}))

    def usage(owner: Handle) -> int | None:
        entitlement = ask(engine, asked, owner)[0].entitlement
        return None if entitlement is None else entitlement.usage

    first, ready = version(1, 2)
    assert (ready, usage(first)) == (0, 2)
    second, ready = version(3, 4)
    assert (ready, usage(second)) == (1, 4)
    third, ready = version()
    assert (ready, usage(third)) == (0, None)
    fourth, ready = version(6, 7)
    assert (ready, usage(fourth)) == (0, 7)
    assert usage(first) == 2


def test_memory_of_what_was_asked_is_bounded() -> None:
    """In companies and in entitlements of one."""
    engine = Engine()
    keys = [f"key_{number}" for number in range(MAX_PREPARED + 4)]
    flags = [engine.put_flag(encoded(flag(key=key))) for key in keys]
    rows = [{"feature_id": "f", "feature_key": key, "value_type": "boolean"} for key in keys]
    for number in range(MAX_ASKED + 5):
        ask(engine, flags[0], put_company(engine, id=f"co_{number}", entitlements=rows[:1]))

    owner = put_company(engine, id="last", entitlements=rows)
    for key, asked in zip(keys, flags, strict=True):
        entitlement = ask(engine, asked, owner)[0].entitlement
        assert entitlement is not None
        assert entitlement.feature_key == key

    instance = engine._place().instance
    assert instance is not None
    noted = instance.texts._asked
    assert len(noted) <= MAX_ASKED
    assert max(len(slots) for slots in noted.values()) == MAX_PREPARED


def test_one_rule_tells_each_company_its_own_numbers() -> None:
    """What is remembered of a rule says nothing of usage, ids or entitlements."""
    engine = Engine()
    counted = condition("metric", "lte", event_subtype="ev", metric_value=5, metric_period="all_time")
    asked = engine.put_flag(encoded(flag(rule("plan_entitlement", counted))))
    owners = [put_company(engine, id=f"co_{usage}", metrics=[metric(usage)]) for usage in range(5)]

    for _ in range(2):
        results = [ask(engine, asked, owner)[0] for owner in owners]
        assert [(one.company_id, one.feature_usage, one.feature_allocation) for one in results] == [
            (f"co_{usage}", usage, 5) for usage in range(5)
        ]
        assert {one.reason for one in results} == {'Matched plan entitlement rule "Pro" (rule_1)'}


# -- threads, traps and interruptions


class Crowd:
    """Flags that each ask about one company, and companies in versions that replace each other."""

    size = 8

    def __init__(self) -> None:
        self.engine = Engine()
        self.flags = [
            self.engine.put_flag(encoded(flag(names_company(f"co_{q}", name=f"n{q}"), id=f"flag_{q}", key=f"key_{q}")))
            for q in range(self.size)
        ]
        self.current = [(self._put(q, 0), 0) for q in range(self.size)]
        self.answered = [0] * self.size
        self.wrong: list[object] = []
        self.is_over = threading.Event()

    def _put(self, q: int, number: int) -> Handle:
        entitlement = {"feature_id": "f", "feature_key": f"key_{q}", "value_type": "numeric", "allocation": number}
        return put_company(self.engine, id=f"co_{q}", entitlements=[entitlement])

    def replace(self, first: int) -> None:
        number = 0
        while not self.is_over.is_set():
            number += 1
            for q in range(first, self.size, 4):
                old, _ = self.current[q]
                self.current[q] = self._put(q, number), number
                self.engine.drop(old)

    def read(self, seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(600):
            q = chance.randrange(self.size)
            owner, number = self.current[q]
            try:
                result, _ = ask(self.engine, self.flags[q], owner)
            except EngineError as error:
                if error.code != "stale_handle":
                    self.wrong.append(error)
                continue
            self.answered[q] += 1
            allocation = result.entitlement and result.entitlement.allocation
            found = result.flag_key, result.flag_id, result.company_id, result.rule_id, result.value, allocation
            if found != (f"key_{q}", f"flag_{q}", f"co_{q}", f"rule_n{q}", True, number):
                self.wrong.append((number, found))


def test_sixteen_threads_get_their_own_answers_while_documents_are_replaced() -> None:
    """Every answer is of the very version that was asked about, or its handle was stale by then."""
    crowd = Crowd()
    writers = [threading.Thread(target=crowd.replace, args=(first,)) for first in range(4)]
    readers = [threading.Thread(target=crowd.read, args=(seed,)) for seed in range(12)]

    for thread in writers + readers:
        thread.start()
    for thread in readers:
        thread.join()
    crowd.is_over.set()
    for thread in writers:
        thread.join()

    assert crowd.wrong == []
    assert min(crowd.answered) > 0
    assert crowd.engine.stats().entities == 2 * crowd.size


@pytest.mark.parametrize("unchecked", [True, False], ids=["unchecked", "ordinary"])
def test_after_a_trap_handles_are_stale_and_nothing_told_before_is_told_again(unchecked: bool) -> None:
    """The next instance gives the same numbers to other documents."""
    engine = Engine(unchecked=unchecked)
    asked = engine.put_flag(encoded(flag(id="before")))
    assert ask(engine, asked)[0].flag_id == "before"
    instance = engine._place().instance
    assert instance is not None
    instance._checks_left = 1
    instance._route.refuel(1)  # too little for a check

    with pytest.raises(EngineError) as caught:
        ask(engine, asked)
    assert caught.value.code == "trapped"
    with pytest.raises(EngineError) as stale:
        ask(engine, asked)
    assert stale.value.code == "stale_handle"

    renewed = engine.put_flag(encoded(flag(id="after")))
    assert renewed.number == asked.number
    assert ask(engine, renewed)[0].flag_id == "after"
    engine.drop(asked)
    assert ask(engine, renewed)[0].flag_id == "after"


def test_a_document_dropped_where_freeing_traps_costs_the_instance_only() -> None:
    """``drop`` raises nothing; the next question says that its handle is stale."""
    engine = Engine()
    asked = engine.put_flag(encoded(flag()))
    instance = engine._place().instance
    assert instance is not None

    def trap(name: str, *arguments: int) -> int:
        raise Trapped("oh")

    instance._route.call = trap  # type: ignore[method-assign] # nothing that the engine takes makes it trap here
    engine.drop(asked)

    with pytest.raises(EngineError) as caught:
        ask(engine, asked)
    assert caught.value.code == "stale_handle"


@pytest.mark.parametrize("number", [2**31, 2**32 + 1, -(2**40), 2**80])
def test_numbers_too_long_for_the_engine_are_not_valid(number: int) -> None:
    """They are not cut to those of other documents."""
    engine = Engine()
    asked = engine.put_flag(encoded(flag()))

    for handles in ((Handle(number, asked.life),), (asked, Handle(number, asked.life))):
        with pytest.raises(EngineError) as caught:
            ask(engine, *handles)
        assert caught.value.code == "stale_handle"


def test_a_result_asked_for_from_inside_one_is_refused_and_the_outer_one_stays_right() -> None:
    """As a finaliser or signal handler of the same thread would ask; what it drops is freed later."""
    engine = Engine()
    asked, spare = engine.put_flag(encoded(flag(id="outer"))), engine.put_flag(encoded(flag(id="spare")))
    instance = engine._place().instance
    assert instance is not None
    codes = []
    write = instance.texts._write

    def interrupted(kind: int, number: int, slot: int) -> str:
        with pytest.raises(EngineError) as caught:
            ask(engine, spare)
        codes.append(caught.value.code)
        engine.drop(spare)
        return write(kind, number, slot)

    instance.texts._write = interrupted
    result, _ = ask(engine, asked)
    instance.texts._write = write

    assert codes
    assert set(codes) == {"busy"}
    assert result.flag_id == "outer"
    assert engine.stats().entities == 1


@contextmanager
def every(seconds: float, action: Callable[[], None]) -> Iterator[None]:
    """Run something in the main thread between any two steps of what it does, again and again."""
    before = signal.signal(signal.SIGALRM, lambda *_: action())
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no interval timer")
def test_signal_handlers_that_ask_and_drop_get_their_own_answer_or_are_refused() -> None:
    """Wherever they interrupt, neither side sees the other's answer, and nobody waits for himself."""
    engine = Engine()
    mine, other = (
        engine.put_flag(encoded(flag(names_company(name=name), id=name, default_value=True)))
        for name in ("mine", "other")
    )
    owner = put_company(engine)
    heard: list[str] = []

    def handler() -> None:
        try:
            heard.append(ask(engine, other, owner)[0].flag_id or "")
        except EngineError as error:
            heard.append(error.code or "")
        engine.drop(Handle(12345, owner.life))

    with every(0.0003, handler):  # real time: signals come between instructions only there
        found = {ask(engine, mine, owner)[0].flag_id for _ in range(6000)}

    assert found == {"mine"}
    assert set(heard) <= {"other", "busy"}
    assert len(heard) > 20


class Interruption(BaseException):
    """As Ctrl-C."""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no interval timer")
def test_an_interrupted_question_leaves_no_lock_behind() -> None:
    """Wherever the interruption comes, another thread gets its answer afterwards."""
    engine = Engine()
    asked, owner = engine.put_flag(encoded(flag(names_company("co_1")))), put_company(engine)
    is_asking = False

    def interrupt() -> None:
        nonlocal is_asking
        if is_asking:
            is_asking = False
            raise Interruption

    interrupted = 0
    with every(0.0004, interrupt):  # real time, as above
        for _ in range(3000):
            try:
                is_asking = True
                result, _ = ask(engine, asked, owner)
                is_asking = False
                assert result.value
            except Interruption:
                interrupted += 1

    results: list[CheckResult] = []
    thread = threading.Thread(target=lambda: results.append(ask(engine, asked, owner)[0]), daemon=True)
    thread.start()
    thread.join(10)
    assert [result.rule_id for result in results] == ["rule_Pro"]
    assert interrupted > 10
