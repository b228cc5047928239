"""Every published event type, from the schema to the handler: built, signed, verified, typed, routed."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schematic_core import types
from schematic_core.environment.webhook_types import REQUEST_TYPES
from schematic_core.errors import ConfigurationError
from schematic_core.types import CompanyDetailResponseData, PlanChangeResponseData
from schematic_core.types._generated.payloads import PAYLOADS
from schematic_core.webhooks import Inbox, Router, WebhookEvent, parse, sign, verify
from schematic_core.webhooks.sample import EVENT_TYPES, sample
from tests.server.schemas import document, faults_of_notice

SECRET = "whsec_test"


def test_the_types_are_those_of_the_document() -> None:
    """All 42 of them, here and in the environment file."""
    assert list(PAYLOADS) == list(document()["webhooks"]) == list(EVENT_TYPES)
    assert set(REQUEST_TYPES) == set(EVENT_TYPES)
    assert len(EVENT_TYPES) == 42


@pytest.mark.parametrize("type_", EVENT_TYPES)
def test_every_published_type_goes_all_the_way(type_: str) -> None:
    """The sample is what the schema describes; its event carries the type's own model, and reaches its handlers alone."""
    envelope = sample(type_)
    assert faults_of_notice(envelope) == []
    body = json.dumps(envelope).encode()
    router, seen = Router(), list[tuple[str, WebhookEvent]]()
    kind = type_.partition(".")[0]
    for pattern in (type_, f"{kind}.*", "*", "comet.landed", "comet.*"):
        router.on(pattern)(lambda event, pattern=pattern: seen.append((pattern, event)))

    acknowledgement = Inbox(SECRET, None, router).receive_sync(body, sign(body, SECRET))

    assert acknowledgement.status == 200
    assert [pattern for pattern, _ in seen] == [type_, f"{kind}.*", "*"]
    event = seen[0][1]
    assert (event.type, event.raw, event.data) == (type_, envelope, envelope["body"])
    name = PAYLOADS[type_]
    if name is None:
        assert event.payload is event.data
    else:
        assert type(event.payload) is getattr(types, name)
        assert event.payload is event.payload
        written = event.payload.model_dump(mode="json", by_alias=True, exclude_unset=True)
        assert written == envelope["body"]


def test_a_sample_of_another_type_needs_its_body() -> None:
    """Nothing is known about it."""
    assert sample("comet.landed", {"crater": 1})["body"] == {"crater": 1}
    with pytest.raises(ConfigurationError, match=r"comet\.landed"):
        sample("comet.landed")


def test_a_model_is_picked_by_the_type_alone() -> None:
    """The same body is another model under another type, and plain under one that is not known."""
    body = {"id": "x", "name": "n"}
    payloads = {
        type_: parse(json.dumps({"action": type_, "body": body}).encode()).payload
        for type_ in ("company.updated", "user.updated", "plan.updated", "comet.landed")
    }
    assert [type(payload).__name__ for payload in payloads.values()] == [
        "CompanyDetailResponseData",
        "UserDetailResponseData",
        "PlanDetailResponseData",
        "dict",
    ]


def test_members_of_the_future_survive() -> None:
    """In the model, in the data, and in the envelope."""
    body = b'{"action":"company.updated","orbit":7,"body":{"id":"comp_1","comet":{"tail":true}}}'
    event = verify(body, sign(body, SECRET), SECRET)
    assert event.payload.comet == {"tail": True}
    assert event.raw["orbit"] == 7


@pytest.mark.parametrize("body", ['{"plans":null,"keys":[{"key":5}],"created_at":"soon"}', "null", "[1]", '"x"', "{}"])
def test_a_lean_or_odd_body_has_a_model_still(body: str) -> None:
    """Published samples lack required members; what is missing is None or empty, and what does not fit stays."""
    payload = parse(f'{{"action":"company.deleted","body":{body}}}'.encode()).payload
    assert isinstance(payload, CompanyDetailResponseData)
    assert (payload.plans, vars(payload)["id"]) == ([], None)


def test_wire_names_in_capitals_are_read() -> None:
    """Feature usage is spelt so by the types, and in small letters by the documentation."""
    for name in ("Usage", "usage"):
        event = parse(json.dumps({"action": "entitlement.limit.reached", "body": {name: 5}}).encode())
        assert event.payload.usage == 5


def test_handlers_may_name_the_model_they_expect() -> None:
    """For type checkers, and at run time in annotations."""

    def changed(event: WebhookEvent[PlanChangeResponseData]) -> str:
        return event.payload.company_id

    body = json.dumps(sample("company.plan_changed")).encode()
    assert changed(parse(body)) == "comp_sample"
    assert WebhookEvent[PlanChangeResponseData] is not WebhookEvent


def test_events_compare_copy_and_pickle() -> None:
    """Whether or not their payload was asked for."""
    event = parse(json.dumps(sample("company.plan_changed")).encode())
    before = pickle.loads(pickle.dumps(event))
    payload = event.payload
    assert event == before == copy.copy(event) == pickle.loads(pickle.dumps(event))
    assert before.payload == payload
    assert "payload" not in repr(event)


def test_verifying_loads_no_pydantic() -> None:
    """Only asking for a payload does."""
    program = (
        "import sys; from schematic_core.webhooks import parse\n"
        "event = parse(b'{\"action\":\"user.created\"}'); assert 'pydantic' not in sys.modules\n"
        "event.payload; assert 'pydantic' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "keys", "key", "value", "company", "plan", "self", "cls", "_fields_set", "Usage"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(type_=st.sampled_from(EVENT_TYPES), data=JSON)
def test_no_body_keeps_an_event_from_its_model(type_: str, data: Any) -> None:
    """However little of it fits."""
    event = parse(json.dumps({"action": type_, "body": data}).encode())
    name = PAYLOADS[type_]
    assert type(event.payload) is (dict if name is None else getattr(types, name))
