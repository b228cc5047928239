"""Usage fields and the periods behind them (rules-engine.md sections 8 and 11.3)."""

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
    instant,
    metric,
    reset_of,
    rule,
    trait,
    trait_condition,
    user,
)


def subscription(start: str, end: str = "2030-01-01T00:00:00Z") -> dict[str, str]:
    return {"id": "sub", "period_start": start, "period_end": end}


@pytest.mark.parametrize(
    ("start", "now", "reset"),
    [
        ("2023-01-31T10:00:00Z", "2023-01-31T10:00:00Z", "2023-02-28T10:00:00+00:00"),
        ("2023-01-31T10:00:00Z", "2023-02-28T11:00:00Z", "2023-03-31T10:00:00+00:00"),
        ("2023-01-31T10:00:00Z", "2024-02-01T00:00:00Z", "2024-02-29T10:00:00+00:00"),
        ("2023-01-31T10:00:00Z", "2024-03-30T09:00:00Z", "2024-03-31T10:00:00+00:00"),
        ("2023-01-31T10:00:00Z", "2023-04-30T12:00:00Z", "2023-05-31T10:00:00+00:00"),
        ("2023-01-28T10:00:00Z", "2024-02-28T12:00:00Z", "2024-03-28T10:00:00+00:00"),
        ("2023-10-20T23:00:00-05:00", "2023-11-14T00:00:00Z", "2023-11-21T04:00:00+00:00"),
        ("2023-11-20T01:02:03.004005006Z", "2023-11-14T00:00:00Z", "2023-11-20T01:02:03.004005006+00:00"),
        ("2023-12-20T00:00:00Z", "2023-11-14T00:00:00Z", "2023-12-01T00:00:00+00:00"),
        ("2023-12-31T10:00:00.5Z", "2023-12-31T10:00:00.499Z", "2023-12-31T10:00:00.500+00:00"),
        ("2023-11-30T10:00:00.000001Z", "2023-12-31T00:00:00Z", "2024-01-30T10:00:00.000001+00:00"),
    ],
)
def test_a_billing_month_starts_at_the_anchor(start: str, now: str, reset: str) -> None:
    """The table of section 8.3, as the reset of a metric."""
    got = reset_of("current_month", "billing_cycle", now=instant(now), subscription=subscription(start))

    assert got == reset


@pytest.mark.parametrize(
    ("end", "reset"),
    [
        ("2023-11-18T05:00:00+02:00", "2023-11-18T03:00:00+00:00"),
        ("2023-11-01T00:00:00Z", "2023-11-01T00:00:00+00:00"),
        ("someday", None),
    ],
)
def test_a_billing_month_ends_with_the_subscription(end: str, reset: str | None) -> None:
    """An end before the next month is the reset, even in the past; an unreadable one leaves none."""
    given = subscription("2023-10-20T00:00:00Z", end)

    assert reset_of("current_month", "billing_cycle", now=NOW, subscription=given) == reset


def test_a_billing_month_without_subscription_is_a_calendar_month() -> None:
    """Nothing to anchor to."""
    assert reset_of("current_month", "billing_cycle", now=NOW) == "2023-12-01T00:00:00+00:00"
    assert reset_of("current_month", "billing_cycle", now=NOW, subscription=subscription("?")) is None


@pytest.mark.parametrize(
    ("period", "now", "reset"),
    [
        ("current_day", "2023-11-14T23:59:59.999Z", "2023-11-15T00:00:00+00:00"),
        ("current_day", "2024-02-28T00:00:00Z", "2024-02-29T00:00:00+00:00"),
        ("current_day", "1969-12-31T23:59:59Z", "1970-01-01T00:00:00+00:00"),
        ("current_week", "2023-11-14T12:00:00Z", "2023-11-19T00:00:00+00:00"),
        ("current_week", "2023-11-18T23:59:59Z", "2023-11-19T00:00:00+00:00"),
        ("current_week", "2023-11-19T00:00:00Z", "2023-11-26T00:00:00+00:00"),
        ("current_month", "2023-12-31T23:59:59Z", "2024-01-01T00:00:00+00:00"),
        ("current_month", "2023-11-14T01:00:00+02:00", "2023-12-01T00:00:00+00:00"),
        ("all_time", "2023-11-14T12:00:00Z", None),
    ],
)
def test_calendar_periods_start_anew_in_utc(period: str, now: str, reset: str | None) -> None:
    """The table of section 8.2; the reset setting does not matter to days and weeks."""
    assert reset_of(period, now=instant(now)) == reset
    if period in ("current_day", "current_week"):
        assert reset_of(period, "billing_cycle", now=instant(now)) == reset


def decided(tested: dict[str, Any], owner: dict[str, Any], rule_type: str = "plan_entitlement", **options: Any) -> Any:
    result = check(flag(rule(rule_type, tested)), owner, now=NOW, **options).to_dict()
    return {name.removeprefix("feature_"): value for name, value in result.items() if name.startswith("feature_")}


def test_a_metric_gives_its_usage_without_what_is_about_to_happen() -> None:
    """Preflight quantities decide the rule but are not part of the usage."""
    tested = condition("metric", "eq", event_subtype="ev", metric_value=7)

    got = decided(tested, company(metrics=[metric(5), metric(9)]), usage=2)

    assert got == {"usage": 5, "allocation": 7, "usage_event": "ev", "usage_period": "all_time"}


def test_a_trait_gives_the_strict_integer_of_the_company() -> None:
    """Also for a condition about the user; numbers that are no strict integers count as 0."""
    owner = company(traits=[trait("12", comparable_type="int")])
    about_user = trait_condition("ne", "100", "int", trait_definition=definition("tr_1", "int", "user"))

    assert decided(trait_condition("lt", "100", "int"), owner) == {"usage": 12, "allocation": 100}
    assert decided(trait_condition("lt", "1e3", "int"), owner) == {"usage": 12, "allocation": 0}
    person = user(traits=[trait("3", comparable_type="int")])
    seen = check(flag(rule("plan_entitlement", about_user)), owner, person, now=NOW)
    assert (seen.feature_usage, seen.feature_allocation) == (12, 100)


@pytest.mark.parametrize(("limit", "allocation"), [("8", 8), ("8.0", 50), (None, 50)])
def test_a_comparison_trait_replaces_the_allocation_when_it_is_readable(limit: str | None, allocation: int) -> None:
    """Missing or unreadable: the configured value stays."""
    traits = [] if limit is None else [trait(limit, "limit", "int")]
    tested = condition(
        "metric", "gte", event_subtype="ev", metric_value=50, comparison_trait_definition=definition("limit")
    )

    assert decided(tested, company(metrics=[metric(9)], traits=traits))["allocation"] == allocation


@pytest.mark.parametrize(
    ("rule_type", "has_usage"),
    [
        ("global_override", False),
        ("company_override", True),
        ("plan_entitlement", True),
        ("company_override_usage_exceeded", True),
        ("plan_entitlement_usage_exceeded", True),
        ("standard", False),
        ("default", False),
    ],
)
def test_only_rules_about_entitlements_give_usage(rule_type: str, has_usage: bool) -> None:
    """The four types of section 11.3."""
    got = decided(condition("metric", "gte", event_subtype="ev", metric_value=0), company(), rule_type)

    assert bool(got) is has_usage


def test_conditions_in_groups_give_no_usage() -> None:
    """Only the rule's own conditions decide, the first of them."""
    grouped = rule("plan_entitlement", condition_groups=[{"conditions": [trait_condition("eq", "")]}])
    ordered = rule(
        "plan_entitlement",
        trait_condition("eq", "0", "int"),
        condition("metric", "eq", event_subtype="ev", metric_value=0),
    )

    assert check(flag(grouped), company(), now=NOW).feature_usage is None
    assert check(flag(ordered), company(), now=NOW).feature_usage_event is None


@pytest.mark.parametrize(
    ("metric_value", "options", "is_equal"),
    [
        (7, {"usage": 2}, True),
        (7, {"usage": 3, "event_usage": {"event_subtype": "ev", "quantity": 2}}, True),
        (8, {"usage": 3, "event_usage": {"event_subtype": "ev", "quantity": 0}}, True),
        (8, {"usage": 3, "event_usage": {"event_subtype": "other", "quantity": 2}}, True),
        (5, {"event_usage": {"event_subtype": "other", "quantity": 2}}, True),
        (7, {"usage": 3}, False),
    ],
)
def test_metrics_look_ahead(metric_value: int, options: dict[str, Any], is_equal: bool) -> None:
    """The table of section 8.1 on a metric of 5."""
    tested = condition("metric", "eq", event_subtype="ev", metric_value=metric_value)

    assert holds(tested, company(metrics=[metric(5)]), **options) is is_equal


def test_looking_ahead_wraps_at_64_bits() -> None:
    """The sum of a metric and a quantity overflows into the negative numbers."""
    tested = condition("metric", "eq", event_subtype="ev", metric_value=-(2**63))

    assert holds(tested, company(metrics=[metric(2**63 - 1)]), usage=1)


@pytest.mark.parametrize(
    ("stored", "asked", "is_found"),
    [
        (("all_time", "first_of_month"), {}, True),
        (("all_time", "billing_cycle"), {}, False),
        (("all_time", "billing_cycle"), {"metric_period_month_reset": "billing_cycle"}, True),
        (("current_day", "first_of_month"), {"metric_period": "current_day"}, True),
        (("current_day", "first_of_month"), {"metric_period": "current_week"}, False),
        (("current_day", "first_of_month"), {"metric_period": None, "metric_period_month_reset": None}, False),
    ],
)
def test_metrics_are_found_by_event_period_and_reset(
    stored: tuple[str, str], asked: dict[str, Any], is_found: bool
) -> None:
    """All three must be equal, absent ones being all_time and first_of_month; a metric not found counts 0."""
    tested = condition("metric", "eq", event_subtype="ev", metric_value=5 if is_found else 0, **asked)

    assert holds(tested, company(metrics=[metric(5, "ev", *stored)]))


@pytest.mark.parametrize(("comparison", "limit"), [("tr_1", 4), ("missing", 0), ("", 0), ("unreadable", 0)])
def test_a_comparison_trait_replaces_the_metric_value(comparison: str, limit: int) -> None:
    """Also when it is missing or unreadable, and then by 0."""
    owner = company(metrics=[metric(limit)], traits=[trait("4"), trait("4.0", "unreadable")])
    given = definition(comparison, "int")

    assert holds(condition("metric", event_subtype="ev", metric_value=9, comparison_trait_definition=given), owner)


@pytest.mark.parametrize(
    ("value", "operator", "is_true"),
    [
        (0, "is_empty", True),
        (-5, "is_empty", False),
        (-5, "not_empty", False),
        (1, "not_empty", True),
        (1, "has", False),
    ],
)
def test_emptiness_of_metrics(value: int, operator: str, is_true: bool) -> None:
    """Empty is 0, not empty is above 0, and unknown operators are false."""
    tested = condition("metric", operator, event_subtype="ev", metric_value=1)

    assert holds(tested, company(metrics=[metric(value)])) is is_true
