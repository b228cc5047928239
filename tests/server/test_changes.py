"""Companies, users, plans and overrides change through the real endpoints, and the answers follow."""

from __future__ import annotations

import pytest

from tests.server.conftest import Api


def test_a_plan_change_opens_what_a_limit_had_closed(api: Api) -> None:
    """The demo's main turn: denied at the free limit, allowed on the larger plan."""
    api.track("export_created", "tiny", quantity=2)
    assert api.check("exports", "tiny")["value"] is False

    company = api("PUT", "/company-plans/comp_tiny", 200, json={"base_plan_id": "plan_pro", "add_on_ids": []})

    assert company["plan"]["id"] == "plan_pro"
    found = api.check("exports", "tiny")
    assert (found["value"], found["feature_usage"], found["feature_allocation"]) == (True, 2, 5)


def test_without_a_base_plan_nothing_is_entitled(api: Api) -> None:
    """Leaving the base plan out takes the company off its plan."""
    company = api("PUT", "/company-plans/comp_acme", 200, json={"add_on_ids": []})

    assert "plan" not in company
    assert api.check("reports")["value"] is False


def test_an_add_on_adds_its_entitlements(api: Api) -> None:
    """Of two plans that give the same feature the more generous counts."""
    body = {"base_plan_id": "plan_free", "add_on_ids": ["plan_pro"]}

    company = api("PUT", "/company-plans/comp_tiny", 200, json=body)

    assert [one["id"] for one in company["add_ons"]] == ["plan_pro"]
    found = api.check("exports", "tiny")
    assert (found["value"], found["entitlement"]["allocation"]) == (True, 5)


def test_an_override_counts_before_the_plan(api: Api) -> None:
    """A higher limit opens, and its period is the plan's; taking it back closes again."""
    api.track("export_created", quantity=5)
    body = {"company_id": "comp_acme", "feature_id": "feat_exports", "value_type": "numeric", "value_numeric": 7}

    override = api("POST", "/company-overrides", 201, json=body)
    opened = api.check("exports")
    api("DELETE", f"/company-overrides/{override['id']}", 200)
    closed = api.check("exports")

    assert (opened["rule_type"], opened["feature_allocation"]) == ("company_override", 7)
    assert opened["feature_usage_period"] == "current_month"
    assert (closed["value"], closed["feature_allocation"]) == (False, 5)


def test_a_lower_override_denies_although_the_plan_would_allow(api: Api) -> None:
    """The plan's own rules leave out a company with its own limit."""
    api.track("export_created", quantity=3)
    body = {"company_id": "comp_acme", "feature_id": "feat_exports", "value_type": "numeric", "value_numeric": 2}

    override = api("POST", "/company-overrides", 201, json=body)
    denied = api.check("exports")
    api("PUT", f"/company-overrides/{override['id']}", 200, json={"value_type": "unlimited"})
    unlimited = api.check("exports")

    assert denied["rule_type"] == "company_override_usage_exceeded"
    assert (unlimited["value"], unlimited["rule_type"]) == (True, "company_override")


def test_an_override_can_take_a_feature_away(api: Api) -> None:
    """A false boolean wins over the plan."""
    body = {"company_id": "comp_acme", "feature_id": "feat_reports", "value_type": "boolean", "value_bool": False}

    api("POST", "/company-overrides", 201, json=body)

    assert (api.check("reports")["value"], api.check("reports")["rule_type"]) == (False, "company_override")


def test_an_override_expires_by_the_clock(api: Api) -> None:
    """After its date the plan counts again, and the override is gone."""
    now = api("GET", "/_dev/clock", 200)["now"]
    body = {"company_id": "comp_tiny", "feature_id": "feat_reports", "value_type": "boolean", "value_bool": True}
    api("POST", "/company-overrides", 400, json={**body, "expiration_date": now})
    api("POST", "/company-overrides", 201, json={**body, "expiration_date": f"{int(now[:4]) + 1}{now[4:]}"})
    assert api.check("reports", "tiny")["value"] is True

    api("POST", "/_dev/clock/advance", 200, json={"seconds": 367 * 86400})

    assert api.check("reports", "tiny")["value"] is False
    assert api("GET", "/company-overrides", 200) == []


def test_an_override_may_take_its_limit_from_a_trait(api: Api) -> None:
    """The company's trait is the allocation."""
    body = {"company_id": "comp_acme", "feature_id": "feat_exports", "value_type": "trait"}

    api("POST", "/company-overrides", 201, json={**body, "value_trait_id": "trait_company_seats"})

    assert api.check("exports")["feature_allocation"] == 4


def test_an_override_may_grant_by_credits(api: Api) -> None:
    """The credit's balance decides."""
    body = {
        "company_id": "comp_acme",
        "feature_id": "feat_exports",
        "value_type": "credit",
        "value_credit_id": "bcrd_ai",
    }

    api("POST", "/company-overrides", 201, json={**body, "credit_consumption_rate": 3})

    assert (api.check("exports")["value"], api.check("tokens")["value"]) == (False, True)


def test_upserting_creates_then_merges(api: Api) -> None:
    """Keys and traits are merged, a null trait is removed, a key can be removed by its name."""
    made = api("POST", "/companies", 200, json={"keys": {"id": "new"}, "name": "New", "traits": {"a": 1, "b": "x"}})
    body = {"keys": {"id": "new", "ref": "n1"}, "traits": {"a": None, "c": True}, "base_plan_id": "plan_pro"}

    changed = api("POST", "/companies", 200, json=body)
    api("POST", "/companies", 200, json={"keys": {"ref": "n1"}, "remove_keys": ["id"]})

    assert changed["id"] == made["id"]
    assert (changed["name"], changed["traits"], changed["plan"]["id"]) == ("New", {"b": "x", "c": True}, "plan_pro")
    assert api("GET", "/companies/lookup", 200, params={"keys[ref]": "n1"})["id"] == made["id"]
    assert api("GET", "/companies/lookup", 404, params={"keys[id]": "new"})["error"] == "company not found"


def test_a_key_moves_to_who_claims_it_unless_that_is_forbidden(api: Api) -> None:
    """``prevent_key_remap`` refuses; without it the pair has one owner, the last to claim it."""
    body = {"keys": {"id": "tiny", "ref": "a1"}}
    api("POST", "/companies", 400, json={**body, "prevent_key_remap": True})

    api("POST", "/companies", 200, json=body)

    assert api("GET", "/companies/lookup", 200, params={"keys[ref]": "a1"})["id"] == "comp_tiny"
    assert [one["key"] for one in api("GET", "/companies/comp_acme", 200)["keys"]] == ["id"]


def test_a_user_joins_companies_by_id_and_by_keys(api: Api) -> None:
    """A company given by keys that nobody has is created, as ``identify`` does."""
    body = {"keys": {"id": "bo"}, "company": {"id": "fresh"}, "company_ids": ["comp_acme"]}

    user = api("POST", "/users", 200, json=body)

    assert [one["company"]["name"] for one in user["company_memberships"]] == ["acme", "fresh"]
    assert api("GET", "/companies/comp_acme", 200)["user_count"] == 2
    assert api("POST", "/users", 404, json={"keys": {"id": "bo"}, "company_id": "comp_none"})["error"]


def test_deleting_a_company_leaves_its_users(api: Api) -> None:
    """The membership goes, the user stays; the keys are free again."""
    assert api("DELETE", "/companies/comp_acme", 200) == {"deleted": True}

    assert api("GET", "/users/user_ada", 200)["company_memberships"] == []
    assert api("POST", "/companies/create", 201, json={"keys": {"id": "acme"}})["id"] != "comp_acme"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/companies", {"keys": {}}, 400),
        ("POST", "/companies", {"keys": {"id": 1}}, 400),
        ("POST", "/companies", {"keys": {"id": "x"}, "update_only": True}, 404),
        ("POST", "/companies", {"keys": {"id": "x"}, "id": "comp_none"}, 404),
        ("POST", "/companies", {"keys": {"id": "x"}, "base_plan_id": "plan_none"}, 400),
        ("POST", "/companies", {"keys": {"id": "x"}, "base_plan_price_id": "bilpp_1"}, 501),
        ("POST", "/companies/create", {"keys": {"id": "acme"}}, 400),
        ("POST", "/companies/delete", {"keys": {"id": "nobody"}}, 404),
        ("PUT", "/company-plans/comp_none", {"add_on_ids": []}, 404),
        ("PUT", "/company-plans/comp_acme", {"base_plan_id": "plan_pro"}, 400),
        ("PUT", "/company-plans/comp_acme", {"add_on_ids": ["plan_none"]}, 400),
        (
            "POST",
            "/company-overrides",
            {"company_id": "comp_acme", "feature_id": "feat_x", "value_type": "boolean"},
            400,
        ),
        (
            "POST",
            "/company-overrides",
            {"company_id": "comp_x", "feature_id": "feat_reports", "value_type": "boolean"},
            404,
        ),
        (
            "POST",
            "/company-overrides",
            {"company_id": "comp_acme", "feature_id": "feat_exports", "value_type": "numeric"},
            400,
        ),
        (
            "POST",
            "/company-overrides",
            {"company_id": "comp_acme", "feature_id": "feat_exports", "value_type": "odd"},
            400,
        ),
        ("GET", "/company-overrides/cmov_none", None, 404),
        ("GET", "/users/user_none", None, 404),
        ("GET", "/companies?limit=ten", None, 400),
        ("GET", "/companies?with_subscription=true", None, 501),
    ],
)
def test_what_cannot_be_done_is_refused(steady: Api, method: str, path: str, body: object, status: int) -> None:
    """The refusal is the API's error envelope, and nothing has changed."""
    before = steady("GET", "/_dev/state", 200)["companies"]

    refused = steady(method, path, status, json=body)

    assert refused["error"]
    assert [one["updated_at"] for one in steady("GET", "/_dev/state", 200)["companies"]] == [
        one["updated_at"] for one in before
    ]
