"""Each sample of the vendor's README runs against the local server, or is listed with the reason why it does not yet."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
from starlette.testclient import TestClient

from schematic_core.client import CheckFlagOptions, Schematic
from schematic_core.errors import InternalServerError
from schematic_core.webhook_utils import (
    WEBHOOK_SIGNATURE_HEADER,
    WEBHOOK_TIMESTAMP_HEADER,
    compute_hex_signature,
)
from tests.support.upstream import running as running_upstream
from tests.vendor_samples.corrections import CORRECTIONS, Correction
from tests.vendor_samples.readme import blocks, rooted
from tests.vendor_samples.running import running
from tests.vendor_samples.service import Service, serving
from tests.webhooks import django_requests

COMPANY = {"id": "your-company-id"}
USER = {"user_id": "your-user-id"}
FLAG = "/flags/some-flag-key/check"

REDIS = "shared caches in Redis are built by a later issue"
REPLICATOR = "replicator mode is built by a later issue"
LATER = {
    "Using Redis as a Shared Cache 1": REDIS,
    "How to Enable Replicator Mode 1": REPLICATOR,
    "Advanced Configuration 1": REPLICATOR,
}
"""Samples that do not run yet, and why."""

Story = Callable[[Service], None]
STORIES: dict[str, Story] = {}

try:
    blocks()
except FileNotFoundError as absent:
    pytestmark = pytest.mark.skip(reason=str(absent))


def sample(name: str) -> Callable[[Story], Story]:
    """Register the story of one sample."""

    def register(story: Story) -> Story:
        assert name not in STORIES
        STORIES[name] = story
        return story

    return register


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A local server that clients find through the environment, as the samples name none."""
    with serving() as running_service:
        monkeypatch.setenv("SCHEMATIC_API_URL", running_service.url)
        monkeypatch.setenv("SCHEMATIC_API_KEY", "YOUR_API_KEY")
        yield running_service


def test_each_block_is_run_or_listed_with_a_reason() -> None:
    """No block of the README is passed over, and nothing is told about blocks that are not there."""
    assert sorted([*STORIES, *LATER]) == sorted(blocks())


@pytest.mark.parametrize("correction", CORRECTIONS, ids=lambda correction: correction.name)
def test_each_correction_is_still_needed(correction: Correction) -> None:
    """A fault that the vendor has put right, or that was misread, does not stay in the table."""
    for name in correction.blocks:
        assert correction.apply(rooted(blocks()[name]))


@pytest.mark.parametrize("name", STORIES)
def test_the_sample_runs(name: str, service: Service) -> None:
    """A sample of the README does with our clients what it says."""
    STORIES[name](service)


@sample("Installation and Setup 1")
def a_client(service: Service) -> None:
    with running("Installation and Setup 1") as ran:
        assert ran.client.check_flag("some-flag-key", company=COMPANY) is True
    assert service.bodies(FLAG) == [{"company": COMPANY}]


@sample("Simple Usage (Lazy Initialization) 1")
def an_async_client(service: Service) -> None:
    with running("Simple Usage (Lazy Initialization) 1") as ran:
        assert ran.printed == "New feature is enabled!\n"
    asked = {"company": {"id": "company-123"}, "user": {"id": "user-456"}}
    assert service.bodies("/flags/new-feature/check") == [asked]
    assert _tracked(service) == [{"event": "feature-used", **asked}]


@sample("Context Manager (Recommended) 1")
def an_async_context_manager(service: Service) -> None:
    with running("Context Manager (Recommended) 1"):
        pass
    assert service.bodies("/flags/feature-flag/check") == [{"company": {"id": "company-123"}}]
    (event,) = service.events
    assert (event["event_type"], event["body"]) == ("identify", {"keys": {"id": "company-123"}, "name": "Acme Corp"})


@sample("Production Usage (Explicit Control) 1")
def explicit_control(service: Service) -> None:
    async def application(names: dict[str, Callable[[], object]]) -> object:
        await names["startup"]()  # type: ignore[misc]  # the sample's coroutine functions
        answer = await names["handle_request"]()  # type: ignore[misc]
        await names["shutdown"]()  # type: ignore[misc]
        return answer

    with running("Production Usage (Explicit Control) 1") as ran:
        assert asyncio.run(application(ran.names)) == {"feature_enabled": True}
        assert ran.printed == "Schematic client ready\nSchematic client stopped\n"
    assert service.bodies("/flags/feature-flag/check") == [{"company": {"id": "company-123"}}]


@sample("Exception Handling 1")
def exceptions(service: Service) -> None:
    with running("Exception Handling 1") as ran:
        status, body = ran.printed.splitlines()
    assert status == "404"
    assert "error" in body
    assert len(service.bodies("/companies/company_id")) == 1


@sample("Sending identify events 1")
def identify(service: Service) -> None:
    with running("Sending identify events 1") as ran:
        assert ran.client.flush(10.0) == 0
        company = ran.client.companies.lookup_company(keys=COMPANY).data
        user = ran.client.companies.lookup_user(keys={"email": "wcoyote@acme.net"}).data
    assert (company.name, company.traits) == ("Acme Widgets, Inc.", {"city": "Atlanta"})
    assert (user.name, user.traits) == ("Wile E. Coyote", {"login_count": 24, "is_staff": False})


@sample("Sending track events 1")
def track(service: Service) -> None:
    with running("Sending track events 1") as ran:
        assert ran.client.flush(10.0) == 0
        assert _usage(ran.client) == 1
    assert _tracked(service) == [{"event": "some-action", "company": COMPANY, "user": USER}]


@sample("Sending track events 2")
def track_async(service: Service) -> None:
    with running("Sending track events 2"), Schematic() as client:
        assert _usage(client) == 1
    assert _tracked(service) == [{"event": "some-action", "company": COMPANY, "user": USER}]


@sample("Sending track events 3")
def quantity(service: Service) -> None:
    with running("Sending track events 3") as ran:
        assert ran.client.flush(10.0) == 0
        assert _usage(ran.client) == 10
    assert _tracked(service) == [{"event": "some-action", "company": COMPANY, "user": USER, "quantity": 10}]


@sample("Creating and updating companies 1")
def upsert_company(service: Service) -> None:
    with running("Creating and updating companies 1") as ran:
        company = ran.client.companies.lookup_company(keys=COMPANY).data
    assert company.name == "Acme Widgets, Inc."
    assert company.traits == {"city": "Atlanta", "high_score": 25, "is_active": True}


@sample("Creating and updating users 1")
def upsert_user(service: Service) -> None:
    with running("Creating and updating users 1") as ran:
        user = ran.client.companies.lookup_user(keys={"email": "wcoyote@acme.net"}).data
    assert user.name == "Wile E. Coyote"
    assert user.traits == {"city": "Atlanta", "high_score": 25, "is_active": True}
    assert [membership.company_id for membership in user.company_memberships] == ["comp_acme"]


@sample("Checking flags 1")
def check_flag(service: Service) -> None:
    with running("Checking flags 1") as ran:
        assert ran.client.check_flag("some-flag-key", company=COMPANY, user=USER) is True
    assert service.bodies(FLAG) == [{"company": COMPANY, "user": USER}], "the second answer comes from the cache"


@sample("FastAPI 1")
def fastapi_webhook(service: Service) -> None:
    with running("FastAPI 1") as ran, TestClient(ran.names["app"]) as browser:
        body = b'{"action": "test.send"}'
        headers = _signed(body, "your-webhook-secret")

        assert browser.post("/webhooks/schematic", content=body, headers=headers).status_code == 200
        assert ran.printed == "Webhook verified: {'action': 'test.send'}\n"
        assert browser.post("/webhooks/schematic", content=b"{}", headers=headers).status_code == 400


@sample("Flask 1")
def flask_webhook(service: Service) -> None:
    with running("Flask 1") as ran:
        browser, body = ran.names["app"].test_client(), b'{"action": "test.send"}'
        headers = {"Content-Type": "application/json", **_signed(body, "your-webhook-secret")}

        assert browser.post("/webhooks/schematic", data=body, headers=headers).status_code == 200
        refused = browser.post("/webhooks/schematic", data=b"{}", headers=headers)
        unsigned = browser.post("/webhooks/schematic", data=body)
    verified, *failed = ran.printed.splitlines()
    assert verified == "Webhook verified: {'action': 'test.send'}"
    for answer, line in zip((refused, unsigned), failed, strict=True):
        assert (answer.status_code, f"Webhook verification failed: {answer.json['error']}") == (400, line)


@sample("Django 1")
def django_webhook(service: Service) -> None:
    body = b'{"action": "test.send"}'
    headers = _signed(body, "your-webhook-secret")
    genuine, forged = (django_requests.post("/webhooks/schematic", one, headers) for one in (body, b"{}"))
    with running("Django 1") as ran:
        view = ran.names["schematic_webhook"]

        assert view(genuine).status_code == 200
        refused = view(forged)
        genuine.method = "GET"
        assert view(genuine).status_code == 405
    verified, failed = ran.printed.splitlines()
    assert verified == "Webhook verified: {'action': 'test.send'}"
    assert refused.status_code == 400
    assert failed == f"Webhook verification failed: {json.loads(refused.content)['error']}"


@sample("Verifying Signatures Manually 1")
def manual_verification(service: Service) -> None:
    with running("Verifying Signatures Manually 1") as ran:
        body = '{"action": "test.send"}'
        headers = _signed(body.encode(), "whsec_sample")
        signature, timestamp = headers[WEBHOOK_SIGNATURE_HEADER], headers[WEBHOOK_TIMESTAMP_HEADER]
        verify = ran.names["verify_webhook_manually"]

        assert verify(body, signature, timestamp, "whsec_sample") is True
        assert ran.printed == ""
        assert verify(body + " ", signature, timestamp, "whsec_sample") is False
        assert ran.printed.startswith("Webhook verification failed: ")


@sample("Flag Check Options 1")
def own_cache(service: Service) -> None:
    with running("Flag Check Options 1") as ran:
        (cache,) = ran.client.settings.cache_providers
        assert ran.names["LocalCache"] is type(cache)
        assert [ran.client.check_flag("some-flag-key", company=COMPANY) for _ in range(3)] == [True] * 3
    assert len(service.bodies(FLAG)) == 1


@sample("Flag Check Options 2")
def disabled_cache(service: Service) -> None:
    with running("Flag Check Options 2") as ran:
        assert [ran.client.check_flag("some-flag-key", company=COMPANY) for _ in range(3)] == [True] * 3
    assert len(service.bodies(FLAG)) == 3


@sample("Flag Check Options 3")
def flag_defaults(service: Service) -> None:
    service.fail("/flags", 100, 503)
    with running("Flag Check Options 3") as ran:
        result = ran.client.check_flag_with_entitlement(
            "some-flag-key", company=COMPANY, options=CheckFlagOptions(timeout=0.2)
        )
    assert (result.value, result.source) == (True, "default")


@sample("Offline Mode 1")
def offline(service: Service) -> None:
    with running("Offline Mode 1") as ran:
        assert ran.client.check_flag("some-flag-key", company=COMPANY) is False
    assert service.requests == []


@sample("Offline Mode 2")
def offline_with_defaults(service: Service) -> None:
    with running("Offline Mode 2") as ran:
        assert ran.client.check_flag("some-flag-key") is True
    assert service.requests == []


@sample("Timeouts 1")
def timeouts(service: Service) -> None:
    with running("Timeouts 1") as ran:
        assert ran.client.settings.timeout == 20.0
    assert len(service.bodies("/companies/comp_acme")) == 1


@sample("Retries 1")
def retries(service: Service) -> None:
    service.fail("/companies/comp_acme", 2, 503, **{"Retry-After": "0"})
    with pytest.raises(InternalServerError), running("Retries 1"):
        pytest.fail("one retry cannot get past two failures")
    assert len(service.bodies("/companies/comp_acme")) == 2


@sample("Custom HTTP client 1")
def custom_http_client(service: Service) -> None:
    with running_upstream() as proxy, running("Custom HTTP client 1", OUR_PROXY=proxy.url) as ran:
        assert isinstance(ran.client.settings.http_client, httpx.Client)
        assert ran.client.check_flag("some-flag-key", company=COMPANY) is True
        assert [asked.path for asked in proxy.asked] == [service.url + FLAG]
    assert service.requests == []


@sample("How to Enable DataStream 1")
def datastream(service: Service) -> None:
    with running("How to Enable DataStream 1"):
        pass
    (stream,) = service.streams
    asked = [request["data"] for request in stream["requests"]]
    assert [(one["entity_type"], one.get("keys")) for one in asked] == [
        ("rulesengine.Flags", None),
        ("rulesengine.Company", COMPANY),
        ("rulesengine.User", {"id": "your-user-id"}),
    ]
    assert service.bodies(FLAG) == [], "the answer comes from the stream"
    (event,) = service.events
    assert (event["event_type"], event["body"]["flag_key"], event["body"]["value"]) == (
        "flag_check",
        "some-flag-key",
        True,
    )


def _tracked(service: Service) -> list[object]:
    return [event["body"] for event in service.events if event["event_type"] == "track"]


def _usage(client: Schematic) -> int | None:
    result = client.check_flag_with_entitlement("exports", company=COMPANY)
    assert result.source == "api"
    return result.feature_usage


def _signed(body: bytes, secret: str) -> dict[str, str]:
    timestamp = str(int(time.time()))
    return {
        WEBHOOK_TIMESTAMP_HEADER: timestamp,
        WEBHOOK_SIGNATURE_HEADER: compute_hex_signature(body, timestamp, secret),
    }
