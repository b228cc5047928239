"""Envelopes as typed events, and which answers each kind makes wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schematic_core.errors import WebhookSignatureError
from schematic_core.webhooks import Purge, affected, parse


def event_of(action: str, data: Any = None, **more: Any) -> bytes:
    return json.dumps({"action": action, "account_id": "acct", "body": data, **more}).encode()


def test_members_of_the_envelope_are_named() -> None:
    """Type, ids, data and the whole envelope are there."""
    body = event_of("entitlement.limit.reached", {"usage": 5}, company_id="comp_1", feature_id="feat_1", news=1)

    event = parse(body)

    assert (event.type, event.company_id, event.feature_id) == ("entitlement.limit.reached", "comp_1", "feat_1")
    assert event.data == {"usage": 5}
    assert event.raw["news"] == 1


def test_unknown_types_and_lean_bodies_survive() -> None:
    """A type of the future and a body with nulls are events like others."""
    event = parse(event_of("comet.landed", {"plans": None}))
    assert (event.type, event.data) == ("comet.landed", {"plans": None})
    assert parse(b'{"action":"company.deleted","company_id":7,"body":null}').company_id is None
    assert parse(b'{"action":"company.deleted","body":[1]}').data == {}


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"x"', b"{}", b'{"action":null}', b'{"action":""}', b"\xff", b'{"action":"\\ud800"}'],
)
def test_what_is_no_envelope_is_refused(body: bytes) -> None:
    """Only an object with an action is an event."""
    with pytest.raises(WebhookSignatureError) as caught:
        parse(body)
    assert caught.value.code == "malformed_body"


KEYS = [{"key": "id", "value": "acme"}, {"key": "slug", "value": 7}, "odd"]


@pytest.mark.parametrize(
    ("action", "data", "envelope", "purge"),
    [
        ("test.send", None, {}, None),
        ("plan.updated", {}, {}, Purge()),
        ("feature.deleted", {}, {}, Purge()),
        ("flag_rules.updated", {}, {"company_id": "comp_1"}, Purge()),
        ("plan.entitlement.created", {}, {}, Purge()),
        ("company.plan_changed", {}, {"company_id": "comp_1"}, Purge(company_id="comp_1")),
        ("company.updated", {"id": "comp_1", "keys": KEYS}, {}, Purge(company_id="comp_1", company={"id": "acme"})),
        ("company.override.created", {"id": "over_1", "company_id": "comp_1"}, {}, Purge(company_id="comp_1")),
        ("company.override.expired", {"id": "over_1"}, {}, Purge()),
        ("company.deleted", {}, {}, Purge()),
        ("entitlement.limit.reached", {}, {"company_id": "comp_1"}, Purge(company_id="comp_1")),
        ("credit.limit.reached", {"company_id": "comp_1"}, {}, Purge(company_id="comp_1")),
        ("user.updated", {"id": "user_1", "keys": KEYS}, {}, Purge(user_id="user_1", user={"id": "acme"})),
        ("user.deleted", {}, {}, Purge()),
        ("user.updated", {"id": "user_1", "keys": [{"key": [1], "value": "x"}, 5]}, {}, Purge(user_id="user_1")),
        ("comet.landed", {}, {}, Purge()),
        ("auto.topup.success", {"company": {"id": "comp_1"}}, {}, Purge(company_id="comp_1")),
        ("credit.purchase.success", {"company": "odd"}, {}, Purge()),
        (
            "company.updated",
            {"id": "comp_1", "keys": [{"key": "id", "value": "\ud800"}]},
            {},
            Purge(company_id="comp_1"),
        ),
    ],
)
def test_an_event_drops_what_it_concerns(action: str, data: Any, envelope: dict[str, Any], purge: Any) -> None:
    """One company's or user's answers, or all when the change is global or unclear."""
    assert affected(parse(event_of(action, data, **envelope))) == purge
