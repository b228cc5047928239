"""Starlette and bare ASGI: the middleware, the view on the request, the decorator."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from schematic_core.errors import ConfigurationError, FeatureDenied
from schematic_fastapi.starlette import Identity, Schematic, SchematicMiddleware, requires
from tests.fastapi.support import ACME, header_identity, serve_once
from tests.support.fake_client import FakeClient


def plain_identity(request: HTTPConnection) -> Identity | None:
    company = request.headers.get("x-company")
    return Identity(company={"id": company}) if company else None


@requires("exports")
async def open_async(request: Request) -> Response:
    await request.state.features.track("async")
    return PlainTextResponse("in")


@requires("exports")
def open_sync(request: Request) -> Response:
    features = request.state.features.sync
    features.track("sync")
    return JSONResponse([features.flag("exports"), features.flag("seats")])


@requires("seats")
async def shut(request: Request) -> Response:
    raise AssertionError("the gate is shut")


@requires("seats", status=404)
def hidden(request: Request) -> Response:
    raise AssertionError("the gate is shut")


@requires("seats", redirect_to="open")
async def redirected(request: Request) -> Response:
    raise AssertionError("the gate is shut")


async def free(request: Request) -> Response:
    request.state.features.track("free")
    return PlainTextResponse("free")


def ask_in_thread(request: Request) -> Response:
    return JSONResponse(request.state.features.sync.flag("exports"))


class Page(HTTPEndpoint):
    @requires("exports")
    async def get(self, request: Request) -> Response:
        return PlainTextResponse("page")

    @requires("seats")
    def post(self, request: Request) -> Response:
        raise AssertionError("the gate is shut")


@requires("seats")
async def shut_socket(websocket: WebSocket) -> None:
    raise AssertionError("the gate is shut")


async def free_socket(websocket: WebSocket) -> None:
    await websocket.accept()
    websocket.state.features.track("connected")
    await websocket.close()


ROUTES: list[Any] = [
    Route("/async", open_async, name="open"),
    Route("/sync", open_sync),
    Route("/shut", shut),
    Route("/hidden", hidden),
    Route("/redirect", redirected),
    Route("/free", free),
    Route("/thread", ask_in_thread),
    Route("/page", Page),
    WebSocketRoute("/shut-socket", shut_socket),
    WebSocketRoute("/socket", free_socket),
]


@pytest.fixture
def fake() -> FakeClient:
    return FakeClient().allow("exports").deny("seats")


@pytest.fixture(params=[plain_identity, header_identity], ids=["plain identity", "async identity"])
def identity(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=["init_app", "middleware alone"])
def web(request: pytest.FixtureRequest, fake: FakeClient, identity: Any) -> TestClient:
    schematic = Schematic(fake.as_client(), identity=identity)
    if request.param == "init_app":
        app = Starlette(routes=ROUTES)
        schematic.init_app(app)
    else:
        app = Starlette(routes=ROUTES, middleware=[Middleware(SchematicMiddleware, schematic=schematic)])
    return TestClient(app, follow_redirects=False)


def test_endpoints_of_every_kind_are_gated(web: TestClient, fake: FakeClient) -> None:
    """Async and plain functions and methods of classes run, or are denied."""
    for path in ("/async", "/sync", "/page"):
        assert web.get(path, headers=ACME).status_code == 200, path
    assert web.get("/sync", headers=ACME).json() == [True, False]
    assert web.get("/shut", headers=ACME).json()["code"] == "not_entitled"
    assert web.get("/shut").status_code == 401
    assert web.get("/hidden", headers=ACME).status_code == 404
    assert web.post("/page", headers=ACME).status_code == 402
    assert web.get("/redirect", headers=ACME).headers["location"] == "http://testserver/async"
    assert fake.events == [("async", 1), ("sync", 1), ("sync", 1)]


def test_a_shut_websocket_is_closed_before_it_is_accepted(web: TestClient) -> None:
    """With the policy code, and no HTTP error in the socket."""
    with pytest.raises(WebSocketDisconnect) as caught, web.websocket_connect("/shut-socket", headers=ACME):
        pass
    assert caught.value.code == 1008


def test_usage_is_reported_about_whoever_is_found_in_the_end(web: TestClient, fake: FakeClient) -> None:
    """Without any question the identity is looked for when the usage is sent."""
    web.get("/free", headers=ACME)
    with web.websocket_connect("/socket", headers=ACME):
        pass
    assert fake.tracked == [("free", {"id": "acme"}, None, 1), ("connected", {"id": "acme"}, None, 1)]


def test_plain_code_waits_for_an_async_identity(web: TestClient, fake: FakeClient) -> None:
    """A worker thread asks through the event loop it came from."""
    assert web.get("/thread", headers=ACME).json() is True
    assert fake.asked == [("exports", {"id": "acme"}, None, None)]


def test_an_identity_function_that_fails_at_the_end_loses_the_report_only(
    fake: FakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    """The response was sent already, so the failure is logged."""

    def broken(request: HTTPConnection) -> Identity | None:
        raise ValueError("no session")

    app = Starlette(routes=ROUTES)
    Schematic(fake.as_client(), identity=broken).init_app(app)
    assert TestClient(app).get("/free").text == "free"
    assert fake.tracked == []
    assert "no session" in caplog.text


def test_a_mounted_application_is_served_by_the_outer_middleware(fake: FakeClient) -> None:
    """Plain mounts share the request's view."""
    schematic = Schematic(fake.as_client(), identity=plain_identity)
    app = Starlette(routes=[Mount("/sub", routes=ROUTES)])
    schematic.init_app(app)
    assert TestClient(app).get("/sub/shut", headers=ACME).status_code == 402


def test_a_denial_after_the_response_began_is_an_error_and_counts_nothing(fake: FakeClient) -> None:
    """Half a response cannot become a denial."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        features = scope["state"]["features"]
        features.track("used")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await features.require("seats")

    wrapped = SchematicMiddleware(app, Schematic(fake.as_client(), identity=plain_identity))
    _, error = serve_once(wrapped, "/")
    assert isinstance(error, FeatureDenied)
    assert fake.tracked == []


def test_usage_about_nobody_known_yet_is_dropped_when_cancelled(fake: FakeClient) -> None:
    """While a task is being cancelled nobody can be asked who it was."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["state"]["features"].track("used")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise asyncio.CancelledError

    wrapped = SchematicMiddleware(app, Schematic(fake.as_client(), identity=plain_identity))
    _, error = serve_once(wrapped, "/")
    assert isinstance(error, asyncio.CancelledError)
    assert fake.tracked == []


def test_a_late_cancellation_takes_nothing_back(fake: FakeClient) -> None:
    """The body had ended, so the usage counted already."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["state"]["features"].track("used")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        raise asyncio.CancelledError

    serve_once(SchematicMiddleware(app, Schematic(fake.as_client())), "/")
    assert fake.events == [("used", 1)]


def test_only_functions_that_take_a_connection_can_be_gated(fake: FakeClient) -> None:
    """Anything else has no request to ask about."""

    @requires("exports")
    async def task() -> None:
        raise AssertionError("never runs")

    with pytest.raises(ConfigurationError, match="take a request"):
        asyncio.run(task())


def test_a_gate_without_installation_says_what_to_do() -> None:
    """Forgetting ``init_app`` lets nobody in and names the remedy."""
    with pytest.raises(ConfigurationError, match=r"init_app\(app\)"):
        TestClient(Starlette(routes=ROUTES)).get("/async")


def test_the_lifespan_and_webhooks_are_those_of_the_object(fake: FakeClient) -> None:
    """Start, end, secret and handlers behave as with FastAPI."""
    schematic = Schematic(fake.as_client(), webhook_secret="whsec_test")
    schematic.on("*")(lambda event: None)
    app = Starlette(lifespan=schematic.lifespan())
    schematic.init_app(app)
    with TestClient(app) as web:
        assert web.post("/webhooks/schematic").status_code == 400
        assert schematic.client is not None
    assert fake.told == ["initialize", "initialize", "flush"]


def test_a_mounted_application_answers_denials_as_well(fake: FakeClient) -> None:
    """Its own error handling would make a 500 of them."""
    mounted = Starlette(routes=[Route("/shut", shut), Route("/hidden", hidden)])
    app = Starlette(routes=[Mount("/sub", mounted)])
    Schematic(fake.as_client(), identity=plain_identity).init_app(app)

    web = TestClient(app)

    assert web.get("/sub/shut", headers=ACME).status_code == 402
    assert web.get("/sub/hidden", headers=ACME).status_code == 404
