"""Effects of ``track`` on what is held: at once, never lost by a race, overridden by what the server says."""

from __future__ import annotations

import sys
import threading
import weakref
from datetime import datetime, timezone
from typing import Any

from schematic_core.datastream.changes import Counted
from schematic_core.datastream.replica import Replica
from schematic_core.datastream.versions import EntityVersion
from tests.datastream.frames import (
    CountingHolder,
    asked,
    company,
    document,
    entitlement,
    found,
    make,
    metric,
    prepared,
    receive,
)

NOW = datetime(2024, 5, 1, tzinfo=timezone.utc)
METRICS = [metric("export", 3), metric("import", 1)]
KEYS = asked(id="a")


def holding(holder: CountingHolder | None = None, **members: Any) -> Replica:
    replica = make(holder)
    entitlements = [entitlement(event_name="export", usage=3)]
    receive(
        replica,
        "Company",
        "full",
        company("comp_1", {"id": "a"}, metrics=METRICS, entitlements=entitlements, **members),
    )
    return replica


def count(replica: Replica) -> None:
    """Do what a check does that finds effects pending."""
    version = found(replica, id="a")
    change = replica.prepare_bumps(version, NOW)
    if change is not None:
        assert replica.apply(change).is_applied


def values(replica: Replica) -> list[int]:
    return [row["value"] for row in document(found(replica, id="a"))["metrics"]]


def test_usage_counts_at_once() -> None:
    """Answers on the old version are void with the call; the next version has the sum, and usage with it."""
    holder = CountingHolder()
    replica = holding(holder)
    before = found(replica, id="a")

    replica.bump(KEYS, "export", 2)
    replica.bump(KEYS, "import", 5)
    replica.bump(KEYS, "export", 1)
    assert not before.stamp.is_current
    count(replica)

    after = found(replica, id="a")
    assert values(replica) == [6, 6]
    assert document(after)["entitlements"][0]["usage"] == 6
    assert (after.bumps, after.stamp.is_current, after.stamp.is_used) == ([], True, True)
    assert (after.generation, after.confirmed_at, after.events) == (
        before.generation,
        before.confirmed_at,
        before.events,
    )
    assert replica.prepare_bumps(after, NOW) is None
    del before
    assert len(holder.held) == 1


def test_what_is_not_counted_changes_nothing() -> None:
    """Other events, other companies, conflicts and 0 leave answers as they are."""
    replica = holding()
    receive(replica, "Company", "full", company("comp_2", {"id": "b"}, metrics=METRICS))

    replica.bump(KEYS, "other", 1)
    replica.bump(KEYS, "export", 0)
    replica.bump(asked(id="ghost"), "export", 1)
    replica.bump((("id", "a"), ("id", "b")), "export", 1)

    for key in ("a", "b"):
        version = found(replica, id=key)
        assert (version.bumps, version.stamp.is_current) == ([], True)


def test_users_count_nothing() -> None:
    """Events are counted for companies; a user's unknown members are left alone."""
    replica = make()
    receive(replica, "User", "full", {"id": "user_1", "keys": {"id": "a"}, "metrics": METRICS})

    version = replica.find("user", KEYS)

    assert isinstance(version, EntityVersion)
    assert version.events == frozenset()


def test_the_server_s_word_overrides_the_guess() -> None:
    """A full message drops what is pending; the same text again is no confirmation of a company that we moved on."""
    replica = holding()
    replica.bump(KEYS, "export", 2)

    receive(replica, "Company", "full", company("comp_1", {"id": "a"}, metrics=METRICS))

    assert replica.prepare_bumps(found(replica, id="a"), NOW) is None
    replica.bump(KEYS, "export", 2)
    receive(replica, "Company", "full", company("comp_1", {"id": "a"}, metrics=METRICS))
    assert values(replica) == [3, 1]
    assert found(replica, id="a").stamp.is_current


def test_a_confirmation_that_meets_pending_usage_is_prepared_again() -> None:
    """Then it is a full message that overrides."""
    replica = holding()
    data = document(found(replica, id="a"))
    late = prepared(replica, "Company", "full", data)
    replica.bump(KEYS, "export", 2)

    assert not replica.apply(late).is_applied
    assert replica.apply(prepared(replica, "Company", "full", data)).is_applied
    assert values(replica) == [3, 1]
    assert found(replica, id="a").bumps == []


def test_a_partial_overrides_the_events_that_it_counts() -> None:
    """Pending effects on others stay pending, and those already counted stay counted."""
    replica = holding()
    replica.bump(KEYS, "export", 2)
    replica.bump(KEYS, "import", 5)

    receive(replica, "Company", "partial", {"metrics": [metric("export", 10)]}, "comp_1")
    assert found(replica, id="a").bumps == [("import", 5)]
    count(replica)
    receive(replica, "Company", "partial", {"plan_ids": ["p"], "metrics": [metric("new", 1)]}, "comp_1")

    assert values(replica) == [10, 6, 1]
    assert found(replica, id="a").events == {"export", "import", "new"}


def test_a_new_version_wins_the_race_with_a_count() -> None:
    """Applying the count says so; whoever finds anew has the server's word."""
    replica = holding()
    replica.bump(KEYS, "export", 2)
    late = replica.prepare_bumps(found(replica, id="a"), NOW)
    assert isinstance(late, Counted)
    receive(replica, "Company", "full", company("comp_1", {"id": "a"}, metrics=[metric("export", 7)]))

    assert not replica.apply(late).is_applied
    assert values(replica) == [7]


def test_two_counts_of_one_effect_count_once() -> None:
    """The second one's base is replaced by the first."""
    replica = holding()
    replica.bump(KEYS, "export", 2)
    version = found(replica, id="a")
    first, second = replica.prepare_bumps(version, NOW), replica.prepare_bumps(version, NOW)
    assert first is not None
    assert second is not None

    assert replica.apply(first).is_applied
    assert not replica.apply(second).is_applied
    assert values(replica) == [5, 1]


def test_usage_between_preparing_and_applying_stays_pending() -> None:
    """It is on the list that the versions share, so the next version's finder sees it."""
    replica = holding()
    replica.bump(KEYS, "export", 2)
    change = replica.prepare_bumps(found(replica, id="a"), NOW)
    assert change is not None
    replica.bump(KEYS, "export", 1)
    replica.apply(change)

    assert found(replica, id="a").bumps == [("export", 1)]
    count(replica)
    assert values(replica) == [6, 1]


def test_usage_noted_on_a_version_just_replaced_reaches_its_successor() -> None:
    """Whoever noted it was slow: it found the old version, and goes on to the one that is held when it marks stamps."""

    class Slow(list[tuple[str, int]]):
        def append(self, bump: tuple[str, int]) -> None:
            super().append(bump)
            steps.pop()()

    replica = holding()
    steps = [lambda: receive(replica, "Company", "partial", {"plan_ids": []}, "comp_1")]
    before = found(replica, id="a")
    before.bumps = Slow()

    replica.bump(KEYS, "export", 1)

    after = found(replica, id="a")
    assert after is not before
    assert (after.bumps, after.stamp.is_current) == ([("export", 1)], False)


def test_usage_noted_just_after_the_server_s_word_counts_on_top_of_it() -> None:
    """The list is shared with the version that a full message made, too."""

    class Slow(list[tuple[str, int]]):
        def append(self, bump: tuple[str, int]) -> None:
            receive(replica, "Company", "full", company("comp_1", {"id": "a"}, metrics=[metric("export", 10)]))
            super().append(bump)

    replica = holding()
    found(replica, id="a").bumps = Slow()

    replica.bump(KEYS, "export", 1)

    after = found(replica, id="a")
    assert (after.bumps, after.stamp.is_current) == ([("export", 1)], False)
    count(replica)
    assert values(replica) == [11]


def test_usage_noted_while_somebody_else_counts_it_leaves_the_result_current() -> None:
    """The mark would otherwise keep answers on the new version from being remembered, for nothing."""

    class Slow(list[tuple[str, int]]):
        def append(self, bump: tuple[str, int]) -> None:
            super().append(bump)
            count(replica)

    replica = holding()
    found(replica, id="a").bumps = Slow()

    replica.bump(KEYS, "export", 1)

    assert found(replica, id="a").stamp.is_current
    assert values(replica) == [4, 1]


def test_usage_of_a_company_that_goes_meanwhile_is_nobody_s() -> None:
    """There is nothing left to mark."""

    class Slow(list[tuple[str, int]]):
        def append(self, bump: tuple[str, int]) -> None:
            super().append(bump)
            receive(replica, "Company", "delete", None, "comp_1")

    replica = holding()
    found(replica, id="a").bumps = Slow()

    replica.bump(KEYS, "export", 1)

    assert replica.find("company", KEYS) is None


def test_a_count_that_the_engine_refuses_removes_the_company() -> None:
    """As any document that it refuses."""

    class Fickle(CountingHolder):
        def hold(self, kind: Any, text: bytes) -> object:
            return super().hold(kind, text if self.given == 0 else b'{"refused": 1}')

    replica = holding(Fickle())
    replica.bump(KEYS, "export", 1)
    change = replica.prepare_bumps(found(replica, id="a"), NOW)
    assert change is not None

    applied = replica.apply(change)

    assert (applied.ids, str(applied.rejected)) == (("comp_1",), "no")
    assert replica.find("company", KEYS) is None


def test_metrics_that_are_none_count_no_events() -> None:
    """Odd rows in a document are for the engine to judge."""
    replica = make()

    receive(replica, "Company", "full", company("comp_1", {"id": "a"}, metrics=[5, {"event_subtype": 5}, metric("x")]))
    receive(replica, "Company", "full", company("comp_2", {"id": "b"}, metrics={"event_subtype": "x"}))

    assert found(replica, id="a").events == {"x"}
    assert found(replica, id="b").events == frozenset()


def test_a_stamp_and_an_error_kept_elsewhere_keep_no_version_alive() -> None:
    """Answers hold stamps, and somebody may hold the reason of a refusal; the documents go all the same."""
    holder = CountingHolder()
    replica = holding(holder)
    stamp = found(replica, id="a").stamp
    alive = weakref.ref(holder)

    applied = receive(replica, "Company", "partial", {"refused": 1}, "comp_1")

    assert applied is not None
    assert applied.rejected is not None
    assert applied.rejected.__traceback__ is None
    assert not stamp.is_current
    assert not holder.held
    del holder, replica
    assert alive() is None


def test_no_usage_is_lost_between_threads() -> None:
    """Several threads note usage while others count and partials arrive; what arrives says nothing about the event."""
    replica = holding()
    lock = threading.Lock()
    interval = sys.getswitchinterval()
    is_over = threading.Event()

    def note() -> None:
        for _ in range(300):
            replica.bump(KEYS, "export", 1)

    def check() -> None:
        while not is_over.is_set():
            with lock:
                version = found(replica, id="a")
            change = replica.prepare_bumps(version, NOW) if version.bumps else None
            if change is not None:
                with lock:
                    replica.apply(change)

    sys.setswitchinterval(1e-5)
    try:
        noting, checking = (
            [threading.Thread(target=note) for _ in range(4)],
            [threading.Thread(target=check) for _ in "ab"],
        )
        for thread in noting + checking:
            thread.start()
        while any(thread.is_alive() for thread in noting):
            change = prepared(replica, "Company", "partial", {"plan_ids": []}, "comp_1")
            with lock:
                replica.apply(change)
        is_over.set()
        for thread in noting + checking:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    count(replica)

    assert values(replica) == [3 + 4 * 300, 1]
    assert found(replica, id="a").stamp.is_current
