"""Identities as values, the meter's one settlement, and what a denial says."""

from __future__ import annotations

import json
import pickle
import threading
from datetime import datetime, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schematic_core.binding import Identity, Meter, Usage, problem, refusal
from schematic_core.errors import FeatureDenied
from schematic_core.values import CheckResult, Entitlement
from tests.support.fake_client import answer


def test_identities_compare_and_hash_by_value() -> None:
    """Keys in another order are the same keys; None is not given."""
    one = Identity(company={"id": "acme", "slug": "a"}, user={"id": None})
    two = Identity(company={"slug": "a", "id": "acme"})
    assert one == two
    assert hash(one) == hash(two)
    assert {one: 1}[two] == 1
    assert pickle.loads(pickle.dumps(one)) == one
    assert Identity(user={"id": UUID(int=1), "n": 7}) != Identity()


def test_an_identity_keeps_its_own_copy() -> None:
    """Changing the mapping it was made from changes nothing."""
    keys = {"id": "acme"}
    identity = Identity(company=keys)
    keys["id"] = "other"
    assert identity.company == {"id": "acme"}


@pytest.mark.parametrize("identity", [Identity(), Identity(company={}), Identity(company={"id": None}, user={})])
def test_an_identity_without_keys_is_anonymous(identity: Identity) -> None:
    """Empty keys identify nobody."""
    assert identity.is_anonymous
    assert not Identity(user={"id": 1}).is_anonymous


@given(st.lists(st.sampled_from(["add", "settle", "discard"])))
def test_usage_goes_out_once_in_order_or_not_at_all(steps: list[str]) -> None:
    """The first of settle and discard decides for what came before and what comes after."""
    sent: list[Usage] = []
    meter = Meter(sent.append)
    added: list[Usage] = []
    for number, step in enumerate(steps):
        if step == "add":
            added.append(Usage(str(number)))
            meter.add(added[-1])
        else:
            getattr(meter, step)()
    outcome = next((step for step in steps if step != "add"), None)
    assert sent == (added if outcome == "settle" else [])


@pytest.mark.parametrize(
    ("steps", "sent", "is_pending"),
    [
        (["add", "add"], [], True),
        (["add", "settle", "add"], ["0", "2"], False),
        (["add", "discard", "add"], [], False),
        (["add", "settle", "discard", "settle"], ["0"], False),
        (["add", "discard", "settle", "add"], [], False),
    ],
)
def test_the_first_outcome_stands(steps: list[str], sent: list[str], is_pending: bool) -> None:
    """Until then usage is pending; afterwards it goes at once or not at all."""
    out: list[str] = []
    meter = Meter(lambda usage: out.append(usage.event))

    for number, step in enumerate(steps):
        if step == "add":
            meter.add(Usage(str(number)))
        else:
            getattr(meter, step)()

    assert (out, meter.is_pending) == (sent, is_pending)


def test_usage_added_by_threads_while_settling_is_never_lost() -> None:
    """Whoever comes last empties the queue."""
    sent: list[Usage] = []
    meter = Meter(sent.append)

    def report() -> None:
        for _ in range(500):
            meter.add(Usage("e"))

    threads = [threading.Thread(target=report) for _ in range(4)]
    for thread in threads:
        thread.start()
    meter.settle()
    for thread in threads:
        thread.join(10.0)
    assert len(sent) == 2000


def denial(result: CheckResult, *, is_anonymous: bool = False, status: int | None = None) -> FeatureDenied:
    denied = refusal(result, is_anonymous=is_anonymous, status=status)
    assert denied is not None
    return denied


@pytest.mark.parametrize(
    ("facts", "code", "status"),
    [
        ({}, "not_entitled", 402),
        ({"rule_type": "standard"}, "not_entitled", 402),
        ({"rule_type": "plan_entitlement_usage_exceeded"}, "limit_reached", 402),
        ({"rule_type": "company_override_usage_exceeded"}, "limit_reached", 402),
        ({"credit_spend_policy": {"cost": 2.0, "policy": {}}}, "limit_reached", 402),
        ({"source": "default"}, "unavailable", 503),
    ],
)
def test_codes_follow_the_reason(facts: dict[str, Any], code: str, status: int) -> None:
    """Why it was denied decides code and status; a chosen status wins."""
    result = answer("exports", False, **facts)
    denied = denial(result)
    assert (denied.code, denied.status) == (code, status)
    assert denial(result, status=404).status == 404


def test_an_anonymous_denial_asks_for_an_identity_and_an_anonymous_allow_passes() -> None:
    """Logging in is what helps, even while nothing can answer."""
    assert refusal(answer("exports"), is_anonymous=True) is None
    for source in ("api", "default"):
        denied = denial(answer("exports", False, source=source), is_anonymous=True)
        assert (denied.code, denied.status) == ("no_identity", 401)


def test_a_problem_tells_the_features_own_numbers_and_no_more() -> None:
    """Usage, allocation and reset come from the rule that held, ready for JSON."""
    resets_at = datetime(2026, 2, 1, tzinfo=timezone.utc)
    result = answer(
        "exports",
        False,
        rule_type="plan_entitlement_usage_exceeded",
        feature_usage=5,
        feature_allocation=5,
        feature_usage_reset_at=resets_at,
        company_id="comp_1",
    )

    body = problem(denial(result))

    assert json.loads(json.dumps(body)) == {
        "type": "urn:schematic:denied:limit_reached",
        "title": "Limit reached",
        "status": 402,
        "detail": "the limit of 'exports' is used up",
        "code": "limit_reached",
        "feature": "exports",
        "usage": 5,
        "allocation": 5,
        "resets_at": "2026-02-01T00:00:00Z",
    }


def test_numbers_of_the_entitlement_serve_where_the_rule_has_none() -> None:
    """Zero is a number; what is unknown is left out."""
    entitlement = Entitlement(feature_id="f", feature_key="exports", value_type="numeric", usage=0, allocation=0)
    body = problem(denial(answer("exports", False, entitlement=entitlement)))
    assert (body["usage"], body["allocation"]) == (0, 0)
    assert "resets_at" not in body
