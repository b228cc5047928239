"""Applications whose flags are evaluated in their own process: fed by the local server's stream, or by an environment file."""

import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI, WebSocket
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from schematic_core import CheckResult
from schematic_core.environment import parse_environment
from schematic_core.errors import ConfigurationError
from schematic_core.server import serve
from schematic_core.server.run import bind
from schematic_fastapi import FeaturesView, Schematic
from schematic_fastapi.starlette import Schematic as StarletteSchematic
from schematic_fastapi.starlette import requires
from tests.fastapi.support import ACME, header_identity
from tests.fastapi.test_end_to_end import DEADLINE, under_uvicorn, until

ENVIRONMENT = """
version: 1
features:
  exports: {type: event, event: export_created}
  reports: {type: boolean}
plans:
  free: {entitlements: {exports: {limit: 2, period: current_month}}}
  pro: {entitlements: {reports: true, exports: unlimited}}
companies:
  acme: {keys: {id: acme}, plan: free}
api_keys: [dev]
"""


class Service:
    """The local server, whose flag checks over HTTP fail: whatever is answered comes from the stream."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx.Client(base_url=url, headers={"X-Schematic-Api-Key": "dev"}, timeout=DEADLINE)
        self.fail("/flags", status=503)

    def fail(self, path: str, **how: object) -> None:
        self.http.post("/_dev/faults", json={"path": path, "count": 1_000, **how}).raise_for_status()

    def heal(self) -> None:
        self.http.delete("/_dev/faults").raise_for_status()

    def put_plan(self, plan_id: str) -> None:
        plans = {"base_plan_id": plan_id, "add_on_ids": []}
        self.http.put("/company-plans/comp_acme", json=plans).raise_for_status()

    def connections(self) -> list[dict[str, Any]]:
        connections: list[dict[str, Any]] = self.http.get("/_dev/stream").json()["data"]["connections"]
        return connections

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [event["body"] for event in self.http.get("/_dev/events").json()["data"] if event["type"] == kind]


@pytest.fixture
def service() -> Iterator[Service]:
    with serve(parse_environment(ENVIRONMENT)) as server:
        service = Service(server.url)
        yield service
        service.http.close()


def application(schematic: Schematic, started: Callable[[], object] = lambda: None) -> FastAPI:
    """An application with gates; ``started`` is its own start-up code."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        started()
        yield

    app = FastAPI(lifespan=lifespan)
    schematic.init_app(app)

    @app.get("/reports")
    async def reports(allowed: Annotated[CheckResult, Depends(schematic.requires("reports"))]) -> dict[str, Any]:
        return {"source": allowed.source, "age": allowed.age, "is_stale": allowed.is_stale}

    @app.post("/exports", dependencies=[Depends(schematic.track("export_created"))])
    def create_export(allowed: Annotated[CheckResult, Depends(schematic.requires("exports"))]) -> dict[str, Any]:
        return {"source": allowed.source, "used": allowed.feature_usage}

    return app


def following(service: Service, **options: Any) -> Schematic:
    return Schematic(
        identity=header_identity, api_key="dev", base_url=service.url, use_datastream=True, max_retries=0, **options
    )


def client_threads() -> list[threading.Thread]:
    """The threads of clients that run now."""
    names = ("schematic-stream", "schematic-events", "schematic-off-loop")
    return [thread for thread in threading.enumerate() if thread.name.startswith(names)]


def seconds_of(step: Callable[[], object]) -> float:
    began = time.monotonic()
    step()
    return time.monotonic() - began


# -- the stream


def test_start_up_waits_until_the_stream_is_ready(service: Service) -> None:
    """The application's own start-up code, and the first request, find flags that are answered here."""
    service.fail("/datastream", delay=0.3)
    schematic = following(service)
    seen: list[str] = []

    def started() -> None:
        assert schematic.client.datastream is not None
        seen.append(schematic.client.datastream.status)

    with TestClient(application(schematic, started), headers=ACME) as web:
        allowed = web.post("/exports")

    assert seen == ["ready"]
    assert (allowed.status_code, allowed.json()) == (200, {"source": "stream", "used": 0})


def test_start_up_waits_no_longer_than_its_bound(service: Service) -> None:
    """A stream that takes its time keeps no application from starting; the service is asked meanwhile."""
    service.heal()
    service.fail("/datastream", delay=30)
    web = TestClient(application(following(service, start_timeout=0.3)), headers=ACME)

    took = seconds_of(web.__enter__)
    allowed = web.post("/exports")
    web.__exit__()

    assert 0.3 <= took < 3
    assert (allowed.status_code, allowed.json()["source"]) == (200, "api")


def test_start_up_does_not_wait_for_a_stream_that_refuses_the_key(service: Service) -> None:
    """A wrong key is known at once; the application starts, and its gates say that nothing can answer."""
    schematic = Schematic(
        identity=header_identity, api_key="wrong", base_url=service.url, use_datastream=True, start_timeout=DEADLINE
    )
    app = application(schematic)
    web = TestClient(app, headers=ACME)

    took = seconds_of(web.__enter__)
    denied = web.post("/exports")
    assert schematic.client.datastream is not None
    status = schematic.client.datastream.status
    web.__exit__()

    assert took < DEADLINE / 2
    assert status == "refused"
    assert (denied.status_code, denied.json()["code"]) == (503, "unavailable")


def test_the_limit_denies_right_after_its_last_unit(service: Service) -> None:
    """What a request metered counts in the next one; nothing waits for the service to count it."""
    with TestClient(application(following(service, event_buffer_period=60)), headers=ACME) as web:
        answers = [web.post("/exports") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 402]
    assert [answer.json()["used"] for answer in answers[:2]] == [0, 1]
    assert (answers[2].json()["code"], answers[2].json()["usage"]) == ("limit_reached", 2)


def test_a_pushed_plan_change_opens_a_gate(service: Service) -> None:
    """No webhook, no request: the stream says so."""
    with TestClient(application(following(service)), headers=ACME) as web:
        denied = web.get("/reports")
        service.put_plan("plan_pro")
        allowed = until(lambda: web.get("/reports"), 200)

    assert denied.json()["code"] == "not_entitled"
    assert allowed.json() == {"source": "stream", "age": 0.0, "is_stale": False}


def test_gates_answer_on_while_the_stream_is_away(service: Service) -> None:
    """A lost connection marks the answers stale and changes none of them."""
    with TestClient(application(following(service)), headers=ACME) as web:
        service.put_plan("plan_pro")
        until(lambda: web.get("/reports"), 200)
        service.fail("/datastream", status=503)
        service.http.post("/_dev/stream/drop").raise_for_status()

        deadline = time.monotonic() + DEADLINE
        while not (answer := web.get("/reports").json())["is_stale"]:
            assert time.monotonic() < deadline
            time.sleep(0.01)  # the loss is noticed in real time

    assert answer["source"] == "stream"


def test_a_websocket_connection_hears_of_a_push(service: Service) -> None:
    """A connection that lives long asks each time, and the answer is the one of now."""
    schematic = following(service)
    app = application(schematic)

    @app.websocket("/live")
    async def live(websocket: WebSocket, features: Annotated[FeaturesView, Depends(schematic.features)]) -> None:
        await websocket.accept()
        async for _ in websocket.iter_text():
            await websocket.send_json(await features.flag("reports"))

    def ask() -> bool:
        connection.send_text("?")
        value: bool = connection.receive_json()
        return value

    with TestClient(app, headers=ACME) as web, web.websocket_connect("/live") as connection:
        before = ask()
        service.put_plan("plan_pro")
        deadline = time.monotonic() + DEADLINE
        while not (after := ask()) and time.monotonic() < deadline:
            time.sleep(0.01)  # the push travels in real time

    assert (before, after) == (False, True)


def test_shutdown_is_clean(service: Service) -> None:
    """The connection is closed, the threads have ended, and what was metered and checked has arrived."""
    schematic = following(service)
    with TestClient(application(schematic), headers=ACME) as web:
        web.post("/exports")
        web.get("/reports")
        running = client_threads()
        view = schematic.client.datastream
    for thread in client_threads():
        thread.join(1)

    assert "schematic-stream" in {thread.name for thread in running}
    assert client_threads() == []
    assert view is not None
    assert view.status == "closed"
    assert [(one["is_open"], one["code"]) for one in service.connections()] == [(False, 1000)]
    assert [event["company"] for event in service.events("track")] == [{"id": "acme"}]
    assert {event["flag_key"] for event in service.events("flag_check")} == {"exports", "reports"}


def test_an_application_can_run_again(service: Service) -> None:
    """Each start of the same object connects anew, as test suites and reloaders do."""
    app = application(following(service))

    sources = []
    for _ in range(2):
        with TestClient(app, headers=ACME) as web:
            sources.append(web.post("/exports").json()["source"])

    assert sources == ["stream", "stream"]
    assert len(service.connections()) == 2


def test_under_uvicorn(service: Service) -> None:
    """The same over real sockets: ready before the first request, metered, denied, opened by a push."""
    listener, url = bind("127.0.0.1", 0)
    app = application(following(service))

    with under_uvicorn(app, listener), httpx.Client(base_url=url, headers=ACME, timeout=DEADLINE) as web:
        answers = [web.post("/exports") for _ in range(3)]
        service.put_plan("plan_pro")
        opened = until(lambda: web.post("/exports"), 200)

    assert [answer.status_code for answer in answers] == [200, 200, 402]
    assert [answer.json()["source"] for answer in (answers[0], opened)] == ["stream", "stream"]


def test_starlette_follows_the_stream(service: Service) -> None:
    """The Starlette half passes the same options through."""

    @requires("exports")
    async def export(request: Request) -> JSONResponse:
        return JSONResponse((await request.state.features.entitlement("exports")).source)

    app = Starlette(routes=[Route("/exports", export)])
    options: Any = {"base_url": service.url, "use_datastream": True}
    StarletteSchematic(identity=header_identity, api_key="dev", **options).init_app(app)

    with TestClient(app, headers=ACME) as web:
        assert web.get("/exports").json() == "stream"


# -- the environment file


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment file, and no service: no key, and an address where nobody listens."""
    monkeypatch.delenv("SCHEMATIC_API_KEY", raising=False)
    monkeypatch.setenv("SCHEMATIC_API_URL", "http://127.0.0.1:9")
    path = tmp_path / "schematic.yaml"
    path.write_text(ENVIRONMENT, encoding="utf-8")
    return path


def test_an_environment_file_gates_and_meters(file: Path) -> None:
    """No server at all: the limit of the file is reached by what the application metered."""
    with TestClient(application(Schematic(identity=header_identity, environment_file=file)), headers=ACME) as web:
        answers = [web.post("/exports") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 402]
    assert answers[0].json()["source"] == "file"
    assert answers[2].json()["code"] == "limit_reached"


def test_a_change_of_the_environment_file_counts(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A broken file changes nothing; a good one opens the gate."""
    with TestClient(application(Schematic(identity=header_identity, environment_file=file)), headers=ACME) as web:
        denied = web.get("/reports")
        file.write_text("version: 1\nfeatures: [", encoding="utf-8")
        end = time.monotonic() + 30.0
        while "the environment file is broken" not in caplog.text and time.monotonic() < end:
            time.sleep(0.01)
        assert "the environment file is broken" in caplog.text
        still_denied = web.get("/reports")
        file.write_text(ENVIRONMENT.replace("plan: free", "plan: pro"), encoding="utf-8")
        allowed = until(lambda: web.get("/reports"), 200)

    assert denied.json()["code"] == still_denied.json()["code"] == "not_entitled"
    assert allowed.json()["source"] == "file"


def test_a_wrong_environment_file_stops_the_start(file: Path) -> None:
    """A mistake in the file is told before the first request, with its place."""
    file.write_text(ENVIRONMENT.replace("plan: free", "plan: fre"), encoding="utf-8")
    web = TestClient(application(Schematic(identity=header_identity, environment_file=file)))

    with pytest.raises(ConfigurationError, match=r"schematic\.yaml:10: companies\.acme\.plan"):
        web.__enter__()
