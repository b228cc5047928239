"""What is held, evaluated by the real engine after what the server sent."""

from __future__ import annotations

from typing import Any, Literal, cast

import pytest

from schematic_core.datastream.replica import Replica
from schematic_core.datastream.versions import EntityVersion, Holder
from schematic_core.rules import Evaluation, engine
from schematic_core.rules.engine import Handle
from tests.datastream.frames import asked, company, entitlement, flag, message, metric, receive, receive_flags
from tests.rules import models

NOW_MS = 1_700_000_000_000


class EngineHolder:
    """The engine of the process as a holder."""

    def hold(self, kind: Literal["flag", "company", "user"], text: bytes) -> object:
        put = {"flag": engine().put_flag, "company": engine().put_company, "user": engine().put_user}[kind]
        return put(text)

    def release(self, handle: object) -> None:
        engine().drop(cast("Handle", handle))


@pytest.fixture
def replica() -> Replica:
    """Holds a flag that checks a plan, a credit balance of more than 10, or a metric of at least 5."""
    holder: Holder = EngineHolder()
    replica = Replica(holder, max_entities=100, ttl=None, not_found_ttl=10.0)
    replica.begin()
    conditions = {
        "plan": models.condition("plan", resource_ids=["plan_1"]),
        "credit": models.condition("credit", credit_id="cr_1", consumption_rate=10.0),
        "metric": models.condition("metric", "gte", event_subtype="export", metric_value=5),
    }
    flags = [{**models.flag(models.rule("standard", each)), "key": key, "id": key} for key, each in conditions.items()]
    receive_flags(replica, flags)
    return replica


def check(replica: Replica, key: str, **keys: str) -> Evaluation:
    held, found = replica.find_flag(key), replica.find("company", asked(**keys))
    assert held is not None
    assert isinstance(found, EntityVersion), found
    return engine().check(cast("Handle", held.handle), cast("Handle", found.handle), now_ms=NOW_MS)


def test_a_plan_taken_away_by_a_null_list_is_gone(replica: Replica) -> None:
    """D3: the vendor's clients drop the partial and go on allowing."""
    receive(replica, "Company", "full", company("comp_1", {"id": "a"}, plan_ids=["plan_1"]))
    assert check(replica, "plan", id="a").value

    receive(replica, "Company", "partial", {"plan_ids": None, "rules": None, "traits": None}, "comp_1")

    assert not check(replica, "plan", id="a").value


def test_a_company_without_any_collection_is_held(replica: Replica) -> None:
    """D8: null is how the server writes an empty map or list, wherever it stands."""
    lists = ("traits", "metrics", "plan_ids", "plan_version_ids", "billing_product_ids", "rules", "entitlements")
    nulls = dict.fromkeys((*lists, "credit_balances", "credit_postpaid", "credit_spend_policies", "subscription", "x"))
    policy = entitlement(quantity_rates=None, warning_tiers=None)

    applied = receive(replica, "Company", "full", company("comp_1", None, **nulls))
    receive(replica, "Company", "full", company("comp_2", {"id": "b"}, **{**nulls, "entitlements": [policy]}))
    receive(
        replica, "User", "full", {"id": "user_1", "account_id": "", "environment_id": "", "keys": None, "traits": None}
    )
    receive(replica, "Company", "partial", nulls, "comp_2")

    assert applied is not None
    assert applied.rejected is None
    replica.bind("company", asked(id="a"), "comp_1")
    assert not check(replica, "plan", id="a").value
    assert not check(replica, "plan", id="b").value
    assert replica.counts == {}


def test_a_lease_moves_what_a_check_sees(replica: Replica) -> None:
    """D4: a balance of 40 becomes 7, which is too little."""
    receive(replica, "Company", "full", company("comp_1", {"id": "a"}, credit_balances={"cr_1": 40}))
    assert check(replica, "credit", id="a").value

    receive(
        replica, "Company", "partial", {"credit_lease_balance": {"cr_1": {"remaining": 7, "reserved": 33}}}, "comp_1"
    )

    assert not check(replica, "credit", id="a").value


def test_a_bad_flag_spoils_no_other(replica: Replica) -> None:
    """D5: the engine refuses one; flags before and after it answer, and those removed are gone."""
    receive_flags(replica, [flag("first"), {**flag("bad"), "rules": [{"id": 5}]}, flag("last", default_value=True)])
    receive(replica, "Company", "full", company("comp_1", {"id": "a"}))

    assert sorted(held.key for held in replica.flags()) == ["first", "last"]
    assert check(replica, "last", id="a").value
    assert replica.counts == {"bad_flag": 1}


def test_values_that_differ_in_case_get_their_own_company_s_answer(replica: Replica) -> None:
    """D7: the vendor's clients answer for the wrong company."""
    receive(replica, "Company", "full", company("comp_1", {"sku": "ABC"}, plan_ids=["plan_1"]))
    receive(replica, "Company", "full", company("comp_2", {"sku": "abc"}))

    assert check(replica, "plan", sku="ABC").value
    assert not check(replica, "plan", sku="abc").value


def test_usage_tracked_here_reaches_the_next_check(replica: Replica) -> None:
    """The metric passes its bound without the server; the server's count then wins."""
    receive(replica, "Company", "full", company("comp_1", {"id": "a"}, metrics=[metric("export", 3)]))
    assert not check(replica, "metric", id="a").value

    replica.bump(asked(id="a"), "export", 2)
    found = replica.find("company", asked(id="a"))
    assert isinstance(found, EntityVersion)
    change = replica.prepare_bumps(found, models.NOW)
    assert change is not None
    replica.apply(change)

    assert check(replica, "metric", id="a").value
    receive(replica, "Company", "partial", {"metrics": [metric("export", 4)]}, "comp_1")
    assert not check(replica, "metric", id="a").value


@pytest.mark.parametrize(
    "data",
    [
        {"keys": []},
        {"keys": {"id": 5}},
        {"credit_balances": {"cr_1": "many"}},
        {"credit_balances": 5},
        {"credit_lease_balance": {"cr_1": {"remaining": "many"}}},
        {"metrics": {}},
        {"metrics": [5]},
        {"metrics": [{**metric(), "value": 1.5}]},
        {"entitlements": [None]},
        {"plan_ids": "plan_1"},
        {"account_id": 5},
    ],
    ids=str,
)
def test_a_partial_of_wrong_types_ends_the_company(replica: Replica, data: dict[str, Any]) -> None:
    """What the company has become is unknown, so the old state must not answer; a full message brings it back."""
    whole = company("comp_1", {"id": "a"}, plan_ids=["plan_1"])
    receive(replica, "Company", "full", whole)

    applied = receive(replica, "Company", "partial", data, "comp_1")

    assert applied is not None
    assert applied.rejected is not None
    assert replica.find("company", asked(id="a")) is None
    receive(replica, "Company", "full", whole)
    assert check(replica, "plan", id="a").value


def test_documents_are_released_when_they_are_replaced_and_when_the_replica_goes() -> None:
    """The engine holds what it held before."""
    before = engine().stats().entities
    replica = Replica(EngineHolder(), max_entities=5, ttl=None, not_found_ttl=10.0)
    replica.begin()

    for number in range(50):
        change = replica.prepare(message("Company", "full", company(f"comp_{number % 10}", {"id": str(number)})), 0.0)
        assert change is not None
        replica.apply(change)
        receive_flags(replica, [flag("a"), flag(str(number))])
    del change

    assert engine().stats().entities == before + 5 + 2
    del replica
    assert engine().stats().entities == before
