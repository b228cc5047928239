"""Flag checks over the local server."""

from __future__ import annotations

import pytest

from tests.server.conftest import Api


def test_a_plan_opens_its_features(steady: Api) -> None:
    """The verdict names the plan's rule, and the company that was found by its keys."""
    found = steady.check("reports")

    assert found["value"] is True
    assert found["reason"] == 'Matched plan entitlement rule "Pro" (rule_pro_reports)'
    assert found["company_id"] == "comp_acme"
    assert found["entitlement"] == {"feature_id": "feat_reports", "feature_key": "reports", "value_type": "boolean"}
    assert steady.check("reports", "tiny")["value"] is False


def test_usage_moves_until_the_limit_denies(api: Api) -> None:
    """The last unit is allowed, the next is refused by the usage-exceeded rule."""
    api.track("export_created", quantity=4)
    before = api.check("exports")
    api.track("export_created")
    after = api.check("exports")

    assert (before["value"], before["feature_usage"], before["feature_allocation"]) == (True, 4, 5)
    assert (after["value"], after["rule_type"]) == (False, "plan_entitlement_usage_exceeded")
    assert after["entitlement"]["usage"] == 5
    assert after["entitlement"]["metric_reset_at"] == after["feature_usage_reset_at"]


def test_a_trait_is_the_usage_of_its_feature(api: Api) -> None:
    """Seats are counted by the trait, and denied when it reaches the limit."""
    assert api.check("seats")["feature_usage"] == 4

    api("POST", "/companies", 200, json={"keys": {"id": "acme"}, "traits": {"seats": 10}})

    assert api.check("seats")["rule_type"] == "plan_entitlement_usage_exceeded"


def test_events_draw_credits_until_none_are_left(api: Api) -> None:
    """Two credits at half a credit each allow four events."""
    api.track("tokens", quantity=3)
    assert api.check("tokens")["value"] is True
    assert api.check("tokens")["entitlement"]["credit_remaining"] == 0.5

    api.track("tokens")

    assert api.check("tokens")["value"] is False
    assert (
        api("POST", "/flags/check", 201, json={"company": {"id": "acme"}})["credit_balances"]["bcrd_ai"]["remaining"]
        == 0
    )


def test_preflight_asks_about_usage_that_is_not_recorded(steady: Api) -> None:
    """The simulated usage decides, the figures stay the recorded ones."""
    assert steady.check("exports", preflight={"usage": 4})["value"] is True

    refused = steady.check("exports", preflight={"usage": 5})
    by_event = steady.check("exports", preflight={"event_usage": {"event_subtype": "export_created", "quantity": 5}})
    by_cost = steady.check("tokens", preflight={"credit_cost": {"bcrd_ai": 2.5}})

    assert (refused["value"], refused["feature_usage"]) == (False, 0)
    assert by_event["value"] is False
    assert by_cost["value"] is False


def test_bulk_checks_keep_the_order_of_contexts_and_their_preflight(steady: Api) -> None:
    """Nothing but the order ties an entry to its context."""
    contexts = [
        {"company": {"id": "tiny"}},
        {"company": {"id": "acme"}},
        {"company": {"id": "acme"}, "preflight": {"usage": 5}},
    ]

    data = steady("POST", "/flags/check-bulk", 201, json={"contexts": contexts})["data"]

    exports = [next(one for one in entry["flags"] if one["flag"] == "exports") for entry in data]
    assert [one["value"] for one in exports] == [True, True, False]
    assert [one["company_id"] for one in exports] == ["comp_tiny", "comp_acme", "comp_acme"]
    assert [entry["plan"]["id"] for entry in data] == ["plan_free", "plan_pro", "plan_pro"]


def test_every_flag_is_checked_at_once(steady: Api) -> None:
    """Own rules are evaluated beside the plans', for company and user."""
    data = steady("POST", "/flags/check", 201, json={"company": {"id": "acme"}, "user": {"id": "ada"}})

    values = {one["flag"]: one["value"] for one in data["flags"]}
    assert values == {
        "new-nav": True, "on-by-default": True, "exports": True, "daily": True, "reports": True, "seats": True, "tokens": True,
    }  # fmt: skip
    assert {one["user_id"] for one in data["flags"]} == {"user_ada"}


@pytest.mark.parametrize("body", [{}, {"company": None, "user": None}, {"company": {}, "user": {}}])
def test_without_context_the_default_is_answered(steady: Api, body: dict[str, object]) -> None:
    """No keys at all: the flag's own default, and the reason says why."""
    found = steady("POST", "/flags/on-by-default/check", 200, json=body)

    assert found["value"] is True
    assert found["reason"] == "No company or user context; default value for flag"


def test_an_unknown_company_is_evaluated_without_one(steady: Api) -> None:
    """Unknown keys are no error: the rules run with neither company nor user."""
    found = steady.check("reports", "nobody")

    assert (found["value"], found["reason"]) == (False, "No rules matched; default value for flag")
    assert "company_id" not in found


def test_keys_of_two_companies_address_none(steady: Api) -> None:
    """An answer for one of two customers would be an answer across tenants."""
    found = steady("POST", "/flags/reports/check", 200, json={"company": {"id": "tiny", "ref": "a1"}})

    assert "company_id" not in found


@pytest.mark.parametrize("key", ["nope", "a%2Fb", "..%2Fflags", "%F0%9F%8E%89", "a%3Flimit=1"])
def test_an_unknown_flag_is_an_answer(steady: Api, key: str) -> None:
    """It is false and says so, whatever the key is made of."""
    found = steady("POST", f"/flags/{key}/check", 200, json={"company": {"id": "acme"}})

    assert (found["value"], found["reason"]) == (False, "Flag not found")
