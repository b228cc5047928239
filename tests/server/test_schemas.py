"""Every implemented endpoint answers in the documented shape, and the list of endpoints is the document's."""

from __future__ import annotations

from collections.abc import Callable

from schematic_core.server import implemented_operations
from schematic_core.server.routing import Router, documented_operations
from tests.server.conftest import Api
from tests.server.receiver import Receiver
from tests.server.schemas import document


def test_the_documented_operations_are_those_of_the_api_document() -> None:
    """``endpoints.txt`` is made from ``tools/openapi.json``; when this fails, write these lines into it."""
    methods = {"get", "post", "put", "delete", "patch"}
    paths = document()["paths"].items()
    lines = {f"{m.upper()} {path} {op['operationId']}" for path, ops in paths for m, op in ops.items() if m in methods}

    assert {f"{one.method} {one.path} {one.name}" for one in documented_operations()} == lines


def test_every_documented_path_leads_to_its_own_operation() -> None:
    """A fixed segment is preferred to a parameter, whatever the order."""
    router = Router(documented_operations())

    for operation in documented_operations():
        path = operation.path.replace("{", "").replace("}", "").encode()
        assert router.find(path)[0][operation.method] == operation


def test_every_implemented_endpoint_answers_in_its_shape(start: Callable[..., Api], receiver: Receiver) -> None:
    """`Api` holds each answer to its schema; here each operation is called so that it succeeds."""
    api = start()
    about = {"company": {"id": "acme"}, "user": {"id": "ada"}}
    event = {"event_type": "track", "body": {"event": "export_created", "company": {"id": "acme"}}}
    api("POST", "/events", 201, json=event)
    api("POST", "/event-batch", 201, json={"events": [event]})
    api("POST", "/batch", 200, json={"events": [{"type": "track", "api_key": "k", "body": event["body"]}]})
    for flag in ("exports", "tokens", "seats", "new-nav"):
        api("POST", f"/flags/{flag}/check", 200, json=about)
    api("POST", "/flags/check", 201, json=about)
    api("POST", "/flags/check-bulk", 201, json={"contexts": [about]})

    hook = {"name": "h", "url": receiver.url, "request_types": ["company.created"]}
    triggers = {"entitlement_trigger_configs": [{"feature_id": "f"}], "credit_trigger_configs": [{"credit_id": "c"}]}
    own = api("POST", "/webhooks", 201, json={**hook, **triggers})["id"]
    api("PUT", f"/webhooks/{own}", 200, json={"name": "h2", **triggers})
    api("GET", f"/webhooks/{own}", 200)
    api("POST", f"/webhooks/{own}/test", 200, json={"request_type": "test.send"})

    made = api("POST", "/companies/create", 201, json={"keys": {"id": "c1"}, "traits": {"n": 1, "d": {"x": [1]}}})
    api("POST", "/companies", 200, json={"keys": {"id": "c2"}, "last_seen_at": "2026-01-01T00:00:00Z"})
    api("GET", f"/companies/{made['id']}", 200)
    api("GET", "/companies/lookup", 200, params={"keys[id]": "c1"})
    api("PUT", f"/company-plans/{made['id']}", 200, json={"base_plan_id": "plan_free", "add_on_ids": ["plan_pro"]})
    user = api(
        "POST", "/users/create", 201, json={"keys": {"id": "u1"}, "company": {"id": "c1"}, "traits": {"a": True}}
    )
    api("POST", "/users", 200, json={"keys": {"id": "u2"}})
    api("GET", f"/users/{user['id']}", 200)
    api("GET", "/users/lookup", 200, params={"keys[id]": "u1"})

    given = {"company_id": made["id"], "feature_id": "feat_exports", "value_type": "numeric", "value_numeric": 9}
    override = api("POST", "/company-overrides", 201, json={**given, "note": "why", "metric_period": "current_day"})[
        "id"
    ]
    api(
        "PUT",
        f"/company-overrides/{override}",
        200,
        json={"value_type": "unlimited", "expiration_date": "2190-01-01T00:00:00Z"},
    )
    api("GET", f"/company-overrides/{override}", 200)

    for kind in ("companies", "users", "company-overrides", "webhooks", "webhook-events", "features", "flags", "plans"):
        assert api("GET", f"/{kind}", 200, params={"limit": 50, "offset": 0})
        assert api("GET", f"/{kind}/count", 200)["count"] > 0
    for path in ("/features/feat_exports", "/flags/flag_new-nav", "/plans/plan_pro"):
        api("GET", path, 200)
    api("GET", f"/webhook-events/{api('GET', '/webhook-events', 200)[0]['id']}", 200)

    api("DELETE", f"/company-overrides/{override}", 200)
    api("DELETE", f"/webhooks/{own}", 200)
    api("DELETE", f"/users/{user['id']}", 200)
    api("POST", "/users/delete", 200, json={"keys": {"id": "u2"}})
    api("DELETE", f"/companies/{made['id']}", 200)
    api("POST", "/companies/delete", 200, json={"keys": {"id": "c2"}})

    assert {operation.name for operation in implemented_operations()} - api.seen == set()


def test_lists_are_cut_and_filtered(steady: Api) -> None:
    """``limit`` and ``offset`` count records; filters keep what fits, and ``params`` echoes both."""
    answer = steady.client.get("/companies?limit=1&offset=1&q=I&ids=comp_acme&ids=comp_tiny").json()

    assert [one["id"] for one in answer["data"]] == []
    assert answer["params"] == {"q": "I", "ids": ["comp_acme", "comp_tiny"], "limit": 1, "offset": 1}
    assert [one["id"] for one in steady("GET", "/companies?plan_id=plan_pro", 200)] == ["comp_acme"]
    assert [one["id"] for one in steady("GET", "/users?company_id=comp_acme", 200)] == ["user_ada"]
    assert [one["id"] for one in steady("GET", "/flags?q=nav", 200)] == ["flag_new-nav"]
