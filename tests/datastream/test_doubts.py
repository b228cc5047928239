"""Somebody else knows of a change, e.g. a webhook: what is held is asked for again, and stays the last known state."""

from __future__ import annotations

from schematic_core.checks.concerned import Concerned
from schematic_core.datastream.replica import Replica
from tests.datastream.frames import asked, company, found, make, metric, receive


def held() -> Replica:
    replica = make()
    for id_, name in (("comp_1", "a"), ("comp_2", "b")):
        receive(replica, "Company", "full", company(id_, {"id": name, "slug": f"{name}s"}, metrics=[metric()]))
    receive(replica, "User", "full", {"id": "user_1", "keys": {"id": "a"}})
    return replica


def confirmed(replica: Replica) -> list[str]:
    """Give the ids of what is certain, each of which has a current stamp, as nothing else has."""
    versions = [replica.find("company", asked(id="a")), replica.find("company", asked(id="b"))]
    sure: list[str] = []
    for version in [*versions, replica.find("user", asked(id="a"))]:
        assert version is not None
        assert not isinstance(version, tuple)
        assert replica.is_confirmed(version, 1.0) is not replica.is_doubted(version)
        assert replica.is_confirmed(version, 1.0) is version.stamp.is_current
        sure += [version.id] if replica.is_confirmed(version, 1.0) else []
    return sure


def test_what_is_concerned_is_doubted_and_nothing_else() -> None:
    """By id, by any of the keys, for one kind or both; all when nothing is named, and nobody for a flag."""
    for whom, rest in (
        (Concerned(company_id="comp_1"), ["comp_2", "user_1"]),
        (Concerned(company={"slug": "bs", "other": "x"}), ["comp_1", "user_1"]),
        (Concerned(company_id="comp_1", company={"id": "b"}), ["user_1"]),
        (Concerned(company_id="ghost", company={"id": "ghost"}), ["comp_1", "comp_2", "user_1"]),
        (Concerned(company={"id": 1.5}), ["comp_1", "comp_2", "user_1"]),  # type: ignore[dict-item] # as a caller may
        (Concerned(user_id="user_1"), ["comp_1", "comp_2"]),
        (Concerned(user={"id": "a"}, company_id="comp_2"), ["comp_1"]),
        (Concerned(flag_key="exports"), ["comp_1", "comp_2", "user_1"]),
        (Concerned(), []),
    ):
        replica = held()
        whom.doubt(replica)
        assert confirmed(replica) == rest, whom


def test_the_tokens_of_answers_are_those_of_the_same_people() -> None:
    """One group for each that is named."""
    assert Concerned().groups() == []
    whom = Concerned("comp_1", "user_1", "exports", {"id": "a"}, {"id": "b"})
    assert whom.groups() == [
        [("company", "id", "a"), ("company_id", "comp_1", "")],
        [("user", "id", "b"), ("user_id", "user_1", "")],
        [("flag", "exports", "")],
    ]
    assert Concerned(company={"id": "a"}, user={"id": "b"}).groups() == [
        [("company", "id", "a")],
        [("user", "id", "b")],
    ]


def test_a_whole_message_ends_the_doubt_and_a_partial_one_does_not() -> None:
    """Whether it says something new or the same; a partial one may be older than what was heard elsewhere."""
    replica = held()
    replica.doubt("company", "comp_1", ())
    receive(replica, "Company", "partial", {"id": "comp_1", "plan_ids": ["p"]}, "comp_1")
    version = found(replica, id="a")
    assert replica.is_doubted(version)
    assert not replica.is_confirmed(version, 1.0)

    receive(replica, "Company", "full", company("comp_1", {"id": "a", "slug": "as"}, metrics=[metric()]))
    assert confirmed(replica) == ["comp_1", "comp_2", "user_1"]


def test_a_confirmation_gives_the_same_version_a_new_stamp() -> None:
    """Answers given before stay dropped, those given after hold; whether it was used is not forgotten."""
    replica = held()
    version = found(replica, id="b")
    former = version.stamp
    replica.doubt("company", None, asked(id="b"))

    receive(replica, "Company", "full", company("comp_2", {"id": "b", "slug": "bs"}, metrics=[metric()]))

    assert found(replica, id="b") is version
    assert version.stamp is not former
    assert (former.is_current, version.stamp.is_current, version.stamp.is_used) == (False, True, True)
    replica.bump(asked(id="b"), "export", 1)
    assert not version.stamp.is_current


def test_doubt_goes_with_the_entity() -> None:
    """Removed, unknown to the server, evicted, or under another id: nothing is left of it."""
    replica = held()
    replica.doubt_all()
    receive(replica, "Company", "delete", None, "comp_1")
    replica.note_missing("company", asked(id="b"), 0.0)
    receive(replica, "User", "partial", {"id": "user_2", "keys": {"id": "a"}}, "user_1")
    assert replica._doubted == set()

    small = make(max_entities=1)
    receive(small, "Company", "full", company("comp_1", {"id": "a"}))
    small.doubt_all()
    receive(small, "Company", "full", company("comp_2", {"id": "b"}))
    assert small._doubted == set()


def test_who_was_said_not_to_exist_may_be_asked_for_again() -> None:
    """A webhook tells of a new company a moment after the server did not know it."""
    replica = held()
    for kind in ("company", "user"):
        for pairs in (asked(id="new"), asked(id="newer")):
            replica.note_missing(kind, pairs, 0.0)

    replica.doubt("company", "comp_9", asked(id="new"))
    assert not replica.is_missing("company", asked(id="new"), 1.0)
    assert replica.is_missing("company", asked(id="newer"), 1.0)
    assert replica.is_missing("user", asked(id="new"), 1.0)
    replica.doubt_all()
    assert not replica.is_missing("company", asked(id="newer"), 1.0)
    assert not replica.is_missing("user", asked(id="new"), 1.0)
