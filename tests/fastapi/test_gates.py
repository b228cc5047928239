"""Gates, views and identities in a FastAPI application."""

import contextvars
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, WebSocket
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from schematic_core.errors import ConfigurationError, FeatureDenied
from schematic_core.values import CheckResult
from schematic_fastapi import FeaturesView, Identity, Schematic, SyncFeaturesView
from tests.fastapi.support import ACME, build
from tests.support.fake_client import FakeClient


@pytest.fixture
def fake() -> FakeClient:
    return FakeClient().allow("exports", "reports").deny("seats")


def test_an_open_gate_gives_the_answer_and_a_shut_one_a_problem(fake: FakeClient) -> None:
    """A gate serves in ``dependencies`` and as a parameter; its denial is machine-readable."""
    app, schematic = build(fake)

    @app.get("/open", dependencies=[Depends(schematic.requires("exports"))])
    async def open_(result: Annotated[CheckResult, Depends(schematic.requires("exports"))]) -> str:
        return result.reason

    @app.get("/shut", dependencies=[Depends(schematic.requires("seats"))])
    async def shut() -> None:
        raise AssertionError("the gate is shut")

    web = TestClient(app)
    assert web.get("/open", headers=ACME).json() == "Matched standard rule"
    denied = web.get("/shut", headers=ACME)
    assert denied.status_code == 402
    assert denied.headers["content-type"] == "application/problem+json"
    assert (denied.json()["code"], denied.json()["feature"]) == ("not_entitled", "seats")
    assert [flag for flag, *_ in fake.asked] == ["exports", "seats"]


def test_who_is_denied_and_why_decides_the_status(fake: FakeClient) -> None:
    """401 for nobody, 503 with Retry-After when nothing could answer, 404 when asked to hide."""
    app, schematic = build(fake)
    for path, gate in {
        "/shut": schematic.requires("seats"),
        "/hidden": schematic.requires("seats", status=404),
        "/outage": schematic.requires("unknown"),
        "/fail-open": schematic.requires("unknown", default=True),
        "/open": schematic.requires("exports"),
    }.items():
        app.get(path, dependencies=[Depends(gate)])(lambda: "in")

    web = TestClient(app)
    assert web.get("/shut").status_code == 401
    assert web.get("/open").status_code == 200
    assert web.get("/hidden", headers=ACME).status_code == 404
    assert web.get("/fail-open", headers=ACME).status_code == 200
    outage = web.get("/outage", headers=ACME)
    assert (outage.status_code, outage.headers["retry-after"]) == (503, "5")


def test_gates_work_on_routers_includes_and_the_whole_application(fake: FakeClient) -> None:
    """Wherever FastAPI takes dependencies a gate is one."""
    schematic = Schematic(fake.as_client())
    shut = [Depends(schematic.requires("seats"))]
    app = FastAPI()
    on_router = APIRouter(dependencies=shut)
    on_include = APIRouter()
    for router in (on_router, on_include):
        router.get("/x")(lambda: "in")
    app.include_router(on_router, prefix="/router")
    app.include_router(on_include, prefix="/include", dependencies=shut)
    app.include_router(on_include, prefix="/free")
    schematic.init_app(app)
    whole = FastAPI(dependencies=shut)
    whole.get("/x")(lambda: "in")
    schematic.init_app(whole)

    web = TestClient(app)
    assert [web.get(f"/{where}/x").status_code for where in ("router", "include", "free")] == [401, 401, 200]
    assert TestClient(whole).get("/x").status_code == 401


def test_sync_endpoints_ask_through_the_plain_face(fake: FakeClient) -> None:
    """In the thread pool gates and views behave the same, and share the request's answers."""
    app, schematic = build(fake)

    @app.get("/x", dependencies=[Depends(schematic.requires("exports"))])
    def endpoint(features: Annotated[SyncFeaturesView, Depends(schematic.sync_features)]) -> list[bool]:
        return [features.flag("exports"), features.flag("seats"), features.peek("exports")]

    assert TestClient(app).get("/x", headers=ACME).json() == [True, False, True]
    assert [flag for flag, *_ in fake.asked] == ["exports", "seats"]


def test_values_without_a_gate_are_dependencies_too(fake: FakeClient) -> None:
    """``flag`` and ``entitlement`` let everybody in and say what holds."""
    app, schematic = build(fake)

    @app.get("/x")
    async def endpoint(
        seats: Annotated[bool, Depends(schematic.flag("seats"))],
        unknown: Annotated[bool, Depends(schematic.flag("unknown", default=True))],
        exports: Annotated[CheckResult, Depends(schematic.entitlement("exports", usage=2))],
    ) -> list[bool]:
        return [seats, unknown, exports.value]

    assert TestClient(app).get("/x", headers=ACME).json() == [False, True, True]
    assert fake.asked[-1][-1].usage == 2


def test_the_identity_is_an_ordinary_dependency(fake: FakeClient) -> None:
    """It may be plain, depend on others, show in OpenAPI, and be replaced."""

    def tenant(x_tenant: Annotated[str, Header()]) -> str:
        return x_tenant

    def identity(tenant: Annotated[str, Depends(tenant)]) -> Identity:
        return Identity(company={"id": tenant})

    app, schematic = build(fake, identity=identity)

    @app.get("/x")
    async def endpoint(features: Annotated[FeaturesView, Depends(schematic.features)]) -> Any:
        await features.flag("exports")
        return features.identity.company if features.identity else None

    web = TestClient(app)
    assert web.get("/x", headers={"x-tenant": "acme"}).json() == {"id": "acme"}
    assert web.get("/x").status_code == 422
    parameters = web.get("/openapi.json").json()["paths"]["/x"]["get"]["parameters"]
    assert [p["name"] for p in parameters] == ["x-tenant"]
    app.dependency_overrides[identity] = lambda: Identity(company={"id": "other"})
    assert web.get("/x").json() == {"id": "other"}


def test_no_header_decides_the_identity_by_itself(fake: FakeClient) -> None:
    """Only the application's own function reads the request."""
    app, schematic = build(fake, identity=None)
    app.get("/x", dependencies=[Depends(schematic.requires("exports"))])(lambda: "in")
    TestClient(app).get("/x", headers={**ACME, "x-schematic-company": "acme"})
    assert fake.asked == [("exports", None, None, None)]


def test_gates_compare_by_value_so_overrides_can_name_them(fake: FakeClient) -> None:
    """An equal gate made elsewhere replaces the one on the route."""
    app, schematic = build(fake)
    other = Schematic(fake.as_client())
    app.get("/x", dependencies=[Depends(schematic.requires("seats"))])(lambda: "in")

    assert schematic.requires("seats") == schematic.requires("seats")
    assert len({schematic.requires("a"), schematic.requires("a"), schematic.requires("a", status=404)}) == 2
    assert schematic.requires("seats") != other.requires("seats")
    others: list[Any] = [schematic.entitlement("seats"), schematic.flag("seats")]
    assert schematic.requires("seats") not in others
    app.dependency_overrides[schematic.requires("seats")] = lambda: None
    assert TestClient(app).get("/x", headers=ACME).status_code == 200


def test_the_view_can_be_replaced_in_tests(fake: FakeClient) -> None:
    """Overriding ``schematic.features`` replaces what gates ask as well."""
    app, schematic = build(fake)
    app.get("/x", dependencies=[Depends(schematic.requires("seats"))])(lambda: "in")

    class Generous:
        async def require(self, key: str, **_: Any) -> None:
            return None

    app.dependency_overrides[schematic.features] = Generous
    assert TestClient(app).get("/x", headers=ACME).status_code == 200


def test_views_work_in_dependencies_and_state(fake: FakeClient) -> None:
    """A dependency shares the endpoint's view; templates find it on the request."""
    app, schematic = build(fake)

    async def preload(features: Annotated[FeaturesView, Depends(schematic.features)]) -> None:
        await features.load("exports", "seats")

    @app.get("/x", dependencies=[Depends(preload)])
    async def endpoint(request: Request) -> list[bool]:
        return [request.state.features.peek("exports"), request.state.features.peek("seats")]

    assert TestClient(app).get("/x", headers=ACME).json() == [True, False]
    assert len(fake.asked) == 1


def test_a_denial_can_be_answered_otherwise(fake: FakeClient) -> None:
    """By the object's ``on_denied``, by a gate's ``denied`` or ``redirect_to``, or by the application's own handler."""

    async def on_denied(request: Any, error: FeatureDenied) -> Response:
        return PlainTextResponse(f"{request.method} {error.code}", 418)

    app, schematic = build(fake, on_denied=on_denied)
    plain = schematic.requires("seats", denied=lambda request, error: PlainTextResponse("own", 409))
    app.get("/all", dependencies=[Depends(schematic.requires("seats"))])(lambda: "in")
    app.get("/own", dependencies=[Depends(plain)])(lambda: "in")
    app.get("/url", dependencies=[Depends(schematic.requires("seats", redirect_to="/pricing"))])(lambda: "in")
    app.get("/name", dependencies=[Depends(schematic.requires("seats", redirect_to="pricing"))])(lambda: "in")
    app.get("/pricing", name="pricing")(lambda: "plans")

    web = TestClient(app, follow_redirects=False)
    assert (web.get("/all", headers=ACME).status_code, web.get("/all", headers=ACME).text) == (418, "GET not_entitled")
    assert (web.get("/own", headers=ACME).status_code, web.get("/own", headers=ACME).text) == (409, "own")
    assert (web.get("/url", headers=ACME).status_code, web.get("/url").headers["location"]) == (303, "/pricing")
    assert web.get("/name", headers=ACME).headers["location"] == "http://testserver/pricing"

    own = FastAPI()
    own.add_exception_handler(FeatureDenied, lambda request, error: PlainTextResponse("mine", 451))
    schematic.init_app(own)
    own.get("/x", dependencies=[Depends(schematic.requires("seats"))])(lambda: "in")
    assert TestClient(own).get("/x", headers=ACME).status_code == 451


def test_a_websocket_is_closed_before_it_is_accepted(fake: FakeClient) -> None:
    """The close says policy; an open gate lets the endpoint run, which asks anew each time."""
    app, schematic = build(fake)

    @app.websocket("/shut")
    async def shut(socket: WebSocket, result: Annotated[CheckResult, Depends(schematic.requires("seats"))]) -> None:
        raise AssertionError("the gate is shut")

    @app.websocket("/open")
    async def open_(socket: WebSocket, features: Annotated[FeaturesView, Depends(schematic.features)]) -> None:
        await socket.accept()
        await features.track("connected")
        for _ in range(2):
            await socket.receive_text()
            await socket.send_json(await features.flag("exports"))
        await socket.close()

    web = TestClient(app)
    with pytest.raises(WebSocketDisconnect) as caught, web.websocket_connect("/shut", headers=ACME):
        pass
    assert (caught.value.code, caught.value.reason) == (1008, "not_entitled")
    with web.websocket_connect("/open", headers=ACME) as socket:
        socket.send_text("?")
        assert socket.receive_json() is True
        fake.deny("exports")
        socket.send_text("?")
        assert socket.receive_json() is False
    assert fake.tracked == [("connected", {"id": "acme"}, None, 1)]


def test_two_applications_do_not_see_each_other(fake: FakeClient) -> None:
    """Each has its own client, handlers and denials."""
    other = FakeClient().deny("exports")
    apps = []
    for client in (fake, other):
        app, schematic = build(client)
        app.get("/x", dependencies=[Depends(schematic.requires("exports"))])(lambda: "in")
        apps.append(TestClient(app))
    assert [web.get("/x", headers=ACME).status_code for web in apps] == [200, 402]
    assert (len(fake.asked), len(other.asked)) == (1, 1)


def test_a_mounted_application_shares_the_request(fake: FakeClient) -> None:
    """Installed in both, the request has one view, and denials below the mount are answered."""
    app, schematic = build(fake)
    mounted = FastAPI()
    schematic.init_app(mounted)
    mounted.get("/shut", dependencies=[Depends(schematic.requires("seats"))])(lambda: "in")
    mounted.get("/open", dependencies=[Depends(schematic.track("opened"))])(lambda: "in")
    app.mount("/sub", mounted)

    web = TestClient(app)
    assert web.get("/sub/shut", headers=ACME).status_code == 402
    assert web.get("/sub/open", headers=ACME).status_code == 200
    assert fake.events == [("opened", 1)]


def test_an_application_without_the_middleware_is_told_what_to_do(fake: FakeClient) -> None:
    """Forgetting ``init_app`` says so instead of letting everybody in."""
    app = FastAPI()
    schematic = Schematic(fake.as_client())
    app.get("/x", dependencies=[Depends(schematic.requires("exports"))])(lambda: "in")
    with pytest.raises(ConfigurationError, match=r"init_app\(app\)"):
        TestClient(app).get("/x")


def test_a_request_leaves_no_context_behind(fake: FakeClient) -> None:
    """Context variables after requests, failed ones too, are those of before."""
    app, schematic = build(fake)
    seen: list[int] = []

    @app.get("/x", dependencies=[Depends(schematic.requires("exports"))])
    async def endpoint() -> None:
        seen.append(len(contextvars.copy_context()))

    @app.get("/bad", dependencies=[Depends(schematic.requires("exports"))])
    async def bad() -> None:
        raise ValueError("no")

    web = TestClient(app, raise_server_exceptions=False)
    before = dict(contextvars.copy_context())
    web.get("/x", headers=ACME)
    web.get("/bad", headers=ACME)
    web.get("/x", headers=ACME)
    assert dict(contextvars.copy_context()) == before
    assert seen[0] == seen[1]


def test_a_mounted_application_that_knows_nothing_of_us_answers_denials_as_well(fake: FakeClient) -> None:
    """Its own error handling would make a 500 of them."""
    app, schematic = build(fake)
    mounted = FastAPI(dependencies=[Depends(schematic.requires("seats"))])
    mounted.get("/shut", dependencies=[Depends(schematic.track("opened"))])(lambda: "in")
    app.mount("/sub", mounted)

    denied = TestClient(app).get("/sub/shut", headers=ACME)

    assert (denied.status_code, denied.json()["code"]) == (402, "not_entitled")
    assert fake.tracked == []
