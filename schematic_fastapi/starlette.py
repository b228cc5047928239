"""Starlette and bare ASGI: `Schematic`, `SchematicMiddleware` and the decorator `requires`. Needs no FastAPI."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, Union

import anyio.from_thread
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from schematic_core.binding import Features, Identity, View
from schematic_core.config import ClientOptions
from schematic_core.errors import ConfigurationError, FeatureDenied
from schematic_core.webhooks import DEFAULT_TOLERANCE, DeliveryStore, Handler, WebhookEvent
from schematic_fastapi._denial import refuse
from schematic_fastapi._install import install
from schematic_fastapi._middleware import RequestMiddleware, handle_denials
from schematic_fastapi._runtime import Client, InnerLifespan, Lifespan, OnDenied, Runtime
from schematic_fastapi._webhooks import WebhookApp

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from schematic_core.client import AsyncSchematic

__all__ = ["FeatureDenied", "Features", "Identity", "Schematic", "SchematicMiddleware", "WebhookEvent", "requires"]

FindIdentity = Callable[[HTTPConnection], Union[Identity, Awaitable[Union[Identity, None]], None]]
H = TypeVar("H", bound=Handler)
F = TypeVar("F", bound=Callable[..., Any])


class Schematic:
    """Attaches Schematic to a Starlette application: ``request.state.features`` answers, `requires` gates.

    Args:
        client: made from the options below at start when absent; one that is given stays yours to close.
        identity: finds who a request is about, e.g. ``lambda request: Identity(company={"id": request.user.company})``.
            Called when a request first needs it, on the event loop: write it ``async`` if it waits for something.
        webhook_secret: of the webhook endpoint, or several; ``SCHEMATIC_WEBHOOK_SECRET`` (comma-separated) otherwise.
        webhook_path: where deliveries arrive.
        webhook_tolerance: seconds a delivery's timestamp may differ from the present; None checks no clock.
        webhook_store: where handled deliveries are remembered; this process otherwise.
        on_denied: makes the response to a denial, from the request and the `FeatureDenied`.
        api_key: of the client; ``SCHEMATIC_API_KEY`` otherwise.
        **client_options: of `schematic_core.AsyncSchematic`, e.g. ``offline=True``.

    Nothing is checked, read from the environment or started here; `init_app` and the start of the application do that.
    """

    def __init__(
        self,
        client: Client | None = None,
        *,
        identity: FindIdentity | None = None,
        webhook_secret: str | Sequence[str] | None = None,
        webhook_path: str = "/webhooks/schematic",
        webhook_tolerance: float | None = DEFAULT_TOLERANCE,
        webhook_store: DeliveryStore | None = None,
        on_denied: OnDenied | None = None,
        api_key: str | None = None,
        **client_options: Unpack[ClientOptions],
    ) -> None:
        self._runtime = Runtime(
            client,
            api_key,
            client_options,
            webhook_secret=webhook_secret,
            webhook_path=webhook_path,
            webhook_tolerance=webhook_tolerance,
            webhook_store=webhook_store,
            on_denied=on_denied,
        )
        self._identity = identity
        self.webhooks: ASGIApp = WebhookApp(self._runtime)
        """The ASGI application that takes deliveries, for a ``Route`` or a ``Mount`` of your own."""

    @property
    def client(self) -> AsyncSchematic:
        """The client; ``.sync`` is its plain face."""
        return self._runtime.aio

    def init_app(self, app: Starlette) -> None:
        """Install everything in ``app``: middleware, denial handler, webhook route, lifespan.

        Raises:
            ConfigurationError: a setting is wrong, or the application has served requests.
        """
        install(app, self._runtime, self._open_view, self.webhooks)

    def lifespan(self, inner: InnerLifespan | None = None) -> Lifespan:
        """Wrap a lifespan for those who prefer to write it: ours opens before ``inner`` and closes after it."""
        return self._runtime.lifespan(inner)

    def on(self, type_: str, /) -> Callable[[H], H]:
        """Register the decorated webhook handler, plain or ``async``, for a type, a prefix (``company.*``) or ``*``."""
        return self._runtime.handlers.on(type_)

    def _open_view(self, scope: Scope) -> View:
        find = self._identity
        view = View(
            self._runtime,
            resolve=None if find is None else functools.partial(find, HTTPConnection(scope)),
            wait=_wait,
            remembers=scope["type"] == "http",
        )
        scope.setdefault("state", {})["features"] = Features(view)
        return view


class SchematicMiddleware:
    """The middleware alone, for ``Middleware(SchematicMiddleware, schematic=schematic)`` and bare ASGI applications.

    It puts the view at ``request.state.features``, answers denials and settles the metering; the client then starts at
    first use unless `Schematic.lifespan` runs.
    """

    def __init__(self, app: ASGIApp, schematic: Schematic) -> None:
        self.app: ASGIApp = RequestMiddleware(app, schematic._runtime, schematic._open_view)  # noqa: SLF001 - same module

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one scope."""
        await self.app(scope, receive, send)


def requires(
    key: str,
    *,
    status: int | None = None,
    redirect_to: str | None = None,
    denied: OnDenied | None = None,
    usage: float | None = None,
    default: bool | None = None,
) -> Callable[[F], F]:
    """Let the decorated endpoint run only when a flag is on; plain, ``async`` and WebSocket functions, and methods.

    Args:
        key: of the flag.
        status: HTTP status of the denial, e.g. 404 to hide the feature.
        redirect_to: URL, or name of a route, to send a denied request to.
        denied: makes the response to the denial.
        usage: units about to be used: would it still be allowed then?
        default: the value when nothing can answer: True opens the gate then, False keeps it shut.

    The endpoint must take its connection as an argument, as every Starlette endpoint does.
    """

    def decorate(endpoint: F) -> F:
        is_async = inspect.iscoroutinefunction(endpoint)

        @functools.wraps(endpoint)
        async def gated(*args: Any, **kwargs: Any) -> Any:
            features = _features(args, kwargs)
            try:
                await features.require(key, status=status, usage=usage, default=default)
            except FeatureDenied as error:
                raise refuse(error, redirect_to, denied) from None
            if is_async:
                return await endpoint(*args, **kwargs)
            return await run_in_threadpool(endpoint, *args, **kwargs)

        return gated  # type: ignore[return-value]  # same parameters; a plain endpoint becomes async, which Starlette allows

    return decorate


def _features(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Features:
    connection = next((a for a in (*args, *kwargs.values()) if isinstance(a, HTTPConnection)), None)
    if connection is None:
        raise ConfigurationError("requires decorates endpoints that take a request or a websocket")
    features = connection.scope.get("state", {}).get("features")
    if not isinstance(features, Features):
        raise ConfigurationError("schematic is not installed here; call schematic.init_app(app) first")
    handle_denials(connection)
    return features


def _wait(identity: Awaitable[Identity | None]) -> Identity | None:
    async def result() -> Identity | None:
        return await identity

    return anyio.from_thread.run(result)
