"""One webhook, and the next check knows: in API mode, on DataStream, and on DataStream that is cut off."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from schematic_core.client import Schematic
from schematic_core.errors import WebhookSignatureError
from schematic_core.webhooks import Inbox, Router, WebhookEvent, sign
from tests.datastream.support import ACME, Service, company, following, playing, serving, until

SECRET = "whsec_test"


def changed(client: Any, action: str = "company.plan_changed", **members: Any) -> list[Any]:
    """Deliver one event; gives what its handler saw."""
    router, seen = Router(), list[Any]()
    router.on("*")(lambda event: seen.append(client.check_flag("exports", company=ACME)))
    body = json.dumps({"action": action, **members}).encode()
    assert Inbox(SECRET, client, router).receive_sync(body, sign(body, SECRET)).outcome == "handled"
    return seen


@pytest.fixture
def service() -> Iterator[Service]:
    with serving() as running:
        yield running


def test_in_api_mode_the_handler_s_own_check_is_fresh(service: Service) -> None:
    """Without a socket, long before the remembered answer would have expired."""
    with Schematic("dev", base_url=service.url) as client:
        assert client.check_flag("reports", company=ACME) is True
        service.plan("acme", "free")
        assert client.check_flag("reports", company=ACME) is True

        changed(client, company_id="comp_acme")

        assert client.check_flag("reports", company=ACME) is False


def test_another_company_s_answers_stay(service: Service) -> None:
    """Only what the event concerns is asked again."""
    with Schematic("dev", base_url=service.url) as client:
        client.check_flag("reports", company=ACME)
        service.plan("acme", "free")

        changed(client, company_id="comp_tiny")
        assert client.check_flag("reports", company=ACME) is True
        changed(client, "plan.updated")
        assert client.check_flag("reports", company=ACME) is False


@pytest.mark.parametrize(
    "event",
    [
        {"company_id": "comp_1"},
        {"action": "company.updated", "body": {"id": "comp_1", "keys": [{"key": "id", "value": "acme"}]}},
        {"action": "feature.updated"},
    ],
)
def test_on_datastream_the_next_check_asks_the_stream(event: dict[str, Any]) -> None:
    """Even if it has not yet said anything by itself; the one after that answers here again."""
    with serving() as service, playing() as script, following("sync", service.url, stream_url=script.url) as driver:
        client = driver.client
        assert client.check_flag("exports", company=ACME) is True
        script.entities["acme"] = company("comp_1", ACME)
        assert client.check_flag("exports", company=ACME) is True
        asked = len(script.asked("Company"))

        assert changed(client, **event) == [False]

        result = client.check_flag_with_entitlement("exports", company=ACME)
        assert (result.value, result.source) == (False, "stream")
        assert len(script.asked("Company")) == asked + 1


def test_an_event_that_changed_nothing_costs_one_question(service: Service) -> None:
    """The same document confirms what is held, and answers are remembered again."""
    with playing() as script, following("sync", service.url, stream_url=script.url) as driver:
        client = driver.client
        client.check_flag("exports", company=ACME)
        asked = len(script.asked("Company"))

        changed(client, company_id="comp_1")
        assert [client.check_flag("exports", company=ACME) for _ in range(5)] == [True] * 5
        assert len(script.asked("Company")) == asked + 1
        changed(client, company_id="comp_other")
        assert client.check_flag("exports", company=ACME) is True
        assert len(script.asked("Company")) == asked + 1


def test_a_stream_that_is_cut_off_leaves_it_to_the_api(service: Service) -> None:
    """Local answers of the last half minute would do otherwise; if the API fails too, they are still the last known state."""
    limits = {"first_backoff": 60.0, "max_backoff": 60.0}
    with following("sync", service.url, limits=limits) as driver:
        client = driver.client
        assert client.check_flag("exports", company=ACME) is True
        service.fault(path="/datastream", status=503, count=1_000)
        service.dev("drop")
        assert until(lambda: not client.datastream.is_connected)
        service.plan("acme", None)
        assert client.check_flag_with_entitlement("exports", company=ACME).source == "stream"

        service.fault(path="/flags", status=503, count=1_000)
        changed(client, company_id="comp_acme")
        last_known = client.check_flag_with_entitlement("exports", company=ACME)
        assert (last_known.value, last_known.source) == (True, "stream")
        service.call("DELETE", "/_dev/faults")
        assert until(lambda: client.check_flag_with_entitlement("exports", company=ACME).source == "api")
        assert client.check_flag("exports", company=ACME) is False


def test_an_environment_file_needs_no_telling(tmp_path: Any) -> None:
    """It says everything by itself; nobody becomes unknown."""
    path = tmp_path / "schematic.yaml"
    path.write_text(
        "version: 1\nflags: {exports: {rules: [{name: r, value: true, when: [{trait: a, value: b}]}]}}\n"
        "companies: {acme: {keys: {id: acme}, traits: {a: b}}}\n",
        encoding="utf-8",
    )
    with Schematic(environment_file=path) as client:
        client.initialize()
        assert client.check_flag("exports", company=ACME) is True
        changed(client, "plan.updated")
        assert client.check_flag("exports", company=ACME) is True


class Purges:
    def __init__(self) -> None:
        self.made: list[dict[str, Any]] = []

    def purge(self, **what: Any) -> None:
        self.made.append({name: value for name, value in what.items() if value is not None})


def test_a_route_of_one_s_own_verifies_and_drops(caplog: pytest.LogCaptureFixture) -> None:
    """`Inbox.verify` is the half that needs no handlers; what is not genuine drops nothing and is logged by its reason."""
    purges, body = Purges(), b'{"action":"company.updated","company_id":"comp_1","body":{"x":"hush"}}'
    inbox = Inbox(SECRET, purges, Router())

    assert inbox.verify(body, sign(body, SECRET)).company_id == "comp_1"
    assert purges.made == [{"company_id": "comp_1"}]
    with caplog.at_level(logging.DEBUG), pytest.raises(WebhookSignatureError):
        inbox.verify(body, sign(body, "other"))
    assert len(purges.made) == 1
    assert "does not match" in caplog.text
    assert "hush" not in caplog.text


def test_every_delivery_drops_also_a_repeat() -> None:
    """With a store that processes share, the repeat may be the first that this one hears of it."""
    purges, body = Purges(), b'{"action":"company.updated","company_id":"comp_1"}'
    inbox = Inbox(SECRET, purges, Router())
    outcomes = [inbox.receive_sync(body, sign(body, SECRET)).outcome for _ in range(2)]
    assert outcomes == ["handled", "repeated"]
    assert purges.made == [{"company_id": "comp_1"}] * 2


def test_there_may_be_no_client() -> None:
    """A worker that only listens has nothing to drop."""
    router, seen = Router(), list[WebhookEvent]()
    router.on("*")(seen.append)
    body = b'{"action":"plan.updated"}'
    assert Inbox(SECRET, None, router).receive_sync(body, sign(body, SECRET)).status == 200
    assert [event.type for event in seen] == ["plan.updated"]
