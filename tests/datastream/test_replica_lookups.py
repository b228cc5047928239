"""Which entity a set of keys finds: key moves, conflicts, case, answers bound, nobody found, and bounds."""

from __future__ import annotations

import pytest

from schematic_core.datastream.replica import Conflict
from schematic_core.datastream.versions import EntityVersion
from tests.datastream.frames import CountingHolder, asked, company, found, make, receive


def test_a_key_that_another_company_took_is_its_own_at_once() -> None:
    """The old owner's own update comes later, and does not take the new owner's lookup along."""
    replica = make()
    receive(replica, "Company", "full", company("comp_1", {"id": "a", "slug": "x"}))

    receive(replica, "Company", "full", company("comp_2", {"id": "b", "slug": "x"}))
    assert found(replica, slug="x").id == "comp_2"
    receive(replica, "Company", "full", company("comp_1", {"id": "a"}))

    assert found(replica, slug="x").id == "comp_2"
    assert found(replica, id="a").id == "comp_1"


def test_a_partial_does_not_take_a_contested_key_back() -> None:
    """Only a full message says whose key it is; a key that a partial adds is claimed."""
    replica = make()
    receive(replica, "Company", "full", company("comp_1", {"slug": "x"}))
    receive(replica, "Company", "full", company("comp_2", {"slug": "x"}))

    receive(replica, "Company", "partial", {"plan_ids": ["p"], "keys": {"slug": "x", "id": "a"}}, "comp_1")
    assert found(replica, slug="x").id == "comp_2"
    assert found(replica, id="a").id == "comp_1"

    receive(replica, "Company", "full", company("comp_1", {"slug": "x"}))
    assert found(replica, slug="x").id == "comp_1"


def test_the_same_full_message_again_claims_its_keys_again() -> None:
    """The newest full message wins a contested pair, also one that says nothing else."""
    replica = make()
    receive(replica, "Company", "full", company("comp_1", {"slug": "x"}))
    receive(replica, "Company", "full", company("comp_2", {"slug": "x"}))

    receive(replica, "Company", "full", company("comp_1", {"slug": "x"}))

    assert found(replica, slug="x").id == "comp_1"


def test_the_end_of_a_key_s_owner_leaves_nobody_with_it() -> None:
    """Who else claims it is for the server to say."""
    replica = make()
    receive(replica, "Company", "full", company("comp_1", {"slug": "x"}))
    receive(replica, "Company", "full", company("comp_2", {"slug": "x"}))

    receive(replica, "Company", "delete", None, "comp_2")

    assert replica.find("company", asked(slug="x")) is None


def test_pairs_of_different_companies_are_a_conflict() -> None:
    """All ids are named, once, in the order of the pairs; pairs of nobody do not matter."""
    replica = make()
    receive(replica, "Company", "full", company("comp_1", {"a": "1", "c": "1"}))
    receive(replica, "Company", "full", company("comp_2", {"b": "2"}))

    assert replica.find("company", asked(a="1", b="2", c="1", d="ghost")) == Conflict(("comp_1", "comp_2"))
    assert replica.find("company", asked(b="2", z="ghost")) is found(replica, b="2")


def test_values_that_differ_in_case_are_different_companies() -> None:
    """D7: each is found by its own pair, and a third spelling by none."""
    replica = make()
    receive(replica, "Company", "full", company("comp_1", {"sku": "ABC"}))
    receive(replica, "Company", "full", company("comp_2", {"sku": "abc"}))

    assert found(replica, sku="ABC").id == "comp_1"
    assert found(replica, sku="abc").id == "comp_2"
    assert replica.find("company", asked(sku="Abc")) is replica.find("company", asked(SKU="abc")) is None


def test_an_answer_to_our_question_binds_exactly_what_was_asked() -> None:
    """Until the next connection."""
    replica = make()
    receive(replica, "Company", "full", company("comp_1", {"slug": "ghost"}))

    replica.bind("company", asked(slug="Ghost"), "comp_1")

    assert found(replica, slug="Ghost").id == "comp_1"
    assert found(replica, slug="Ghost").asked_as == asked(slug="Ghost")
    assert replica.find("company", asked(slug="GHOST")) is None
    replica.begin()
    assert replica.find("company", asked(slug="Ghost")) is None
    assert found(replica, slug="ghost").id == "comp_1"


def test_what_its_own_keys_find_needs_no_binding() -> None:
    """Nor does an entity that is not held."""
    replica = make()
    receive(replica, "Company", "full", company("comp_1", {"slug": "a"}))

    replica.bind("company", asked(slug="a", id="ghost"), "comp_1")
    replica.bind("company", asked(slug="b"), "ghost")

    assert len(replica._entities["company"]._bound) == 0
    assert replica.find("company", asked(slug="b")) is None


def test_a_binding_ends_with_a_change_of_the_entity_s_keys() -> None:
    """It may have lost the very key that was meant."""
    replica = make()
    receive(replica, "Company", "full", company("comp_1", {"id": "a", "slug": "ghost"}))
    replica.bind("company", asked(slug="Ghost"), "comp_1")
    receive(replica, "Company", "partial", {"plan_ids": []}, "comp_1")
    assert found(replica, slug="Ghost").id == "comp_1"

    receive(replica, "Company", "full", company("comp_1", {"id": "a"}))

    assert replica.find("company", asked(slug="Ghost")) is None


def test_a_binding_ends_when_another_entity_shows_up_with_the_pair() -> None:
    """It may have taken the key; the server knows."""
    replica = make()
    receive(replica, "Company", "full", company("comp_1", {"slug": "ghost"}))
    replica.bind("company", asked(slug="Ghost"), "comp_1")
    replica.bind("company", asked(slug="GHOST"), "comp_1")

    receive(replica, "Company", "full", company("comp_2", {"SLUG": "ghost"}))

    assert replica.find("company", asked(slug="Ghost")) is replica.find("company", asked(slug="GHOST")) is None


def test_a_binding_ends_with_its_entity() -> None:
    """Nothing of it is found any more."""
    replica = make()
    receive(replica, "Company", "full", company("comp_1", {"slug": "ghost"}))
    replica.bind("company", asked(slug="Ghost"), "comp_1")

    receive(replica, "Company", "delete", None, "comp_1")

    assert replica.find("company", asked(slug="Ghost")) is None


def test_a_binding_ends_when_the_server_knows_nobody() -> None:
    """Though the entity comes back with the keys that it had, the question is an open one."""
    replica = make()
    receive(replica, "Company", "full", company("comp_1", {"slug": "ghost"}))
    replica.bind("company", asked(other="x"), "comp_1")

    replica.note_missing("company", asked(other="x"), 0.0)
    receive(replica, "Company", "full", company("comp_1", {"slug": "ghost"}))

    assert replica.find("company", asked(other="x")) is None


def test_nobody_is_remembered_for_a_while() -> None:
    """D19: exactly these pairs, of this kind, up to the time set (exclusive)."""
    replica = make()

    replica.note_missing("company", asked(id="ghost"), 5.0)

    assert replica.is_missing("company", asked(id="ghost"), 14.9)
    assert not replica.is_missing("company", asked(id="ghost"), 15.0)
    assert not replica.is_missing("company", asked(id="Ghost"), 5.0)
    assert not replica.is_missing("user", asked(id="ghost"), 5.0)


def test_nobody_is_forgotten_when_somebody_shows_up() -> None:
    """D19: a message about an entity with one of the pairs, whatever their case, is reason enough to ask again."""
    replica = make()
    for pairs in (asked(id="Ghost", slug="x"), asked(id="GHOST"), asked(id="other")):
        replica.note_missing("company", pairs, 0.0)

    receive(replica, "User", "full", {"id": "user_1", "keys": {"id": "ghost"}})
    assert replica.is_missing("company", asked(id="GHOST"), 0.0)
    receive(replica, "Company", "full", company("comp_1", {"ID": "ghost"}))

    assert not replica.is_missing("company", asked(id="Ghost", slug="x"), 0.0)
    assert not replica.is_missing("company", asked(id="GHOST"), 0.0)
    assert replica.is_missing("company", asked(id="other"), 0.0)


@pytest.mark.parametrize("how", ["partial", "bind", "begin"])
def test_nobody_is_forgotten_with_better_knowledge(how: str) -> None:
    """A key gained by a partial, an answer to the question, a new connection."""
    replica = make()
    receive(replica, "Company", "full", company("comp_1", {"id": "a"}))
    replica.note_missing("company", asked(slug="x"), 0.0)

    if how == "partial":
        receive(replica, "Company", "partial", {"keys": {"slug": "x"}}, "comp_1")
    elif how == "bind":
        replica.bind("company", asked(slug="x"), "comp_1")
    else:
        replica.begin()

    assert not replica.is_missing("company", asked(slug="x"), 0.0)


def test_whoever_the_server_does_not_know_is_removed() -> None:
    """Found by key or by binding, and all of them in a conflict."""
    replica = make()
    for number in (1, 2, 3, 4):
        receive(replica, "Company", "full", company(f"comp_{number}", {f"k{number}": "x"}))
    replica.bind("company", asked(k2="X"), "comp_2")

    replica.note_missing("company", asked(k1="x", ghost="y"), 0.0)
    replica.note_missing("company", asked(k2="X"), 0.0)
    replica.note_missing("company", asked(k3="x", k4="x"), 0.0)

    assert [replica.find("company", ((f"k{number}", "x"),)) for number in (1, 2, 3, 4)] == [None] * 4


def test_what_is_remembered_of_questions_is_bounded() -> None:
    """The oldest goes first, bindings and unknown keys alike; a pair twice in one question is no trouble."""
    replica = make(max_entities=2)
    receive(replica, "Company", "full", company("comp_1", {"id": "a"}))

    for spelling in ("B", "C", "D"):
        replica.bind("company", asked(id=spelling), "comp_1")
        replica.note_missing("user", asked(id=spelling, ID=spelling.lower()), 0.0)

    assert [replica.find("company", asked(id=spelling)) is None for spelling in "BCD"] == [True, False, False]
    missing = [replica.is_missing("user", asked(id=spelling, ID=spelling.lower()), 0.0) for spelling in "BCD"]
    assert missing == [False, True, True]
    assert len(replica._missing["user"]._sharing) == 2


def test_the_entity_found_longest_ago_goes_first() -> None:
    """D13: with its lookups, its stamp not current and its handle released."""
    holder = CountingHolder()
    replica = make(holder, max_entities=3)
    for number in (1, 2, 3):
        receive(replica, "Company", "full", company(f"comp_{number}", {"id": str(number)}))
    for number in (1, 3, 2):
        assert found(replica, id=str(number))
    stamp = found(replica, id="1").stamp

    applied = [
        receive(replica, "Company", "full", company(f"comp_{number}", {"id": str(number)})) for number in (4, 5, 6)
    ]

    assert [one.evicted for one in applied if one is not None] == ["comp_3", "comp_2", "comp_1"]
    assert not stamp.is_current
    assert [replica.find("company", asked(id=str(number))) for number in (1, 2, 3)] == [None] * 3
    assert len(holder.held) == 3


def test_an_entity_used_since_it_was_looked_at_gets_a_second_chance() -> None:
    """Answers given without finding it anew mark its stamp; that of a replaced version counts for the next one."""
    replica = make(max_entities=2)
    receive(replica, "Company", "full", company("comp_1", {"id": "1"}))
    receive(replica, "Company", "full", company("comp_2", {"id": "2"}))
    held = replica._entities["company"].get("comp_1")
    assert held is not None
    held.stamp.is_used = True
    receive(replica, "Company", "partial", {"plan_ids": []}, "comp_1")

    applied = receive(replica, "Company", "full", company("comp_3", {"id": "3"}))

    assert applied is not None
    assert applied.evicted == "comp_2"


def test_a_new_entity_is_held_however_busy_the_others_are() -> None:
    """Second chances have an end, and none is the new one's cost; an update makes nobody go."""
    replica = make(max_entities=200)
    for number in range(200):
        receive(replica, "Company", "full", company(f"comp_{number}", {"id": str(number)}))
        assert found(replica, id=str(number))

    applied = receive(replica, "Company", "full", company("comp_new", {"id": "new"}))
    updated = receive(replica, "Company", "full", company("comp_new", {"id": "new"}, plan_ids=[]))

    assert applied is not None
    assert updated is not None
    assert (applied.evicted, updated.evicted) == ("comp_64", None)
    assert found(replica, id="new")


def test_each_kind_has_its_own_bound_of_at_least_one() -> None:
    """A bound of 0 would make every answer useless before it is given."""
    replica = make(max_entities=0)

    receive(replica, "Company", "full", company("comp_1", {"id": "a"}))
    receive(replica, "User", "full", {"id": "user_1", "keys": {"id": "a"}})

    assert found(replica, id="a")
    assert isinstance(replica.find("user", asked(id="a")), EntityVersion)


def test_recent_lists_how_used_entities_were_asked() -> None:
    """The one found last first; once; a former way of asking counts only while the keys are the same."""
    replica = make()
    for number in (1, 2, 3, 4):
        receive(replica, "Company", "full", company(f"comp_{number}", {"id": str(number), "slug": "x" * number}))
    receive(replica, "User", "full", {"id": "user_1", "keys": {"id": "u"}})
    receive(replica, "Company", "full", company("comp_5", {"id": "5"}))
    assert found(replica, id="5")
    receive(replica, "Company", "full", company("comp_5", {}))
    for number in (3, 1, 2):
        assert found(replica, id=str(number))
    assert replica.find("user", asked(id="u"))
    receive(replica, "Company", "full", company("comp_2", {"id": "2", "slug": "other"}))
    receive(replica, "Company", "full", company("comp_1", {"id": "1", "slug": "x"}, plan_ids=[]))

    listed = replica.recent()

    assert listed == [
        ("company", asked(id="2", slug="other")),
        ("company", asked(id="1")),
        ("company", asked(id="3")),
        ("user", asked(id="u")),
    ]
    assert replica.recent() == []
