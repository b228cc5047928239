"""Requests for companies and users: who shares them, what answers them, when they end."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest

from schematic_core.datastream.connection import ConnectionLimits, Request
from schematic_core.datastream.versions import Kind
from schematic_core.keys import Pairs
from tests.datastream.driving import DROPPED, Turned


@pytest.fixture
def turned() -> Turned:
    machine = Turned()
    machine.go_live()
    return machine


def land(turned: Turned, *requests: Request, outcome: Any = "answered") -> None:
    turned.run(turned.connection.land(requests, outcome, turned.now))


def test_a_hundred_cold_checks_make_one_request(turned: Turned) -> None:
    """Who asks with the same keys, in whatever order, shares the request, and everyone is told once."""
    requests = {turned.ask("company", id="1", slug="a") for _ in range(50)}
    requests |= {turned.ask("company", slug="a", id="1") for _ in range(50)}

    assert len(requests) == 1
    assert turned.asked() == [{"id": "1", "slug": "a"}]
    received = turned.entity("company", id="1")
    assert set(received.requests) == requests
    assert turned.called == []
    land(turned, *received.requests)
    assert len(turned.called) == 100


def test_other_keys_are_other_questions(turned: Turned) -> None:
    """Overlapping keys, keys of another case and the other kind are asked for by themselves."""
    asked: list[tuple[Kind, dict[str, str]]] = [
        ("company", {"id": "a"}),
        ("company", {"id": "A"}),
        ("company", {"ID": "a"}),
        ("company", {"id": "a", "slug": "a"}),
        ("user", {"id": "a"}),
    ]

    requests = {turned.ask(kind, **keys) for kind, keys in asked}

    assert len(requests) == 5
    assert turned.asked() == [keys for _, keys in asked]


def test_an_answer_lands_whoever_shares_a_pair(turned: Turned) -> None:
    """The request that caused it, whichever of its keys the entity carries, and others that share one, in any case."""
    same = turned.ask("company", id="1", slug="ghost")
    other_case = turned.ask("company", ID="Acme")
    other = turned.ask("company", id="2")
    user = turned.ask("user", id="1")

    received = turned.entity("company", id="1", Id="ACME", region="eu")

    assert set(received.requests) == {same, other_case}
    land(turned, *received.requests)
    assert [request.outcome for request in (same, other_case, other, user)] == ["answered"] * 2 + ["waiting"] * 2


def test_nothing_is_left_of_a_request_under_any_of_its_keys(turned: Turned) -> None:
    """After ``{id, slug}`` was answered by the id alone, ``{slug}`` is a question of its own, and so is the pair."""
    land(turned, *[turned.ask("company", id="1", slug="ghost")])
    turned.take()

    again = turned.ask("company", id="1", slug="ghost")
    ghost = turned.ask("company", slug="ghost")

    assert again is not ghost
    assert turned.asked() == [{"id": "1", "slug": "ghost"}, {"slug": "ghost"}]
    assert set(turned.entity("company", slug="ghost").requests) == {again, ghost}


def test_who_asks_while_the_answer_is_applied_is_told_too(turned: Turned) -> None:
    """Between an answer and its landing the request can still be joined."""
    request = turned.ask("company", id="1")
    received = turned.entity("company", id="1")

    assert turned.ask("company", id="1") is request
    land(turned, *received.requests)

    assert turned.called == [request, request]
    assert turned.asked() == [{"id": "1"}]


def test_a_second_answer_lands_nothing(turned: Turned) -> None:
    """Duplicates on the wire, or of the shell, call nobody again and change no outcome."""
    request = turned.ask("company", id="1")
    first, second = turned.entity("company", id="1"), turned.error("company", id="1")

    land(turned, *first.requests)
    land(turned, *second.missing, outcome="missing")

    assert first.requests == second.missing == (request,)
    assert turned.called == [request]
    assert request.outcome == "answered"
    assert turned.entity("company", id="1").requests == ()


@pytest.mark.parametrize(
    "data", [None, [], "text", {}, {"keys": None}, {"keys": []}, {"keys": {"id": 1, "slug": None}}]
)
def test_an_entity_without_keys_answers_nobody(turned: Turned, data: object) -> None:
    """It may be a late answer to another question: to guess could serve the wrong company."""
    turned.ask("company", id="1")

    received = turned.hear("rulesengine.Company", "full", data, entity_id="comp_1")

    assert (received.update, received.requests) == ("entity", ())


@pytest.mark.parametrize("message_type", ["partial", "delete"])
def test_only_a_full_entity_is_an_answer(turned: Turned, message_type: str) -> None:
    """A change that comes in between says nothing about the whole."""
    turned.ask("company", id="1")

    received = turned.hear("rulesengine.Company", message_type, {"keys": {"id": "1"}})

    assert (received.update, received.requests) == ("entity", ())


@pytest.mark.parametrize("text", ["company not found", "Not Found"])
def test_not_found_is_an_answer(turned: Turned, text: str) -> None:
    """The request with these keys, and no other, is missing; at once, not after the timeout."""
    request, other = turned.ask("company", id="1", slug="a"), turned.ask("company", id="1")

    received = turned.error("company", text, slug="a", id="1")

    assert (received.missing, received.failed, received.update) == ((request,), (), None)
    land(turned, *received.missing, outcome="missing")
    assert turned.called == [request]
    assert (request.outcome, other.outcome) == ("missing", "waiting")


@pytest.mark.parametrize("data", [{"error": "internal"}, {"error": None}, {"error": ["not found"]}, {}])
def test_any_other_error_is_a_failure(turned: Turned, data: dict[str, object]) -> None:
    """Of the request whose keys it names."""
    request = turned.ask("company", id="1")

    received = turned.hear("rulesengine.Company", "error", {**data, "keys": {"id": "1"}})

    assert (received.missing, received.failed) == ((), (request,))


@pytest.mark.parametrize("data", [None, [], "not found", {"error": "not found"}, {"error": "not found", "keys": {}}])
def test_an_error_without_keys_fails_nobody(turned: Turned, data: object) -> None:
    """Nobody knows whose it is; time fails it."""
    request = turned.ask("company", id="1")

    received = turned.hear("rulesengine.Company", "error", data)

    assert (received.missing, received.failed) == ((), ())
    turned.wake(2.0)
    assert request.outcome == "failed"


def test_keys_of_an_error_may_be_of_another_case(turned: Turned) -> None:
    """The exact request first, when there is one; otherwise those that differ in case alone."""
    acme, upper, title = (turned.ask("company", id=value) for value in ("acme", "ACME", "Acme"))

    exact = turned.error("company", id="ACME")
    land(turned, *exact.missing, outcome="missing")
    folded = turned.error("company", ID="aCME")

    assert exact.missing == (upper,)
    assert set(folded.missing) == {acme, title}


@pytest.mark.parametrize(
    ("entity_type", "named", "kind"),
    [
        ("rulesengine.User", "rulesengine.Company", "company"),
        ("", "rulesengine.User", "user"),
        ("rulesengine.User", "", "user"),
        ("rulesengine.User", None, "user"),
        ("rulesengine.User", 7, "user"),
        ("rulesengine.User", "invented", "user"),
        ("invented", "invented", None),
    ],
)
def test_an_error_may_say_itself_what_it_is_about(
    turned: Turned, entity_type: str, named: object, kind: str | None
) -> None:
    """The type in the data goes before the type of the frame."""
    requests = {"company": turned.ask("company", id="1"), "user": turned.ask("user", id="1")}

    received = turned.hear(entity_type, "error", {"error": "not found", "keys": {"id": "1"}, "entity_type": named})

    assert received.missing == (() if kind is None else (requests[kind],))


def test_a_request_ends_by_time(turned: Turned) -> None:
    """Each after its own two seconds; who joined it late waits no longer; it can be asked again."""
    first = turned.ask("company", id="1")
    turned.now += 1.0
    second = turned.ask("company", id="2")
    turned.ask("company", id="1")
    assert turned.wait == 1.0

    turned.wake(1.0)

    assert turned.called == [first, first]
    assert (first.outcome, second.outcome) == ("failed", "waiting")
    assert turned.connection.counts == {"timed_out": 1}
    assert turned.wait == 1.0
    turned.wake(1.0)
    assert second.outcome == "failed"
    turned.wake(5.0)
    assert turned.ask("company", id="1") is not first


def test_an_answer_after_the_timeout_is_an_update(turned: Turned) -> None:
    """It is applied, and nobody is called."""
    request = turned.ask("company", id="1")
    turned.wake(2.0)

    received = turned.entity("company", id="1")

    assert (received.update, received.requests) == ("entity", ())
    assert turned.called == [request]


def test_a_loss_fails_everyone_at_once(turned: Turned) -> None:
    """Nobody waits for a connection that is gone; an answer that is being applied comes too late."""
    requests = [turned.ask("company", id=str(number)) for number in range(10)]
    received = turned.entity("company", id="3")

    turned.lose(DROPPED)
    land(turned, *received.requests)

    assert turned.called == requests
    assert {request.outcome for request in requests} == {"failed"}


def test_a_reload_leaves_requests_under_way(turned: Turned) -> None:
    """Their answers come after it, and are as good as any."""
    turned.now += 10.0
    request = turned.ask("company", id="1")

    turned.hear("rulesengine.Flags", "reload")

    assert turned.entity("company", id="1").requests == (request,)
    turned.wake(2.0)
    assert turned.called == [request]


@pytest.mark.parametrize("state", ["idle", "dialling", "loading", "waiting", "closed"])
def test_without_a_live_connection_there_is_nobody_to_ask(state: str) -> None:
    """Nor is anything kept for later."""
    turned = Turned()
    if state == "loading":
        turned.open()
    elif state != "idle":
        turned.dial()
    if state == "waiting":
        turned.lose()
    if state == "closed":
        turned.connection.close(turned.now)
    turned.take()

    assert turned.connection.ask("company", (("id", "1"),), turned.now) is None
    assert turned.take() == []


def test_no_keys_are_no_question(turned: Turned) -> None:
    """Nothing could answer it."""
    assert turned.connection.ask("company", (), turned.now) is None
    turned.connection.refresh([("company", ())], turned.now)
    assert turned.wake(100.0) != []
    assert turned.asked() == []


def wanted(count: int) -> list[tuple[Kind, Pairs]]:
    return [("company", (("id", str(number)),)) for number in range(count)]


def test_refreshes_are_paced(turned: Turned) -> None:
    """They begin after a random delay, follow one another at a random pace, and at most twenty are under way."""
    turned.connection.refresh(wanted(100), turned.now)
    turned.connection.refresh(wanted(100), turned.now)
    assert turned.take() == []
    assert turned.wait == 1.0

    turned.wake(0.99)
    assert turned.asked() == []
    asked: list[Any] = []
    turned.now += 0.01
    for _ in range(60):
        turned.run(turned.connection.wake(turned.now))
        asked += turned.asked()
        turned.now += 0.02

    assert [keys["id"] for keys in asked] == [str(number) for number in range(20)]
    assert turned.wait == pytest.approx(0.8, abs=0.03)  # the first of them ends by time


def test_each_landing_makes_room_for_the_next(turned: Turned) -> None:
    """With answers that come promptly all are asked, each once, at the pace set."""
    turned.connection.refresh(wanted(200), turned.now)
    asked: list[Any] = []
    started = turned.now
    while len(asked) < 200:
        assert turned.wait is not None
        turned.now += turned.wait
        turned.run(turned.connection.wake(turned.now))
        for keys in turned.asked():
            asked.append(keys["id"])
            land(turned, *turned.entity("company", **keys).requests)

    assert asked == [str(number) for number in range(200)]
    assert turned.now - started == pytest.approx(1.0 + 199 * 0.02)
    assert turned.wait == pytest.approx(30.0)


def test_a_late_wake_makes_no_burst(turned: Turned) -> None:
    """What should have been asked while the shell slept is asked at the pace set from then on."""
    turned.connection.refresh(wanted(100), turned.now)

    turned.now += 20.0
    turned.run(turned.connection.wake(turned.now))

    assert len(turned.asked()) <= 3


def test_a_fleet_does_not_refresh_in_step() -> None:
    """Two clients with other chances begin at other times."""
    starts = []
    for chance in (0.1, 0.9):
        turned = Turned(random=lambda chance=chance: chance)  # type: ignore[misc] # the loop's value, not its variable
        turned.go_live()
        turned.connection.refresh(wanted(1), turned.now)
        starts.append(turned.wait)

    assert starts == pytest.approx([0.2, 1.8])


def test_who_asks_goes_before_the_queue(turned: Turned) -> None:
    """What somebody waits for is asked at once, and not again by the refresh."""
    turned.connection.refresh(wanted(3), turned.now)

    request = turned.ask("company", id="1")
    asked = turned.asked()
    land(turned, request)
    for _ in range(60):
        turned.now += 0.02
        turned.run(turned.connection.wake(turned.now))
        asked += turned.asked()

    assert [keys["id"] for keys in asked] == ["1", "0", "2"]


def test_who_asks_joins_a_refresh(turned: Turned) -> None:
    """And is told of its landing."""
    turned.connection.refresh(wanted(1), turned.now)
    turned.now += 1.0
    turned.run(turned.connection.wake(turned.now))
    assert turned.asked() == [{"id": "0"}]

    request = turned.ask("company", id="0")

    assert turned.asked() == []
    land(turned, *turned.error("company", id="0").missing, outcome="missing")
    assert turned.called == [request]


def test_a_refresh_meets_a_question_under_way() -> None:
    """It is not asked a second time while the first is unanswered."""
    turned = Turned(ConnectionLimits(refresh_delay=0.0))
    turned.go_live()
    request = turned.ask("company", id="0")

    turned.connection.refresh(wanted(2), turned.now)
    turned.run(turned.connection.wake(turned.now))
    turned.now += 0.02
    turned.run(turned.connection.wake(turned.now))

    assert turned.asked() == [{"id": "0"}, {"id": "1"}]
    assert turned.entity("company", id="0").requests == (request,)


def test_refreshes_end_with_the_connection(turned: Turned) -> None:
    """A loss and a reload forget them; without a connection none are taken."""
    turned.connection.refresh(wanted(10), turned.now)
    turned.hear("rulesengine.Flags", "reload")
    assert turned.wait is not None
    turned.hear("rulesengine.Flags", "full", [])
    turned.connection.refresh(wanted(10), turned.now)
    turned.lose()
    turned.connection.refresh(wanted(10), turned.now)

    turned.now += 1.0
    turned.run(turned.connection.wake(turned.now))
    turned.connection.opened(turned.now)
    turned.hear("rulesengine.Flags", "full", [])
    turned.now += 10.0
    turned.run(turned.connection.wake(turned.now))

    assert turned.asked() == []


def test_refreshes_wait_until_it_is_live() -> None:
    """Taken while loading, they wait without waking anybody."""
    turned = Turned()
    turned.open()
    turned.connection.refresh(wanted(1), turned.now)
    assert turned.wait == 30.0
    turned.now += 10.0
    turned.run(turned.connection.wake(turned.now))
    assert turned.asked() == []

    turned.hear("rulesengine.Flags", "full", [])

    assert turned.wait is not None
    assert turned.wait < 0.0
    turned.run(turned.connection.wake(turned.now))
    assert turned.asked() == [{"id": "0"}]


def test_thousands_of_requests_are_not_searched_for_each_frame(turned: Turned) -> None:
    """Ten times as many requests, most of them with a pair in common, cost about ten times as many steps."""

    def steps(count: int) -> int:
        counted = 0

        def count_step(frame: FrameType, event: str, argument: object) -> None:
            nonlocal counted
            counted += 1

        sys.setprofile(count_step)
        try:
            requests = [turned.ask("user", org="x", id=str(number)) for number in range(count)]
            turned.take()
            for number in range(0, count, 2):
                turned.error("user", id=str(number), org="X")
                land(turned, *turned.entity("user", id=str(number)).requests)
            turned.wake(2.0)
        finally:
            sys.setprofile(None)
        assert {request.outcome for request in requests} == {"answered", "failed"}
        turned.now += 10.0
        return counted

    assert steps(4_000) < 12 * steps(400)


def test_what_was_asked_in_vain_is_not_asked_at_every_check(turned: Turned) -> None:
    """A silent service costs one wait, not one for each check; five seconds later it is asked again."""
    turned.ask("company", id="1")
    turned.wake(2.0)
    refused = turned.ask("company", id="2")
    turned.run(turned.connection.land([refused], "failed", turned.now))

    assert turned.connection.ask("company", (("id", "1"),), turned.now) is None
    assert turned.connection.ask("company", (("id", "2"),), turned.now) is None
    assert turned.connection.ask("company", (("id", "3"),), turned.now) is not None
    turned.now += 5.0
    assert turned.connection.ask("company", (("id", "1"),), turned.now) is not None


def test_a_new_connection_may_be_asked_what_the_last_one_did_not_answer(turned: Turned) -> None:
    """What was in vain there says nothing about here."""
    turned.ask("company", id="1")
    turned.wake(2.0)
    turned.lose()
    turned.wake(30.0)
    turned.go_live()

    assert turned.connection.ask("company", (("id", "1"),), turned.now) is not None


def test_requests_that_differ_in_case_alone_wait_for_a_frame_each(turned: Turned) -> None:
    """They may mean different companies: the frame of one must not answer for the other."""
    upper, lower = turned.ask("company", sku="ABC"), turned.ask("company", sku="abc")

    assert turned.entity("company", sku="ABC").requests == (upper,)
    assert turned.entity("company", sku="abc").requests == (lower,)
    land(turned, upper)
    assert turned.entity("company", sku="ABC").requests == (lower,)
