"""What a check goes through: steps, order of rules, conditions, comparisons (rules-engine.md sections 1, 4 to 6, 16)."""

from __future__ import annotations

from typing import Any

import pytest

from schematic_core.rules import check
from tests.rules.models import (
    NOW,
    company,
    condition,
    definition,
    flag,
    holds,
    metric,
    rule,
    trait,
    trait_condition,
    user,
)

DEFAULT = "No rules matched; default value for flag"
FALSE = condition("company", resource_ids=[])
TRUE = trait_condition("eq", "")


def test_a_flag_without_rules_gives_its_default() -> None:
    """Nothing but the default reason and the ids of what was given."""
    result = check(flag(default_value=True), company(), user(), now=NOW)

    assert result.to_dict() == {
        "value": True,
        "reason": DEFAULT,
        "flag_key": "key_1",
        "flag_id": "flag_1",
        "company_id": "co_1",
        "user_id": "us_1",
    }


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"usage": -1}, "preflight usage cannot be negative"),
        ({"usage": -0.5}, None),
        ({"usage": -1.5}, "preflight usage cannot be negative"),
        ({"event_usage": {"event_subtype": "ev", "quantity": -1}}, "preflight usage cannot be negative"),
        ({"usage": -1, "credit_cost": {"cr": -1}}, "preflight usage cannot be negative"),
        ({"credit_cost": {"a": 1, "cr": -0.1}}, "preflight credit cost cannot be negative"),
        ({"credit_cost": {"cr": -0.0}}, None),
    ],
)
def test_negative_quantities_give_the_default_with_an_error(options: dict[str, Any], error: str | None) -> None:
    """Steps 3 and 4; such results carry no entitlement, and the rules are not looked at."""
    entitled = company(entitlements=[{"feature_id": "f", "feature_key": "key_1", "value_type": "boolean"}])

    result = check(flag(rule("global_override")), entitled, user(), now=NOW, **options)

    assert result.error == error
    assert result.value is (error is None)
    assert (result.entitlement is None) is (error is not None)
    assert (result.company_id, result.user_id) == ("co_1", "us_1")


def test_a_flag_with_an_empty_id_is_not_found() -> None:
    """Worked case 17: its default, even if a rule would hold; but a negative quantity comes first."""
    nameless = flag(rule("global_override"), id="")

    assert check(nameless, now=NOW).to_dict() == {
        "value": False,
        "reason": "Flag not found",
        "flag_key": "key_1",
        "flag_id": "",
    }
    assert check(nameless, now=NOW, usage=-1).reason == DEFAULT


def test_types_of_rules_come_in_a_fixed_order() -> None:
    """Whatever order they are listed in and whatever their priority."""
    types = [
        *("default", "standard", "plan_entitlement_usage_exceeded", "company_override_usage_exceeded"),
        *("plan_entitlement", "company_override", "global_override"),
    ]
    rules = [rule(rule_type, id=rule_type, priority=place) for place, rule_type in enumerate(types)]

    while rules:
        assert check(flag(*rules), now=NOW).rule_id == rules.pop()["id"]


def test_standard_rules_come_by_priority_and_ties_in_the_order_of_the_pool() -> None:
    """Signed priorities; a flag's rule wins a tie against the company's, that one against the user's."""
    of_flag = [rule(id="f1", priority=5), rule(id="f2", priority=-1), rule(id="f3", priority=-1)]
    of_company = company(
        rules=[rule(id="c1", priority=-1, flag_id="flag_1"), rule(id="c2", priority=9, flag_id="flag_1")]
    )
    of_user = user(rules=[rule(id="u1", priority=-2, flag_id="flag_1"), rule(id="u2", priority=5, flag_id="flag_1")])
    seen = []
    while of_flag or of_company["rules"] or of_user["rules"]:
        seen.append(check(flag(*of_flag), of_company, of_user, now=NOW).rule_id)
        for rules in (of_flag, of_company["rules"], of_user["rules"]):
            rules[:] = [each for each in rules if each["id"] != seen[-1]]

    assert seen == ["u1", "f2", "f3", "c1", "f1", "u2", "c2"]


@pytest.mark.parametrize(
    ("rule_type", "first"),
    [
        ("global_override", "a"),
        ("company_override", "b"),
        ("plan_entitlement", "b"),
        ("company_override_usage_exceeded", "b"),
        ("plan_entitlement_usage_exceeded", "b"),
        ("default", "a"),
    ],
)
def test_rules_that_allow_come_first_among_overrides_and_entitlements(rule_type: str, first: str) -> None:
    """Worked case 3, and no more than that: ties keep their order."""
    rules = [rule(rule_type, id="a", value=False), rule(rule_type, id="b"), rule(rule_type, id="c")]

    assert check(flag(*rules), now=NOW).rule_id == first


def test_many_rules_keep_their_order() -> None:
    """The sort is stable for more than a handful as well."""
    rules = [rule(id=f"r{number}", priority=number % 3) for number in range(60)]
    seen = []
    while rules:
        seen.append(check(flag(*rules), now=NOW).rule_id)
        rules = [each for each in rules if each["id"] != seen[-1]]

    assert seen == [f"r{number}" for priority in range(3) for number in range(priority, 60, 3)]


def test_rules_of_entities_need_the_flag_id_and_rules_of_the_flag_do_not() -> None:
    """Worked case 4: a null flag id never equals, not even an empty one."""
    for flag_id in (None, "other", ""):
        assert check(flag(), company(rules=[rule("default", flag_id=flag_id)]), now=NOW).rule_id is None
        assert check(flag(rule("default", flag_id=flag_id)), now=NOW).rule_id == "rule_1"


@pytest.mark.parametrize(
    ("conditions", "groups", "is_held"),
    [
        ([], [], True),
        ([TRUE, TRUE], [], True),
        ([TRUE, FALSE], [], False),
        ([], [[FALSE, TRUE]], True),
        ([], [[FALSE, FALSE]], False),
        ([TRUE], [[TRUE], [FALSE]], False),
        ([], [[]], False),
    ],
)
def test_a_rule_holds(conditions: list[Any], groups: list[list[Any]], is_held: bool) -> None:
    """Every condition, and one of every group; an empty group is false."""
    tested = rule("standard", *conditions, condition_groups=[{"conditions": group} for group in groups])

    assert check(flag(tested), company(), now=NOW).value is is_held
    assert check(flag({**tested, "rule_type": "default"}), company(), now=NOW).value is True


def test_rules_and_conditions_without_id_never_hold() -> None:
    """Empty ids, also where nothing else could fail."""
    assert not check(flag(rule("global_override", id="")), now=NOW).value
    assert not holds(condition("company", "ne", id="", resource_ids=[]), company())


def test_a_metric_without_value_spoils_its_rule_alone() -> None:
    """Worked case 16, and the next rule is still tried."""
    faulty = [condition("metric", event_subtype="ev"), condition("company", resource_ids=["co_1"])]
    rules = [
        rule("plan_entitlement", condition_groups=[{"conditions": faulty}]),
        rule("standard", id="next", condition_groups=[{"conditions": faulty[::-1]}]),
    ]

    assert check(flag(*rules), company(), now=NOW).rule_id == "next"
    assert not holds(condition("metric", "ne", event_subtype="ev"), None)


@pytest.mark.parametrize("condition_type", ["company", "user", "plan", "plan_version", "billing_product", "base_plan"])
def test_membership(condition_type: str) -> None:
    """Section 5: ``ne`` negates, other operators ask for membership; base_plan knows more operators."""
    ids: dict[str, Any] = {"plan_ids": ["x", "b"], "plan_version_ids": ["b"], "billing_product_ids": ["b", "b"]}
    owner, person = company(id="b", base_plan_id="b", **ids), user(id="b")

    def asked(operator: str, *resource_ids: str) -> bool:
        return holds(condition(condition_type, operator, resource_ids=list(resource_ids)), owner, person)

    assert asked("eq", "a", "b")
    assert not asked("eq", "a")
    assert not asked("eq")
    assert not asked("ne", "b", "a")
    assert asked("ne", "a")
    assert asked("ne")
    for operator in ("gt", "lte", "has"):
        assert asked(operator, "b") is (condition_type != "base_plan")
        assert not asked(operator, "a")
    assert asked("is_empty", "b") is (condition_type != "base_plan")
    assert asked("not_empty", "a") is (condition_type == "base_plan")


@pytest.mark.parametrize("operator", ["eq", "ne", "is_empty", "not_empty", "has"])
@pytest.mark.parametrize(
    "condition_type",
    ["company", "user", "plan", "plan_version", "billing_product", "base_plan", "metric", "trait", "credit", "weather"],
)
def test_conditions_about_nobody_are_false(condition_type: str, operator: str) -> None:
    """Worked case 5: absent entities, and condition types that do not exist."""
    tested = condition(condition_type, operator, event_subtype="ev", metric_value=0, credit_id="cr")

    assert not holds({**tested, "trait_definition": definition()})
    assert not holds({**tested, "condition_type": "weather"}, company(), user())


@pytest.mark.parametrize(
    ("operator", "base_plan", "is_true"),
    [
        *[("is_empty", None, True), ("is_empty", "", False), ("not_empty", "", True), ("not_empty", None, False)],
        *[("ne", None, True), ("eq", None, False), ("eq", "", True)],
    ],
)
def test_absent_base_plans(operator: str, base_plan: str | None, is_true: bool) -> None:
    """An empty base plan is present."""
    assert holds(condition("base_plan", operator, resource_ids=[""]), company(base_plan_id=base_plan)) is is_true


NUMBERS = [
    *[("9223372036854775807", "9223372036854775806", ">"), ("9223372036854775808", "9223372036854775807", "=")],
    *[("5.9", "5", ">"), ("1e3", "1000", "="), ("1000.0", "1000", "="), ("+5", "5", "="), ("05", "5", "=")],
    *[
        (text, "0", "=")
        for text in ("5 ", " 5", "1_000", "0x10", "\u0663", "inf", "nan", "1e999", "", ".", "e5", "1e", "--1")
    ],
    *[("9007199254740993", "9007199254740992.0", "="), (".5", "0", ">"), ("5.", "5", "="), ("-1", "-0.5", "<")],
    *[("-9223372036854775808", "-9223372036854775807", "<"), ("1E+2", "99", ">"), ("+-1", "0", "=")],
]


@pytest.mark.parametrize(("left", "right", "relation"), NUMBERS)
def test_numbers_in_text(left: str, right: str, relation: str) -> None:
    """The table of section 6.3, both ways round."""
    owner = company(traits=[trait(left, comparable_type="int")])
    true = {"=": {"eq", "gte", "lte"}, "<": {"ne", "lt", "lte"}, ">": {"ne", "gt", "gte"}}[relation]

    for operator in ("eq", "ne", "gt", "lt", "gte", "lte", "has"):
        assert holds(trait_condition(operator, right, "int"), owner) is (operator in true), operator


@pytest.mark.parametrize(
    ("kind", "left", "right", "true"),
    [
        ("string", "a", "b", {"ne", "lt", "lte", "not_empty"}),
        ("string", "\U0001f600", "\uffff", {"ne", "gt", "gte", "not_empty"}),
        ("string", "e\u0301", "\u00e9", {"ne", "lt", "lte", "not_empty"}),
        ("string", "A", "a", {"ne", "lt", "lte", "not_empty"}),
        ("string", "", "", {"eq", "gte", "lte", "is_empty"}),
        ("string", "ab", "abc", {"ne", "lt", "lte", "not_empty"}),
        ("int", "-5", "-5", {"eq", "gte", "lte"}),
        ("int", "0.5", "0", {"ne", "gt", "gte", "not_empty"}),
        ("int", "x", "y", {"eq", "gte", "lte", "is_empty"}),
        ("bool", "true", "1", {"eq", "not_empty"}),
        ("bool", "True", "true", {"ne", "not_empty"}),
        ("bool", "", " true", {"eq", "not_empty"}),
    ],
)
def test_operators_by_type(kind: str, left: str, right: str, true: set[str]) -> None:
    """The table of section 6.2; dates have tests of their own."""
    owner = company(traits=[trait(left, comparable_type=kind)])

    for operator in ("eq", "ne", "gt", "lt", "gte", "lte", "is_empty", "not_empty", "has"):
        assert holds(trait_condition(operator, right, kind), owner) is (operator in true), operator


def test_traits_are_found_by_id_and_compare_by_their_own_type() -> None:
    """Worked cases 7 and 9; the first of several counts, and the entity type inside a trait does not."""
    wide = company(traits=[trait("5", comparable_type="int"), trait("6")])

    assert holds(trait_condition("eq", "05"), wide)
    assert holds(trait_condition("gt", "-5", "int"), company())
    assert holds(trait_condition("eq", "", trait_definition=definition("tr_1", "string", "user")), wide, user())
    assert not holds(condition("trait", "is_empty"), wide)
    assert holds(trait_condition("eq", "x"), company(traits=[{"value": "y"}, trait("x")]))


def test_an_empty_trait_id_finds_nothing_and_compares_as_string() -> None:
    """The quirk of section 6.1, on both sides."""
    owner = company(traits=[trait("5", "", "int"), trait("7")])

    assert holds(condition("trait", "is_empty", trait_definition=definition("", "int")), owner)
    assert holds(trait_condition("eq", "7", comparison_trait_definition=definition("")), owner)


def test_a_comparison_trait_never_falls_back() -> None:
    """Worked case 8; it is looked up in the entity of the condition, whatever its own definition says."""
    given = {"comparison_trait_definition": definition("limit", "int", "user")}
    owner = company(traits=[trait("7", comparable_type="int")])
    limited = company(traits=[trait("7", comparable_type="int"), trait("7.0", "limit")])

    assert not holds(trait_condition("eq", "7", "int", **given), owner)
    assert holds(trait_condition("gt", "7", "int", **given), owner)
    assert holds(trait_condition("eq", "9", "int", **given), limited, user(traits=[trait("1", "limit")]))


@pytest.mark.parametrize(
    ("kind", "value", "usage", "becomes"),
    [
        *[("int", "5", 3, "8"), ("int", "5.9", 3, "3"), ("int", "5.9", 0, "5.9"), ("string", "5", 3, "5")],
        *[("int", "9223372036854775807", 1, "-9223372036854775808"), ("int", "5", 1.2, "7")],
    ],
)
def test_usage_ahead_counts_towards_integer_traits(kind: str, value: str, usage: float, becomes: str) -> None:
    """Step 5 of section 6.1: strict integers only, wrapping; events never touch traits."""
    owner = company(traits=[trait(value, comparable_type=kind)])
    event = {"event_subtype": "ev", "quantity": 9}

    assert holds(trait_condition("eq", becomes, kind), owner, usage=usage)
    assert holds(trait_condition("eq", value, kind), owner, event_usage=event)


def test_a_metric_compares_with_a_missing_trait_as_zero_but_keeps_its_allocation() -> None:
    """Worked case 10."""
    given = {"event_subtype": "ev", "metric_value": 5, "comparison_trait_definition": definition("missing")}
    owner = company(metrics=[metric(3)])

    assert not check(flag(rule("plan_entitlement", condition("metric", "lt", **given))), owner, now=NOW).value
    result = check(flag(rule("plan_entitlement", condition("metric", "gt", **given))), owner, now=NOW)
    assert (result.value, result.feature_allocation, result.feature_usage) == (True, 5, 3)


def test_the_reason_quotes_name_and_id_without_escaping() -> None:
    """Section 11.1."""
    tested = rule("plan_entitlement_usage_exceeded", name='a "b"\n', id="r_(1)")

    assert check(flag(tested), now=NOW).reason == 'Matched plan entitlement usage exceeded rule "a "b"\n" (r_(1))'
