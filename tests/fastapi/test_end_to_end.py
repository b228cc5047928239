"""The whole path over real sockets: a gated, metered application, the local server, its webhooks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import Depends, FastAPI
from starlette.requests import Request

from schematic_core.environment import parse_environment
from schematic_core.server import serve
from schematic_core.server.run import bind
from schematic_fastapi import Identity, Schematic, WebhookEvent

ENVIRONMENT = """
version: 1
features:
  exports: {{type: event, event: export_created}}
  reports: {{type: boolean}}
plans:
  free: {{entitlements: {{exports: {{limit: 2, period: current_month}}}}}}
  pro: {{entitlements: {{reports: true, exports: {{limit: 100, period: current_month}}}}}}
companies:
  acme: {{keys: {{id: acme}}, plan: free}}
webhooks: [{{url: "{url}/webhooks/schematic", secret: whsec_dev, events: ["*"]}}]
"""
DEADLINE = 15.0


@dataclass
class Scene:
    """The running application and server, and what the application was told."""

    app: httpx.Client
    api: httpx.Client
    told: list[str]
    changed: Event


def identity(request: Request) -> Identity:
    return Identity(company={"id": request.headers["x-company"]})


def application(server_url: str, told: list[str], changed: Event) -> FastAPI:
    schematic = Schematic(api_key="dev", base_url=server_url, identity=identity, webhook_secret="whsec_dev")
    app = FastAPI()
    schematic.init_app(app)

    @app.post(
        "/exports", dependencies=[Depends(schematic.requires("exports")), Depends(schematic.track("export_created"))]
    )
    async def create_export() -> str:
        return "exported"

    @app.get("/reports", dependencies=[Depends(schematic.requires("reports"))])
    def reports() -> str:
        return "report"

    @schematic.on("company.plan_changed")
    def plan_changed(event: WebhookEvent) -> None:
        told.append(event.type)
        changed.set()

    return app


@contextmanager
def under_uvicorn(app: FastAPI, listener: Any) -> Iterator[None]:
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none", timeout_graceful_shutdown=1))
    thread = Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(DEADLINE)
        listener.close()


@pytest.fixture
def scene() -> Iterator[Scene]:
    listener, url = bind("127.0.0.1", 0)
    told: list[str] = []
    changed = Event()
    with (
        serve(parse_environment(ENVIRONMENT.format(url=url))) as server,
        under_uvicorn(application(server.url, told, changed), listener),
        httpx.Client(base_url=url, headers={"x-company": "acme"}, timeout=DEADLINE) as app,
        httpx.Client(base_url=server.url, headers={"X-Schematic-Api-Key": "dev"}, timeout=DEADLINE) as api,
    ):
        yield Scene(app, api, told, changed)


def until(ask: Callable[[], httpx.Response], status: int) -> httpx.Response:
    """Ask until the answer is there; bounded, since events and caches take their moment."""
    ends_at = time.monotonic() + DEADLINE
    while (answer := ask()).status_code != status:
        assert time.monotonic() < ends_at, answer.text
        time.sleep(0.02)  # events travel in real time
    return answer


def test_the_limit_denies_and_a_plan_change_opens_again(scene: Scene) -> None:
    """Usage reaches the limit, the gate shuts with the numbers; the webhook of the plan change opens it at once."""
    assert scene.app.get("/reports").json()["code"] == "not_entitled"

    denied = until(lambda: scene.app.post("/exports"), 402).json()

    assert (denied["code"], denied["feature"], denied["allocation"]) == ("limit_reached", "exports", 2)
    assert denied["usage"] >= 2

    changed = scene.api.put("/company-plans/comp_acme", json={"base_plan_id": "plan_pro", "add_on_ids": []})
    assert changed.status_code == 200
    assert scene.changed.wait(DEADLINE)

    assert scene.app.post("/exports").status_code == 200
    assert scene.app.get("/reports").json() == "report"
    assert scene.told == ["company.plan_changed"]


def test_a_dead_service_denies_nobody_wrongly_and_breaks_nothing() -> None:
    """A gate that fails open lets requests in, one without a default says that nothing could answer."""
    listener, url = bind("127.0.0.1", 0)
    listener.close()
    from starlette.testclient import TestClient

    app = FastAPI()
    schematic = Schematic(api_key="dev", base_url=url, identity=identity, max_retries=0)
    schematic.init_app(app)
    app.get("/open", dependencies=[Depends(schematic.requires("exports", default=True))])(lambda: "in")
    app.get("/shut", dependencies=[Depends(schematic.requires("exports"))])(lambda: "in")
    with TestClient(app) as web:
        assert web.get("/open", headers={"x-company": "acme"}).status_code == 200
        denied = web.get("/shut", headers={"x-company": "acme"})
        assert (denied.status_code, denied.json()["code"]) == (503, "unavailable")
