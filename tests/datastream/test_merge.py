"""Partials into companies and users, row by row of the protocol's table, and usage counted ahead of the server."""

from __future__ import annotations

import copy
import json
from datetime import datetime, timezone
from typing import Any

import pytest

from schematic_core.datastream.merge import (
    count_usage,
    deep_copy_company,
    deep_copy_user,
    members_read,
    merge_company,
    partial_company,
    partial_user,
)
from tests.datastream.frames import company, entitlement, metric

NOW = datetime(2024, 5, 1, tzinfo=timezone.utc)
COMPANY = company(
    "comp_1",
    {"id": "a", "slug": "b"},
    traits=[{"value": "x"}],
    plan_ids=["plan_1"],
    base_plan_id="plan_1",
    subscription={"id": "sub_1"},
    credit_balances={"cr_1": 40, "cr_2": 5},
    metrics=[metric("export", 3), metric("export", 2, period="current_month")],
    entitlements=[
        entitlement(event_name="export", usage=3, credit_total=100, credit_used=60),
        entitlement(event_name="export", metric_period="current_month", month_reset=None, usage=2),
        entitlement(credit_id="cr_1", credit_remaining=40, credit_total=100, credit_used=60),
        entitlement(event_name="other", usage=9),
    ],
)


@pytest.mark.parametrize(
    ("data", "changed"),
    [
        ({"keys": {"slug": "c", "sku": "7", "id": None}}, {"keys": {"id": "a", "slug": "c", "sku": "7"}}),
        ({"keys": None}, {}),
        ({"traits": [{"value": "y"}]}, {"traits": [{"value": "y"}]}),
        ({"traits": None, "rules": None, "plan_ids": None}, {"traits": [], "rules": [], "plan_ids": []}),
        (
            {"plan_version_ids": None, "billing_product_ids": ["p"]},
            {"plan_version_ids": [], "billing_product_ids": ["p"]},
        ),
        ({"entitlements": None}, {"entitlements": []}),
        ({"subscription": None, "base_plan_id": None}, {"subscription": None, "base_plan_id": None}),
        ({"subscription": {"id": "sub_2"}}, {"subscription": {"id": "sub_2"}}),
        ({"id": "comp_2", "account_id": "acc_2"}, {"id": "comp_2", "account_id": "acc_2"}),
        ({"id": None, "environment_id": None}, {}),
        ({"new_thing": {"a": [1]}, "other": None}, {"new_thing": {"a": [1]}, "other": None}),
        ({"metrics": None}, {}),
        ({"metrics": [None]}, {}),
        ({"credit_balances": None}, {}),
    ],
    ids=str,
)
def test_each_member_is_merged_by_its_rule(data: dict[str, Any], changed: dict[str, Any]) -> None:
    """Keys are merged, lists and scalars replaced, null lists are empty, null ids are not sent, unknown members kept."""
    merged = partial_company(COMPANY, data)

    assert merged == {**COMPANY, **changed}


def test_arguments_stay_as_they_are_and_share_nothing_with_the_result() -> None:
    """Whoever changes the result changes neither the company held nor the partial."""
    held, data = copy.deepcopy(COMPANY), {"rules": [{"id": "r"}], "metrics": [metric("export", 9)]}
    sent = copy.deepcopy(data)

    merged = partial_company(held, data)
    merged["traits"][0]["value"] = merged["rules"][0]["id"] = merged["metrics"][1]["value"] = "changed"
    merged["keys"]["id"] = merged["metrics"][0]["value"] = "changed"

    assert (held, data) == (COMPANY, sent)


def test_balances_are_merged_and_bring_remaining_credits_along() -> None:
    """Balances not named stay; of entitlements, only the remaining credits of a named credit move."""
    merged = partial_company(COMPANY, {"credit_balances": {"cr_1": 7, "cr_3": 1.5, "cr_2": None}})

    assert merged["credit_balances"] == {"cr_1": 7, "cr_2": 5, "cr_3": 1.5}
    assert merged["entitlements"][2] == entitlement(
        credit_id="cr_1", credit_remaining=7, credit_total=100, credit_used=60
    )
    assert [merged["entitlements"][i] for i in (0, 1, 3)] == [COMPANY["entitlements"][i] for i in (0, 1, 3)]


def test_a_lease_sets_the_balance_that_it_leaves() -> None:
    """D4: a partial about a lease comes instead of balances, and they move all the same; what is reserved is kept."""
    leases = {"cr_1": {"remaining": 12, "reserved": 28}}

    merged = partial_company({**COMPANY, "credit_balances": None}, {"credit_lease_balance": leases})

    assert merged["credit_balances"] == {"cr_1": 12}
    assert merged["credit_lease_balance"] == leases
    assert merged["entitlements"][2]["credit_remaining"] == 12


def test_metrics_are_upserted_and_bring_usage_along() -> None:
    """A row of the same name, period and reset is replaced in place, any other appended; usage is the merged value."""
    sent = [metric("export", 8), None, metric("export", 1, month_reset="billing_cycle"), metric("new", 1)]

    merged = partial_company(COMPANY, {"metrics": sent})

    assert merged["metrics"] == [sent[0], COMPANY["metrics"][1], sent[2], sent[3]]
    assert [e.get("usage") for e in merged["entitlements"]] == [8, 2, None, 9]


def test_of_equal_rows_the_first_counts() -> None:
    """The engine reads the first of two metrics with the same key, so that one is replaced."""
    held = company(
        "comp_1", metrics=[metric(value=1), metric(value=2)], entitlements=[entitlement(event_name="export")]
    )

    merged = partial_company(held, {"metrics": [metric(value=5), metric(value=6)]})

    assert [row["value"] for row in merged["metrics"]] == [6, 2]
    assert merged["entitlements"][0]["usage"] == 6


def test_entitlements_that_are_sent_are_not_derived() -> None:
    """What the server says about usage counts more than what we would make of the metrics."""
    sent = {"metrics": [metric("export", 8)], "entitlements": [entitlement(event_name="export", usage=1)]}

    assert partial_company(COMPANY, sent)["entitlements"] == sent["entitlements"]


def test_a_credit_entitlement_with_an_event_gets_usage_as_well() -> None:
    """Credit entitlements are no exception of the rule for usage."""
    held = company(
        "comp_1", None, entitlements=[entitlement(value_type="credit", credit_id="cr_1", event_name="export")]
    )

    merged = partial_company(held, {"metrics": [metric("export", 8)]})

    assert merged["entitlements"] == [{**held["entitlements"][0], "usage": 8}]


def test_users_have_keys_merged_and_everything_else_replaced() -> None:
    """A user knows no metrics or balances: such members are unknown ones."""
    user = {"id": "user_1", "keys": {"email": "a"}, "traits": [1], "metrics": [metric()], "credit_balances": {"c": 1}}

    merged = partial_user(user, {"keys": {"id": "7"}, "traits": None, "metrics": [], "credit_balances": {"d": 2}})

    assert merged == {
        "id": "user_1",
        "keys": {"email": "a", "id": "7"},
        "traits": [],
        "metrics": [],
        "credit_balances": {"d": 2},
    }


@pytest.mark.parametrize("name", ["keys", "credit_balances", "metrics", "traits", "id"])
def test_a_member_of_a_wrong_type_takes_the_place_of_the_held_one(name: str) -> None:
    """The engine then refuses the whole, instead of an old state going on to answer."""
    merged = partial_company(COMPANY, {name: 5, "credit_lease_balance": {"cr_1": {"remaining": 1}}})

    assert merged[name] == 5


_ODD: tuple[Any, ...] = (
    None,
    5,
    "x",
    True,
    [],
    {},
    [None],
    [5],
    {"a": None},
    {"a": []},
    {"a": {}},
    [{"event_subtype": []}],
)


@pytest.mark.parametrize("odd", _ODD, ids=repr)
@pytest.mark.parametrize(
    "name", ["keys", "credit_balances", "credit_lease_balance", "metrics", "entitlements", "traits", "x"]
)
def test_odd_shapes_never_raise(name: str, odd: Any) -> None:
    """Whatever is held or sent, there is a result; what of it is usable, the engine decides."""
    held = {**COMPANY, name: odd}

    merged = [partial_company(held, {name: other}) for other in _ODD] + [partial_company(held, COMPANY)]
    merged += [partial_user(held, {name: odd}), count_usage(held, "export", 1, NOW)]
    merged += [partial_company({**COMPANY, "entitlements": [odd, entitlement(event_name=odd, credit_id=odd)]}, COMPANY)]

    assert all(json.loads(json.dumps(one)) == one for one in merged)


def test_only_the_members_named_are_looked_at() -> None:
    """Merging gives the same for the members it reads, whether or not the others are there."""
    lease = {"credit_lease_balance": {"cr_1": {"remaining": 1}}}
    partials: list[dict[str, Any]] = [{"metrics": [metric("export", 8)]}, lease, {"rules": []}, {"keys": {"id": "b"}}]
    for data in partials:
        read = {name: COMPANY[name] for name in members_read(data) if name in COMPANY}

        assert {**COMPANY, **merge_company(read, data)} == merge_company(COMPANY, data)


def test_usage_is_counted_on_every_open_metric_of_the_event() -> None:
    """All periods count, except those that are over; usage that rests on one of them follows, balances do not."""
    over = metric("export", 5, period="current_day", valid_until="2024-05-01T00:00:00Z")
    odd = {**metric("export", period="current_week"), "value": "many"}
    held = {
        **COMPANY,
        "metrics": [*COMPANY["metrics"], over, odd, metric("other", 4, valid_until="2024-05-02T00:00:00Z")],
    }
    held["entitlements"] = [
        *COMPANY["entitlements"],
        entitlement(event_name="export", metric_period="current_day", usage=1),
    ]

    counted = count_usage(held, "export", 10, NOW)

    assert [row["value"] for row in counted["metrics"]] == [13, 12, 5, "many", 4]
    assert [e.get("usage") for e in counted["entitlements"]] == [13, 12, None, 9, 1]
    assert counted["credit_balances"] == COMPANY["credit_balances"]
    assert [row["value"] for row in held["metrics"]] == [3, 2, 5, "many", 4]


def test_a_quantity_of_zero_adds_nothing() -> None:
    """0 means 0, not 1 as in the vendor's clients."""
    assert count_usage(COMPANY, "export", 0, NOW) == COMPANY


def test_counts_stay_within_what_the_engine_takes() -> None:
    """A count beyond 64 bits would make the engine refuse the company."""
    assert count_usage(COMPANY, "export", 10**30, NOW)["metrics"][0]["value"] == 2**63 - 1


def test_without_metrics_nothing_is_counted() -> None:
    """No row is made up for an event that nothing rests on."""
    assert count_usage(company("comp_1", metrics=None), "export", 1, NOW) == company("comp_1", metrics=None)


@pytest.mark.parametrize("metrics", [None, [], [metric("other")]])
def test_the_first_use_counts_where_an_entitlement_rests_on_it(metrics: object) -> None:
    """The service sends no metric of an event that was never counted; without one a first burst would pass the limit."""
    held = company(
        "comp_1",
        metrics=metrics,
        entitlements=[
            entitlement(event_name="export", metric_period="current_month", month_reset="billing_cycle", usage=4),
            entitlement(event_name="export"),
            entitlement(event_name="other", usage=7),
        ],
    )

    counted = count_usage(held, "export", 2, NOW)
    made = [row for row in counted["metrics"] if row["event_subtype"] == "export"]

    assert [(row["period"], row["month_reset"], row["value"]) for row in made] == [
        ("current_month", "billing_cycle", 6),
        ("all_time", "first_of_month", 2),
    ]
    assert [one.get("usage") for one in counted["entitlements"]] == [6, 2, 7]


@pytest.mark.parametrize(
    "odd",
    [
        "text",
        entitlement(event_name=7),
        entitlement(event_name="export", metric_period="yearly"),
        entitlement(event_name="export", metric_period={}),
        entitlement(event_name="export", month_reset="never"),
        entitlement(event_name="export", usage="many"),
    ],
)
def test_no_metric_is_made_that_the_engine_would_refuse(odd: Any) -> None:
    """An entitlement of odd shape may be there; its company must go on being evaluated."""
    counted = count_usage(company("comp_1", {"id": "1"}, metrics=[], entitlements=[odd]), "export", 1, NOW)

    assert {(row["period"], row["value"]) for row in counted["metrics"]} <= {("all_time", 1)}


def test_copies_are_deep_however_deep_the_original() -> None:
    """Documents may be nested deeper than Python recurses."""
    deep: dict[str, Any] = {}
    inner = deep
    for _ in range(50_000):
        inner["a"] = [{}]
        inner = inner["a"][0]

    copied = deep_copy_company(deep)
    copied["a"][0]["a"] = "changed"

    assert deep["a"][0]["a"] != "changed"
    assert deep_copy_user(COMPANY) == COMPANY
    while deep:  # or freeing it would recurse
        deep = deep.pop("a")[0]
