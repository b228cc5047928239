"""What ``init_app`` does to an application: middleware, denial handler, webhook route, lifespan."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Scope

from schematic_core.binding import View
from schematic_core.errors import ConfigurationError, FeatureDenied
from schematic_fastapi._middleware import RequestMiddleware, deny
from schematic_fastapi._runtime import InnerLifespan, Runtime

__all__ = ["install"]


def install(app: Starlette, runtime: Runtime, open_view: Callable[[Scope], View], webhooks: ASGIApp) -> bool:
    """Install a `Schematic` object in an application; False when it is installed already.

    Raises:
        ConfigurationError: a setting is wrong, or the application has served requests.
    """
    runtime.check()
    if any(entry.kwargs.get("runtime") is runtime for entry in app.user_middleware):
        return False
    if app.middleware_stack is not None:
        raise ConfigurationError("init_app comes too late: the application has started; call it where the app is made")
    app.add_middleware(RequestMiddleware, runtime=runtime, open_view=open_view)
    app.exception_handlers.setdefault(FeatureDenied, _handler(runtime))
    add_route = _route_adder(app, runtime, webhooks)
    add_route()
    app.router.lifespan_context = runtime.lifespan(_adding(add_route, app.router.lifespan_context))
    return True


def _handler(runtime: Runtime) -> Callable[[Any, Any], Any]:
    async def denied(connection: HTTPConnection, error: FeatureDenied) -> Response | None:
        return await deny(connection, error, runtime)

    return denied


def _route_adder(app: Starlette, runtime: Runtime, webhooks: ASGIApp) -> Callable[[], None]:
    route = Route(runtime.webhook_path, webhooks, name="schematic_webhooks", include_in_schema=False)

    def add_route() -> None:
        # In front, so that no catch-all route of the application's takes the deliveries.
        if runtime.secrets and route not in app.router.routes:
            app.router.routes.insert(0, route)

    return add_route


def _adding(add_route: Callable[[], None], inner: InnerLifespan) -> InnerLifespan:
    """Add the route at start too: the secret may have come into the environment after the application was made."""

    @asynccontextmanager
    async def adding(app: Any) -> AsyncIterator[Mapping[str, Any] | None]:
        add_route()
        async with inner(app) as state:
            yield state

    return adding
