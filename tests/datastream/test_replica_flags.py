"""What messages about flags do to what is held: the whole set, pages of it, and single flags."""

from __future__ import annotations

from typing import Any

import pytest

from schematic_core.datastream.messages import Element, Garbled, Message
from tests.datastream.frames import CountingHolder, flag, make, message, receive, receive_flags


def test_a_full_set_replaces_the_former_one() -> None:
    """New flags are found, changed ones replaced, the others gone; flags that say the same keep their version."""
    holder = CountingHolder()
    replica = make(holder)
    receive_flags(replica, [flag("same"), flag("changed"), flag("gone")])
    same, changed, gone = (replica.find_flag(key) for key in ("same", "changed", "gone"))
    assert same is not None
    assert changed is not None
    assert gone is not None

    applied = receive_flags(replica, [flag("same"), flag("changed", default_value=True), flag("new")])

    assert (applied.kind, applied.is_flags, sorted(applied.ids)) == ("flag", True, ["changed", "gone", "new"])
    assert replica.has_flags
    assert sorted(held.key for held in replica.flags()) == ["changed", "new", "same"]
    assert replica.find_flag("same") is same
    assert (same.stamp.is_current, changed.stamp.is_current, gone.stamp.is_current) == (True, False, False)
    after = replica.find_flag("changed")
    assert after is not None
    assert (after.id, after.key, after.default_value) == ("flag_changed", "changed", True)
    del changed, gone
    assert len(holder.held) == 3


def test_a_set_that_says_the_same_changes_nothing() -> None:
    """Answers stay good over a reconnect, and the engine has nothing to do."""
    holder = CountingHolder()
    replica = make(holder)
    receive_flags(replica, [flag("a"), flag("b")])

    applied = receive_flags(replica, [flag("b")], [flag("a")])

    assert (applied.is_applied, applied.is_flags, applied.ids) == (True, False, ())
    assert holder.given == 2


def test_a_bad_flag_spoils_no_other() -> None:
    """D5: what cannot be used is left out, its old version too; flags after it are stored, removed ones go."""
    replica = make()
    receive_flags(replica, [flag("bad"), flag("gone")])

    applied = receive_flags(replica, [flag("bad", refused=1), None, 5, {}, {"key": 5}, {"key": "no id"}, flag("after")])

    assert [held.key for held in replica.flags()] == ["after"]
    assert replica.counts == {"bad_flag": 6}
    assert applied.rejected is not None
    assert str(applied.rejected) == "no"


@pytest.mark.parametrize("data", [None, {}, {"a": 1}, "flags"], ids=str)
def test_what_is_no_list_says_nothing_about_flags(data: object) -> None:
    """Null in particular is no information: the set stays, and is not complete by it."""
    replica = make()

    assert receive_flags(replica, data).is_applied
    assert not replica.has_flags
    receive_flags(replica, [flag("a")])
    applied = receive_flags(replica, data)

    assert not applied.is_flags
    assert replica.find_flag("a") is not None
    assert replica.counts.get("bad_flags", 0) == (0 if data is None else 2)


def test_an_empty_list_means_no_flags() -> None:
    """The environment has none any more."""
    replica = make()
    receive_flags(replica, [flag("a")])

    applied = receive_flags(replica, [])

    assert (applied.ids, applied.is_flags, replica.has_flags, replica.flags()) == (("a",), True, True, [])


def test_pages_make_one_set() -> None:
    """A page without a list between others adds nothing."""
    replica = make()

    receive_flags(replica, [flag("a")], None, [flag("b"), flag("a", "flag_2")])

    assert sorted((held.key, held.id) for held in replica.flags()) == [("a", "flag_2"), ("b", "flag_b")]


def test_a_set_that_breaks_off_leaves_everything_as_it_was() -> None:
    """The error passes through, and what was held for the new set is given back."""

    class Broken:
        is_array = True
        data = None

        def elements(self) -> Any:
            yield Element(flag("new"), b'{"id": "flag_new"}')
            raise Garbled("broken")

    holder = CountingHolder()
    replica = make(holder)
    receive_flags(replica, [flag("old")])

    with pytest.raises(Garbled):
        replica.prepare_flags([Broken()])  # type: ignore[list-item] # real messages do not break part-way

    assert [held.key for held in replica.flags()] == ["old"]
    assert len(holder.held) == 1


def test_more_flags_than_entities_are_held() -> None:
    """D13: flags are not bounded."""
    replica = make(max_entities=10)

    receive_flags(replica, [flag(str(number)) for number in range(1501)])

    assert len(replica.flags()) == 1501
    assert replica.find_flag("0") is not None


@pytest.mark.parametrize("message_type", ["full", "partial"])
def test_a_single_whole_flag_replaces(message_type: str) -> None:
    """A partial that has all members of a flag is a replacement as well."""
    replica = make()
    receive_flags(replica, [flag("a"), flag("b")])
    former = replica.find_flag("a")

    applied = receive(replica, "Flag", message_type, flag("a", default_value=True))

    assert applied is not None
    assert (applied.kind, applied.ids, applied.is_flags) == ("flag", ("a",), True)
    after = replica.find_flag("a")
    assert after is not None
    assert former is not None
    assert (after.default_value, former.stamp.is_current) == (True, False)
    assert len(replica.flags()) == 2


def test_a_flag_with_another_key_is_not_held_under_the_old_one() -> None:
    """The id tells that it is the same flag; an empty id tells nothing."""
    replica = make()
    receive_flags(replica, [flag("old", "flag_1"), {**flag("nameless"), "id": ""}])

    renamed = receive(replica, "Flag", "full", flag("new", "flag_1"))
    receive(replica, "Flag", "full", {**flag("nameless too"), "id": ""})

    assert renamed is not None
    assert renamed.ids == ("new", "old")
    assert sorted(held.key for held in replica.flags()) == ["nameless", "nameless too", "new"]


def test_a_part_of_a_flag_is_ignored() -> None:
    """It could only be guessed what the rest is: without rules it would look like a flag that has none."""
    replica = make()
    receive_flags(replica, [flag("a")])
    part = {name: value for name, value in flag("a", default_value=True).items() if name != "rules"}

    assert receive(replica, "Flag", "partial", part) is None

    held = replica.find_flag("a")
    assert held is not None
    assert not held.default_value
    assert replica.counts == {"partial_flag": 1}


@pytest.mark.parametrize(
    ("data", "entity_id"),
    [
        ({"key": "a"}, None),
        ({"key": "a", "id": "flag_a"}, None),
        ({"id": "flag_a"}, None),
        ({"key": "ghost", "id": "flag_a"}, None),
        (flag("a"), "flag_a"),
        (None, "flag_a"),
    ],
    ids=str,
)
def test_a_delete_in_any_form_removes_the_flag(data: object, entity_id: str | None) -> None:
    """D2: by key, or by id when only that helps."""
    holder = CountingHolder()
    replica = make(holder)
    receive_flags(replica, [flag("a"), flag("b")])

    applied = receive(replica, "Flag", "delete", data, entity_id)

    assert applied is not None
    assert (applied.ids, applied.is_flags) == (("a",), True)
    assert replica.find_flag("a") is None
    assert len(holder.held) == 1


def test_a_delete_of_an_unknown_flag_changes_nothing() -> None:
    """Answers that rest on other flags stay good."""
    replica = make()
    receive_flags(replica, [flag("a")])

    applied = receive(replica, "Flag", "delete", {"key": "ghost"})

    assert applied is not None
    assert (applied.is_applied, applied.ids, applied.is_flags) == (True, (), False)


@pytest.mark.parametrize(("message_type", "data"), [("delete", None), ("delete", []), ("full", None), ("full", [])])
def test_a_message_that_names_no_flag_is_counted(message_type: str, data: object) -> None:
    """There is nothing to do."""
    replica = make()

    assert receive(replica, "Flag", message_type, data) is None
    assert replica.counts == {"bad_flag": 1}


@pytest.mark.parametrize("data", [flag("a", refused=1), {"key": "a"}, {"id": "flag_a"}], ids=str)
def test_a_single_flag_that_cannot_be_used_takes_the_old_version_along(data: dict[str, Any]) -> None:
    """An old state must not answer; the engine's reason is handed on, if it was the engine's."""
    replica = make()
    receive_flags(replica, [flag("a")])

    applied = receive(replica, "Flag", "full", data)

    assert applied is not None
    assert (applied.ids, applied.is_flags) == (("a",), True)
    assert (applied.rejected is None) == ("key" not in data)
    assert replica.flags() == []
    assert replica.counts == {"bad_flag": 1}


def test_the_text_of_a_flag_is_what_the_server_sent() -> None:
    """Nothing is written anew."""
    replica = make()
    sent: Message = message("Flags", "full", [flag("a", unknown={"x": 1.50})])

    replica.apply(replica.prepare_flags([sent]))

    held = replica.find_flag("a")
    assert held is not None
    assert held.text == next(iter(sent.elements())).text
