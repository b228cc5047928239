"""Each row of the pitfalls of DataStream with the opposite outcome, over real sockets where the row is about sockets.

=====  ==================================================================================================================
row    where it is shown
=====  ==================================================================================================================
D1     here; on the machines: ``test_replica.py`` (confirmation), ``test_connection_requests.py`` (refreshes)
D2     here; ``test_replica.py``, ``test_replica_flags.py`` (delete in any form)
D3     here; ``test_replica.py``, ``test_replica_engine.py`` (null lists)
D4     here; ``test_replica.py``, ``test_replica_engine.py`` (leases)
D5     here; ``test_replica_flags.py`` (a bad flag spoils no other)
D6     here; ``test_replica.py`` (unknown types), ``test_connection.py`` (reload)
D7     here; ``test_replica_lookups.py`` (case)
D8     here; ``test_replica_engine.py`` (a company without any collection)
D9     here; ``test_connection_requests.py`` (nothing is left under any key; exact coalescing)
D10    here; ``test_connection.py`` (dials for ever)
D11    here; ``test_connection.py`` (a refusal is retried slowly)
D12    here
D13    here; ``test_replica_flags.py``, ``test_replica_lookups.py`` (bounds)
D14    ``test_stream.py`` (the address follows from the base URL)
D15    here; ``test_stream.py`` (a listener that raises)
D16    ``test_stream.py`` (a stream that nobody started)
D17    ``test_stream.py`` (initialize comes back when..., wait_ready)
D18    here
D19    ``test_stream.py`` (an unknown company); ``test_replica_lookups.py`` (nobody is remembered)
D20    ``test_stream_hot_path.py``
D21    here
D22    here
D23    here
D24    here
D25    every test of these files runs for both faces
D26    ``test_connection.py`` (jitter of the first retry), ``test_connection_requests.py`` (a fleet, paced refreshes)
D27    here
=====  ==================================================================================================================

Of the acceptance checklist, items 1 to 3 are at the end of this file and item 4 is in ``test_stream_hot_path.py``.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from schematic_core.client import CheckFlagOptions
from schematic_core.config import DataStreamConfig
from schematic_core.datastream.replica import Replica
from schematic_core.datastream.values import StreamChange
from schematic_core.environment import parse_environment
from schematic_core.rules import engine
from schematic_core.values import REASON_CLOSED
from tests.datastream import frames
from tests.datastream.driving import Turned
from tests.datastream.support import (
    ACME,
    ADA,
    TINY,
    Json,
    Script,
    Service,
    ask,
    company,
    flag,
    following,
    frame,
    free_port,
    full,
    plan_flag,
    serving,
    stream_of,
    until,
)
from tests.server.conftest import ENVIRONMENT
from tests.support.faces import Driver
from tests.support.upstream import Upstream, verdict

Follow = Callable[..., Driver]


def _push(service: Service, entity_type: str, message_type: str, data: Any, entity_id: str | None = None) -> None:
    """Let the local server send a frame of its own accord."""
    members = {"entity_type": f"rulesengine.{entity_type}", "message_type": message_type, "entity_id": entity_id}
    service.dev("send", frame={**members, "data": data})


def _attempts(client: Driver) -> int:
    return stream_of(client.client)._pump._connection.attempt


# -- wrong answers


@pytest.mark.parametrize("is_used", [True, False])
def test_d1_an_entity_changed_while_the_socket_was_down_is_right_after_the_return(
    follow: Follow, service: Service, is_used: bool
) -> None:
    """Answers go on, marked as stale; the first one after the return is that of the service."""
    client = follow()
    assert ask(client, "reports").value is True
    if not is_used:
        stream_of(client.client)._local.replica.recent()  # so that it is not asked for in the background

    service.fault(path="/datastream", count=4, status=503)
    service.dev("drop")
    service.plan("acme", "free")
    assert until(lambda: client.datastream.status == "reconnecting")
    meanwhile = ask(client, "reports")
    assert until(lambda: client.datastream.status == "ready")
    after = ask(client, "reports")

    assert (meanwhile.value, meanwhile.source, meanwhile.is_stale) in {(True, "stream", True), (False, "stream", False)}
    assert (after.value, after.source, after.is_stale, after.age) == (False, "stream", False, 0.0)
    assert meanwhile.is_stale is not is_used or meanwhile.age > 0.0 or meanwhile.value is False


def test_d1_entities_used_lately_are_asked_for_again_in_the_background(follow: Follow, service: Service) -> None:
    """Once each, without anybody checking."""
    client = follow()
    ask(client, "exports", ACME, ADA), ask(client, company=TINY)
    service.forget()

    service.dev("drop")

    assert until(lambda: len(service.asked("Company")) == 2 and len(service.asked("User")) == 1)
    assert until(lambda: client.datastream.status == "ready")
    assert [one["value"] for one in (service.check("exports", ACME, ADA), service.check("exports", TINY))] == [
        ask(client, "exports", ACME, ADA).value,
        ask(client, company=TINY).value,
    ]
    assert len(service.asked("Company")) == 2


def test_d1_an_entity_deleted_while_the_socket_was_down_is_gone_after_the_return(
    follow: Follow, service: Service
) -> None:
    """The answer "not found" deletes it."""
    client = follow()
    assert ask(client, "reports").source == "stream"

    service.fault(path="/datastream", count=3, status=503)
    service.dev("drop")
    service.call("DELETE", "/companies/comp_acme")
    assert until(lambda: client.datastream.status == "reconnecting")
    assert until(lambda: client.datastream.status == "ready")

    answer = ask(client, "reports")
    assert (answer.value, answer.source) == (False, "api")
    assert until(lambda: client.datastream.find_company(ACME) is None)


@pytest.mark.parametrize("form", ["entity", "keys", "id", "null"])
def test_d2_a_delete_in_every_form_removes_the_entity(follow: Follow, service: Service, form: str) -> None:
    """Company and user alike."""
    service.habits(deletes=form)
    client = follow()
    assert ask(client, "new-nav", ACME, ADA).source == "stream"

    service.call("DELETE", "/companies/comp_acme")
    service.call("DELETE", "/users/user_ada")

    stream = client.datastream
    assert until(lambda: stream.find_company(ACME) is None and stream.find_user(ADA) is None)
    assert ask(client, "new-nav", ACME, ADA).source == "api"
    assert len(service.connections) == 1


@pytest.mark.parametrize(
    ("data", "entity_id"),
    [
        ({"key": "exports"}, None),
        ({"key": "exports", "id": "flag_exports"}, None),
        ({"id": "flag_exports"}, None),
        (None, "flag_exports"),
    ],
)
def test_d2_a_delete_in_every_form_removes_the_flag(
    follow: Follow, service: Service, data: Json | None, entity_id: str | None
) -> None:
    """By its key, or by its id."""
    client = follow()
    assert ask(client).source == "stream"

    _push(service, "Flag", "delete", data, entity_id)

    assert until(lambda: client.datastream.find_flag("exports") is None)
    assert ask(client).source == "api"


@pytest.mark.parametrize("name", ["plan_ids", "rules", "traits", "metrics", "entitlements", "plan_version_ids"])
def test_d3_a_null_list_in_a_partial_empties_it(follow: Follow, service: Service, name: str) -> None:
    """And what else the partial says counts."""
    client = follow()
    assert ask(client, "reports").value is True

    _push(service, "Company", "partial", {name: None, "plan_ids": None, "base_plan_id": None}, "comp_acme")

    assert until(lambda: ask(client, "reports").value is False)
    held = client.datastream.find_company(ACME)
    assert not held[name]
    assert (ask(client, "reports").source, len(service.connections)) == ("stream", 1)


def test_d3_a_server_that_sends_nulls_everywhere_is_understood(follow: Follow, service: Service) -> None:
    """In flags, full entities and partials."""
    service.habits(nulls=True)
    client = follow()

    answers = client.check_flags(None, TINY, ADA)
    service.plan("tiny", None)

    assert {one.source for one in answers} == {"stream"}
    assert until(lambda: ask(client, company=TINY).value is False)
    assert [one.value for one in client.check_flags(["exports", "new-nav"], TINY, ADA)] == [
        service.check(key, TINY, ADA)["value"] for key in ("exports", "new-nav")
    ]


def test_d4_a_lease_moves_the_balance(follow: Follow, service: Service) -> None:
    """A partial with ``credit_lease_balance`` says what is left."""
    client = follow()
    assert ask(client, "tokens").value is True

    _push(
        service,
        "Company",
        "partial",
        {"credit_lease_balance": {"bcrd_ai": {"remaining": 0, "reserved": 2}}},
        "comp_acme",
    )

    assert until(lambda: client.datastream.find_company(ACME)["credit_balances"] == {"bcrd_ai": 0})
    assert ask(client, "tokens").value is False
    assert ask(client, "tokens").entitlement.credit_remaining == 0


def test_d5_a_bad_flag_spoils_no_other(listen: Follow, script: Script) -> None:
    """Those before and after it are held, one that was removed is not."""
    client = listen()
    assert ask(client).source == "stream"

    bad = [{"key": "bad"}, "no flag", flag("worse", rules=[{"conditions": 7}]), None]
    script.line.send(frame("Flags", "full", [plan_flag("before"), *bad, plan_flag("after")]))

    assert until(lambda: client.datastream.find_flag("after") is not None)
    assert [ask(client, key).value for key in ("before", "after")] == [True, True]
    assert (ask(client).source, client.datastream.find_flag("exports")) == ("api", None)
    assert client.datastream.counts()["bad_flag"] == 4
    assert len(script.lines) == 1


@pytest.mark.parametrize("message_type", ["unknown", "invented", "", "FULL"])
def test_d6_unknown_message_types_replace_nothing(listen: Follow, script: Script, message_type: str) -> None:
    """They are counted; what comes after them counts."""
    client = listen()
    assert ask(client).value is True

    script.line.send(frame("Company", message_type, company("comp_1", ACME), "comp_1"))
    script.line.send(frame("Flag", message_type, plan_flag(plan="plan_other"), "flag_exports"))
    script.line.send(frame("Flags", message_type, []))
    assert until(lambda: client.datastream.counts()["unknown_message"] == 3)

    assert (ask(client).value, ask(client).source) == (True, "stream")


def test_d6_reload_drops_what_is_held_and_loads_again(listen: Follow, script: Script) -> None:
    """On the same connection; entities are asked for again before they are answered from."""
    client = listen()
    assert ask(client).value is True

    script.entities["acme"] = company("comp_1", ACME, "plan_other")
    script.line.send(frame("Company", "reload"))

    assert until(lambda: len(script.asked("Flags")) == 2)
    assert until(lambda: client.datastream.status == "ready")
    assert (ask(client).value, ask(client).source) == (False, "stream")
    assert len(script.lines) == 1


def test_d7_values_that_differ_in_case_get_their_own_company_s_answer(listen: Follow, script: Script) -> None:
    """Who is asked for in another case is asked of the server, whose answer holds for exactly these keys."""
    script.answer = lambda kind, keys: [
        full(
            company("comp_lower", {"sku": "abc"})
            if keys["sku"] == "abc"
            else company("comp_upper", {"sku": "ABC"}, "plan_pro")
        )
    ]
    client = listen()

    upper, lower = ask(client, company={"sku": "ABC"}), ask(client, company={"sku": "abc"})

    assert (upper.value, upper.company_id) == (True, "comp_upper")
    assert (lower.value, lower.company_id) == (False, "comp_lower")
    assert ask(client, company={"sku": "ABC"}).company_id == "comp_upper"
    assert script.asked("Company") == [{"sku": "ABC"}, {"sku": "abc"}]


def test_d7_the_server_s_word_on_other_case_holds(listen: Follow, script: Script) -> None:
    """One that compares without case may answer with the entity of the other case, and is not asked each time."""
    script.answer = lambda kind, keys: [full(company("comp_1", {"sku": "ABC"}, "plan_pro"))]
    client = listen()

    answers = [ask(client, company={"sku": "abc"}) for _ in range(3)]

    assert {(one.value, one.company_id, one.source) for one in answers} == {(True, "comp_1", "stream")}
    assert script.asked("Company") == [{"sku": "abc"}]


# -- outages and stalls


@pytest.mark.parametrize("name", ["credit_balances", "traits", "metrics", "rules", "plan_version_ids", "entitlements"])
def test_d8_a_company_with_a_null_collection_is_held(listen: Follow, script: Script, name: str) -> None:
    """Asked for once, answered here ever after."""
    script.entities["acme"] = company("comp_1", ACME, "plan_pro", **{name: None})
    client = listen()

    answers = [ask(client) for _ in range(3)]

    assert {(one.value, one.source) for one in answers} == {(True, "stream")}
    assert script.asked("Company") == [ACME]


def test_d8_a_company_whose_keys_are_null_is_held_for_who_asked(listen: Follow, script: Script) -> None:
    """An answer that carries none of the keys is nobody's; the check goes to the service, and the next one as well."""
    script.answer = lambda kind, keys: [full({**company("comp_1", {}, "plan_pro"), "keys": None})]
    client = listen(limits={"resource_timeout": 0.05})

    assert ask(client).source == "api"
    assert client.datastream.status == "ready"


def test_d9_keys_that_an_answer_left_out_can_be_asked_for(listen: Follow, script: Script, upstream: Upstream) -> None:
    """Item 3: ``{id, slug}`` answered by a company that has only the id, then ``{slug}``: one request each, no stall."""
    known = company("comp_1", {"id": "1"}, "plan_pro")
    script.answer = lambda kind, keys: (
        [full(known)] if "id" in keys else [frame(kind, "error", {"error": "not found", "keys": keys})]
    )
    client = listen(limits={"resource_timeout": 60.0})  # a request that stalls would run into the test's time limit

    both = ask(client, company={"id": "1", "slug": "ghost"})
    others = [ask(client, company={"slug": "ghost"}, options=CheckFlagOptions(timeout=30.0)) for _ in range(3)]

    assert (both.value, both.source) == (True, "stream")
    assert {one.source for one in others} <= {"api", "cache"}
    assert script.asked("Company") == [{"id": "1", "slug": "ghost"}, {"slug": "ghost"}]


def test_d10_the_stream_returns_after_any_number_of_failures(follow: Follow, service: Service) -> None:
    """More than ten; and it says how it is."""
    client = follow(limits={"max_backoff": 0.02})
    heard: list[str] = []
    client.datastream.on_status(heard.append)

    service.fault(path="/datastream", count=25, status=503)
    service.dev("drop")

    assert until(lambda: heard[-1:] == ["ready"])
    assert heard == ["reconnecting", "ready"]
    assert [one["refused"] for one in service.connections].count(503) == 25
    assert ask(client).source == "stream"


@pytest.mark.parametrize("refusal", [{"code": 4001}, {"status": 401}, {"status": 403}])
def test_d11_a_refused_key_is_not_hammered(follow: Follow, service: Service, refusal: Json) -> None:
    """One handshake, then a long pause; checks go to the service."""
    service.fault(path="/datastream", count=5, **refusal)
    client = follow(initialize=False)

    client.initialize(10.0)
    answers = [ask(client) for _ in range(5)]

    assert client.datastream.status == "refused"
    assert {one.source for one in answers} <= {"api", "cache"}
    assert len(service.connections) == 1
    pause = stream_of(client.client)._pump._connection.deadline()
    assert pause is not None
    assert pause - time.monotonic() > 200.0


def test_d11_a_key_that_is_taken_again_is_noticed(follow: Follow, service: Service) -> None:
    """After the pause, without help."""
    service.fault(path="/datastream", count=2, code=4001)
    client = follow(initialize=False, limits={"refusal_pause": 0.05})
    heard: list[str] = []
    client.datastream.on_status(heard.append)

    client.datastream.start()

    assert until(lambda: client.datastream.status == "ready")
    assert heard == ["connecting", "refused", "ready"]


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 4000])
def test_d11_other_close_codes_are_transient(follow: Follow, service: Service, code: int) -> None:
    """A server that goes away for a deploy is dialled again."""
    client = follow()

    service.dev("close", code=code, reason="deploy")

    assert until(lambda: len(service.connections) == 2 and client.datastream.status == "ready")


def test_d12_flags_of_several_mebibytes_arrive(listen: Follow, script: Script) -> None:
    """In one frame; the connection stays."""
    many = [plan_flag(f"flag-{number}") for number in range(8000)]
    script.flags = [frame("Flags", "full", many)]
    assert len(script.flags[0]) > 3 * 2**20

    client = listen()

    assert ask(client, "flag-7999").value is True
    assert len(script.lines) == 1


def test_d12_the_limit_can_be_set_and_is_no_hot_loop(follow: Follow, service: Service) -> None:
    """A frame beyond it costs the connection, not the stream; one below it costs nothing."""
    client = follow(datastream=DataStreamConfig(max_message_size=1_000_000))

    service.dev("oversize", bytes=900_000)
    service.dev("oversize", bytes=1_100_000)

    assert until(lambda: len(service.connections) == 2 and client.datastream.status == "ready")
    assert service.connections[0]["code"] == 1009
    assert ask(client).source == "stream"


def test_d13_flags_are_not_bounded_and_entities_are_by_a_setting(listen: Follow, script: Script) -> None:
    """What had to go is asked for again when it is needed."""
    script.flags = [frame("Flags", "full", [plan_flag(f"flag-{number}") for number in range(1501)])]
    script.answer = lambda kind, keys: [full(company(f"comp_{keys['id']}", keys, "plan_pro"))]
    client = listen(max_entities=3)

    values = [ask(client, "flag-0", {"id": str(number)}).value for number in range(5)]
    held = [client.datastream.find_company({"id": str(number)}) is not None for number in range(5)]
    again = ask(client, "flag-1500", {"id": "0"})

    assert values == [True] * 5
    assert held == [False, False, True, True, True]
    assert (again.value, again.source) == (True, "stream")
    assert script.asked("Company") == [{"id": id_} for id_ in ("0", "1", "2", "3", "4", "0")]


def test_d15_a_listener_that_raises_costs_no_connection(follow: Follow, service: Service) -> None:
    """Not one, whatever it hears."""
    client = follow(initialize=False)

    def fail(news: object) -> None:
        raise RuntimeError(news)

    client.datastream.on_status(fail)
    client.datastream.on_change(fail)
    client.initialize()
    service.plan("acme", "free")
    ask(client)

    assert client.datastream.status == "ready"
    assert len(service.connections) == 1


def test_d18_checks_that_the_stream_fails_make_one_call(
    face: str, listen: Follow, script: Script, upstream: Upstream
) -> None:
    """Fifty at once: one request over the stream, one over HTTP."""
    script.answer = lambda kind, keys: []
    gate = threading.Event()
    upstream.respond = lambda _: _held(gate)
    client = listen(limits={"resource_timeout": 0.2})

    if face == "sync":
        with ThreadPoolExecutor(50) as pool:
            asked = [pool.submit(ask, client) for _ in range(50)]
            assert upstream.wait_for(lambda: len(upstream.asked) == 1)
            gate.set()
            answers = [one.result(10.0) for one in asked]
    else:

        async def check_all() -> list[Any]:
            checks = [client.client.check_flag_with_entitlement("exports", ACME) for _ in range(50)]
            asyncio.get_running_loop().call_later(0.5, gate.set)
            return await asyncio.gather(*checks)

        answers = client.run(check_all())

    assert [one.value for one in answers] == [True] * 50
    assert script.asked("Company") == [ACME]
    assert len(upstream.asked) == 1


def _held(gate: threading.Event) -> Any:
    answer = verdict()
    answer.gate = gate
    return answer


# -- costs


class _SlowEngine:
    """The engine, but compiled only when the gate opens."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.loaded_on: list[str] = []

    def load(self) -> None:
        self.loaded_on.append(threading.current_thread().name)
        self.gate.wait(10.0)
        engine().load()


def test_d21_the_engine_is_loaded_on_the_stream_s_thread(listen: Follow, script: Script, upstream: Upstream) -> None:
    """The service answers meanwhile, and the handshake goes on."""
    client = listen(initialize=False)
    stream, slow = stream_of(client.client), _SlowEngine()
    options, local, _, log = stream._make_pump.args
    stream._make_pump = partial(stream._make_pump.func, options, local, slow, log, **stream._make_pump.keywords)
    stream._pump = stream._make_pump()

    answers = [ask(client) for _ in range(3)]
    assert until(lambda: script.lines)
    slow.gate.set()

    assert {one.source for one in answers} <= {"api", "cache"}
    assert until(lambda: client.datastream.status == "ready")
    assert slow.loaded_on == ["schematic-stream"]
    assert ask(client).source == "stream"


def _calls(act: Callable[[], object]) -> int:
    """Count the Python and C calls that something makes."""
    calls = 0

    def count(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        act()
    finally:
        sys.setprofile(None)
    return calls


def _store(replica: Replica, number: int) -> None:
    replica.apply(frames.prepared(replica, "Company", "full", frames.company(f"c{number}", {"id": str(number)})))


def test_d22_storing_costs_the_same_however_many_are_held() -> None:
    """No write looks at what else is there."""
    replica = frames.make(max_entities=3000)
    costs = []
    for number in range(2000):
        if number in {10, 1999}:
            costs.append(_calls(partial(_store, replica, number)))
        else:
            _store(replica, number)

    assert costs[0] == costs[1]


def test_d23_an_entity_has_no_lock_of_its_own() -> None:
    """The replica has none at all; the shell has one for all of it."""
    replica = frames.make(max_entities=3000)
    for number in range(50):
        _store(replica, number)

    seen: dict[int, Any] = {}
    waiting: list[Any] = [replica]
    while waiting:
        one = waiting.pop()
        if id(one) not in seen and not isinstance(one, type) and type(one).__name__ not in {"module", "function"}:
            seen[id(one)] = one
            waiting += gc.get_referents(one)

    locks = {type(threading.Lock()), type(threading.RLock()), threading.Condition, threading.Semaphore}
    assert len(seen) > 50
    assert not [one for one in seen.values() if type(one) in locks]


def test_d24_a_slow_application_delays_no_pong(listen: Follow, script: Script) -> None:
    """Messages wait in order while a listener takes its time; pings are answered meanwhile."""
    gate = threading.Event()
    heard: list[str] = []
    client = listen()

    def listen_slowly(change: StreamChange) -> None:
        gate.wait(10.0)
        heard.extend(change.ids)

    client.datastream.on_change(listen_slowly)

    script.line.send(*(frame("Flag", "full", plan_flag(f"flag-{number}")) for number in range(20)))
    is_answered = script.line.socket.ping().wait(5.0)
    heard_meanwhile = list(heard)
    gate.set()

    assert is_answered
    assert heard_meanwhile == []
    assert until(lambda: heard == [f"flag-{number}" for number in range(20)])


def test_d24_a_silent_server_is_noticed(follow: Follow, service: Service) -> None:
    """One that answers no pings is given up and dialled again; one that answers them is not."""
    client = follow(limits={"ping_after": 0.1, "pong_look": 0.02, "dead_after": 0.4})
    assert not until(lambda: len(service.connections) > 1, 1.0)

    service.dev("stall", seconds=1.0, pongs=False)

    assert until(lambda: len(service.connections) > 1)
    assert until(lambda: client.datastream.status == "ready")


def test_d27_a_closed_client_answers_defaults(follow: Follow, service: Service) -> None:
    """The documented state after the end, even for what was remembered."""
    client = follow(flag_defaults={"exports": False})
    assert ask(client).value is True

    client.shutdown(1.0)

    answer = ask(client)
    assert (answer.value, answer.reason, answer.source) == (False, REASON_CLOSED, "default")
    assert [one.reason for one in client.check_flags(["exports"], ACME)] == [REASON_CLOSED]
    assert client.datastream.status == "closed"
    assert until(lambda: service.open == [])


# -- the acceptance checklist


def test_item_1_a_server_that_was_away_for_long_is_followed_again(face: str) -> None:
    """More than ten backoff steps; what changed meanwhile is right with the first check after the return."""
    port = free_port()
    with serving(port=port) as service:
        stack = following(face, service.url, limits={"resource_timeout": 2.0}, check_timeout=10.0)
        client = stack.__enter__()
        assert ask(client, "reports").value is True
    with_other_plan = ENVIRONMENT.replace("a1}, plan: pro", "a1}, plan: free")
    before = _attempts(client)
    assert until(lambda: _attempts(client) > before + 12, 20.0)
    assert client.datastream.status == "reconnecting"
    assert ask(client, "reports").is_stale

    with serving(parse_environment(with_other_plan), port=port) as service:
        assert until(lambda: client.datastream.status == "ready")
        answer = ask(client, "reports")

        assert (answer.value, answer.source, answer.is_stale) == (False, "stream", False)
        assert service.asked("Company") == [ACME]
        stack.__exit__(None, None, None)


def test_item_2_a_page_that_comes_twice_is_no_set_of_its_own() -> None:
    """Not the last one either: one page is never applied as the whole set."""
    turned = Turned()
    turned.open()

    turned.page(1, "a", has_more=True)
    turned.page(1, "a", has_more=True)
    whole = turned.page(2, "b", has_more=False)
    again = turned.page(2, "b", has_more=False)

    assert (whole.update, len(whole.pages)) == ("flags", 2)
    assert (again.update, again.pages) == (None, ())


@pytest.mark.parametrize("form", ["keys", "null"])
def test_item_2_odd_frames_leave_neither_stale_entities_nor_lost_connections(
    follow: Follow, service: Service, form: str
) -> None:
    """Reduced deletes, nulls, unknown types, pages, duplicates and a large frame, all on one connection."""
    service.habits(nulls=True, deletes=form, page_size=2, duplicate=True)
    client = follow()
    assert ask(client, "reports").value is True
    assert ask(client, company=TINY).source == "stream"

    _push(service, "Company", "invented", {"id": "comp_acme"}, "comp_acme")
    _push(service, "Invention", "full", {"id": "comp_acme"}, "comp_acme")
    service.dev("oversize", bytes=2_000_000)
    service.call("DELETE", "/companies/comp_tiny")
    service.plan("acme", "free")

    assert until(lambda: ask(client, "reports").value is False)
    assert until(lambda: client.datastream.find_company(TINY) is None)
    answers = {one.flag_key: one for one in client.check_flags(None, ACME, ADA)}
    assert {key: one.value for key, one in answers.items()} == {
        key: service.check(key, ACME, ADA)["value"] for key in answers
    }
    assert {one.source for one in answers.values()} == {"stream"}
    assert len(service.connections) == 1
