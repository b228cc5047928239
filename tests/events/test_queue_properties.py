"""Properties of the event queue over any course of events."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from schematic_core.events.values import Limits, Outcome, Record
from tests.events.support import ACKNOWLEDGED, REFUSED, UNAVAILABLE, Turned, flag_check, track

OUTCOMES = st.sampled_from(
    [ACKNOWLEDGED, UNAVAILABLE, REFUSED, Outcome("too_many", 400), Outcome("retry", 429, retry_after=7.0)]
)
PUSHES = st.lists(st.tuples(st.integers(0, 40), st.booleans(), st.floats(0.0, 20.0)), max_size=12)


def play(turned: Turned, pushes: list[tuple[int, bool, float]]) -> list[Record]:
    """Push groups of events, turning the clock in between; give them all."""
    records: list[Record] = []
    for amount, is_check, pause in pushes:
        group = [(flag_check if is_check else track)(len(records) + i) for i in range(amount)]
        records += group
        turned.push(*group)
        turned.run_until(turned.now + pause)
    return records


@given(PUSHES, st.lists(OUTCOMES, max_size=30))
def test_below_the_bounds_nothing_is_lost_or_doubled(
    pushes: list[tuple[int, bool, float]], outcomes: list[Outcome]
) -> None:
    """Every event is acknowledged exactly once, whatever the service answers in between."""
    turned = Turned(Limits(5.0, 100_000, 10_000_000, 1e9), outcomes=[o for o in outcomes if o.kind != "too_many"])

    records = play(turned, pushes)
    turned.run_until(turned.now + 100_000.0)

    assert sorted(turned.acknowledged) == list(range(len(records)))
    assert turned.queue.counts().sent == turned.queue.counts().queued == len(records)
    assert turned.queue.count == 0


@given(PUSHES, st.lists(OUTCOMES, max_size=30))
def test_usage_is_delivered_in_order(pushes: list[tuple[int, bool, float]], outcomes: list[Outcome]) -> None:
    """Among themselves usage events are acknowledged in the order of their numbers."""
    turned = Turned(Limits(5.0, 100_000, 10_000_000, 1e9), outcomes=outcomes)

    records = play(turned, pushes)
    turned.run_until(turned.now + 100_000.0)

    usage = {record[1] for record in records if record[0] == "track"}
    delivered = [number for number in turned.acknowledged if number in usage]
    assert delivered == sorted(delivered)


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 20))
def test_overflow_keeps_the_newest_usage_then_the_newest_checks(kinds: list[bool], bound: int) -> None:
    """While nothing is under way, a full queue holds the newest usage, and flag checks only where usage left room."""
    turned = Turned(Limits(5.0, bound, 10_000_000, 1e9))
    records = [(flag_check if is_check else track)(number) for number, is_check in enumerate(kinds)]

    for record in records:
        turned.push(record)

    usage = [r[1] for r in records if r[0] == "track"][-bound:]
    turned.queue.urge(len(records))
    turned.run()
    kept = turned.acknowledged
    assert [number for number in kept if not kinds[number]] == usage
    assert len(kept) <= bound
    assert len(kept) + sum(turned.queue.counts().dropped.values()) == len(records)


@given(PUSHES, st.lists(OUTCOMES, max_size=30), st.integers(1, 50), st.integers(10, 500))
def test_every_event_is_accounted_for(
    pushes: list[tuple[int, bool, float]], outcomes: list[Outcome], bound: int, most_bytes: int
) -> None:
    """Queued is sent plus dropped plus waiting, at any time, within the bounds."""
    turned = Turned(Limits(5.0, bound, most_bytes, 30.0), outcomes=outcomes)

    play(turned, pushes)

    counts = turned.queue.counts()
    assert counts.queued == counts.sent + sum(counts.dropped.values()) + counts.waiting
    assert counts.waiting <= bound
