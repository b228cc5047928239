"""What messages about companies and users do to what is held: full, partial, delete, and what makes no sense."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest

from schematic_core.datastream.versions import EntityVersion
from schematic_core.errors import EngineError
from tests.datastream.frames import (
    CountingHolder,
    asked,
    company,
    document,
    entitlement,
    found,
    make,
    message,
    metric,
    prepared,
    receive,
)


def test_a_full_message_is_found_by_each_of_its_keys() -> None:
    """The text goes to the engine as it was sent, and answers to any pair, whatever other pairs are named with it."""
    replica = make()
    sent = message("Company", "full", company("comp_1", {"id": "a", "slug": "b"}))

    change = replica.prepare(sent, 5.0)
    assert change is not None
    applied = replica.apply(change)

    version = found(replica, id="a")
    assert sent.data is not None
    assert (applied.kind, applied.ids, applied.is_applied, applied.is_flags) == ("company", ("comp_1",), True, False)
    assert version.text == sent.data.text
    assert found(replica, slug="b") is found(replica, slug="b", id="a", ghost="x") is version
    assert (version.kind, version.id, version.pairs) == ("company", "comp_1", asked(id="a", slug="b"))
    assert (version.generation, version.confirmed_at) == (1, 5.0)
    assert replica.find("user", asked(id="a")) is replica.find("company", asked(id="A")) is None


def test_a_full_message_replaces_and_takes_lost_keys_along() -> None:
    """A pair that the new version lacks finds nothing any more; the old stamp is not current, the old handle released."""
    holder = CountingHolder()
    replica = make(holder)
    receive(replica, "User", "full", {"id": "user_1", "keys": {"id": "a", "email": "b"}})
    stamp = replica.find("user", asked(id="a")).stamp  # type: ignore[union-attr] # it was just stored

    receive(replica, "User", "full", {"id": "user_1", "keys": {"id": "a"}})

    assert replica.find("user", asked(email="b")) is None
    assert not stamp.is_current
    assert len(holder.held) == 1


@pytest.mark.parametrize("keys", [{}, None])
def test_a_full_message_without_keys_still_replaces(keys: object) -> None:
    """The vendor's clients ignore such a message and go on with the old state."""
    replica = make()
    receive(replica, "Company", "full", company("comp_1", {"id": "a"}))

    receive(replica, "Company", "full", company("comp_1", keys, plan_ids=["p"]))

    assert replica.find("company", asked(id="a")) is None
    replica.bind("company", asked(id="a"), "comp_1")
    assert document(found(replica, id="a"))["plan_ids"] == ["p"]


def test_the_same_full_message_again_confirms_what_is_held() -> None:
    """Answers stay good, and the engine has nothing to do."""
    holder = CountingHolder()
    replica = make(holder)
    receive(replica, "Company", "full", company("comp_1", {"id": "a"}))
    version = found(replica, id="a")
    replica.begin()
    assert not replica.is_confirmed(version, 9.0)

    change = replica.prepare(message("Company", "full", company("comp_1", {"id": "a"})), 9.0)
    assert change is not None
    applied = replica.apply(change)

    assert applied.ids == ("comp_1",)
    assert found(replica, id="a") is version
    assert version.stamp.is_current
    assert replica.is_confirmed(version, 9.0)
    assert holder.given == 1


def test_confirmation_ends_with_its_time_and_with_its_connection() -> None:
    """The bound is inclusive; a new connection confirms nothing by itself, nor does a message of the one before."""
    replica = make(ttl=30.0)
    receive(replica, "Company", "full", company("comp_1", {"id": "a"}))
    version = found(replica, id="a")
    late = prepared(replica, "Company", "full", company("comp_1", {"id": "a"}, plan_ids=["p"]))

    assert replica.is_confirmed(version, 30.0)
    assert not replica.is_confirmed(version, 30.1)
    assert replica.begin() == replica.generation == 2
    assert not replica.is_confirmed(version, 0.0)
    replica.apply(late)
    assert not replica.is_confirmed(found(replica, id="a"), 0.0)


def test_a_partial_is_merged_into_what_is_held() -> None:
    """Members not named stay byte for byte as they were; keys gained and changed find the entity."""
    replica = make()
    receive(
        replica, "Company", "full", company("comp_1", {"id": "a", "slug": "b"}, plan_ids=["p"], unknown={"é": [1.50]})
    )

    first = receive(replica, "Company", "partial", {"keys": {"slug": "c", "sku": "d"}, "base_plan_id": "p"}, "comp_1")
    second = receive(replica, "Company", "partial", {"plan_ids": None}, "comp_1")

    assert first is not None
    assert second is not None
    assert first.ids == second.ids == ("comp_1",)
    assert replica.find("company", asked(slug="b")) is None
    version = found(replica, slug="c", sku="d")
    assert document(version) == company(
        "comp_1", {"id": "a", "slug": "c", "sku": "d"}, plan_ids=[], unknown={"é": [1.5]}, base_plan_id="p"
    )
    assert version.pairs == asked(id="a", slug="c", sku="d")


def test_a_user_s_partial_is_merged_too() -> None:
    """Keys by entry, everything else replaced."""
    replica = make()
    receive(replica, "User", "full", {"id": "user_1", "keys": {"id": "a"}, "metrics": [metric()]})

    receive(replica, "User", "partial", {"keys": {"email": "b"}, "metrics": [metric()], "traits": None}, "user_1")

    version = replica.find("user", asked(email="b"))
    assert version is not None
    assert version is replica.find("user", asked(id="a"))


def test_null_metrics_in_a_partial_change_none() -> None:
    """Metrics are upserted one by one, so an empty list says nothing; entitlements stay as they were, too."""
    replica = make()
    whole = company("comp_1", {"id": "a"}, metrics=[metric()], entitlements=[entitlement(event_name="export", usage=9)])
    receive(replica, "Company", "full", whole)

    receive(replica, "Company", "partial", {"metrics": None}, "comp_1")

    assert document(found(replica, id="a")) == whole


@pytest.mark.parametrize(
    "name", ["rules", "traits", "plan_ids", "plan_version_ids", "billing_product_ids", "entitlements"]
)
def test_a_null_list_in_a_partial_empties_it(name: str) -> None:
    """D3: null is how the server writes an empty list; the rest of the partial counts as well."""
    replica = make()
    receive(replica, "Company", "full", company("comp_1", {"id": "a"}, **{name: ["x"]}))

    receive(replica, "Company", "partial", {name: None, "base_plan_id": "plan_2"}, "comp_1")

    assert document(found(replica, id="a")) == company("comp_1", {"id": "a"}, **{name: []}, base_plan_id="plan_2")


def test_a_partial_about_a_lease_moves_the_balance() -> None:
    """D4: the balance held is the one that the lease leaves."""
    replica = make()
    credit = entitlement(credit_id="cr_1", credit_remaining=40)
    receive(
        replica, "Company", "full", company("comp_1", {"id": "a"}, credit_balances={"cr_1": 40}, entitlements=[credit])
    )

    receive(
        replica, "Company", "partial", {"credit_lease_balance": {"cr_1": {"remaining": 7, "reserved": 33}}}, "comp_1"
    )

    held = document(found(replica, id="a"))
    assert held["credit_balances"] == {"cr_1": 7}
    assert held["entitlements"][0]["credit_remaining"] == 7


def test_a_partial_may_give_another_id() -> None:
    """The entity then goes by the new one, and the old one is gone."""
    replica = make()
    receive(replica, "Company", "full", company("comp_1", {"id": "a"}))

    receive(replica, "Company", "partial", {"id": "comp_2"}, "comp_1")

    assert found(replica, id="a").id == "comp_2"
    assert receive(replica, "Company", "partial", {}, "comp_1") is None


def test_a_partial_of_an_older_connection_s_entity_is_no_news() -> None:
    """What was missed in between is unknown, so it is no base; the entity stays unconfirmed until a full message."""
    replica = make()
    receive(replica, "Company", "full", company("comp_1", {"id": "a"}))
    replica.begin()

    assert receive(replica, "Company", "partial", {"plan_ids": ["p"]}, "comp_1") is None

    assert "plan_ids" not in document(found(replica, id="a"))
    assert not replica.is_confirmed(found(replica, id="a"), 0.0)
    assert replica.counts == {"partial_of_unconfirmed": 1}


def test_a_partial_whose_base_was_replaced_is_prepared_again() -> None:
    """Applying says so, and changes nothing."""
    holder = CountingHolder()
    replica = make(holder)
    receive(replica, "Company", "full", company("comp_1", {"id": "a"}))
    late = prepared(replica, "Company", "partial", {"base_plan_id": "p"}, "comp_1")
    receive(replica, "Company", "full", company("comp_1", {"id": "b"}))

    applied = replica.apply(late)

    assert not applied.is_applied
    assert document(found(replica, id="b")) == company("comp_1", {"id": "b"})
    del late
    assert len(holder.held) == 1


def test_a_partial_of_the_connection_before_is_no_news_to_what_a_new_one_confirmed() -> None:
    """It is older than the confirmation; preparing it again is what the caller does who knows better."""
    replica = make()
    receive(replica, "Company", "full", company("comp_1", {"id": "a"}))
    late = prepared(replica, "Company", "partial", {"base_plan_id": "p"}, "comp_1")
    replica.begin()
    receive(replica, "Company", "full", company("comp_1", {"id": "a"}))

    assert not replica.apply(late).is_applied
    assert replica.is_confirmed(found(replica, id="a"), 0.0)


def test_a_confirmation_of_what_was_replaced_is_prepared_again() -> None:
    """Between preparing and applying the entity may have been evicted, for one."""
    replica = make()
    receive(replica, "Company", "full", company("comp_1", {"id": "a"}))
    late = prepared(replica, "Company", "full", company("comp_1", {"id": "a"}))
    receive(replica, "Company", "delete", None, "comp_1")

    assert not replica.apply(late).is_applied
    assert replica.find("company", asked(id="a")) is None


@pytest.mark.parametrize(
    ("data", "entity_id"),
    [
        ({"id": "comp_1"}, None),
        ({"id": "comp_1", "keys": {"id": "a"}}, None),
        ({"keys": {"id": "a", "slug": "b"}}, None),
        (company("comp_1", {"id": "a"}), "comp_1"),
        (None, "comp_1"),
        ([], "comp_1"),
    ],
    ids=str,
)
def test_a_delete_in_any_form_removes_the_entity(data: object, entity_id: str | None) -> None:
    """D2: an id anywhere is enough, or keys; lookups go along, the stamp is not current, the handle released."""
    holder = CountingHolder()
    replica = make(holder)
    receive(replica, "Company", "full", company("comp_1", {"id": "a", "slug": "b"}))
    stamp = found(replica, id="a").stamp

    applied = receive(replica, "Company", "delete", data, entity_id)

    assert applied is not None
    assert applied.ids == ("comp_1",)
    assert replica.find("company", asked(id="a")) is replica.find("company", asked(slug="b")) is None
    assert not stamp.is_current
    assert not holder.held


@pytest.mark.parametrize("data", [None, {}, {"id": 5}, {"keys": {"id": "ghost"}}, {"keys": []}, "comp_1"], ids=str)
def test_a_delete_of_nobody_is_counted(data: object) -> None:
    """Without anything that names an entity there is nothing to do."""
    replica = make()

    assert receive(replica, "Company", "delete", data) is None
    assert replica.counts == {"bad_entity": 1}


def test_a_delete_of_what_is_not_held_changes_nothing() -> None:
    """It is applied, and names no ids."""
    applied = receive(make(), "Company", "delete", None, "ghost")

    assert applied is not None
    assert (applied.is_applied, applied.ids) == (True, ())


@pytest.mark.parametrize("message_type", ["reload", "unknown", "error", "invented", ""])
@pytest.mark.parametrize("entity_type", ["Company", "User", "Flag"])
def test_an_unknown_message_type_changes_nothing(entity_type: str, message_type: str) -> None:
    """D6: what is not understood is not a replacement."""
    replica = make()

    assert receive(replica, entity_type, message_type, company("comp_1", {"id": "a"}), "comp_1") is None
    assert replica.counts == {"unknown_type": 1}


@pytest.mark.parametrize("entity_type", ["Companies", "Users", "Flags", "Invented"])
def test_an_unknown_entity_type_changes_nothing(entity_type: str) -> None:
    """Confirmations of whole subscriptions are not entities."""
    replica = make()

    assert receive(replica, entity_type, "full", company("comp_1", {"id": "a"}), "comp_1") is None
    assert replica.counts == {"unknown_type": 1}


@pytest.mark.parametrize(
    ("message_type", "data", "entity_id", "why"),
    [
        ("full", None, "comp_1", "bad_entity"),
        ("full", [company("comp_1")], "comp_1", "bad_entity"),
        ("full", "comp_1", None, "bad_entity"),
        ("full", {"keys": {"id": "a"}}, None, "bad_entity"),
        ("partial", [], "comp_1", "bad_entity"),
        ("partial", {"id": "comp_1"}, None, "partial_without_id"),
        ("partial", {"id": "comp_1"}, "ghost", "partial_of_unknown"),
    ],
)
def test_a_message_that_makes_no_sense_is_counted(
    message_type: str, data: object, entity_id: str | None, why: str
) -> None:
    """What is held stays."""
    replica = make()
    receive(replica, "Company", "full", company("comp_1", {"id": "held"}))

    assert receive(replica, "Company", message_type, data, entity_id) is None
    assert replica.counts == {why: 1}
    assert found(replica, id="held").stamp.is_current


@pytest.mark.parametrize(
    ("message_type", "data"),
    [("full", {"id": "comp_1", "refused": 1}), ("partial", {"refused": 1}), ("full", {"id": 5})],
)
def test_what_the_engine_refuses_takes_the_old_version_along(message_type: str, data: Any) -> None:
    """An old state must not answer; the engine's reason is handed on."""
    holder = CountingHolder()
    replica = make(holder)
    receive(replica, "Company", "full", company("comp_1", {"id": "a"}))

    applied = receive(replica, "Company", message_type, data, "comp_1")

    assert applied is not None
    assert isinstance(applied.rejected, EngineError)
    assert (applied.is_applied, applied.ids) == (True, ("comp_1",))
    assert replica.find("company", asked(id="a")) is None
    assert replica.counts == {"bad_entity": 1}
    assert not holder.held


def test_a_refused_partial_spares_what_replaced_its_base() -> None:
    """The newer version owes nothing to it."""
    replica = make()
    receive(replica, "Company", "full", company("comp_1", {"id": "a"}))
    late = prepared(replica, "Company", "partial", {"refused": 1}, "comp_1")
    receive(replica, "Company", "full", company("comp_1", {"id": "b"}))

    assert not replica.apply(late).is_applied
    assert found(replica, id="b")


@pytest.mark.parametrize("text", ["1e999", "[" * 900 + "]" * 900])
def test_a_partial_that_cannot_be_written_counts_as_refused(text: str) -> None:
    """A number beyond all bounds, or lists too deep to write, are for the engine too."""
    replica = make()
    receive(replica, "Company", "full", company("comp_1", {"id": "a"}))
    odd = message("Company", "partial", {"unknown": "HERE"}, "comp_1")
    assert odd.data is not None
    deep: Any = json.loads(text)
    for _ in range(600 if isinstance(deep, list) else 0):
        deep = [deep]
    odd.data.value["unknown"] = deep

    change = replica.prepare(odd, 0.0)
    assert change is not None
    applied = replica.apply(change)

    assert applied.rejected is not None
    assert applied.rejected.code == "unwritable"
    assert replica.find("company", asked(id="a")) is None


def test_keys_of_other_types_are_no_lookups() -> None:
    """Only text addresses an entity; whether the document is fit, the engine decides."""
    replica = make()

    receive(replica, "Company", "full", company("comp_1", {"id": "a", "n": 5, "none": None, "list": []}))

    assert found(replica, id="a").pairs == asked(id="a")


def test_versions_of_one_entity_keep_equal_texts_once() -> None:
    """A new version shares id and keys with the one before."""
    replica = make()
    receive(replica, "Company", "full", company("comp_1", {"id": "a"}))
    before = found(replica, id="a")

    receive(replica, "Company", "full", company("comp_1", {"id": "a"}, plan_ids=[]))
    receive(replica, "Company", "partial", {"keys": {"id": "a"}}, "comp_1")

    after = found(replica, id="a")
    assert after is not before
    assert after.id is before.id
    assert after.pairs is before.pairs


def test_an_engine_that_is_busy_says_nothing_about_a_document() -> None:
    """The message is not applied, and the entity that is held stays."""

    class Busy(CountingHolder):
        is_busy = False

        def hold(self, kind: Literal["flag", "company", "user"], text: bytes) -> object:
            if self.is_busy:
                raise EngineError("the engine is busy in this very thread", code="busy")
            return super().hold(kind, text)

    holder = Busy()
    replica = make(holder)
    change = replica.prepare(message("Company", "full", company("comp_1", {"id": "acme"})), 0.0)
    assert change is not None
    replica.apply(change)

    holder.is_busy = True
    with pytest.raises(EngineError, match="busy"):
        replica.prepare(message("Company", "full", company("comp_1", {"id": "new"})), 0.0)

    assert isinstance(replica.find("company", (("id", "acme"),)), EntityVersion)
