"""Event ingestion: both endpoints, the capture form, duplicates, and windows that roll over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.server.conftest import Api


def _track(quantity: int = 1, **more: object) -> dict[str, object]:
    return {
        "type": "track",
        "body": {"event": "export_created", "company": {"id": "acme"}, "quantity": quantity},
        **more,
    }


def test_the_capture_form_counts_as_the_api_does(api: Api) -> None:
    """``/batch``, ``/event-batch`` and ``/events`` move the same metric."""
    api("POST", "/batch", 200, json={"events": [_track(1, api_key="k"), _track(1, api_key="k")]})
    event = {"event_type": "track", "body": {"event": "export_created", "company": {"ref": "a1"}}}
    api("POST", "/event-batch", 201, json={"events": [event]})
    api("POST", "/events", 201, json=event)

    assert api.check("exports")["feature_usage"] == 4


def test_a_repeat_of_an_idempotency_key_is_dropped_for_a_day(api: Api) -> None:
    """Keys are compared within one type, and forgotten after 24 hours."""
    for _ in range(2):
        api.track("export_created", idempotency_key="k1")
    api(
        "POST", "/events", 201, json={"event_type": "identify", "body": {"keys": {"id": "bo"}}, "idempotency_key": "k1"}
    )
    api("POST", "/_dev/clock/advance", 200, json={"seconds": 86401})
    api.track("report_run", idempotency_key="k1")

    effects = [one["effect"] for one in api("GET", "/_dev/events", 200)]
    assert effects == ["counted", "duplicate", "upserted", "counted"]


def test_identify_creates_a_user_in_its_company(api: Api) -> None:
    """Both are upserted, and the user becomes a member."""
    body = {
        "keys": {"id": "cy"},
        "name": "Cy",
        "traits": {"role": "dev"},
        "company": {"keys": {"id": "neu"}, "name": "Neu"},
    }

    api("POST", "/events", 201, json={"event_type": "identify", "body": body})

    user = api("GET", "/users/lookup", 200, params={"keys[id]": "cy"})
    assert (user["name"], user["traits"]) == ("Cy", {"role": "dev"})
    assert [one["company"]["name"] for one in user["company_memberships"]] == ["Neu"]


def test_track_for_an_unknown_company_has_no_effect(api: Api) -> None:
    """It is accepted and recorded; only ``identify`` creates."""
    api.track("export_created", "nobody")

    assert [one["effect"] for one in api("GET", "/_dev/events", 200)] == ["none"]
    assert api("GET", "/companies/count", 200) == {"count": 2}


def test_flag_checks_and_inference_are_accepted(api: Api) -> None:
    """A flag check is counted for its flag; an inference event counts the event it names."""
    check = {"type": "flag_check", "body": {"flag_key": "exports", "value": True, "reason": "r"}}
    tokens = {"provider": "p", "response_model": "m", "input_tokens": 3, "output_tokens": 4}
    inference = {"type": "inference", "body": {"company": {"id": "acme"}, "event": "report_run", **tokens}}

    api("POST", "/batch", 200, json={"events": [check, inference]})

    assert api("GET", "/_dev/state", 200)["flag_checks"] == {"exports": 1}
    assert api.check("daily")["feature_usage"] == 1


def test_usage_starts_anew_with_the_period(api: Api) -> None:
    """A day's limit opens the next day, a month's the next month; the months before do not count."""
    api("PUT", "/_dev/clock", 200, json={"now": "2027-01-30T12:00:00Z"})
    api.track("export_created", quantity=5)
    api.track("report_run", quantity=3)
    assert (api.check("exports")["value"], api.check("daily")["value"]) == (False, False)
    assert api.check("daily")["feature_usage_reset_at"].startswith("2027-01-31T00:00:00")

    api("POST", "/_dev/clock/advance", 200, json={"seconds": 86400})
    assert (api.check("exports")["value"], api.check("daily")["value"]) == (False, True)

    api("POST", "/_dev/clock/advance", 200, json={"seconds": 86400})
    assert (api.check("exports")["value"], api.check("exports")["feature_usage"]) == (True, 0)


def test_a_billing_cycle_resets_on_its_own_day(start: Callable[..., Api]) -> None:
    """The anchor is the subscription's, not the calendar's."""
    api = start(
        """
version: 1
features: {exports: {type: event, event: export_created}}
plans: {pro: {entitlements: {exports: {limit: 1, period: current_month, reset: billing_cycle}}}}
companies:
  acme:
    plan: pro
    subscription: {start: 2027-01-15T10:00:00Z, end: 2028-01-15T10:00:00Z}
"""
    )
    api("PUT", "/_dev/clock", 200, json={"now": "2027-02-14T12:00:00Z"})
    api.track("export_created")
    denied = api.check("exports")
    api("POST", "/_dev/clock/advance", 200, json={"seconds": 86400})

    assert (denied["value"], denied["feature_usage_reset_at"]) == (False, "2027-02-15T10:00:00+00:00")
    assert api.check("exports")["value"] is True


@pytest.mark.parametrize(
    ("options", "usage", "effect"),
    [
        ({"sent_at": "2027-01-31T23:00:00Z"}, 1, "counted"),
        ({"sent_at": "2027-01-31T23:00:00Z", "trusted_client_clock": True}, 0, "counted"),
        ({"sent_at": "2027-01-31T23:00:00Z", "backfill": True}, 0, "counted"),
        ({"sent_at": "2026-01-31T23:00:00Z", "trusted_client_clock": True}, 0, "none"),
        ({"sent_at": "2027-02-01T13:00:00Z", "trusted_client_clock": True}, 0, "none"),
    ],
)
def test_only_a_trusted_clock_dates_usage(api: Api, options: dict[str, Any], usage: int, effect: str) -> None:
    """Otherwise the receipt counts; a trusted time outside the window has no effect."""
    api("PUT", "/_dev/clock", 200, json={"now": "2027-02-01T12:00:00Z"})

    api.track("export_created", **options)

    assert api.check("exports")["feature_usage"] == usage
    assert [one["effect"] for one in api("GET", "/_dev/events", 200)] == [effect]


def test_a_batch_of_more_than_a_hundred_is_refused(api: Api) -> None:
    """The answer names the limit, and nothing is counted."""
    assert api("POST", "/batch", 200, json={"events": [_track()] * 100})

    refused = api("POST", "/batch", 400, json={"events": [_track()] * 101})

    assert refused == {"error": "batch too large", "max_size": 100}
    assert api.check("exports")["feature_usage"] == 100


@pytest.mark.parametrize(
    "bad",
    [
        {"type": "track", "body": {"event": ""}},
        {"type": "track", "body": {"event": "e", "quantity": 1.5}},
        {"type": "track", "body": {"event": "e", "quantity": 2**63}},
        {"type": "track", "body": {"event": "e", "company": {"id": 5}}},
        {"type": "track", "body": []},
        {"type": "track"},
        {"type": "identify", "body": {}},
        {"type": "identify", "body": {"keys": {"id": "x"}, "traits": "t"}},
        {"type": "odd", "body": {}},
        {"type": ["track"], "body": {}},
        {"body": {"event": "e"}},
        "track",
        None,
    ],
)
def test_one_bad_event_refuses_the_batch_before_any_has_effect(steady: Api, bad: object) -> None:
    """The answer names the event, so that the sender can tell which."""
    refused = steady("POST", "/batch", 400, json={"events": [_track(), bad]})

    assert "events[1]" in refused["error"]
    assert steady.check("exports")["feature_usage"] == 0
