"""Usage is counted once per successful request, after its body, and never for a failed one."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import pytest
from fastapi import BackgroundTasks, Depends, FastAPI
from starlette.responses import JSONResponse, StreamingResponse
from starlette.testclient import TestClient

from schematic_fastapi import FeaturesView, Schematic, SyncFeaturesView
from tests.fastapi.support import ACME, build, serve_once
from tests.support.fake_client import FakeClient


@pytest.fixture
def fake() -> FakeClient:
    return FakeClient().allow("exports").deny("seats")


@pytest.fixture
def built(fake: FakeClient) -> tuple[FastAPI, Schematic]:
    return build(fake)


def metered(schematic: Schematic) -> list[Any]:
    return [Depends(schematic.track("used", 2))]


def test_a_success_is_counted_once_with_its_identity(built: tuple[FastAPI, Schematic], fake: FakeClient) -> None:
    """The dependency and both faces of the view report about whoever was identified."""
    app, schematic = built

    @app.get("/async", dependencies=metered(schematic))
    async def asynchronous(features: Annotated[FeaturesView, Depends(schematic.features)]) -> None:
        await features.track("awaited")
        features.track("not_awaited")

    @app.get("/sync", dependencies=metered(schematic))
    def synchronous(features: Annotated[SyncFeaturesView, Depends(schematic.sync_features)]) -> None:
        features.track("plain")

    web = TestClient(app)
    web.get("/async", headers=ACME)
    web.get("/sync", headers=ACME)
    assert fake.events == [("used", 2), ("awaited", 1), ("not_awaited", 1), ("used", 2), ("plain", 1)]
    assert {str(company) for _, company, *_ in fake.tracked} == {"{'id': 'acme'}"}


def test_failures_count_nothing(built: tuple[FastAPI, Schematic], fake: FakeClient) -> None:
    """A status from 400, an exception, a denial, and a denial answered by a redirect."""
    app, schematic = built
    gates = {"/denied": schematic.requires("seats"), "/redirected": schematic.requires("seats", redirect_to="/")}
    for path, gate in gates.items():
        app.get(path, dependencies=[*metered(schematic), Depends(gate)])(lambda: "in")
    app.get("/400", dependencies=metered(schematic))(lambda: JSONResponse({}, 400))

    @app.get("/raises", dependencies=metered(schematic))
    async def raises() -> None:
        raise ValueError("no")

    web = TestClient(app, raise_server_exceptions=False, follow_redirects=False)
    statuses = [web.get(path, headers=ACME).status_code for path in ("/denied", "/redirected", "/400", "/raises")]
    assert statuses == [402, 303, 400, 500]
    assert fake.tracked == []


def streaming(app: FastAPI, schematic: Schematic, body: Any) -> None:
    app.get("/stream", dependencies=metered(schematic))(lambda: StreamingResponse(body()))


def test_a_streamed_body_is_counted_when_it_ended(built: tuple[FastAPI, Schematic], fake: FakeClient) -> None:
    """Nothing is counted while chunks are still to come, whenever dependencies are torn down."""
    app, schematic = built
    counted_before_the_end: list[int] = []

    async def body() -> AsyncIterator[bytes]:
        yield b"one"
        counted_before_the_end.append(len(fake.tracked))
        yield b"two"
        counted_before_the_end.append(len(fake.tracked))

    async def torn_down() -> AsyncIterator[None]:
        yield

    app.get("/stream", dependencies=[*metered(schematic), Depends(torn_down)])(lambda: StreamingResponse(body()))
    assert TestClient(app).get("/stream", headers=ACME).content == b"onetwo"
    assert counted_before_the_end == [0, 0]
    assert fake.events == [("used", 2)]


def test_a_body_that_breaks_counts_nothing(built: tuple[FastAPI, Schematic], fake: FakeClient) -> None:
    """The customer did not get what was promised."""
    app, schematic = built

    def body() -> Iterator[bytes]:
        yield b"one"
        raise ValueError("broken")

    streaming(app, schematic, body)
    sent, error = serve_once(app, "/stream")
    assert "broken" in repr(error)
    assert sent[0]["status"] == 200
    assert fake.tracked == []


def test_a_client_that_goes_away_is_counted(built: tuple[FastAPI, Schematic], fake: FakeClient) -> None:
    """The server says so by refusing to send; the work was done."""
    app, schematic = built

    async def body() -> AsyncIterator[bytes]:
        while True:
            yield b"more"

    chunks: list[bytes] = []

    def on_send(message: Any) -> None:
        if message["type"] == "http.response.body":
            chunks.append(message["body"])
            if len(chunks) == 3:
                raise OSError("gone")

    streaming(app, schematic, body)
    serve_once(app, "/stream", on_send=on_send)
    assert fake.events == [("used", 2)]


def test_a_client_whose_leaving_is_received_is_counted(built: tuple[FastAPI, Schematic], fake: FakeClient) -> None:
    """Servers of the older protocol version tell it by a message, and the response just returns."""
    app, schematic = built

    async def body() -> AsyncIterator[bytes]:
        while True:
            yield b"more"
            await asyncio.sleep(0)

    streaming(app, schematic, body)
    serve_once(app, "/stream", leaves=True, asgi={"version": "3.0", "spec_version": "2.0"})
    assert fake.events == [("used", 2)]


def test_a_cancelled_response_is_a_client_gone_and_a_cancelled_endpoint_is_not(
    built: tuple[FastAPI, Schematic], fake: FakeClient
) -> None:
    """Servers cancel when the client leaves; without a started response nothing is known to have succeeded."""
    app, schematic = built

    async def body() -> AsyncIterator[bytes]:
        yield b"one"
        raise asyncio.CancelledError

    @app.get("/endpoint", dependencies=metered(schematic))
    async def endpoint() -> None:
        raise asyncio.CancelledError

    streaming(app, schematic, body)
    _, error = serve_once(app, "/endpoint")
    assert isinstance(error, asyncio.CancelledError)
    assert fake.tracked == []
    serve_once(app, "/stream")
    assert fake.events == [("used", 2)]


def test_usage_of_background_tasks_is_counted_after_the_response(
    built: tuple[FastAPI, Schematic], fake: FakeClient
) -> None:
    """They run when the outcome is known; a failing one takes nothing back."""
    app, schematic = built

    @app.get("/x", dependencies=metered(schematic))
    async def endpoint(
        tasks: BackgroundTasks, features: Annotated[FeaturesView, Depends(schematic.features)]
    ) -> dict[str, bool]:
        def work() -> None:
            features.track("in_background")
            raise ValueError("late")

        tasks.add_task(work)
        return {}

    TestClient(app, raise_server_exceptions=False).get("/x", headers=ACME)
    assert fake.events == [("used", 2), ("in_background", 1)]


def test_teardown_after_the_response_still_counts(built: tuple[FastAPI, Schematic], fake: FakeClient) -> None:
    """Usage reported while dependencies are torn down is counted, before or after the response."""
    app, schematic = built

    async def unit(features: Annotated[FeaturesView, Depends(schematic.features)]) -> AsyncIterator[None]:
        yield
        features.track("torn_down")

    app.get("/x", dependencies=[Depends(unit)])(lambda: "done")
    TestClient(app).get("/x", headers=ACME)
    assert fake.events == [("torn_down", 1)]


def test_other_scopes_pass_through_untouched(fake: FakeClient) -> None:
    """A protocol of the future reaches the application as it came."""
    seen: list[Any] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    from schematic_fastapi.starlette import Schematic as Plain
    from schematic_fastapi.starlette import SchematicMiddleware

    scope = {"type": "webtransport"}
    asyncio.run(SchematicMiddleware(inner, Plain(fake.as_client()))(scope, None, None))  # type: ignore[arg-type]
    assert seen == [{"type": "webtransport"}]
