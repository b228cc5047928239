"""The machine that remembers answers: when they are fresh, how they are found again, what makes room."""

from __future__ import annotations

from datetime import datetime, timezone

from hypothesis import given
from hypothesis import strategies as st

from schematic_core.checks.answers import Answers
from schematic_core.checks.outcome import ABANDONED
from schematic_core.checks.question import Subject
from schematic_core.values import CheckResult, Entitlement

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


def result(flag_key: str = "exports", **more: object) -> CheckResult:
    return CheckResult(value=True, reason="r", flag_key=flag_key, source="cache", as_of=NOW, **more)  # type: ignore[arg-type]


def subject(flag_key: str = "exports", company: str = "acme", user: str | None = None) -> Subject:
    return (flag_key, (("id", company),), (("id", user),) if user else ())


def machine(max_size: int = 10) -> Answers:
    return Answers(max_size, ttl=5.0, not_found_ttl=10.0, serve_stale=100.0)


def test_an_answer_is_fresh_then_renewable_then_only_the_last_known_one() -> None:
    answers = machine()
    answer = answers.put(subject(), result(), 0, now=1.0)

    assert (answer.fresh_until, answer.renewable_until, answer.kept_until) == (6.0, 11.0, 101.0)
    assert answers.find(subject(), 100.9) is answer
    assert answers.find(subject(), 101.0) is None
    assert len(answers) == 0


def test_an_unknown_flag_is_remembered_for_its_own_time_and_never_renewed() -> None:
    answers = machine()
    answer = answers.put(subject(), None, 0, now=1.0)

    assert (answer.fresh_until, answer.kept_until, answer.result) == (11.0, 11.0, None)
    assert answer.renewable_until < 0


def test_renewing_changes_the_answer_in_place_so_that_aliases_never_lag() -> None:
    answers = machine()
    answer = answers.put(subject(), result(), 0, now=1.0)
    answers.alias(("exports", "raw"), answer)

    answers.put(subject(), result(error="newer"), 0, now=4.0)

    found = answers.aliases[("exports", "raw")]
    assert found is answer
    assert (found.fresh_until, found.result and found.result.error) == (9.0, "newer")


def test_an_answer_asked_before_a_purge_arrives_expired() -> None:
    answers = machine()
    flight, leads = answers.join(subject(), gives_up_at=9.0, now=1.0)
    answers.drop([])

    late = answers.put(subject(), result(), flight.generation, now=2.0)

    assert leads
    assert late.fresh_until < 0
    assert late.kept_until == 102.0


def test_nobody_boards_a_request_made_before_a_purge() -> None:
    answers = machine()
    before, _ = answers.join(subject(), gives_up_at=9.0, now=1.0)
    answers.drop([])

    after, leads = answers.join(subject(), gives_up_at=9.0, now=1.0)
    answers.land(before, {})

    assert leads
    assert answers.join(subject(), gives_up_at=9.0, now=1.0) == (after, False)


def test_usage_makes_answers_under_way_old_only_when_they_state_usage_of_that_company() -> None:
    """A company that is metered all the time must not keep the others' answers from being remembered."""
    answers = machine()
    busy, _ = answers.join(subject("a", "busy"), gives_up_at=9.0, now=1.0)
    answers.expire_usage([("company", "id", "busy")])

    counted = answers.put(subject("a", "busy"), result("a", feature_usage=3), busy.generation, now=2.0)
    plain = answers.put(subject("b", "busy"), result("b"), busy.generation, now=2.0)
    other = answers.put(subject("a", "acme"), result("a", feature_usage=3), busy.generation, now=2.0)

    assert (counted.fresh_until < 0, counted.kept_until) == (True, 102.0)
    assert (plain.fresh_until, other.fresh_until) == (7.0, 7.0)


def test_only_requests_about_the_company_that_used_something_take_nobody_on_board() -> None:
    """Whether they will state usage is not known yet."""
    answers = machine()
    busy, _ = answers.join(subject(company="busy"), gives_up_at=9.0, now=1.0)
    other, _ = answers.join(subject(company="acme"), gives_up_at=9.0, now=1.0)
    answers.expire_usage([("company", "id", "busy")])

    assert answers.join(subject(company="acme"), gives_up_at=9.0, now=1.0) == (other, False)
    after, leads = answers.join(subject(company="busy"), gives_up_at=9.0, now=1.0)
    assert leads
    assert after is not busy


def test_usage_of_too_many_companies_becomes_usage_of_all_so_far() -> None:
    """What is remembered of usage is bounded; answers asked later are fresh."""
    answers = machine()
    before, _ = answers.join(subject(), gives_up_at=9.0, now=1.0)
    answers.expire_usage([("company", "id", f"c{number}") for number in range(10_001)])

    old = answers.put(subject("a"), result("a", feature_usage=3), before.generation, now=2.0)
    new = answers.put(subject("b"), result("b", feature_usage=3), answers.generation, now=2.0)

    assert old.fresh_until < 0
    assert new.fresh_until == 7.0


def test_an_answer_asked_before_a_purge_never_replaces_one_asked_after() -> None:
    answers = machine()
    before, _ = answers.join(subject(), gives_up_at=9.0, now=1.0)
    answers.drop([])
    newer = answers.put(subject(), result(error="newer"), answers.generation, now=2.0)

    kept = answers.put(subject(), result(error="older"), before.generation, now=3.0)

    assert kept is newer
    assert (newer.result and newer.result.error, newer.fresh_until) == ("newer", 7.0)


def test_the_answer_renewed_longest_ago_makes_room_and_takes_its_aliases_along() -> None:
    answers = machine(max_size=2)
    first = answers.put(subject("a"), result("a"), 0, now=1.0)
    answers.alias(("a",), first)
    answers.put(subject("b"), result("b"), 0, now=1.0)
    answers.put(subject("a"), result("a"), 0, now=2.0)
    answers.put(subject("c"), result("c"), 0, now=3.0)

    assert answers.find(subject("b"), 3.0) is None
    assert answers.find(subject("a"), 3.0) is first
    answers.put(subject("d"), result("d"), 0, now=4.0)
    assert answers.aliases == {}
    assert first.fresh_until < 0


def test_no_room_at_all_keeps_nothing() -> None:
    answers = machine(max_size=0)
    answers.put(subject(), result(), 0, now=1.0)

    assert answers.find(subject(), 1.0) is None


def test_aliases_of_one_answer_are_bounded_and_need_a_kept_answer() -> None:
    answers = machine()
    answer = answers.put(subject(), result(), 0, now=1.0)
    for n in range(20):
        answers.alias((n,), answer)
    assert len(answers.aliases) == 8

    answers.drop([])
    answers.alias(("late",), answer)

    assert answers.aliases == {}


def test_answers_are_dropped_by_company_user_flag_or_id() -> None:
    def filled() -> Answers:
        answers = machine()
        answers.put(subject("a", "acme"), result("a", company_id="comp_1"), 0, now=1.0)
        answers.put(subject("b", "acme", "ada"), result("b", company_id="comp_1", user_id="user_1"), 0, now=1.0)
        answers.put(subject("a", "else"), result("a", company_id="comp_2"), 0, now=1.0)
        return answers

    assert len(filled().drop([[("company_id", "comp_1", "")]])) == 2
    assert len(filled().drop([[("company", "id", "acme"), ("company_id", "comp_2", "")]])) == 3
    assert len(filled().drop([[("flag", "a", "")], [("company", "id", "acme")]])) == 1
    assert len(filled().drop([[("user_id", "user_1", "")]])) == 1
    assert len(filled().drop([[("user", "id", "ada")]])) == 1
    assert len(filled().drop([[("flag", "none", "")]])) == 0
    assert len(filled().drop([])) == 3


def test_recorded_usage_expires_answers_that_carry_usage_and_no_others() -> None:
    answers = machine()
    held = Entitlement(feature_id="f", feature_key="a", value_type="numeric", allocation=5, usage=1)
    answers.put(subject("a"), result("a", entitlement=held), 0, now=1.0)
    answers.put(subject("b"), result("b", feature_usage=3), 0, now=1.0)
    answers.put(subject("c"), result("c"), 0, now=1.0)
    answers.put(subject("d"), None, 0, now=1.0)

    expired = answers.expire_usage([("company", "id", "acme")])

    assert sorted(s[0] for s in expired) == ["a", "b"]
    kept = answers.find(subject("a"), 2.0)
    assert kept is not None
    assert kept.fresh_until < 0 < kept.kept_until


def test_the_last_known_flags_of_a_context_are_listed() -> None:
    answers = machine()
    answers.put(subject("a"), result("a"), 0, now=1.0)
    answers.put(subject("b"), None, 0, now=1.0)
    answers.put(subject("c", "else"), result("c"), 0, now=1.0)

    assert answers.known_flags((("id", "acme"),), (), 2.0) == ["a"]


def test_one_leads_and_the_rest_board_until_it_lands() -> None:
    answers = machine()
    told: list[str] = []
    flight, leads = answers.join(subject(), gives_up_at=9.0, now=1.0)
    same, follows = answers.join(subject(), gives_up_at=9.0, now=2.0)
    same.callbacks.append(lambda: told.append("landed"))

    callbacks = answers.land(flight, ABANDONED)
    for callback in callbacks:
        callback()

    assert (leads, follows, same is flight, told) == (True, False, True, ["landed"])
    assert answers.join(subject(), 9.0, 3.0)[1] is True


def test_a_flight_whose_leader_never_came_back_is_replaced() -> None:
    answers = machine()
    lost, _ = answers.join(subject(), gives_up_at=5.0, now=1.0)
    fresh, leads = answers.join(subject(), gives_up_at=10.0, now=5.0)

    answers.land(lost, ABANDONED)

    assert leads
    assert answers.join(subject(), 10.0, 6.0) == (fresh, False)


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"), st.sampled_from(["x", "y"]), st.sampled_from(["put", "drop", "none", "find"])
        ),
        max_size=60,
    )
)
def test_the_index_always_agrees_with_the_answers(steps: list[tuple[str, str, str]]) -> None:
    """Whatever is put and dropped, the index holds exactly the tokens of the answers kept."""
    answers = machine(max_size=3)
    for now, (flag, company, step) in enumerate(steps):
        if step == "put":
            answers.put(subject(flag, company), result(flag, company_id=company), answers.generation, float(now))
        elif step == "none":
            answers.put(subject(flag, company), None, answers.generation, float(now))
        elif step == "drop":
            answers.drop([[("company", "id", company)]])
        else:
            answers.find(subject(flag, company), float(now))

        indexed = {s for subjects in answers._by_token.values() for s in subjects}
        assert indexed == set(answers._answers)
        assert len(answers) <= 3
