"""Webhooks over HTTP: the route, an own route, bodies of every kind."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from schematic_core.webhooks import sign
from schematic_fastapi import Schematic, WebhookEvent
from tests.fastapi.support import build, serve_once
from tests.support.fake_client import FakeClient

SECRET = "whsec_test"
PATH = "/webhooks/schematic"
BODY = json.dumps({"action": "company.plan_changed", "company_id": "comp_1", "body": {"n": 1}}).encode()


@pytest.fixture
def fake() -> FakeClient:
    return FakeClient()


def test_handlers_run_after_the_purge(fake: FakeClient) -> None:
    """The company's answers are gone when its handlers run; plain ones run off the event loop."""
    app, schematic = build(fake, webhook_secret=SECRET)
    seen: list[Any] = []

    @schematic.on("company.*")
    async def awaited(event: WebhookEvent) -> None:
        seen.append((event.data, list(fake.purged), threading.current_thread().name))

    @schematic.on("*")
    def plain(event: WebhookEvent) -> None:
        seen.append(threading.current_thread().name)

    with TestClient(app) as web:
        answer = web.post(PATH, content=BODY, headers=sign(BODY, SECRET))

    assert (answer.status_code, answer.json()) == (200, {"outcome": "handled"})
    assert seen[0][:2] == ({"n": 1}, [{"company_id": "comp_1"}])
    assert seen[1] != seen[0][2]


def test_any_of_several_secrets_serves(fake: FakeClient) -> None:
    """Old and new are accepted while one replaces the other."""
    app, _ = build(fake, webhook_secret=["new", SECRET])
    web = TestClient(app)
    for number, secret in enumerate(["new", SECRET, "other"]):
        body = json.dumps({"action": "plan.updated", "n": number}).encode()
        assert web.post(PATH, content=body, headers=sign(body, secret)).status_code == (
            400 if secret == "other" else 200
        )


@pytest.mark.parametrize(
    ("headers", "body", "code"),
    [
        (dict, BODY, "missing_header"),
        (lambda: sign(BODY, "other"), BODY, "mismatch"),
        (lambda: sign(BODY, SECRET, now=1), BODY, "outside_tolerance"),
        (lambda: sign(b"{", SECRET), b"{", "malformed_body"),
        (lambda: sign(b"\xff", SECRET), b"\xff", "malformed_body"),
        (lambda: sign(b"", SECRET), b"", "malformed_body"),
        (lambda: {**sign(BODY, SECRET), "X-Schematic-Webhook-Signature": "zz"}, BODY, "malformed_header"),
    ],
)
def test_every_bad_delivery_is_a_400(
    fake: FakeClient, headers: Callable[[], dict[str, str]], body: bytes, code: str
) -> None:
    """Never a 500, and nothing is purged."""
    app, _ = build(fake, webhook_secret=SECRET)
    answer = TestClient(app).post(PATH, content=body, headers=headers())
    assert (answer.status_code, answer.json()) == (400, {"outcome": code})
    assert fake.purged == []


def test_other_methods_are_405(fake: FakeClient) -> None:
    """Only POST is a delivery."""
    app, _ = build(fake, webhook_secret=SECRET)
    answer = TestClient(app).get(PATH)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_a_large_body_is_refused_without_reading_it_whole(fake: FakeClient) -> None:
    """Announced or not, reading ends at the limit."""
    app, _ = build(fake, webhook_secret=SECRET)
    read: list[int] = []

    def chunks() -> Iterator[bytes]:
        for _ in range(64):
            read.append(1)
            yield b"x" * 65_536

    web = TestClient(app)
    assert web.post(PATH, content=b"x" * (1024 * 1024 + 1)).status_code == 413
    assert web.post(PATH, content=chunks()).status_code == 413
    assert web.post(PATH, content=b"", headers={"content-length": "9" * 30}).status_code == 413
    exact = b'{"action":"plan.updated","pad":"' + b"x" * (1024 * 1024 - 34) + b'"}'
    assert len(exact) == 1024 * 1024
    assert web.post(PATH, content=exact, headers=sign(exact, SECRET)).status_code == 200


def test_reading_stops_at_the_limit(fake: FakeClient) -> None:
    """A sender that never ends is cut off, however small its pieces."""
    app, _ = build(fake, webhook_secret=SECRET)
    asked: list[int] = []

    async def receive() -> Any:
        asked.append(1)
        return {"type": "http.request", "body": b"x" * 65_536, "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    sent: list[Any] = []
    import asyncio

    from tests.fastapi.support import http_scope

    asyncio.run(asyncio.wait_for(app(http_scope(PATH, method="POST", headers=[]), receive, send), 10.0))
    assert sent[0]["status"] == 413
    assert len(asked) == 17


def test_a_sender_that_hangs_up_is_no_error(fake: FakeClient) -> None:
    """Nothing was received, so nothing is handled."""
    app, _ = build(fake, webhook_secret=SECRET)

    def on_send(message: Any) -> None:
        return None

    sent, error = serve_once(_hanging_up(app), PATH, on_send=on_send, method="POST", headers=[])
    assert (sent[0]["status"], error) == (400, None)


def _hanging_up(app: Any) -> Any:
    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        async def gone() -> Any:
            return {"type": "http.disconnect"}

        await app(scope, gone, send)

    return wrapped


def test_a_failing_handler_is_a_500_and_the_repeat_runs(fake: FakeClient) -> None:
    """The sender tries again, and success is remembered."""
    app, schematic = build(fake, webhook_secret=SECRET)
    failures = [ValueError("no")]

    @schematic.on("*")
    def sometimes(event: WebhookEvent) -> None:
        if failures:
            raise failures.pop()

    web = TestClient(app)
    outcomes = [web.post(PATH, content=BODY, headers=sign(BODY, SECRET)).json()["outcome"] for _ in range(3)]
    assert outcomes == ["failed", "handled", "repeated"]


def test_handlers_may_be_objects(fake: FakeClient) -> None:
    """What a call gives is awaited when it must be."""
    app, schematic = build(fake, webhook_secret=SECRET)
    seen: list[str] = []

    class Note:
        async def __call__(self, event: WebhookEvent) -> None:
            seen.append(event.type)

    schematic.on("*")(Note())
    TestClient(app).post(PATH, content=BODY, headers=sign(BODY, SECRET))
    assert seen == ["company.plan_changed"]


def test_a_websocket_is_turned_away(fake: FakeClient) -> None:
    """Deliveries are requests; a mount passes connections on as well."""
    schematic = Schematic(fake.as_client(), webhook_secret=SECRET)
    app = Starlette(routes=[Mount("/mount", schematic.webhooks)])
    with pytest.raises(WebSocketDisconnect), TestClient(app).websocket_connect("/mount"):
        pass


def test_the_route_comes_before_a_catch_all(fake: FakeClient) -> None:
    """However the application routes the rest, deliveries arrive."""
    app = FastAPI()
    app.post("/{path:path}")(lambda path: path)
    Schematic(fake.as_client(), webhook_secret=SECRET, webhook_path="/hooks").init_app(app)
    assert TestClient(app).post("/hooks", content=BODY, headers=sign(BODY, SECRET)).json() == {"outcome": "handled"}
    assert "/hooks" not in TestClient(app).get("/openapi.json").text


def test_the_application_serves_routes_and_mounts_elsewhere(fake: FakeClient) -> None:
    """``schematic.webhooks`` is a plain ASGI application."""
    schematic = Schematic(fake.as_client(), webhook_secret=SECRET)
    app = Starlette(routes=[Route("/route", schematic.webhooks), Mount("/mount", schematic.webhooks)])
    web = TestClient(app)
    for path in ("/route", "/mount/"):
        assert web.post(
            path, content=b'{"action":"test.send"}', headers=sign(b'{"action":"test.send"}', SECRET)
        ).is_success
        assert web.get(path).status_code == 405


def test_an_own_route_gets_the_verified_event(fake: FakeClient) -> None:
    """The dependency verifies and purges; what is not genuine never reaches the endpoint."""
    app, schematic = build(fake, webhook_secret=SECRET, webhook_path="/unused")

    @app.post("/own")
    async def own(event: Annotated[WebhookEvent, Depends(schematic.verified_webhook)]) -> str:
        return event.type

    @app.post("/with-body")
    async def with_body(payload: dict[str, Any], event: Annotated[Any, Depends(schematic.verified_webhook)]) -> str:
        return str(payload["action"])

    web = TestClient(app)
    headers = {**sign(BODY, SECRET), "content-type": "application/json"}
    for path in ("/own", "/with-body"):
        assert web.post(path, content=BODY, headers=headers).json() == "company.plan_changed"
    assert fake.purged == [{"company_id": "comp_1"}] * 2
    assert web.post("/own", content=BODY).status_code == 400
    assert web.post("/own", content=b"x" * (1024 * 1024 + 1)).status_code == 413


def test_a_repeat_meets_a_busy_handler(fake: FakeClient) -> None:
    """It is told to come back, for nobody knows yet how the first try ends."""
    app, schematic = build(fake, webhook_secret=SECRET)
    started, gate = threading.Event(), threading.Event()

    @schematic.on("*")
    def slow(event: WebhookEvent) -> None:
        started.set()
        gate.wait(10.0)

    with TestClient(app) as web, ThreadPoolExecutor(1) as pool:
        first = pool.submit(web.post, PATH, content=BODY, headers=sign(BODY, SECRET))
        assert started.wait(10.0)
        busy = web.post(PATH, content=BODY, headers=sign(BODY, SECRET))
        gate.set()

    assert (busy.status_code, busy.json(), busy.headers["retry-after"]) == (503, {"outcome": "in_progress"}, "5")
    assert first.result(10.0).json() == {"outcome": "handled"}
