"""The machine behind ``/datastream``, with a hand-turned clock and no socket."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schematic_core.environment import parse_environment
from schematic_core.environment.model import Balance, Grant
from schematic_core.environment.usage import count_event, draw_credits
from schematic_core.server import frames
from schematic_core.server.entities import Upsert
from schematic_core.server.replay import ReplayLog
from schematic_core.server.state import State
from schematic_core.server.streams import Close, Habits, Streams, Subscriber
from tests.server.conftest import ENVIRONMENT
from tests.support.strategies import trees

NOW = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)


class World:
    """A state, its streams and the present; what a subscriber was sent is read as JSON."""

    def __init__(self, text: str = ENVIRONMENT) -> None:
        self.now = NOW
        self.state = State(parse_environment(text), NOW)
        self.streams = Streams(self.state, NOW)

    def subscriber(self, *asked: dict[str, Any]) -> Subscriber:
        """Open a connection and ask for things; the answers are taken away."""
        subscriber = self.streams.open()
        for one in asked:
            self.ask(subscriber, **one)
        subscriber.outbox.clear()
        return subscriber

    def ask(self, subscriber: Subscriber, topic: str, **members: Any) -> list[Any]:
        data = {"entity_type": f"rulesengine.{topic}", "action": "start", **members}
        self.streams.receive(subscriber, json.dumps({"data": data}), self.now)
        return self.sent(subscriber)

    def push(self, subscriber: Subscriber) -> list[Any]:
        self.streams.push(self.now)
        return self.sent(subscriber)

    def wake(self, subscriber: Subscriber, now: datetime) -> list[Any]:
        self.now = now
        self.streams.wake(now)
        return self.sent(subscriber)

    def sent(self, subscriber: Subscriber) -> list[Any]:
        found = [json.loads(one) if isinstance(one, str) else one for one in subscriber.outbox]
        subscriber.outbox.clear()
        return found

    def track(self, company: str, event: str, quantity: int = 1) -> None:
        before = self.state.companies.get(company)
        after = count_event(before, event, quantity, self.now, self.now)
        self.state.put_company(before, draw_credits(self.state.environment, after, event, quantity, self.now), self.now)

    def override(self, company: str, feature: str) -> str:
        grant = Grant(value_type="unlimited")
        return self.state.create_override(company, feature, grant, self.now, expires_at=None, note=None)[0].id


FLAGS: dict[str, Any] = {"topic": "Flags"}
ACME: dict[str, Any] = {"topic": "Company", "keys": {"id": "acme"}}
TINY: dict[str, Any] = {"topic": "Company", "keys": {"id": "tiny"}}
ADA: dict[str, Any] = {"topic": "User", "keys": {"id": "ada"}}
COMPANIES: dict[str, Any] = {"topic": "Companies"}
USERS: dict[str, Any] = {"topic": "Users"}


@pytest.fixture
def world() -> World:
    return World()


def _kinds(sent: list[Any]) -> list[tuple[str, str, str | None]]:
    return [(one["entity_type"].partition(".")[2], one["message_type"], one["entity_id"]) for one in sent]


def test_all_flags_come_in_one_frame_without_stream_id(world: World) -> None:
    """A snapshot is not part of the stream, so there is nothing to replay it from."""
    (frame,) = world.ask(world.subscriber(), "Flags")

    assert [flag["key"] for flag in frame["data"]] == list(world.state.environment.flags)
    assert (frame["message_type"], "stream_id" in frame, "pagination" in frame) == ("full", False, False)


@pytest.mark.parametrize(("size", "pages"), [(1, 7), (3, 3), (7, 1), (100, 1)])
def test_flags_come_in_pages_when_that_is_asked_for(world: World, size: int, pages: int) -> None:
    """``has_more`` is true on every page but the last."""
    flags = len(world.state.environment.flags)

    sent = world.ask(world.subscriber(), "Flags", page_size=size)

    assert flags == 7
    assert [one["pagination"] for one in sent] == [
        {"has_more": number < pages, "page": number, "total": flags} for number in range(1, pages + 1)
    ]
    assert sum(len(one["data"]) for one in sent) == flags


def test_an_environment_without_flags_still_answers_a_page() -> None:
    """Else the client would wait for ever."""
    world = World("{version: 1}")

    assert [one["data"] for one in world.ask(world.subscriber(), "Flags", page_size=10)] == [[]]


def test_an_entity_is_answered_in_full_and_an_unknown_one_with_its_keys(world: World) -> None:
    """Any one of the keys is enough; keys of nobody come back with the error."""
    subscriber = world.subscriber()

    (full,) = world.ask(subscriber, "Company", keys={"ref": "a1"})
    (user,) = world.ask(subscriber, **ADA)
    (error,) = world.ask(subscriber, "User", keys={"id": "nobody"})

    assert (full["entity_type"], full["message_type"], full["entity_id"]) == (
        "rulesengine.Company",
        "full",
        "comp_acme",
    )
    assert full["data"]["keys"] == {"id": "acme", "ref": "a1"}
    assert user["data"]["keys"] == {"id": "ada"}
    assert error["message_type"] == "error"
    assert error["data"] == {
        "error": "user not found",
        "keys": {"id": "nobody"},
        "entity_type": "rulesengine.User",
    }


@pytest.mark.parametrize(
    "raw",
    [
        "not json",
        b"\xff\xfe",
        "[]",
        "{}",
        "[" * 100_000,
        '{"data": {"entity_type": "rulesengine.Galaxy"}}',
        '{"data": {"entity_type": "rulesengine.Company"}}',
        '{"data": {"entity_type": "rulesengine.Company", "keys": {"id": 1}}}',
        '{"data": {"entity_type": "rulesengine.Flags", "action": "dance"}}',
        '{"data": {"entity_type": "rulesengine.Flags", "page_size": 0}}',
    ],
)
def test_a_request_that_cannot_be_read_is_answered_with_an_error(world: World, raw: str | bytes) -> None:
    """It says what was expected; the connection stays, and nothing is subscribed to."""
    subscriber = world.streams.open()

    world.streams.receive(subscriber, raw, NOW)

    (error,) = world.sent(subscriber)
    assert (error["message_type"], list(error["data"])) == ("error", ["error"])
    assert not subscriber.has_flags


@pytest.mark.parametrize("action", [None, "", "start"])
def test_the_action_may_be_left_out(world: World, action: str | None) -> None:
    """Vendors' clients differ in it."""
    subscriber = world.subscriber()

    assert _kinds(world.ask(subscriber, "User", keys={"id": "ada"}, action=action)) == [("User", "full", "user_ada")]


def test_tracked_usage_is_told_as_a_partial_of_metrics_and_entitlements(world: World) -> None:
    """The metrics are those that moved; only who follows the company hears of it."""
    follower, other = world.subscriber(ACME), world.subscriber(TINY, FLAGS)
    world.track("comp_acme", "export_created")
    world.push(follower)
    world.track("comp_acme", "report_run")

    (frame,) = world.push(follower)

    assert _kinds([frame]) == [("Company", "partial", "comp_acme")]
    assert set(frame["data"]) == {"metrics", "entitlements"}
    assert {row["event_subtype"] for row in frame["data"]["metrics"]} == {"report_run"}
    assert world.sent(other) == []


def test_drawn_credits_are_told_as_the_balances_that_moved(world: World) -> None:
    """Balances are merged entry by entry, so the others are left out."""
    company = world.state.companies.get("comp_acme")
    follower = world.subscriber(ACME)
    world.track("comp_acme", "tokens", 2)

    (frame,) = world.push(follower)

    assert company.credits == {"ai": Balance(2.0, 2.0)}
    assert frame["data"]["credit_balances"] == {"bcrd_ai": 1.0}


def test_a_plan_change_is_told_as_a_partial_and_a_lost_plan_as_null(world: World) -> None:
    """Null clears what is replaced as a whole."""
    follower = world.subscriber(ACME)
    world.state.change_plans("comp_acme", None, [], NOW)

    (frame,) = world.push(follower)

    assert frame["message_type"] == "partial"
    assert frame["data"] == {"base_plan_id": None, "plan_ids": [], "entitlements": []}


def test_new_keys_are_told_as_a_partial_and_lost_keys_in_full(world: World) -> None:
    """A partial can only add keys; who loses a pair to another is told as well."""
    follower = world.subscriber(ACME, TINY)
    world.state.upsert_company(Upsert(keys={"id": "tiny", "ref": "a1"}), NOW)

    sent = world.push(follower)

    assert _kinds(sent) == [("Company", "full", "comp_acme"), ("Company", "partial", "comp_tiny")]
    assert sent[0]["data"]["keys"] == {"id": "acme"}
    assert sent[1]["data"] == {"keys": {"ref": "a1"}}


def test_a_lost_metric_or_balance_is_told_in_full() -> None:
    """Neither can be taken away by a partial."""
    row = {"event_subtype": "e", "period": "all_time", "month_reset": "first_of_month", "value": 1}
    company = {"id": "c", "keys": {"id": "c"}, "metrics": [row], "credit_balances": {"ai": 1.0}}

    assert frames.changed_members(company, {**company, "metrics": []}) is None
    assert frames.changed_members(company, {**company, "credit_balances": {}}) is None
    assert frames.changed_members(company, dict(company)) == {}


def test_traits_of_a_user_are_told_and_having_been_seen_is_not(world: World) -> None:
    """A record that changed without changing the document sends nothing."""
    follower = world.subscriber(ADA)
    world.state.upsert_user(Upsert(keys={"id": "ada"}, traits={"role": "member"}), NOW)
    (frame,) = world.push(follower)

    world.state.upsert_user(Upsert(keys={"id": "ada"}, last_seen_at=NOW), NOW)

    assert (frame["message_type"], list(frame["data"])) == ("partial", ["traits"])
    assert world.push(follower) == []


@pytest.mark.parametrize(
    ("form", "members"),
    [("keys", {"id", "keys"}), ("id", {"id"}), ("null", set()), ("entity", {"id", "keys", "plan_ids", "rules"})],
)
def test_a_deletion_is_told_in_the_form_that_was_chosen(world: World, form: Any, members: set[str]) -> None:
    """The id of the frame is always there; a new company with the same keys is somebody else."""
    follower = world.subscriber(ACME)
    world.streams.behave(Habits(deletes=form), NOW)
    world.state.delete_company("comp_acme")

    (frame,) = world.push(follower)
    world.state.upsert_company(Upsert(keys={"id": "acme"}), NOW)

    assert _kinds([frame]) == [("Company", "delete", "comp_acme")]
    assert members <= set(frame["data"] or ())
    assert (frame["data"] is None) == (form == "null")
    assert world.push(follower) == []
    assert follower.entities == set()


def test_an_override_changes_its_flag_before_it_goes_and_after_it_came(world: World) -> None:
    """Between the two frames the client allows at least what both ends allow."""
    follower = world.subscriber(FLAGS, ACME)
    override = world.override("comp_acme", "exports")
    came = world.push(follower)

    world.state.delete_override(override)
    went = world.push(follower)

    assert _kinds(came) == [("Company", "partial", "comp_acme"), ("Flag", "full", "flag_exports")]
    assert _kinds(went) == [("Flag", "full", "flag_exports"), ("Company", "partial", "comp_acme")]
    conditions = [one for rule in came[1]["data"]["rules"] for one in rule["conditions"]]
    assert any(one["resource_ids"] == ["comp_acme"] and one["operator"] == "ne" for one in conditions)
    assert "comp_acme" not in json.dumps(went[0])


def test_deleting_an_overridden_company_changes_the_flag_too(world: World) -> None:
    """A new snapshot says the same as the frames before."""
    world.override("comp_acme", "exports")
    world.streams.push(NOW)
    follower = world.subscriber(FLAGS)
    world.state.delete_company("comp_acme")

    (frame,) = world.push(follower)

    (snapshot,) = world.ask(follower, "Flags")
    assert frame["data"] in snapshot["data"]
    assert "comp_acme" not in json.dumps(snapshot)


def test_an_override_of_a_feature_that_no_plan_has_leaves_the_flag_as_it_is() -> None:
    """What has not changed is not told."""
    world = World("{version: 1, features: {solo: {type: boolean}}, companies: {acme: {}}}")
    follower = world.subscriber(FLAGS, ACME)
    world.override("comp_acme", "solo")

    assert _kinds(world.push(follower)) == [("Company", "partial", "comp_acme")]


def test_usage_starts_anew_with_its_window_and_that_is_told(world: World) -> None:
    """The engine does not look at ``valid_until``, so someone must say that a day is over."""
    follower = world.subscriber(ACME)
    world.track("comp_acme", "report_run")
    world.push(follower)
    midnight = datetime(2026, 11, 21, tzinfo=timezone.utc)

    early = world.wake(follower, midnight - timedelta(seconds=1))
    (frame,) = world.wake(follower, midnight)

    assert early == []
    daily = [row for row in frame["data"]["metrics"] if row["period"] == "current_day"]
    assert [(row["event_subtype"], row["value"]) for row in daily] == [("report_run", 0)]
    assert world.streams.deadline() == midnight + timedelta(days=1)


def test_a_clock_that_is_set_back_is_told(world: World) -> None:
    """Yesterday's usage counts again, and its reset lies where it lay."""
    follower = world.subscriber(ACME, ADA)
    world.track("comp_acme", "report_run")
    world.push(follower)
    world.wake(follower, NOW + timedelta(days=1))

    (frame,) = world.wake(follower, NOW)

    assert 1 in [row["value"] for row in frame["data"]["metrics"] if row["period"] == "current_day"]


def test_a_bulk_subscription_is_confirmed_and_hears_of_all_that_follows(world: World) -> None:
    """New entities in full, changes as partials, deletions; nothing of the other kind, and no snapshot."""
    replicator = world.subscriber()
    answer = world.ask(replicator, **COMPANIES)
    made, _ = world.state.upsert_company(Upsert(keys={"id": "new"}), NOW)
    world.state.upsert_user(Upsert(keys={"id": "bo"}), NOW)
    came = world.push(replicator)
    world.state.upsert_company(Upsert(keys={"id": "new"}, traits={"a": 1}), NOW)
    changed = world.push(replicator)
    world.state.delete_company(made.id)

    gone = world.push(replicator)

    assert _kinds(answer) == [("Companies", "full", None)]
    assert isinstance(answer[0]["data"], dict)
    assert _kinds(came + changed + gone) == [("Company", kind, made.id) for kind in ("full", "partial", "delete")]


def test_what_began_and_ended_between_two_pushes_is_not_told(world: World) -> None:
    """Nobody ever knew of it."""
    replicator = world.subscriber(COMPANIES)
    made, _ = world.state.upsert_company(Upsert(keys={"id": "new"}), NOW)
    world.state.delete_company(made.id)

    assert world.push(replicator) == []


@pytest.mark.parametrize("asked", [FLAGS, ACME, ADA, COMPANIES, USERS])
def test_stop_ends_a_subscription_without_an_answer(world: World, asked: dict[str, Any]) -> None:
    """Nothing more is sent, to this connection alone."""
    leaver, stayer = world.subscriber(asked), world.subscriber(asked)

    answer = world.ask(leaver, **asked, action="stop")
    world.override("comp_acme", "exports")
    world.state.upsert_user(Upsert(keys={"id": "ada"}, traits={"x": 1}), NOW)

    assert answer == []
    assert world.push(leaver) == []
    assert world.sent(stayer) != []


def test_a_connection_that_ended_is_forgotten(world: World) -> None:
    """Its requests that waited as well; who comes later is told the present."""
    first = world.subscriber(ACME)
    world.streams.behave(Habits(hold_after=0), NOW)
    world.ask(first, **TINY)
    world.streams.close(first)
    world.track("comp_acme", "export_created")
    world.streams.push(NOW)
    world.streams.behave(Habits(), NOW)

    (full,) = world.ask(world.subscriber(), **ACME)

    assert world.streams.held == 0
    assert list(first.outbox) == []
    assert full["data"]["metrics"][0]["value"] == 1


def test_missed_frames_are_replayed_from_the_last_id(world: World) -> None:
    """Bulk subscriptions and flags; the replayed frames are the very same."""
    before = world.subscriber(COMPANIES, USERS, FLAGS)
    world.override("comp_acme", "exports")
    world.state.upsert_user(Upsert(keys={"id": "ada"}, traits={"x": 1}), NOW)
    sent = world.push(before)
    cursor = sent[0]["stream_id"]
    world.streams.close(before)
    world.now += timedelta(seconds=1)
    world.track("comp_tiny", "export_created")
    world.streams.push(world.now)
    after = world.subscriber()

    companies = world.ask(after, "Companies", replay_from=cursor)
    users = world.ask(after, "Users", replay_from=cursor)
    flags = world.ask(after, "Flags", replay_from=cursor)

    assert _kinds(sent) == [
        ("Company", "partial", "comp_acme"),
        ("User", "partial", "user_ada"),
        ("Flag", "full", "flag_exports"),
    ]
    assert _kinds(companies) == [("Companies", "full", None), ("Company", "partial", "comp_tiny")]
    assert users[1:] == [sent[1]]
    assert flags == [sent[2]]


@pytest.mark.parametrize("cursor", ["1-0", "9999999999999-0", "nonsense", "-", "1770000000123"])
def test_an_id_that_is_not_known_is_answered_with_reload(world: World, cursor: str) -> None:
    """The subscription holds all the same."""
    world.subscriber(COMPANIES)
    follower = world.subscriber()

    companies = world.ask(follower, "Companies", replay_from=cursor)
    flags = world.ask(follower, "Flags", replay_from=cursor)

    assert _kinds(companies) == [("Companies", "full", None), ("Companies", "reload", None)]
    assert _kinds(flags) == [("Flags", "reload", None)]
    world.track("comp_tiny", "export_created")
    assert _kinds(world.push(follower)) == [("Company", "partial", "comp_tiny")]


def test_a_new_process_does_not_know_the_ids_of_the_former(world: World) -> None:
    """`forget` is what the fault ``restart`` does."""
    before = world.subscriber(COMPANIES)
    world.track("comp_tiny", "export_created")
    (frame,) = world.push(before)
    world.streams.forget(NOW)

    answer = world.ask(world.subscriber(), "Companies", replay_from=frame["stream_id"])

    assert answer[-1]["message_type"] == "reload"


@given(steps=st.lists(st.integers(-5, 5), max_size=30), kept=st.integers(1, 5))
def test_stream_ids_rise_and_the_log_never_replays_less_than_all(steps: list[int], kept: int) -> None:
    """Whatever the clock does; an id whose successors are partly lost gives None."""
    log = ReplayLog(1000, kept)
    log.begin("company")
    ids, now = [], 1000
    for number, step in enumerate(steps):
        now += step
        ids.append(log.next_id(now))
        log.add("company", str(number))
        log.add("user", "of no interest")

    numbers = [tuple(map(int, one.split("-"))) for one in ids]
    assert numbers == sorted(set(numbers))
    assert all(number > (1000, 0) for number in numbers)
    for position, one in enumerate(ids):
        missed = [str(number) for number in range(position + 1, len(ids))]
        assert log.since("company", one) == (missed if len(missed) <= kept else None)


_ROWS = st.dictionaries(st.sampled_from("abc"), st.integers(0, 2), max_size=3).map(
    lambda values: [
        {"event_subtype": event, "period": "all_time", "month_reset": "first_of_month", "value": value}
        for event, value in values.items()
    ]
)
_COMPANIES = st.fixed_dictionaries(
    {
        "keys": st.dictionaries(st.sampled_from("abc"), st.sampled_from("xy"), max_size=3),
        "credit_balances": st.dictionaries(st.sampled_from("abc"), st.integers(0, 2), max_size=3),
        "metrics": _ROWS,
        "plan_ids": st.lists(st.sampled_from("pq"), max_size=2),
    },
    optional={"base_plan_id": st.sampled_from("pq")},
)


@given(before=_COMPANIES, after=_COMPANIES)
def test_a_partial_merged_into_what_was_gives_what_is(before: dict[str, Any], after: dict[str, Any]) -> None:
    """By the rules that clients merge with; where that cannot be, there is no partial."""
    partial = frames.changed_members(before, after)

    is_impossible = (
        not before["keys"].keys() <= after["keys"].keys()
        or not before["credit_balances"].keys() <= after["credit_balances"].keys()
        or not {row["event_subtype"] for row in before["metrics"]} <= {row["event_subtype"] for row in after["metrics"]}
    )
    assert (partial is None) == is_impossible
    if partial is not None:
        merged = {**before, **partial}
        for name in ("keys", "credit_balances"):
            merged[name] = {**before[name], **partial.get(name, {})}
        rows = {row["event_subtype"]: row for row in (*before["metrics"], *partial.get("metrics", []))}
        expected = {**after, "metrics": {row["event_subtype"]: row for row in after["metrics"]}}
        present = {name: value for name, value in merged.items() if value is not None}
        assert {**present, "metrics": rows} == expected


@given(data=trees(st.none() | st.integers() | st.text(max_size=8), st.sampled_from(["keys", "entity_type", "action"])))
def test_nothing_that_is_asked_breaks_the_server(data: object) -> None:
    """Any JSON is answered, mostly with an error."""
    world = World("{version: 1}")
    subscriber = world.streams.open()

    world.streams.receive(subscriber, json.dumps({"data": data}), NOW)

    assert [one["message_type"] for one in world.sent(subscriber)] == ["error"]


def test_empty_lists_and_maps_are_null_as_go_sends_them(world: World) -> None:
    """At every depth of documents; a list of flags itself stays a list, an error keeps its keys."""
    world.streams.behave(Habits(nulls=True), NOW)
    subscriber = world.subscriber()

    (company,) = world.ask(subscriber, **TINY)
    (flags,) = world.ask(subscriber, **FLAGS)
    (error,) = world.ask(subscriber, "User", keys={"id": "nobody"})
    text = json.dumps([company, flags])

    assert (company["data"]["traits"], company["data"]["credit_balances"], company["data"]["rules"]) == (None,) * 3
    assert "[]" not in text
    assert "{}" not in text
    assert error["data"]["keys"] == {"id": "nobody"}
    assert _kinds(World("{version: 1}").ask(subscriber, "Flags")) == [("Flags", "full", None)]


def test_frames_can_be_sent_twice(world: World) -> None:
    """Answers and pushes alike."""
    world.streams.behave(Habits(duplicate=True), NOW)
    subscriber = world.streams.open()

    answers = world.ask(subscriber, **ACME)
    world.track("comp_acme", "export_created")

    assert _kinds(answers) == [("Company", "full", "comp_acme")] * 2
    assert _kinds(world.push(subscriber)) == [("Company", "partial", "comp_acme")] * 2


def test_requests_for_entities_can_be_held_and_are_answered_as_things_then_stand(world: World) -> None:
    """The first few are answered; flags are not held."""
    world.streams.behave(Habits(hold_after=1), NOW)
    subscriber = world.streams.open()
    first = world.ask(subscriber, **ADA)
    held = [*world.ask(subscriber, **ACME), *world.ask(subscriber, **TINY)]
    flags = world.ask(subscriber, **FLAGS)
    world.track("comp_acme", "export_created")
    while_held = world.push(subscriber)

    world.streams.behave(Habits(hold_after=1), NOW)
    one = world.sent(subscriber)
    world.streams.behave(Habits(), NOW)
    other = world.sent(subscriber)

    assert (_kinds(first), held, while_held) == ([("User", "full", "user_ada")], [], [])
    assert _kinds(flags) == [("Flags", "full", None)]
    assert _kinds(one + other) == [("Company", "full", "comp_acme"), ("Company", "full", "comp_tiny")]
    assert one[0]["data"]["metrics"][0]["value"] == 1


def test_who_does_not_read_is_closed_instead_of_losing_a_frame(world: World) -> None:
    """A client must not go on with a gap; what comes after the close is not queued."""
    subscriber = world.streams.open()

    world.streams.send_all(["x"] * 100_001)
    world.streams.send_all(["y"])

    assert list(subscriber.outbox) == [Close(1013, "the client reads too slowly")]


def test_closing_lets_what_is_queued_go_first(world: World) -> None:
    """Everyone is closed."""
    both = [world.streams.open(), world.streams.open()]
    world.streams.send_all(["x"])

    world.streams.close_all(Close(1001))

    assert [list(one.outbox) for one in both] == [["x", Close(1001)]] * 2


def test_a_new_process_keeps_what_is_published_from_then_on(world: World) -> None:
    """Who is still there has its subscriptions, so an id given since can be resumed from."""
    stayer = world.subscriber(COMPANIES, FLAGS)
    world.track("comp_tiny", "export_created")
    world.push(stayer)
    world.streams.forget(NOW)
    world.track("comp_tiny", "export_created")
    (frame,) = world.push(stayer)
    world.override("comp_acme", "exports")

    missed = world.push(stayer)

    follower = world.subscriber()
    assert world.ask(follower, "Companies", replay_from=frame["stream_id"])[1:] == missed[:1]
    assert world.ask(follower, "Flags", replay_from=missed[0]["stream_id"]) == missed[1:]


def test_to_stop_what_nobody_asked_for_is_no_fault(world: World) -> None:
    """Neither keys of nobody nor a company that is not followed."""
    subscriber = world.subscriber()

    assert world.ask(subscriber, "Company", keys={"id": "nobody"}, action="stop") == []
    assert world.ask(subscriber, **ACME, action="stop") == []


def test_who_follows_everything_goes_on_hearing_when_another_leaves(world: World) -> None:
    """One company was followed twice."""
    replicator, other = world.subscriber(COMPANIES), world.subscriber(ACME)
    world.streams.close(other)
    world.track("comp_acme", "export_created")

    assert _kinds(world.push(replicator)) == [("Company", "partial", "comp_acme")]


@pytest.mark.parametrize(
    ("start", "end", "now", "due"),
    [
        ("2026-01-20T15:00:00Z", "2027-01-20T15:00:00Z", "2026-11-20T12:00:00Z", "2026-11-20T15:00:00Z"),
        ("2025-01-20T15:00:00Z", "2026-01-20T15:00:00Z", "2026-11-20T12:00:00Z", "2026-11-20T15:00:00Z"),
        ("2026-11-20T13:00:00Z", "2027-01-20T15:00:00Z", "2026-11-20T12:00:00Z", "2026-11-20T13:00:00Z"),
        ("2026-01-19T15:00:00Z", "2027-01-19T15:00:00Z", "2026-11-20T12:00:00Z", "2026-11-21T00:00:00Z"),
    ],
)
def test_a_billing_cycle_ends_when_it_ends(start: str, end: str, now: str, due: str) -> None:
    """Cycles begin at the subscription's time of day, and go on after its end."""
    text = f"{{version: 1, companies: {{acme: {{subscription: {{start: {start}, end: {end}}}}}}}}}"
    world = World(text)
    world.now = datetime.fromisoformat(now.replace("Z", "+00:00"))
    world.subscriber(ACME)

    assert world.streams.deadline() == datetime.fromisoformat(due.replace("Z", "+00:00"))


def test_the_snapshot_is_the_answer_to_a_request_for_flags(world: World) -> None:
    """The faults cut it in two."""
    subscriber = world.subscriber()

    assert world.ask(subscriber, "Flags") == [json.loads(world.streams.snapshot())]


def test_a_log_keeps_nothing_of_a_topic_that_nobody_began() -> None:
    """Nor can anything be replayed of it."""
    log = ReplayLog(1000, 5)
    log.add("company", "frame")

    assert log.since("company", log.next_id(1001)) is None


def test_a_log_that_is_full_forgets_the_oldest_frame() -> None:
    """Who knows the one forgotten is still told of all that followed; who stopped before that is not."""
    log = ReplayLog(1000, 1)
    log.begin("company")
    known = log.next_id(1001)
    log.add("company", "forgotten")
    log.next_id(1002)
    log.add("company", "kept")

    assert log.since("company", known) == ["kept"]
    assert log.since("company", "1000-0") is None
