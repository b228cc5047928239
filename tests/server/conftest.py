"""Fixtures of the local server's tests: servers over real sockets, and a client that holds answers to the schemas."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from schematic_core.environment import parse_environment
from schematic_core.server import serve
from tests.server.receiver import Receiver, receiving
from tests.server.schemas import faults_of_answer, operation_of

ENVIRONMENT = """
version: 1
features:
  exports: {type: event, event: export_created}
  daily: {type: event, event: report_run}
  reports: {type: boolean}
  seats: {type: trait, trait: seats}
flags:
  new-nav: {default: false, rules: [{name: beta, value: true, when: [{plan: pro}, {trait: region, value: eu}]}]}
  on-by-default: {default: true}
plans:
  free: {entitlements: {exports: {limit: 2, period: current_month}}}
  pro:
    name: Pro
    entitlements:
      reports: true
      exports: {limit: 5, period: current_month, reset: first_of_month}
      daily: {limit: 3, period: current_day}
      seats: {limit: 10}
      tokens: {credit: ai, rate: 0.5}
credits: {ai: {name: AI credits}}
companies:
  acme: {keys: {id: acme, ref: a1}, plan: pro, traits: {region: eu, seats: 4}, credits: {ai: 2}}
  tiny: {keys: {id: tiny}, plan: free}
users:
  ada: {keys: {id: ada}, company: acme, traits: {role: owner}}
"""


class Api:
    """Requests to one server; every answer of a documented endpoint is held to its schema."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.seen: set[str] = set()
        self.client = httpx.Client(base_url=url, headers={"X-Schematic-Api-Key": "dev"}, timeout=20.0, verify=False)

    def __call__(self, method: str, path: str, status: int | None = None, **options: Any) -> Any:
        response = self.client.request(method, path, **options)
        assert status in (None, response.status_code), response.text
        operation = operation_of(method, response.request.url.raw_path)
        if operation is not None:
            assert faults_of_answer(operation, response.status_code, response.json()) == []
            if response.is_success:
                self.seen.add(operation.name)
        return response.json()["data"] if response.is_success else response.json()

    def check(self, flag: str, company: str | None = "acme", **body: Any) -> Any:
        about = {"company": {"id": company}} if company is not None else {}
        return self("POST", f"/flags/{flag}/check", 200, json={**about, **body})

    def track(self, event: str, company: str = "acme", quantity: int = 1, **more: Any) -> Any:
        body = {"event": event, "company": {"id": company}, "quantity": quantity}
        return self("POST", "/events", 201, json={"event_type": "track", "body": body, **more})


@pytest.fixture
def start() -> Iterator[Callable[..., Api]]:
    """Start servers from the text of an environment file; each is stopped after the test."""
    with ExitStack() as stack:

        def make(text: str = ENVIRONMENT, **options: Any) -> Api:
            server = stack.enter_context(serve(parse_environment(text), **options))
            api = Api(server.url)
            stack.callback(api.client.close)
            return api

        yield make


@pytest.fixture
def api(start: Callable[..., Api]) -> Api:
    return start()


@pytest.fixture(scope="module")
def steady() -> Iterator[Api]:
    """One server for the tests of a module that change nothing."""
    with serve(parse_environment(ENVIRONMENT)) as server:
        api = Api(server.url)
        yield api
        api.client.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found
