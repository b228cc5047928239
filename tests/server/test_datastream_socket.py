"""``/datastream`` over real sockets: handshakes, what changes are told, every fault, and the server's end."""

from __future__ import annotations

import gc
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from schematic_core.environment import parse_environment
from schematic_core.server import serve
from tests.server.conftest import ENVIRONMENT, Api

KEYED = ENVIRONMENT + "api_keys: [dev]\n"
HEADERS = {"X-Schematic-Api-Key": "dev", "X-Schematic-Datastream-Mode": "direct"}


class Client:
    """One connection, as a client of the protocol has it."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    def start(self, topic: str, **members: Any) -> None:
        data = {"action": "start", "entity_type": f"rulesengine.{topic}", **members}
        self.socket.send(json.dumps({"data": data}))

    def ask(self, topic: str, **members: Any) -> Any:
        self.start(topic, **members)
        return self.next()

    def next(self, timeout: float = 10.0) -> Any:
        return json.loads(self.text(timeout))

    def text(self, timeout: float = 10.0) -> str | bytes:
        return self.socket.recv(timeout)

    def hears_nothing(self, seconds: float = 0.15) -> bool:
        try:
            self.socket.recv(seconds)
        except TimeoutError:
            return True
        return False

    def ended(self) -> tuple[int, str] | None:
        """Wait for the end; gives the server's close code and reason, None without a close frame."""
        while True:
            try:
                self.socket.recv(10.0)
            except ConnectionClosed as closed:
                return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd is not None else None


Connect = Callable[..., Client]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Hold the server to complaining of nothing, whatever clients do to it."""
    complaints: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: complaints.append(record.getMessage())  # type: ignore[method-assign] # of this one
    logging.getLogger().addHandler(handler)
    yield
    logging.getLogger().removeHandler(handler)
    assert complaints == []


@pytest.fixture
def join(api: Api) -> Iterator[Connect]:
    """Connect to the server of ``api``; each connection is closed after the test."""
    with ExitStack() as stack:

        def make(*topics: str, server: Api = api, **options: Any) -> Client:
            options = {"additional_headers": HEADERS, "max_size": None, "ping_interval": None, **options}
            socket = connect(f"ws{server.url[4:]}/datastream", **options)
            client = Client(stack.enter_context(socket))
            for topic in topics:
                kind, _, key = topic.partition(":")
                client.ask(kind, **({"keys": {"id": key}} if key else {}))
            return client

        yield make


def _seen(api: Api) -> list[Any]:
    connections: list[Any] = api("GET", "/_dev/stream", 200)["connections"]
    return connections


def _of(frame: Any) -> tuple[str, str, str | None]:
    return frame["entity_type"].partition(".")[2], frame["message_type"], frame["entity_id"]


def test_flags_and_a_company_are_answered(join: Connect) -> None:
    """All flags, then one company by any of its keys; a company that nobody knows is an error with its keys."""
    client = join()

    flags = client.ask("Flags")
    company = client.ask("Company", keys={"ref": "a1"})
    error = client.ask("Company", keys={"id": "nobody"})

    assert {flag["key"] for flag in flags["data"]} >= {"exports", "new-nav"}
    assert _of(company) == ("Company", "full", "comp_acme")
    assert (error["message_type"], error["data"]["keys"]) == ("error", {"id": "nobody"})


def test_a_plan_change_is_pushed(api: Api, join: Connect) -> None:
    """The real endpoint changes it; who did not ask for the company hears nothing."""
    client, other = join("Flags", "Company:tiny"), join("Flags", "Company:acme")

    api("PUT", "/company-plans/comp_tiny", 200, json={"base_plan_id": "plan_pro", "add_on_ids": []})

    frame = client.next()
    assert _of(frame) == ("Company", "partial", "comp_tiny")
    assert (frame["data"]["plan_ids"], frame["data"]["base_plan_id"]) == (["plan_pro"], "plan_pro")
    assert other.hears_nothing()


def test_tracked_events_move_the_metrics_of_everyone_who_follows(api: Api, join: Connect) -> None:
    """One frame for a whole batch, the same on every connection."""
    clients = [join("Company:acme"), join("Company:acme")]
    event = {"event_type": "track", "body": {"event": "export_created", "company": {"id": "acme"}}}

    api("POST", "/event-batch", 201, json={"events": [event, event]})

    first, second = (client.next() for client in clients)
    assert first == second
    assert _of(first) == ("Company", "partial", "comp_acme")
    assert {row["value"] for row in first["data"]["metrics"]} == {2}
    assert all(client.hears_nothing(0.05) for client in clients)


def test_identify_is_pushed(api: Api, join: Connect) -> None:
    """To who asked for the user."""
    client = join("User:ada")
    body = {"keys": {"id": "ada"}, "traits": {"role": "member"}}

    api("POST", "/events", 201, json={"event_type": "identify", "body": body})

    frame = client.next()
    assert (_of(frame), list(frame["data"])) == (("User", "partial", "user_ada"), ["traits"])


def test_an_override_is_pushed_with_its_flag_and_goes_by_the_clock(api: Api, join: Connect) -> None:
    """It comes with two frames, and with two it goes when it expires."""
    client = join("Flags", "Company:acme")
    now = api("GET", "/_dev/clock", 200)["now"]
    body = {"company_id": "comp_acme", "feature_id": "feat_exports", "value_type": "unlimited"}

    api("POST", "/company-overrides", 201, json={**body, "expiration_date": f"{int(now[:4]) + 1}{now[4:]}"})
    came = [_of(client.next()), _of(client.next())]
    api("POST", "/_dev/clock/advance", 200, json={"seconds": 366 * 86400})

    assert came == [("Company", "partial", "comp_acme"), ("Flag", "full", "flag_exports")]
    assert [_of(client.next()), _of(client.next())] == came[::-1]


def test_the_end_of_a_day_is_pushed_when_the_real_clock_reaches_it(api: Api, join: Connect) -> None:
    """Nobody asks: the server's own timer wakes it."""
    client = join("Company:acme")
    api.track("report_run")
    client.next()
    api("PUT", "/_dev/clock", 200, json={"now": "2031-03-04T23:59:59.700Z"})
    while client.next()["data"]["metrics"][0]["valid_until"] > "2031-03-05T00:00:01":
        pass

    frame = client.next()

    daily = [row for row in frame["data"]["metrics"] if row["period"] == "current_day"]
    assert (daily[0]["value"], daily[0]["valid_until"][:10]) == (0, "2031-03-06")


def test_a_deletion_is_pushed(api: Api, join: Connect) -> None:
    """In the form that was asked for."""
    client = join("Company:acme", "Company:tiny")

    api("DELETE", "/companies/comp_acme", 200)
    whole = client.next()
    api("PUT", "/_dev/stream/habits", 200, json={"deletes": "null"})
    api("DELETE", "/companies/comp_tiny", 200)

    assert (_of(whole), whole["data"]["id"]) == (("Company", "delete", "comp_acme"), "comp_acme")
    assert (_of(client.next())) == ("Company", "delete", "comp_tiny")


def test_a_replicator_resumes_where_it_was(api: Api, join: Connect) -> None:
    """What it missed is sent again; after a restart it is told to load anew."""
    first = join("Companies")
    api.track("export_created")
    cursor = first.next()["stream_id"]
    first.socket.close()
    api.track("export_created", "tiny")

    second = join()
    replayed = [second.ask("Companies", replay_from=cursor), second.next()]
    api("POST", "/_dev/stream/restart", 200)
    third = join()
    reloaded = [third.ask("Companies", replay_from=cursor), third.next()]

    assert [_of(one) for one in replayed] == [("Companies", "full", None), ("Company", "partial", "comp_tiny")]
    assert second.ended() is None
    assert [_of(one) for one in reloaded] == [("Companies", "full", None), ("Companies", "reload", None)]


@pytest.mark.parametrize("key", [None, "wrong"])
def test_a_wrong_key_is_refused_at_the_handshake(start: Callable[..., Api], join: Connect, key: str | None) -> None:
    """With 401; the right one is let in."""
    api = start(KEYED)

    with pytest.raises(InvalidStatus) as caught:
        join(server=api, additional_headers={"X-Schematic-Api-Key": key} if key else {})

    assert caught.value.response.status_code == 401
    assert b"error" in (caught.value.response.body or b"")
    assert join(server=api).ask("Flags")["data"]
    assert [(one["refused"], one["is_open"]) for one in _seen(api)] == [(401, False), (None, True)]


def test_a_wrong_key_can_be_refused_by_a_close_frame(start: Callable[..., Api], join: Connect) -> None:
    """As the vendor's clients expect it: accepted, then closed with 4001."""
    api = start(KEYED)
    api("PUT", "/_dev/stream/habits", 200, json={"refusals": "close"})

    client = join(server=api, additional_headers={})

    assert client.ended() == (4001, "the API key is missing or not valid")
    assert _seen(api)[0]["refused"] == 4001


def test_handshakes_can_be_refused_for_a_time(api: Api, join: Connect) -> None:
    """By status or by close code, so many times."""
    api("POST", "/_dev/faults", 201, json={"path": "/datastream", "count": 2, "status": 503, "delay": 0.01})
    api("POST", "/_dev/faults", 201, json={"path": "/datastream", "code": 4001})

    for _ in range(2):
        with pytest.raises(InvalidStatus, match="503"):
            join()
    closed = join().ended()

    assert closed == (4001, "a fault that was asked for")
    assert join().ask("Flags")["data"]
    assert [one["refused"] for one in _seen(api)] == [503, 503, 4001, None]


def test_other_paths_are_no_streams(api: Api) -> None:
    """They answer the handshake with 404."""
    with pytest.raises(InvalidStatus, match="404"):
        connect(f"ws{api.url[4:]}/elsewhere")
    assert api("GET", "/datastream", 404)["error"]


def test_what_is_connected_and_what_it_asked_can_be_seen(api: Api, join: Connect) -> None:
    """Handshake headers, and requests as they were received, in order; counting can begin anew."""
    client = join("Flags", "Company:acme", "Companies")
    client.socket.send("nonsense")
    client.next()
    (seen,) = _seen(api)
    join().socket.close()
    api("DELETE", "/_dev/stream", 200)

    assert (seen["is_open"], seen["has_flags"], seen["bulk"], seen["entities"]) == (
        True,
        True,
        ["company"],
        ["comp_acme"],
    )
    assert seen["headers"]["x-schematic-datastream-mode"] == "direct"
    assert seen["requests"] == [
        {"data": {"action": "start", "entity_type": "rulesengine.Flags"}},
        {"data": {"action": "start", "entity_type": "rulesengine.Company", "keys": {"id": "acme"}}},
        {"data": {"action": "start", "entity_type": "rulesengine.Companies"}},
        "nonsense",
    ]
    assert _seen(api)[0]["requests"] == []


def test_connections_can_be_dropped(api: Api, join: Connect) -> None:
    """Without a close frame; all or one."""
    one, other = join(), join()
    number = _seen(api)[0]["id"]

    assert api("POST", "/_dev/stream/drop", 200, json={"connection": number}) == {"connections": [number]}

    assert one.ended() is None
    assert other.ask("Flags")["data"]
    api("POST", "/_dev/stream/drop", 404, json={"connection": number})
    api("POST", "/_dev/stream/drop", 200)
    assert other.ended() is None
    assert _until(lambda: [(seen["is_open"], seen["code"]) for seen in _seen(api)] == [(False, 1006)] * 2)


def test_connections_can_be_closed_with_a_code(api: Api, join: Connect) -> None:
    """After what was queued before."""
    client = join("Company:acme")

    api.track("export_created")
    api("POST", "/_dev/stream/close", 200, json={"code": 1012, "reason": "deploy"})

    assert _of(client.next()) == ("Company", "partial", "comp_acme")
    assert client.ended() == (1012, "deploy")


def test_a_stalled_server_reads_on_and_sends_later(api: Api, join: Connect) -> None:
    """Nothing is lost, nothing comes before its turn; requests have their effect meanwhile."""
    client = join("Company:acme")
    api("POST", "/_dev/stream/stall", 200)
    client.start("Company", keys={"id": "tiny"})
    api.track("export_created")
    was_silent = client.hears_nothing()
    is_stalled = api("GET", "/_dev/stream", 200)["is_stalled"]

    api("POST", "/_dev/stream/resume", 200)

    assert (was_silent, is_stalled) == (True, True)
    assert sorted(_of(client.next())[2] or "" for _ in range(2)) == ["comp_acme", "comp_tiny"]


def test_a_stall_can_end_by_itself_and_take_the_pongs_along(api: Api, join: Connect) -> None:
    """With ``pongs`` false the server looks dead to who pings it."""
    client = join()
    assert client.socket.ping().wait(10)

    api("POST", "/_dev/stream/stall", 200, json={"seconds": 1.0, "pongs": False})

    began = time.monotonic()
    assert not client.socket.ping().wait(0.2)
    assert client.ask("Flags")["data"]
    assert time.monotonic() - began > 0.5
    assert client.socket.ping().wait(10)


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("garble", {"kind": "text"}, "this is not JSON {"),
        ("garble", {"kind": "binary"}, b"\xff\xfe\x00{"),
        ("send", {"text": "anything"}, "anything"),
        ("send", {"frame": {"a": [None]}}, '{"a":[null]}'),
        ("send", {"frame": None}, "null"),
    ],
)
def test_anything_can_be_sent(api: Api, join: Connect, path: str, body: Any, expected: str | bytes) -> None:
    """To every connection; each stays open."""
    clients = [join(), join()]

    api("POST", f"/_dev/stream/{path}", 200, json=body)

    assert [client.text() for client in clients] == [expected] * 2
    assert all(client.ask("Flags")["data"] for client in clients)


def test_a_frame_can_be_cut_in_the_middle(api: Api, join: Connect) -> None:
    """As text within a whole WebSocket frame, or as half a WebSocket frame with which the connection ends."""
    client = join()
    whole = json.dumps(client.ask("Flags"), separators=(",", ":"))

    api("POST", "/_dev/stream/garble", 200, json={"kind": "cut"})
    cut = client.text()
    api("POST", "/_dev/stream/garble", 200, json={"kind": "torn"})

    assert cut == whole[: len(whole) // 2]
    assert client.ended() is None


def test_an_oversize_frame_can_be_sent(api: Api, join: Connect) -> None:
    """More than a client accepts ends its connection; who accepts it reads something harmless."""
    small, large = join(max_size=100_000), join(max_size=None)

    api("POST", "/_dev/stream/oversize", 200, json={"bytes": 100_001})

    frame = large.text()
    assert (len(frame), json.loads(frame)["data"]) == (100_001, None)
    with pytest.raises(ConnectionClosedError, match="1009"):
        small.text()


def test_habits_are_taken_on_and_given_up(api: Api, join: Connect) -> None:
    """Go's nulls, duplicates, forced pages, held requests, slow frames; what is left out is as usual again."""
    client = join()
    api("PUT", "/_dev/stream/habits", 200, json={"nulls": True, "duplicate": True, "page_size": 5, "hold_after": 0})

    client.start("Flags")
    pages = [client.next() for _ in range(4)]
    client.start("Company", keys={"id": "tiny"})
    was_held = client.hears_nothing()
    held = api("GET", "/_dev/stream", 200)["held"]
    habits = api("PUT", "/_dev/stream/habits", 200, json={"nulls": True, "delay": 0.5})
    began = time.monotonic()
    company = client.next()

    assert [page["pagination"]["page"] for page in pages] == [1, 1, 2, 2]
    assert pages[0]["data"][0]["rules"][0]["condition_groups"] is None
    assert (was_held, held) == (True, 1)
    assert company["data"]["traits"] is None
    assert time.monotonic() - began > 0.1
    assert (habits["delay"], habits["duplicate"], habits["hold_after"]) == (0.5, False, None)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "habits", {"hold_after": -1}),
        ("PUT", "habits", {"page_size": 0}),
        ("PUT", "habits", {"delay": 61}),
        ("PUT", "habits", {"deletes": "some"}),
        ("POST", "close", {"code": 1005}),
        ("POST", "close", {"code": 4000, "reason": "x" * 124}),
        ("POST", "stall", {"seconds": -1}),
        ("POST", "send", {}),
        ("POST", "send", {"text": "x", "frame": 1}),
        ("POST", "garble", {"kind": "some"}),
        ("POST", "oversize", {"bytes": 10}),
        ("POST", "oversize", {"bytes": 10**12}),
    ],
)
def test_a_wrong_private_request_is_refused(steady: Api, method: str, path: str, body: object) -> None:
    """As any other: 400, and nothing changes."""
    before = steady("GET", "/_dev/stream", 200)

    assert steady(method, f"/_dev/stream/{path}", 400, json=body)["error"]
    assert steady("GET", "/_dev/stream", 200) == before


@pytest.mark.parametrize("fault", [{"code": 4001}, {"code": 1000, "path": "/datastream"}])
def test_a_close_code_is_a_fault_of_streams_only(steady: Api, fault: Any) -> None:
    """And one that an application may use."""
    assert steady("POST", "/_dev/faults", 400, json=fault)["error"]


def test_a_snapshot_of_a_thousand_flags_arrives_whole(start: Callable[..., Api], join: Connect) -> None:
    """Nine megabytes in one frame, and a small one right behind it."""
    rules = ", ".join(f"{{name: r{n}, value: true, when: [{{trait: region, value: v{n}}}]}}" for n in range(12))
    flags = ", ".join(f"f{n}: {{rules: *r}}" for n in range(999))
    api = start(f"{{version: 1, flags: {{f: {{rules: &r [{rules}]}}, {flags}}}, companies: {{acme: {{}}}}}}")
    client = join(server=api)

    client.start("Flags")
    client.start("Company", keys={"id": "acme"})
    text = client.text(30.0)

    assert len(text) > 5_000_000
    assert len(json.loads(text)["data"]) == 1000
    assert _of(client.next()) == ("Company", "full", "comp_acme")


@pytest.mark.parametrize("fault", [None, "stall", "slow"])
def test_a_server_that_stops_says_so_and_does_not_hang(fault: str | None) -> None:
    """Every connection is closed with 1001, whatever it was doing; a stall does not hold the server up."""
    with serve(parse_environment(ENVIRONMENT)) as server, ExitStack() as stack:
        sockets = [stack.enter_context(connect(f"ws{server.url[4:]}/datastream")) for _ in range(3)]
        clients = [Client(socket) for socket in sockets]
        for client in clients:
            client.ask("Company", keys={"id": "acme"})
        api = Api(server.url)
        stack.callback(api.client.close)
        if fault == "stall":
            api("POST", "/_dev/stream/stall", 200)
        if fault == "slow":
            api("PUT", "/_dev/stream/habits", 200, json={"delay": 0.05})
        stopping = stack.pop_all()
        began = time.monotonic()
    took = time.monotonic() - began

    with stopping:
        assert [client.ended() for client in clients] == [(1001, "the server is stopping")] * 3
    assert took < 2.0


def test_a_client_that_reads_nothing_does_not_hold_the_server_up() -> None:
    """It is cut off."""
    with serve(parse_environment(ENVIRONMENT)) as server, ExitStack() as stack:
        socket = stack.enter_context(connect(f"ws{server.url[4:]}/datastream", max_queue=1, close_timeout=0.1))
        api = Api(server.url)
        stack.callback(api.client.close)
        Client(socket).ask("Flags")
        for _ in range(4):
            api("POST", "/_dev/stream/oversize", 200, json={"bytes": 900_000})
            api("POST", "/_dev/stream/oversize", 200, json={"bytes": 20_000_000})
        stopping = stack.pop_all()
        began = time.monotonic()
    took = time.monotonic() - began

    stopping.close()
    assert took < 2.0


def test_a_client_that_goes_away_is_forgotten(api: Api, join: Connect) -> None:
    """With or without saying so; the server lives on and complains of nothing."""
    polite, rude = join("Company:acme"), join("Company:acme")

    polite.socket.close(1000)
    rude.socket.socket.close()
    del rude
    gc.collect()
    api.track("export_created")

    assert _until(lambda: not any(seen["is_open"] for seen in _seen(api)))
    assert join().ask("Flags")["data"]


def _until(holds: Callable[[], bool]) -> bool:
    """Wait for what a socket's end brings about; it comes when the operating system likes."""
    until = time.monotonic() + 10
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True
