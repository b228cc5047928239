"""The server's machines, with a hand-turned clock and no socket."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schematic_core.environment.model import Company
from schematic_core.environment.usage import count_event
from schematic_core.server.clock import Clock
from schematic_core.server.deliveries import MAX_ATTEMPTS, Deliveries
from schematic_core.server.entities import EntityTable, Upsert, upsert
from schematic_core.server.faults import Refused

NOW = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)


def _deliveries(*names: str, webhook: str = "whk_1", random: float = 0.5) -> Deliveries:
    deliveries = Deliveries(lambda: random)
    for name in names:
        deliveries.push(name, webhook, "test.send", b"{}", NOW)
    return deliveries


def _company(name: str = "", **keys: str) -> Company:
    return Company(id=f"comp_{name}", name=name, keys=keys, created_at=NOW, updated_at=NOW)


def test_an_endpoint_gets_one_delivery_at_a_time() -> None:
    """The next waits for the one before; another endpoint does not."""
    deliveries = _deliveries("a", "b")
    deliveries.push("c", "whk_2", "test.send", b"{}", NOW)

    assert [one.id for one in deliveries.take(NOW)] == ["a", "c"]
    assert deliveries.take(NOW) == []
    deliveries.settle("a", 204, NOW)
    assert [one.id for one in deliveries.take(NOW)] == ["b"]


@pytest.mark.parametrize(("random", "pauses"), [(0.0, [0.5, 1, 2, 4, 8]), (0.5, [1, 2, 4, 8, 16])])
def test_the_pauses_double_and_are_jittered(random: float, pauses: list[float]) -> None:
    """Five repeats, then the delivery is given up."""
    deliveries, now, seen = _deliveries("a", random=random), NOW, []

    for _ in range(MAX_ATTEMPTS):
        assert deliveries.take(now - timedelta(milliseconds=1)) == []
        assert [one.id for one in deliveries.take(now)] == ["a"]
        settled = deliveries.settle("a", None, now)
        seen.append((settled.due - now).total_seconds())
        now = settled.due

    assert seen[:-1] == pauses
    assert (settled.status, settled.attempts, deliveries.pending, deliveries.deadline()) == ("failure", 6, 0, None)


@pytest.mark.parametrize(("code", "status"), [(199, "pending"), (200, "success"), (299, "success"), (300, "pending")])
def test_only_2xx_acknowledges(code: int, status: str) -> None:
    """A redirect is a failure."""
    deliveries = _deliveries("a")
    deliveries.take(NOW)

    assert deliveries.settle("a", code, NOW).status == status


def test_a_dropped_endpoint_leaves_only_what_is_under_way() -> None:
    """What waits is given up; the attempt that runs is settled as it ends."""
    deliveries = _deliveries("a", "b")
    deliveries.take(NOW)

    deliveries.drop("whk_1")
    deliveries.drop("whk_other")

    assert [(one.id, one.status) for one in deliveries.log] == [("b", "failure"), ("a", "pending")]
    assert deliveries.settle("a", 200, NOW).status == "success"


def test_the_log_is_bounded() -> None:
    """The oldest finished deliveries are forgotten."""
    deliveries = _deliveries(*(str(number) for number in range(1200)))
    for number in range(1200):
        deliveries.take(NOW)
        deliveries.settle(str(number), 200, NOW)

    assert len(deliveries.log) == 1000
    assert deliveries.find("0") is None
    assert deliveries.find("1199") is not None


_PAIRS = st.dictionaries(st.sampled_from("abc"), st.sampled_from("123"), min_size=1)


@given(st.lists(st.tuples(st.sampled_from("wxyz"), _PAIRS | st.none()), max_size=20))
def test_a_pair_of_keys_has_one_owner(steps: list[tuple[str, dict[str, str] | None]]) -> None:
    """Whatever is put and dropped: lookup gives who holds the pair, and nobody else does."""
    table = EntityTable[Company]("company", [])
    for name, keys in steps:
        if keys is not None:
            table.put(_company(name, **keys))
        elif table.find(f"comp_{name}") is not None:
            table.drop(f"comp_{name}")

    held = [(pair, company.id) for company in table for pair in company.keys.items()]
    assert len({pair for pair, _ in held}) == len(held)
    for (key, value), own_id in held:
        found = table.lookup({key: value})
        assert found is not None
        assert found.id == own_id
    for key in "abc":
        for value in "123":
            assert (table.lookup({key: value}) is None) == ((key, value) not in {pair for pair, _ in held})


def test_an_upsert_that_is_refused_changes_nothing() -> None:
    """Traits over a mebibyte, and an entity without any key."""
    table = EntityTable[Company]("company", [_company("acme", id="acme")])

    for wanted in (
        Upsert(keys={"id": "acme"}, traits={"t": "x" * 1_100_000}),
        Upsert(keys={"id": "acme"}, remove_keys=("id",)),
        Upsert(keys={"id": "new"}, update_only=True),
        Upsert(keys={"id": "acme"}, id="comp_none"),
    ):
        with pytest.raises(Refused):
            upsert(table, wanted, NOW, lambda: _company("new"))

    assert list(table) == [_company("acme", id="acme")]


@given(st.lists(st.tuples(st.integers(0, 80 * 86400), st.integers(-5, 50)), max_size=20))
def test_no_count_is_lost_or_negative(steps: list[tuple[int, int]]) -> None:
    """All time is the sum of everything counted; a shorter window never holds more than a longer one that contains it."""
    company, total = _company("acme"), 0
    for seconds, quantity in sorted(steps):
        at = NOW + timedelta(seconds=seconds)
        company, total = count_event(company, "e", quantity, at, at), max(total + quantity, 0)

    counter = company.counters.get("e", {})
    assert all(count >= 0 for _, count in counter.values())
    assert not counter or counter["all_time", "first_of_month"][1] == total


def test_the_clock_moves_as_told_and_goes_on() -> None:
    """Set, advanced, in whole milliseconds; years without sense are refused; real time stays readable."""
    real = [NOW.replace(microsecond=1999)]
    clock = Clock(lambda: real[0])
    assert clock.now() == NOW.replace(microsecond=1000)

    clock.set(NOW + timedelta(days=1))
    clock.advance(60)
    real[0] += timedelta(seconds=5)

    assert (clock.now() - NOW).total_seconds() == pytest.approx(86400 + 65, abs=0.01)
    assert clock.wall() == real[0]
    for wrong in (1e12, -1e12, 1e300):
        with pytest.raises(ValueError, match="the clock must be between"):
            clock.advance(wrong)
