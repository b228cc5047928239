"""What a check costs when the answer is here: no lock, no I/O, no suspension, no new objects; and all of it under load.

What ends a remembered answer, its bound and its horizon are shown on a hand-turned clock in ``tests/checks/test_local.py``.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import CodeType
from typing import Any

import pytest

from schematic_core.client import AsyncSchematic, CheckFlagOptions, Schematic
from schematic_core.rules import engine
from schematic_core.values import CheckResult
from tests.datastream.frames import entitlement, metric
from tests.datastream.support import (
    ACME,
    ADA,
    TINY,
    Json,
    Line,
    Script,
    Service,
    ask,
    company,
    flag,
    following,
    frame,
    full,
    stream_of,
    until,
)
from tests.support.faces import Driver
from tests.support.upstream import Upstream

Follow = Callable[..., Driver]


BLOCKING = {"acquire", "send", "recv", "sendall", "select", "poll", "loads", "dumps", "deepcopy", "open"}


class _Untouchable:
    """A lock that nobody may take."""

    def acquire(self, *arguments: object, **keywords: object) -> bool:
        raise AssertionError("a lock was taken")

    release = acquire
    __enter__ = acquire

    def __exit__(self, *_arguments: object) -> None:
        raise AssertionError("a lock was taken")


@contextmanager
def _locks_forbidden(client: Any) -> Iterator[None]:
    """Replace every lock between a check and its answer; the stream has nothing to do meanwhile."""
    runtime, pump = client._runtime, stream_of(client)._pump
    places = engine()._places.values()
    owners: list[tuple[Any, str]] = [
        (runtime.local, "lock"),
        (runtime.local._evaluator, "_lock"),
        (pump, "_lock"),
        (stream_of(client), "_starting"),
        (runtime.events.worker, "_lock"),
        (runtime.events.worker, "_starting"),
        *((place, "lock") for place in places),
    ]
    former = [(owner, name, getattr(owner, name)) for owner, name in owners]
    for owner, name in owners:
        setattr(owner, name, _Untouchable())
    try:
        yield
    finally:
        for owner, name, lock in former:
            setattr(owner, name, lock)


class _Seen:
    """What was called while something ran on this thread."""

    def __init__(self) -> None:
        self.python: list[CodeType] = []
        self.native: set[str] = set()

    @property
    def ours(self) -> list[str]:
        """Give the functions of ours, e.g. ``"/client.py:check_flag"``, in the order of the calls."""
        found = [(code.co_filename.rpartition("schematic_core"), code.co_name) for code in self.python]
        return [f"{path}:{name}" for (_, ours, path), name in found if ours]


def _watch(act: Callable[[], object]) -> _Seen:
    seen = _Seen()

    def note(frame_: Any, event: str, argument: Any) -> None:
        if event == "call":
            seen.python.append(frame_.f_code)
        elif event == "c_call":
            seen.native.add(argument.__name__)

    sys.setprofile(note)
    try:
        act()
    finally:
        sys.setprofile(None)
    return seen


def _checks(client: Driver) -> list[Callable[[], Any]]:
    """Give the checks of a client as plain calls: a coroutine must come to its end in one step."""
    face = client.client
    made = [
        lambda: face.check_flag("exports", ACME),
        lambda: face.check_flag_with_entitlement("exports", ACME),
        lambda: face.check_flag("new-nav", ACME, ADA),
    ]
    return made if isinstance(face, Schematic) else [lambda one=one: _step(one()) for one in made]  # type: ignore[misc]  # mypy knows no such defaults


def _step(check: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that must not suspend."""
    with pytest.raises(StopIteration) as ended:
        check.send(None)
    return ended.value.value


def _warm(client: Driver) -> None:
    """Ask everything once, and let the first event's send be over."""
    for _ in range(2):
        client.check_flag("exports", ACME)
        client.check_flag("new-nav", ACME, ADA)
    assert client.flush(10.0) == 0
    for _ in range(2):
        client.check_flag("exports", ACME)


def test_a_remembered_check_takes_no_lock(follow: Follow, service: Service) -> None:
    """Neither ours around the replica, nor the engine's, nor that of the events."""
    client = follow()
    _warm(client)

    with _locks_forbidden(client.client):
        answers = [check() for check in _checks(client) for _ in range(10)]

    assert [bool(one if isinstance(one, bool) else one.value) for one in answers] == [True] * 30
    assert service.asked("Company") == [ACME]


def test_a_remembered_check_does_next_to_nothing(follow: Follow) -> None:
    """A handful of calls, none of which waits, sends, parses or makes an object."""
    client = follow()
    _warm(client)
    face = client.client

    check = face.check_flag_with_entitlement
    is_plain = isinstance(face, Schematic)
    seen = _watch((lambda: check("exports", ACME)) if is_plain else (lambda: _step(check("exports", ACME))))

    assert seen.ours == [
        "/client.py:check_flag_with_entitlement",
        "/checks/local.py:recall",
        "/events/recording.py:record_check",
    ]
    assert not seen.native & (BLOCKING if is_plain else BLOCKING - {"send"})  # one step of a coroutine is a send


def test_a_remembered_check_gives_the_very_same_object(follow: Follow) -> None:
    """Nothing is copied for anybody."""
    client = follow()
    first = ask(client)

    assert all(ask(client) is first for _ in range(5))
    assert all(ask(client, company=dict(ACME)) is first for _ in range(5))


def test_a_check_of_what_is_held_does_not_suspend(service: Service) -> None:
    """Even when it has to be evaluated: a coroutine comes to its end in one step, without a loop."""
    with following("async", service.url) as client:
        ask(client, "exports", ACME, ADA)
        assert isinstance(client.client, AsyncSchematic)

        for key in ("reports", "seats", "new-nav", "on-by-default"):
            assert _step(client.client.check_flag_with_entitlement(key, ACME, ADA)).source == "stream"
        assert _step(client.client.check_flag("exports", ACME, ADA, CheckFlagOptions(usage=1))) is True
        assert len(_step(client.client.check_flags(None, ACME, ADA))) == 7


def test_an_evaluation_parses_nothing(follow: Follow) -> None:
    """Entities are addressed by handle: no JSON is read or written for a check."""
    client = follow()
    ask(client)

    seen = _watch(lambda: _checks_once(client))

    assert not seen.native & {"loads", "dumps", "raw_decode", "scanstring", "deepcopy"}
    assert not [code for code in seen.python if "pydantic" in code.co_filename]
    assert not [name for name in seen.ours if name.startswith("/types")]


def _checks_once(client: Driver) -> None:
    check = client.client.check_flag_with_entitlement("seats", ACME)
    if not isinstance(check, CheckResult):
        _step(check)


def test_each_way_to_write_keys_is_remembered_by_itself(follow: Follow, service: Service) -> None:
    """Other orders, other mappings and ``int`` mean the same company, which is asked for once."""
    service.call("POST", "/companies", {"keys": {"id": "7", "slug": "seven"}, "base_plan_id": "plan_pro"})
    client = follow()

    ways: list[Any] = [{"id": "7", "slug": "seven"}, {"slug": "seven", "id": "7"}, {"id": 7, "slug": "seven"}]
    answers = [ask(client, company=keys) for keys in ways for _ in range(2)]

    assert len({id(one) for one in answers}) <= 3
    assert {one.value for one in answers} == {True}
    assert len(service.asked("Company")) == 1


# -- under load

LAST = 1000
LIMIT = LAST // 2
CHECKS = 100_000


def _metered_flag(name: str) -> Json:
    owners = {"account_id": "acc", "environment_id": "env"}
    of_metric = {
        "condition_type": "metric",
        "event_subtype": "export",
        "metric_period": "all_time",
        "metric_value": LIMIT,
    }

    def rule(id_: str, operator: str, value: bool, rule_type: str) -> Json:
        condition = {
            "id": f"c_{id_}",
            **owners,
            **of_metric,
            "operator": operator,
            "trait_value": "",
            "resource_ids": [],
        }
        rest = {"name": name, "priority": 1, "conditions": [condition], "condition_groups": []}
        return {"id": id_, **owners, **rest, "rule_type": rule_type, "value": value}

    allows = rule("r_allows", "lt", True, "plan_entitlement")
    denies = rule("r_denies", "gte", False, "plan_entitlement_usage_exceeded")
    return flag("exports", rules=[allows, denies])


def _metered_company(usage: int) -> Json:
    """Give the company at one moment: metric, entitlement and trait all say the same number."""
    held = entitlement(event_name="export", metric_period="all_time", usage=usage, allocation=LIMIT)
    return company("comp_1", ACME, metrics=[metric(value=usage)], entitlements=[held])


class _Watcher:
    """Holds every answer to what the server has said so far."""

    def __init__(self, sent: list[int]) -> None:
        self._sent = sent
        self.checks = 0
        self.latest = 0
        self.states: set[int] = set()
        self.faults: list[str] = []

    def note(self, answer: CheckResult) -> None:
        self.checks += 1
        usage, held = answer.feature_usage, answer.entitlement
        if answer.source != "stream" or usage is None or held is None:
            self.faults.append(f"no answer of the stream: {answer}")
        elif answer.value is not (usage < LIMIT) or held.usage != usage or answer.feature_allocation != LIMIT:
            self.faults.append(f"torn: {answer}")
        elif not self.latest <= usage <= self._sent[-1]:
            self.faults.append(f"{usage} after {self.latest}, with {self._sent[-1]} sent")
        else:
            self.latest = usage
            self.states.add(usage)


def _stream_updates(line: Line, sent: list[int]) -> None:
    """Send changes in all forms, up to the last number."""
    for usage in range(1, LAST + 1):
        sent.append(usage)
        entity = _metered_company(usage)
        form = usage % 4
        if form == 0:
            line.send(full(entity))
        elif form == 1:
            line.send(frame("Company", "partial", {"metrics": entity["metrics"]}, "comp_1"))
        elif form == 2:
            both = {name: entity[name] for name in ("metrics", "entitlements")}
            line.send(frame("Company", "partial", both, "comp_1"))
        else:
            line.send(full(entity), full(company(f"comp_{usage}", {"id": str(usage)})))
        if usage % 25 == 0:
            line.send(frame("Flag", "full", _metered_flag(f"version {usage}"), "flag_exports"))
            line.send(frame("Flags", "full", [_metered_flag(f"version {usage}"), flag("other")]))
        threading.Event().wait(0.0005)  # a stream, not a flood: checks are to happen between the changes


def test_item_4_threads_and_a_loop_check_while_updates_stream(script: Script, upstream: Upstream) -> None:
    """100 000 checks from 16 threads and one loop: no exception, no torn answer, each one that the server has given."""
    script.flags = [frame("Flags", "full", [_metered_flag("version 0")])]
    script.entities["acme"] = _metered_company(0)
    sent = [0]
    watchers = [_Watcher(sent) for _ in range(17)]
    over = threading.Event()
    errors: list[BaseException] = []

    with following("sync", upstream.url, stream_url=script.url) as client:
        face: Schematic = client.client
        assert ask(client).source == "stream"

        def check(watcher: _Watcher) -> None:
            try:
                while not over.wait(0.001):  # threads that never let go of the interpreter would only measure that
                    for _ in range(50):
                        watcher.note(face.check_flag_with_entitlement("exports", ACME))
            except BaseException as error:
                errors.append(error)

        async def check_on_a_loop(watcher: _Watcher) -> None:
            while not over.is_set():
                for _ in range(50):
                    watcher.note(await face.aio.check_flag_with_entitlement("exports", ACME))
                await asyncio.sleep(0.001)

        threads = [threading.Thread(target=check, args=(watcher,)) for watcher in watchers[:16]]
        threads.append(threading.Thread(target=lambda: asyncio.run(check_on_a_loop(watchers[16]))))
        for thread in threads:
            thread.start()
        try:
            _stream_updates(script.line, sent)
            assert until(lambda: ask(client).feature_usage == LAST, 30.0)
            assert until(lambda: sum(one.checks for one in watchers) >= CHECKS, 30.0)
        finally:
            over.set()
            for thread in threads:
                thread.join(30.0)

        assert ask(client).value is False
        assert json.loads(json.dumps(client.datastream.find_company(ACME)["metrics"]))[0]["value"] == LAST

    assert errors == []
    assert [fault for one in watchers for fault in one.faults][:5] == []
    assert sum(one.checks for one in watchers) >= CHECKS
    assert len(set.union(*(one.states for one in watchers))) > 10
    assert all(one.checks for one in watchers)
    assert len(script.lines) == 1
    assert upstream.asked == []


def test_one_company_s_updates_do_not_disturb_another_s_answers(listen: Follow, script: Script) -> None:
    """What is remembered of the other stays the same object."""
    script.entities["tiny"] = company("comp_2", TINY, "plan_pro")
    client = listen()
    other = ask(client, company=TINY)
    ask(client)

    for number in range(50):
        script.line.send(full(company("comp_1", ACME, f"plan_{number}")))
    assert until(lambda: (client.datastream.find_company(ACME) or {})["plan_ids"] == ["plan_49"])

    assert ask(client, company=TINY) is other
    assert ask(client).value is False
