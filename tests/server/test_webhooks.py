"""Webhooks are signed, typed, delivered in order and repeated, over real sockets."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from schematic_core.errors import WebhookSignatureError
from schematic_core.webhook_utils import verify_signature
from tests.server.conftest import ENVIRONMENT, Api
from tests.server.receiver import Receiver
from tests.server.schemas import faults_of_notice


def _with_webhook(receiver: Receiver, events: str = '["*"]') -> str:
    return ENVIRONMENT + f'webhooks: [{{url: "{receiver.url}", secret: whsec_dev, events: {events}}}]\n'


def _next(receiver: Receiver) -> dict[str, Any]:
    notice: dict[str, Any] = json.loads(receiver.next()[1])
    assert faults_of_notice(notice) == []
    return notice


def _log_when(api: Api, holds: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    """Ask for the log until it ``holds``: the answer reaches the server after the receiver has sent it."""
    for _ in range(2000):
        log: list[dict[str, Any]] = api("GET", "/webhook-events", 200)
        if holds(log):
            return log
    raise AssertionError("the log never became what it should be")


def _settled(api: Api, count: int) -> list[dict[str, Any]]:
    return _log_when(api, lambda log: sum(one["status"] != "pending" for one in log) >= count)


def _attempted(api: Api, count: int) -> None:
    """Wait until the outcome of the oldest delivery's attempt ``count`` was noted."""
    _log_when(api, lambda log: bool(log[-1]["attempt_count"] >= count))


def test_a_delivery_is_signed_over_its_raw_body(start: Callable[..., Api], receiver: Receiver) -> None:
    """The endpoint's secret verifies it, another does not; the clock of the server does not matter."""
    api = start(_with_webhook(receiver))
    api("POST", "/_dev/clock/advance", 200, json={"seconds": 40 * 86400})

    api("PUT", "/company-plans/comp_tiny", 200, json={"base_plan_id": "plan_pro", "add_on_ids": []})

    headers, body = receiver.next()
    signature, timestamp = headers["x-schematic-webhook-signature"], headers["x-schematic-webhook-timestamp"]
    verify_signature(body, signature, timestamp, "whsec_dev")
    with pytest.raises(WebhookSignatureError):
        verify_signature(body, signature, timestamp, "whsec_other")
    assert headers["x-schematic-webhook-signature-version"] == "v1"
    assert headers["content-type"] == "application/json"


def test_each_change_is_told_with_its_typed_body_in_order(start: Callable[..., Api], receiver: Receiver) -> None:
    """What happens to companies, users, plans, overrides and limits, as documented."""
    api = start(_with_webhook(receiver))
    api("POST", "/companies", 200, json={"keys": {"id": "neu"}})
    api("POST", "/companies", 200, json={"keys": {"id": "neu"}, "traits": {"a": 1}, "base_plan_id": "plan_free"})
    api("POST", "/users", 200, json={"keys": {"id": "cy"}, "company": {"id": "neu"}})
    body = {"company_id": "comp_acme", "feature_id": "feat_exports", "value_type": "numeric", "value_numeric": 2}
    own = api("POST", "/company-overrides", 201, json=body)["id"]
    api.track("export_created", quantity=1)
    api.track("export_created", quantity=1)
    api.track("export_created", quantity=1)
    api("PUT", f"/company-overrides/{own}", 200, json={"value_type": "unlimited"})
    api("DELETE", f"/company-overrides/{own}", 200)
    api("DELETE", "/users/user_ada", 200)
    api("DELETE", "/companies/comp_acme", 200)

    notices = [_next(receiver) for _ in range(10)]

    assert [notice["action"] for notice in notices] == [
        "company.created",
        "company.updated",
        "company.plan_changed",
        "user.created",
        "company.override.created",
        "entitlement.limit.reached",
        "company.override.updated",
        "company.override.deleted",
        "user.deleted",
        "company.deleted",
    ]
    changed, reached = notices[2], notices[5]
    assert changed["body"]["base_plan"]["id"] == "plan_free"
    assert changed["body"]["action"] == "company_upsert"
    assert (reached["company_id"], reached["feature_id"]) == ("comp_acme", "feat_exports")
    assert (reached["body"]["Usage"], reached["body"]["Allocation"]) == (2, 2)
    assert all(one["attempt_count"] == 1 for one in _settled(api, 10))


def test_what_changes_nothing_is_not_told(start: Callable[..., Api], receiver: Receiver) -> None:
    """A repeated upsert or identify, the same plan again and a backfilled event are silent."""
    api = start(_with_webhook(receiver))
    same = {"keys": {"id": "ada"}, "traits": {"role": "owner"}, "company": {"keys": {"id": "acme"}}}
    api("POST", "/events", 201, json={"event_type": "identify", "body": same})

    api("POST", "/companies", 200, json={"keys": {"id": "acme"}, "traits": {"region": "eu"}})
    api("PUT", "/company-plans/comp_acme", 200, json={"base_plan_id": "plan_pro", "add_on_ids": []})
    now = api("GET", "/_dev/clock", 200)["now"]
    api.track("export_created", quantity=9, sent_at=now, backfill=True)

    assert api("GET", "/_dev/state", 200)["pending_deliveries"] == 0
    assert api("GET", "/webhook-events/count", 200) == {"count": 0}


def test_a_failed_delivery_is_repeated_and_keeps_its_place(start: Callable[..., Api], receiver: Receiver) -> None:
    """The next notice waits until the first has arrived; the clock brings the repeats forward."""
    api = start(_with_webhook(receiver))
    for status in (500, 302, 200):
        receiver.answers.put(status)

    api("POST", "/companies", 200, json={"keys": {"id": "one"}})
    api("POST", "/companies", 200, json={"keys": {"id": "two"}})
    names = []
    for attempt in range(4):
        names.append(_next(receiver)["body"]["name"])
        _attempted(api, min(attempt + 1, 3))
        api("POST", "/_dev/clock/advance", 200, json={"seconds": 60})

    assert names == ["one", "one", "one", "two"]
    log = _settled(api, 2)
    assert [(one["status"], one["attempt_count"], one["response_code"]) for one in log] == [
        ("success", 1, 200),
        ("success", 3, 200),
    ]


def test_the_first_failure_is_logged_without_secrets(
    start: Callable[..., Api], receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever runs the server sees which endpoint refuses, and why; user, password and query stay out."""
    place = receiver.url.removeprefix("http://")
    api = start(ENVIRONMENT + f'webhooks: [{{url: "http://me:hush@{place}?token=hush", secret: hush}}]\n')
    receiver.answers.put(400)

    api("POST", "/companies", 200, json={"keys": {"id": "neu"}})
    _attempted(api, 1)
    api("POST", "/_dev/clock/advance", 200, json={"seconds": 60})
    _settled(api, 1)

    said = [record.getMessage() for record in caplog.records if record.name == "schematic.server"]
    assert [line.partition(" to ")[2] for line in said] == [f"{receiver.url} failed and is repeated: 400"]
    assert "hush" not in caplog.text


def test_a_delivery_is_given_up_after_five_repeats(start: Callable[..., Api], receiver: Receiver) -> None:
    """Six attempts in all, then the log says failure."""
    api = start(_with_webhook(receiver))
    for _ in range(6):
        receiver.answers.put(503)

    api("POST", "/companies", 200, json={"keys": {"id": "one"}})
    for attempt in range(1, 7):
        receiver.next()
        _attempted(api, attempt)
        api("POST", "/_dev/clock/advance", 200, json={"seconds": 600})

    assert [(one["status"], one["attempt_count"]) for one in _settled(api, 1)] == [("failure", 6)]
    assert receiver.arrived.empty()


def test_an_endpoint_gets_what_it_asked_for(start: Callable[..., Api], receiver: Receiver) -> None:
    """Types are chosen one by one; limits also need the feature among the triggers."""
    api = start()
    body = {"name": "hook", "url": receiver.url, "request_types": ["user.created", "entitlement.limit.reached"]}
    made = api("POST", "/webhooks", 201, json=body)
    api.track("export_created", quantity=5)
    triggers = {"entitlement_trigger_configs": [{"feature_id": "feat_daily"}]}
    api("PUT", f"/webhooks/{made['id']}", 200, json=triggers)

    api("POST", "/companies", 200, json={"keys": {"id": "neu"}})
    api.track("report_run", quantity=3)
    api("POST", "/users", 200, json={"keys": {"id": "cy"}})

    assert [_next(receiver)["action"] for _ in range(2)] == ["entitlement.limit.reached", "user.created"]
    assert made["secret"].startswith("whsec_")


def test_an_inactive_or_deleted_endpoint_gets_nothing(start: Callable[..., Api], receiver: Receiver) -> None:
    """Nothing is queued for it."""
    api = start(_with_webhook(receiver, '["company.*"]'))
    api("PUT", "/webhooks/whk_1", 200, json={"status": "inactive"})
    api("POST", "/companies", 200, json={"keys": {"id": "one"}})
    api("PUT", "/webhooks/whk_1", 200, json={"status": "active"})
    api("DELETE", "/webhooks/whk_1", 200)

    api("POST", "/companies", 200, json={"keys": {"id": "two"}})

    assert api("GET", "/webhook-events/count", 200) == {"count": 0}


def test_a_test_delivery_answers_how_it_went(start: Callable[..., Api], receiver: Receiver) -> None:
    """One attempt at once, signed; a failure is an answer and not an error."""
    api = start(_with_webhook(receiver))
    fine = api("POST", "/webhooks/whk_1/test", 200, json={"request_type": "test.send"})
    for action in ("company.updated", "user.created", "company.plan_changed"):
        api("POST", "/webhooks/whk_1/test", 200, json={"request_type": action})
    receiver.answers.put(500)
    failed = api("POST", "/webhooks/whk_1/test", 200, json={"request_type": "test.send"})
    api("PUT", "/webhooks/whk_1", 200, json={"url": "http://127.0.0.1:1/none"})
    lost = api("POST", "/webhooks/whk_1/test", 200, json={"request_type": "test.send"})

    assert fine == {"success": True, "response_code": 200}
    assert (failed["success"], failed["response_code"], bool(failed["failure_reason"])) == (False, 500, True)
    assert (lost["success"], lost["response_code"], bool(lost["failure_reason"])) == (False, 0, True)
    assert [_next(receiver)["action"] for _ in range(4)] == [
        "test.send",
        "company.updated",
        "user.created",
        "company.plan_changed",
    ]


def test_a_delivery_can_be_made_again(start: Callable[..., Api], receiver: Receiver) -> None:
    """The same body, signed anew, as a delivery of its own behind what waits; whatever became of the first."""
    api = start(_with_webhook(receiver))
    api("POST", "/companies", 200, json={"keys": {"id": "one"}})
    _, body = receiver.next()
    (first,) = _settled(api, 1)

    again = api("POST", f"/_dev/deliveries/{first['id']}/redeliver", 201)

    headers, repeated = receiver.next()
    assert repeated == body
    verify_signature(
        repeated, headers["x-schematic-webhook-signature"], headers["x-schematic-webhook-timestamp"], "whsec_dev"
    )
    assert again["id"] != first["id"]
    assert (again["status"], again["request_type"], again["payload"]) == (
        "pending",
        "company.created",
        first["payload"],
    )
    assert [one["id"] for one in _settled(api, 2)] == [again["id"], first["id"]]


def test_a_delivery_of_nobody_or_to_nobody_is_not_made_again(start: Callable[..., Api], receiver: Receiver) -> None:
    """404 for an unknown one, 400 when its endpoint was deleted."""
    api = start(_with_webhook(receiver))
    api("POST", "/companies", 200, json={"keys": {"id": "one"}})
    receiver.next()
    (first,) = _settled(api, 1)
    api("DELETE", "/webhooks/whk_1", 200)

    assert api("POST", f"/_dev/deliveries/{first['id']}/redeliver", 400)["error"]
    assert api("POST", "/_dev/deliveries/whev_none/redeliver", 404)["error"]


def test_the_private_log_says_why_and_when(start: Callable[..., Api], receiver: Receiver) -> None:
    """Why no answer came and when the next attempt is; filtered by endpoint, type and status."""
    api = start(_with_webhook(receiver))
    api("POST", "/companies", 200, json={"keys": {"id": "one"}})
    receiver.next()
    _settled(api, 1)
    api("PUT", "/webhooks/whk_1", 200, json={"url": "http://127.0.0.1:1/none"})
    api("POST", "/users", 200, json={"keys": {"id": "cy"}})
    _log_when(api, lambda log: bool(log[0]["attempt_count"] >= 1))

    waiting, done = api("GET", "/_dev/deliveries", 200)

    assert waiting["failure"].startswith("ConnectError")
    assert waiting["due_at"] > waiting["sent_at"]
    assert (done["failure"], done["due_at"], done["response_code"]) == (None, None, 200)
    for query, ids in (
        ("status=success", [done["id"]]),
        ("request_type=user.created", [waiting["id"]]),
        ("webhook_id=whk_1&limit=1", [waiting["id"]]),
        ("webhook_id=whk_9", []),
    ):
        assert [one["id"] for one in api("GET", f"/_dev/deliveries?{query}", 200)] == ids
    api("GET", "/_dev/deliveries?colour=red", 501)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/webhooks", {"name": "n", "url": "ftp://x", "request_types": []}, 400),
        ("POST", "/webhooks", {"name": "n", "url": "http://[", "request_types": []}, 400),
        ("POST", "/webhooks", {"name": "n", "url": "http://h:99999/", "request_types": []}, 400),
        ("POST", "/webhooks", {"name": "n", "url": "http://h", "request_types": ["odd"]}, 400),
        ("POST", "/webhooks", {"name": "n", "url": "http://h"}, 400),
        ("GET", "/webhooks/whk_none", None, 404),
        ("GET", "/webhook-events/whev_none", None, 404),
        ("POST", "/webhooks/whk_none/test", {"request_type": "test.send"}, 404),
    ],
)
def test_a_wrong_webhook_is_refused(steady: Api, method: str, path: str, body: object, status: int) -> None:
    """The API's error envelope says why."""
    assert steady(method, path, status, json=body)["error"]


def test_stopping_delivers_what_is_due(start: Callable[..., Api], receiver: Receiver) -> None:
    """Notices that wait for an open request are sent before the server ends."""
    from schematic_core.environment import parse_environment
    from schematic_core.server import serve

    with serve(parse_environment(_with_webhook(receiver))) as server:
        api = Api(server.url)
        for name in ("one", "two", "three"):
            api("POST", "/companies", 200, json={"keys": {"id": name}})
        api.client.close()

    assert [_next(receiver)["body"]["name"] for _ in range(3)] == ["one", "two", "three"]
