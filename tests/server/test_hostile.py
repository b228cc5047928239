"""Whatever a stranger sends is answered in the API's envelope, never with a 500."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.server.conftest import ENVIRONMENT, Api
from tests.support.strategies import trees

BODIES = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"1",
    b'"text"',
    b"\xff\xfe",
    b'{"company": {"id": "\\ud800"}}',
    b'{"company": {"id": "\xed\xa0\x80"}}',
    '{"company": {"id": "acme"}}'.encode("utf-16"),
    b'{"company": {"id": NaN}}',
    b'{"preflight": {"usage": 1e400}}',
    b'{"preflight": {"usage": 99999999999999999999}}',
    b'{"preflight": {"event_usage": {"event_subtype": "e"}}}',
    b'{"preflight": {"credit_cost": {"c": "x"}}}',
    b'{"preflight": {"event_quantities": {"event_subtype": "e"}}}',
    b'{"company": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"user": {"id": ["x"]}}',
    b'{"user": "x"}',
    b"9" * 5000,
    b'{"company": {"id": "' + b"x" * (9 * 1024 * 1024) + b'"}}',
]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_a_broken_body_is_refused(steady: Api, body: bytes) -> None:
    """Not JSON, not an object, wrong types, too large, too deep."""
    response = steady.client.post("/flags/exports/check", content=body)

    assert response.status_code in {400, 501}
    assert response.json()["error"]


def test_no_nesting_is_too_deep_to_be_answered(api: Api) -> None:
    """What is accepted can be shown again; what is refused has changed nothing."""
    answers = {}
    for depth in (90, 101, *range(900, 1000, 3)):
        nested = "[" * depth + "]" * depth
        body = '{"event_type": "identify", "body": {"keys": {"id": "u"}, "traits": {"t": ' + nested + "}}}"
        answers[depth] = api.client.post("/events", content=body).status_code

    assert answers.pop(90) == 201
    assert set(answers.values()) == {400}
    assert api("GET", "/users", 200)


def test_a_negative_preflight_is_the_engines_own_answer(steady: Api) -> None:
    """The engine answers it with an error beside the default value."""
    found = steady.check("exports", preflight={"usage": -1})

    assert (found["value"], found["error"]) == (False, "preflight usage cannot be negative")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/nothing", 404),
        ("GET", "//", 404),
        ("GET", "/companies/", 404),
        ("POST", "/flags//check", 404),
        ("GET", "/companies/%00", 404),
        ("GET", "/companies/%FF", 404),
        ("PATCH", "/companies", 405),
        ("GET", "/flags/x/check", 405),
        ("HEAD", "/companies", 405),
        ("OPTIONS", "/flags/check", 405),
        ("GET", "/api-keys", 501),
        ("GET", "/components", 501),
        ("POST", "/features", 501),
        ("POST", "/flags/x/check-and-reserve", 501),
    ],
)
def test_what_is_not_there_says_so(steady: Api, method: str, path: str, status: int) -> None:
    """404 for no endpoint, 405 for the wrong method, 501 for documented endpoints that are not implemented."""
    response = steady.client.request(method, path)

    assert response.status_code == status
    assert method == "HEAD" or response.json()["error"]
    assert status != 405 or response.headers["allow"]


def test_the_private_endpoints_are_off_unless_asked_for(start: Callable[..., Api]) -> None:
    """Without the development API ``/_dev/`` is no endpoint."""
    assert start(dev_api=False)("GET", "/_dev/state", 404)["error"]


def test_only_the_listed_api_keys_are_accepted(start: Callable[..., Api]) -> None:
    """In the header everywhere, and in the events of the capture form."""
    api = start(ENVIRONMENT + "api_keys: [dev, other]\n")
    event = {"type": "track", "body": {"event": "e"}}

    assert api("GET", "/companies", 200)
    assert api.client.get("/companies", headers={"X-Schematic-Api-Key": "wrong"}).status_code == 401
    del api.client.headers["X-Schematic-Api-Key"]
    assert api("GET", "/companies", 401)["error"]
    assert api("GET", "/nothing", 401)["error"]
    assert api("POST", "/batch", 200, json={"events": [{**event, "api_key": "other"}]})
    assert api("POST", "/batch", 401, json={"events": [{**event, "api_key": "wrong"}]})["error"]
    assert api("POST", "/batch", 401, json={"events": [event]})["error"]
    assert api("GET", "/_dev/state", 200)


def test_a_fault_that_was_asked_for_meets_so_many_requests(api: Api) -> None:
    """Clients can be shown an outage: status, body and headers, then all is well again."""
    fault = {"count": 2, "path": "/flags", "status": 503, "headers": {"Retry-After": "1"}, "body": {"error": "down"}}
    api("POST", "/_dev/faults", 201, json=fault)

    answers = [api.client.post("/flags/reports/check", json={"company": {"id": "acme"}}) for _ in range(3)]

    assert [one.status_code for one in answers] == [503, 503, 200]
    assert (answers[0].json(), answers[0].headers["retry-after"]) == ({"error": "down"}, "1")
    assert api("GET", "/companies", 200)
    api("POST", "/_dev/faults", 201, json={"count": 9, "delay": 0.01})
    api("DELETE", "/_dev/faults", 200)
    assert api("GET", "/_dev/faults", 200) == []


@pytest.mark.parametrize("status", [204, 304])
def test_a_fault_without_a_body_is_whole(api: Api, status: int) -> None:
    """These statuses have none, so the connection stays usable."""
    api("POST", "/_dev/faults", 201, json={"status": status, "headers": {"x-why": "asked for"}})

    answer = api.client.get("/companies")

    assert (answer.status_code, answer.content, answer.headers["x-why"]) == (status, b"", "asked for")
    assert api("GET", "/companies", 200)


@pytest.mark.parametrize("headers", [{"a b": "c"}, {"a": "b\r\nc: d"}, {"a": "\u2603"}, {"\u00fc": "a"}])
def test_a_fault_with_headers_that_http_cannot_carry_is_refused(api: Api, headers: dict[str, str]) -> None:
    """When it is asked for, not when it is met."""
    assert api("POST", "/_dev/faults", 400, json={"status": 503, "headers": headers})["error"]
    assert api("GET", "/_dev/faults", 200) == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/_dev/clock/advance", {"seconds": 1e18}),
        ("/_dev/clock/advance", {"seconds": "x"}),
        ("/_dev/faults", {"count": 0}),
        ("/_dev/faults", {"status": 99}),
        ("/_dev/faults", {"delay": -1}),
    ],
)
def test_a_wrong_private_request_is_refused(steady: Api, path: str, body: object) -> None:
    """As any other: 400, and nothing changes."""
    assert steady("POST", path, 400, json=body)["error"]


_JSON = trees(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    st.text(max_size=6),
)
_MEMBERS = st.dictionaries(
    st.sampled_from(
        [
            "keys",
            "company",
            "user",
            "preflight",
            "contexts",
            "events",
            "event_type",
            "type",
            "body",
            "traits",
            "name",
            "id",
            "companies",
            "value_type",
            "company_id",
            "feature_id",
            "request_types",
            "url",
            "add_on_ids",
            "sent_at",
        ]
    ),
    _JSON | st.just({"id": "acme"}) | st.just("track") | st.just("comp_acme") | st.just("feat_exports"),
    max_size=5,
)
_PATHS = st.sampled_from(
    [
        "/flags/exports/check",
        "/flags/check",
        "/flags/check-bulk",
        "/events",
        "/event-batch",
        "/batch",
        "/companies",
        "/users",
        "/companies/delete",
        "/company-overrides",
        "/webhooks",
        "/webhooks/whk_1/test",
    ]
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=_PATHS, body=_MEMBERS)
def test_no_body_makes_the_server_fail(steady: Api, path: str, body: dict[str, object]) -> None:
    """Any JSON gets an answer that fits its schema or a refusal, and never a 500."""
    steady("POST", path, json=json.loads(json.dumps(body)))

    assert steady.client.get("/companies/count").status_code == 200
