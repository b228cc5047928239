"""Credit conditions and spend policies (rules-engine.md sections 9 and 10)."""

from __future__ import annotations

from typing import Any

import pytest

from schematic_core.rules import check
from tests.rules.models import NOW, company, condition, flag, holds, policy, rule, user


def draw(rate: float | None = 2, operator: str = "eq", **changes: Any) -> dict[str, Any]:
    return condition("credit", operator, credit_id="cr", consumption_rate=rate, **changes)


def owner(balance: float | None = 100, postpaid: Any = None, *policies: dict[str, Any]) -> dict[str, Any]:
    return company(
        credit_balances={} if balance is None else {"cr": balance},
        credit_postpaid=None if postpaid is None else {"cr": postpaid},
        credit_spend_policies=list(policies),
    )


@pytest.mark.parametrize(
    ("balance", "postpaid", "rate", "options", "is_funded"),
    [
        (2.0, None, 2, {}, True),
        (1.9999, None, 2, {}, False),
        (None, None, 0, {}, False),
        (0, None, 0, {"credit_cost": {"cr": 0}}, True),
        (0, None, 0, {"credit_cost": {"cr": -0.0}}, True),
        (-1, None, -1, {}, True),
        (1, {}, 2, {}, True),
        (1, {"overdraft_limit": None}, 2, {}, True),
        (1, {"overdraft_limit": 1}, 2, {}, True),
        (2.5, {"overdraft_limit": -1}, 2, {}, False),
        (100, None, 2, {"usage": 51}, False),
        (100, None, 2, {"usage": 50}, True),
        (1, None, None, {}, True),
        (5, None, 2, {"usage": 9, "event_usage": {"event_subtype": "ev", "quantity": 2}}, True),
        (5, None, 2, {"usage": 9, "event_usage": {"event_subtype": "other", "quantity": 2}}, False),
        (5, None, 2, {"usage": 9, "event_usage": {"event_subtype": "ev", "quantity": 0}}, False),
        (5, None, 2, {"usage": 9, "credit_cost": {"cr": 5.0}}, True),
        (5, None, 2, {"credit_cost": {"other": 9}}, True),
        (1e308, {"overdraft_limit": 1e308}, 1e308, {"usage": 9}, True),
        (0.3, None, 0.1, {"usage": 3}, False),
    ],
)
def test_a_draw_is_funded(
    balance: float | None, postpaid: Any, rate: float | None, options: dict[str, Any], is_funded: bool
) -> None:
    """The table of section 9 and the order in which costs apply; ``gt`` and ``gte`` turn it around."""
    held = owner(balance, postpaid)

    for operator in ("eq", "ne", "lt", "is_empty", "unheard_of"):
        assert holds(draw(rate, operator, event_subtype="ev"), held, **options) is is_funded
    for operator in ("gt", "gte"):
        assert holds(draw(rate, operator, event_subtype="ev"), held, **options) is not is_funded


@pytest.mark.parametrize("operator", ["eq", "ne", "gt"])
def test_a_draw_needs_a_company_and_a_credit(operator: str) -> None:
    """Without one, the condition is false whatever the operator."""
    assert not holds(draw(operator=operator), None, user())
    assert not holds(condition("credit", operator), owner())


def denied(*policies: dict[str, Any], person: dict[str, Any] | None = None, **options: Any) -> str | None:
    """The reason of a denial by a policy, None when the draw was allowed."""
    result = check(flag(rule("standard", draw())), owner(100, None, *policies), person, now=NOW, **options)
    assert result.value is (result.credit_spend_policy is None)
    return None if result.value else result.reason


@pytest.mark.parametrize(
    ("changes", "is_denied"),
    [
        ({"limit": 1.9}, True),
        ({"limit": 2}, False),
        ({"limit": None}, False),
        ({"limit": 1, "kind": "monthly"}, False),
        ({"limit": 1, "credit_id": "other"}, False),
        ({"limit": 1, "scope": "user"}, False),
        ({"limit": 1, "scope": "galaxy"}, True),
        ({"limit": 1, "company_id": "elsewhere"}, True),
        ({"limit": 10, "kind": "window", "consumed": 9}, True),
        ({"limit": 10, "kind": "window", "consumed": 8}, False),
        ({"limit": 10, "kind": "window", "consumed": 9, "resets_at": "2023-11-14T00:00:00.001Z"}, True),
        ({"limit": 10, "kind": "window", "consumed": 9, "resets_at": "2023-11-14T00:00:00Z"}, False),
        ({"limit": 10, "kind": "window", "consumed": 9, "resets_at": "2023-11-13 00:00:00"}, True),
        ({"limit": 10, "kind": "window", "consumed": None}, False),
    ],
)
def test_a_policy_of_the_company_denies_a_draw_of_two(changes: dict[str, Any], is_denied: bool) -> None:
    """Kinds, limits, windows and scopes as in sections 10.1 and 10.2."""
    assert (denied(policy(**changes)) is not None) is is_denied


@pytest.mark.parametrize(
    ("changes", "is_denied"),
    [
        ({}, True),
        ({"scope": "company"}, False),
        ({"company_id": "co_1"}, True),
        ({"company_id": "elsewhere"}, False),
        ({"company_id": ""}, False),
    ],
)
def test_a_policy_of_the_user_denies_a_draw(changes: dict[str, Any], is_denied: bool) -> None:
    """The user's list: any scope but company, for this company or all."""
    person = user(credit_spend_policies=[policy(1, **{"scope": "user", **changes})])

    assert (denied(person=person) is not None) is is_denied


@pytest.mark.parametrize(
    ("changes", "options", "reason"),
    [
        (
            {"limit": 10, "kind": "window", "consumed": 9, "window": {"unit": "day"}},
            {},
            "A draw of 2 credits exceeds the company limit of 10 credits per day",
        ),
        (
            {"limit": 0, "kind": "window", "scope": "galaxy"},
            {"credit_cost": {"cr": 1}},
            "A draw of 1 credit exceeds the spend limit of 0 credits per period",
        ),
        ({"limit": 1, "scope": "group"}, {}, "A draw of 2 credits exceeds the group limit of 1 credit per request"),
        (
            {"limit": -1, "kind": "window", "window": {"unit": "all_time", "count": 1}},
            {"credit_cost": {"cr": 3e-7}},
            "A draw of 0.0000003 credits exceeds the company limit of -1 credits per all time",
        ),
        (
            {"limit": 0.1, "kind": "window", "window": {"unit": "day", "count": 2}},
            {"credit_cost": {"cr": 0.30000000000000004}},
            "A draw of 0.30000000000000004 credits exceeds the company limit of 0.1 credits per 2 days",
        ),
        (
            {"limit": 1, "kind": "window", "window": {"unit": "week", "count": 0}},
            {"credit_cost": {"cr": 3e21}},
            "A draw of 3000000000000000000000 credits exceeds the company limit of 1 credit per 0 weeks",
        ),
        (
            {"limit": 1, "kind": "window", "window": {"unit": "month", "count": -1}},
            {},
            "A draw of 2 credits exceeds the company limit of 1 credit per -1 months",
        ),
        (
            {"limit": 1, "kind": "window", "window": {"unit": None, "count": 3}},
            {},
            "A draw of 2 credits exceeds the company limit of 1 credit per period",
        ),
        (
            {"limit": 9.700000099999999},
            {"usage": 9},
            "A draw of 18 credits exceeds the company limit of 9.700000099999999 credits per request",
        ),
    ],
)
def test_the_reason_names_draw_limit_and_span(changes: dict[str, Any], options: dict[str, Any], reason: str) -> None:
    """The wording of section 10.4."""
    assert denied(policy(**changes), **options) == reason


def test_the_first_breached_policy_is_echoed_as_it_was_given() -> None:
    """Company before user; absent fields are left out, instants are not rewritten."""
    first = policy(
        1, label="Cap", window={"unit": "day", "count": None}, resets_at="2024-01-01T00:00:00+02:00", extra=1
    )
    person = user(credit_spend_policies=[policy(0, id="pol_2", scope="user")])

    result = check(flag(rule("standard", draw())), owner(100, None, first, policy(1, id="pol_3")), person, now=NOW)

    assert result.credit_spend_policy == {
        "cost": 2.0,
        "policy": {
            "id": "pol_1",
            "credit_id": "cr",
            "kind": "per_draw",
            "scope": "company",
            "label": "Cap",
            "limit": 1.0,
            "consumed": 0.0,
            "window": {"unit": "day"},
            "resets_at": "2024-01-01T00:00:00+02:00",
        },
    }


@pytest.mark.parametrize(
    ("rate", "options", "cost"),
    [
        (-0.0, {"event_usage": {"event_subtype": "ev", "quantity": 2}}, "0"),
        (-1e-300, {"event_usage": {"event_subtype": "ev", "quantity": 2}}, "-0." + "0" * 299 + "2"),
        (-0.0, {"usage": 2}, "-0"),
        (-0.0, {}, "-0"),
        (2, {"credit_cost": {"cr": -0.0}}, "-0"),
    ],
)
def test_a_cost_by_events_is_never_a_negative_zero(rate: float, options: dict[str, Any], cost: str) -> None:
    """It is the start of a sum; the other costs keep their sign."""
    asked = flag(rule("standard", draw(rate, event_subtype="ev")))

    result = check(asked, owner(100, None, policy(-1)), now=NOW, **options)

    assert result.reason == f"A draw of {cost} credits exceeds the company limit of -1 credits per request"
    assert result.credit_spend_policy is not None
    assert str(result.credit_spend_policy["cost"]).startswith("-") is cost.startswith("-")


def test_an_infinite_cost_is_echoed_as_null() -> None:
    """JSON has no infinity."""
    result = check(flag(rule("standard", draw(1e308))), owner(1, None, policy(1)), now=NOW, usage=100)

    assert result.credit_spend_policy is not None
    assert result.credit_spend_policy["cost"] is None


BREACH = "A draw of 2 credits exceeds the company limit of 1 credit per request"


@pytest.mark.parametrize(
    ("rules", "default", "value", "reason"),
    [
        ([rule("plan_entitlement", draw()), rule("default", value=False, id="rule_2")], False, False, BREACH),
        (
            [rule("plan_entitlement", draw()), rule("standard", value=False, id="rule_2")],
            False,
            False,
            'Matched standard rule "Pro" (rule_2)',
        ),
        ([rule("plan_entitlement", draw())], True, True, "No rules matched; default value for flag"),
        ([rule("plan_entitlement", draw())], False, False, BREACH),
        ([rule("plan_entitlement_usage_exceeded", draw(operator="gt"), value=False)], False, False, BREACH),
        (
            [rule("plan_entitlement", draw()), rule("plan_entitlement_usage_exceeded", value=False, id="rule_2")],
            False,
            False,
            'Matched plan entitlement usage exceeded rule "Pro" (rule_2)',
        ),
        (
            [rule("plan_entitlement", draw()), rule("default", id="rule_2")],
            False,
            True,
            'Matched default rule "Pro" (rule_2)',
        ),
        (
            [rule("standard", condition("company", resource_ids=[]), draw())],
            False,
            False,
            "No rules matched; default value for flag",
        ),
    ],
)
def test_a_breach_explains_a_denial_it_caused(
    rules: list[dict[str, Any]], default: bool, value: bool, reason: str
) -> None:
    """The table of section 10.4; rule and usage fields stay as they were set."""
    result = check(flag(*rules, default_value=default), owner(100, None, policy(1)), now=NOW)

    assert (result.value, result.reason) == (value, reason)
    assert (result.credit_spend_policy is not None) is (reason == BREACH)


def test_a_usage_exceeded_rule_without_policy_gives_its_own_reason() -> None:
    """Too small a balance is no breach."""
    result = check(flag(rule("plan_entitlement_usage_exceeded", draw(operator="gt"), value=False)), owner(1), now=NOW)

    assert (result.value, result.reason) == (False, 'Matched plan entitlement usage exceeded rule "Pro" (rule_1)')


def test_a_breach_is_kept_even_when_the_balance_would_not_have_sufficed() -> None:
    """The first breach of the first rule that did not hold, whatever else went wrong there."""
    rules = [rule("standard", draw(7), priority=1), rule("standard", draw(3), priority=2, id="rule_2")]

    result = check(flag(*rules), owner(0, None, policy(1)), now=NOW)

    assert result.reason == "A draw of 7 credits exceeds the company limit of 1 credit per request"
