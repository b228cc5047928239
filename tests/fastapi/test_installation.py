"""What ``init_app`` and ``lifespan`` do: order, state, failures, configuration, OpenAPI."""

import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Request
from starlette.testclient import TestClient

from schematic_core.errors import ConfigurationError
from schematic_fastapi import FeaturesView, Identity, Schematic
from tests.fastapi.support import ACME, build
from tests.support.fake_client import FakeClient


@pytest.fixture
def fake() -> FakeClient:
    return FakeClient().allow("exports").deny("seats")


def recording(fake: FakeClient, name: str, *, fails: bool = False) -> Any:
    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, str]]:
        fake.told.append(f"{name} opens")
        if fails:
            raise ValueError(name)
        yield {name: "state"}
        fake.told.append(f"{name} closes")

    return lifespan


def test_ours_opens_first_and_closes_last(fake: FakeClient) -> None:
    """Flags can be asked in start-up code and usage reported in shutdown code, of routers too."""
    schematic = Schematic(fake.as_client())

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, bool]]:
        result = await schematic.client.check_flag_with_entitlement("exports")
        yield {"exports": result.value}
        schematic.client.track("stopped", quantity=1)

    app = FastAPI(lifespan=lifespan)
    schematic.init_app(app)
    app.include_router(APIRouter(lifespan=recording(fake, "router")))

    @app.get("/state")
    async def state(request: Request) -> list[Any]:
        return [request.state.exports, request.state.router]

    with TestClient(app) as web:
        assert web.get("/state").json() == [True, "state"]
    assert fake.told == ["initialize", "router opens", "router closes", "flush"]
    assert fake.events == [("stopped", 1)]


def test_a_written_lifespan_composes(fake: FakeClient) -> None:
    """``schematic.lifespan`` wraps another, or stands alone; used with ``init_app`` it is entered once more, harmlessly."""
    schematic = Schematic(fake.as_client())
    app = FastAPI(lifespan=schematic.lifespan(recording(fake, "inner")))
    schematic.init_app(app)
    with TestClient(app):
        assert fake.told == ["initialize", "initialize", "inner opens"]
    assert fake.told[3:] == ["inner closes", "flush"]
    with TestClient(FastAPI(lifespan=schematic.lifespan())):
        pass


def test_it_unwinds_when_the_inner_lifespan_fails(fake: FakeClient) -> None:
    """What was opened is closed, and the failure is seen."""
    app = FastAPI(lifespan=recording(fake, "inner", fails=True))
    Schematic(fake.as_client()).init_app(app)
    with pytest.raises(ValueError, match="inner"), TestClient(app):
        pass
    assert fake.told == ["initialize", "inner opens", "flush"]


def test_an_unstarted_application_works(fake: FakeClient) -> None:
    """Where no lifespan runs, the client comes alive at the first request."""
    app = FastAPI()
    schematic = Schematic(offline=True, flag_defaults={"exports": True})
    schematic.init_app(app)
    app.get("/x", dependencies=[Depends(schematic.requires("exports"))])(lambda: "in")
    assert TestClient(app).get("/x").status_code == 200


def test_our_own_client_is_closed_and_made_again() -> None:
    """Each run of the application has a living client."""
    app = FastAPI()
    schematic = Schematic(offline=True, flag_defaults={"exports": True})
    schematic.init_app(app)
    app.get("/x", dependencies=[Depends(schematic.requires("exports"))])(lambda: "in")
    clients = []
    for _ in range(2):
        with TestClient(app) as web:
            assert web.get("/x").status_code == 200
            clients.append(schematic.client)
    assert clients[0] is not clients[1]


@pytest.mark.parametrize(
    ("options", "setting"),
    [
        ({}, "api_key"),
        ({"api_key": "k", "base_url": "nonsense"}, "base_url"),
        ({"offline": True, "webhook_secret": " "}, "webhook_secret"),
        ({"offline": True, "webhook_secret": []}, "webhook_secret"),
        ({"offline": True, "base_ulr": "x"}, "base_ulr"),
        ({"offline": True, "webhook_path": "hooks"}, "webhook_path"),
        ({"offline": True, "webhook_path": None}, "webhook_path"),
        ({"offline": True, "webhook_tolerance": "5 min"}, "webhook_tolerance"),
        ({"offline": True, "webhook_tolerance": float("nan")}, "webhook_tolerance"),
    ],
)
def test_wrong_configuration_stops_the_start_and_names_the_setting(options: dict[str, Any], setting: str) -> None:
    """Making the object needs nothing; installing or starting it says what is wrong."""
    schematic = Schematic(**options)

    def start() -> None:
        app = FastAPI()
        schematic.init_app(app)
        with TestClient(app):
            raise AssertionError("it started")

    with pytest.raises(ConfigurationError, match=setting):
        start()


def test_worker_threads_that_come_first_share_one_client() -> None:
    """Where no lifespan runs, the client is made at first use."""
    for _ in range(20):
        schematic = Schematic(offline=True)
        barrier = threading.Barrier(8)

        def first_use(schematic: Schematic = schematic, barrier: threading.Barrier = barrier) -> Any:
            barrier.wait(10.0)
            return schematic.client

        with ThreadPoolExecutor(8) as pool:
            clients = [use.result(10.0) for use in [pool.submit(first_use) for _ in range(8)]]
        assert len({id(client) for client in clients}) == 1


def test_options_beside_a_client_are_refused(fake: FakeClient) -> None:
    """They would have no effect."""
    with pytest.raises(ConfigurationError, match="timeout"):
        Schematic(fake.as_client(), timeout=1.0).init_app(FastAPI())
    with pytest.raises(ConfigurationError, match="api_key"):
        Schematic(fake.as_client(), api_key="sk").init_app(FastAPI())


def test_a_key_in_place_of_the_client_is_refused_without_showing_it() -> None:
    """The client's constructor takes the key first, so the mistake is near."""
    with pytest.raises(ConfigurationError, match="api_key=") as caught:
        Schematic("sk_private").init_app(FastAPI())  # type: ignore[arg-type]  # the mistake
    assert "sk_private" not in str(caught.value)


def test_the_environment_is_read_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing a module that makes and installs the object needs no environment, the webhook route included."""
    app = FastAPI()
    schematic = Schematic()
    schematic.init_app(app)
    monkeypatch.setenv("SCHEMATIC_OFFLINE", "true")
    monkeypatch.setenv("SCHEMATIC_WEBHOOK_SECRET", "one,two")
    with TestClient(app) as web:
        assert web.post("/webhooks/schematic").status_code == 400


def test_handlers_without_a_secret_fail_at_start() -> None:
    """They would never be told anything."""
    schematic = Schematic(offline=True)
    app = FastAPI()
    schematic.init_app(app)
    schematic.on("company.*")(lambda event: None)
    with pytest.raises(ConfigurationError, match="SCHEMATIC_WEBHOOK_SECRET"), TestClient(app):
        pass


def test_without_handlers_and_secret_there_is_no_route() -> None:
    """An application that wants no webhooks has no address for them."""
    app = FastAPI()
    Schematic(offline=True).init_app(app)
    with TestClient(app) as web:
        assert web.post("/webhooks/schematic").status_code == 404


def test_init_app_is_idempotent_and_comes_before_the_first_request(fake: FakeClient) -> None:
    """Twice is once; too late is an error that says so."""
    app, schematic = build(fake)
    schematic.init_app(app)
    assert len(app.user_middleware) == 1
    with TestClient(app) as web:
        web.get("/")
        assert fake.told == ["initialize"]
    with pytest.raises(ConfigurationError, match="too late"):
        Schematic(fake.as_client()).init_app(app)


def test_denials_show_in_openapi_for_every_gated_route(fake: FakeClient) -> None:
    """On routes, routers, includes and through nested dependencies; an explicit entry wins."""
    app, schematic = build(fake)
    gate = Depends(schematic.requires("exports"))

    async def nested(result: Annotated[Any, gate]) -> None:
        return None

    router = APIRouter(dependencies=[gate])
    router.get("/x/{id}")(lambda id: id)  # noqa: A006
    free = APIRouter()
    free.get("/x")(lambda: 1)
    app.include_router(router, prefix="/router")
    app.include_router(free, prefix="/include", dependencies=[gate])
    app.include_router(free, prefix="/free")
    app.get("/nested", dependencies=[Depends(nested)])(lambda: 1)
    app.get("/hidden", dependencies=[Depends(schematic.requires("x", status=404))])(lambda: 1)
    app.get("/redirect", dependencies=[Depends(schematic.requires("x", redirect_to="/y"))])(lambda: 1)
    app.get("/own", dependencies=[gate], responses={402: {"description": "Buy first"}})(lambda: 1)

    schema = TestClient(app).get("/openapi.json").json()

    def statuses(path: str) -> set[str]:
        return set(schema["paths"][path]["get"]["responses"]) - {"200", "422"}

    for path in ("/router/x/{id}", "/include/x", "/nested", "/own"):
        assert statuses(path) == {"401", "402", "503"}, path
    assert (statuses("/free/x"), statuses("/hidden"), statuses("/redirect")) == (set(), {"404"}, {"303"})
    assert schema["paths"]["/own"]["get"]["responses"]["402"] == {"description": "Buy first"}
    content = schema["paths"]["/nested"]["get"]["responses"]["402"]["content"]
    assert content == {"application/problem+json": {"schema": {"$ref": "#/components/schemas/FeatureDenied"}}}
    assert schema["components"]["schemas"]["FeatureDenied"]["properties"]["code"]["enum"][0] == "not_entitled"
    assert app.openapi() is app.openapi()


def test_routes_added_later_show_as_well(fake: FakeClient) -> None:
    """The schema follows the routes that exist when it is asked for."""
    app, schematic = build(fake)
    assert "components" not in app.openapi()
    app.openapi_schema = None
    app.get("/x", dependencies=[Depends(schematic.requires("exports"))])(lambda: 1)
    assert "402" in app.openapi()["paths"]["/x"]["get"]["responses"]


def test_a_view_needs_no_identity_function(fake: FakeClient) -> None:
    """Everything is then asked about nobody."""
    app, schematic = build(fake, identity=None)

    @app.get("/x")
    async def endpoint(features: Annotated[FeaturesView, Depends(schematic.features)]) -> bool:
        return await features.flag("exports") and features.identity == Identity()

    assert TestClient(app).get("/x", headers=ACME).json() is True


@pytest.mark.parametrize("blocked", ["fastapi", "starlette"])
def test_a_missing_framework_is_named_with_its_extra(blocked: str) -> None:
    """The package imports; the first use says what to install. The Starlette half works without FastAPI."""
    code = (
        f"import sys; sys.modules[{blocked!r}] = None\n"
        "import schematic_fastapi\n"
        "assert schematic_fastapi.Identity\n"
        "try: schematic_fastapi.Schematic\n"
        "except ImportError as error: print(error)\n"
        + ("import schematic_fastapi.starlette as s; s.Schematic(offline=True)" if blocked == "fastapi" else "")
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "schematic-suite[fastapi]" in done.stdout


def test_the_other_adapters_are_only_announced() -> None:
    """They import, and offer nothing yet."""
    import schematic_django
    import schematic_flask

    for package in (schematic_flask, schematic_django):
        assert "later release" in (package.__doc__ or "")
        assert not [name for name in vars(package) if not name.startswith("__")]
