"""FastAPI: the `Schematic` object of an application."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import FastAPI, HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Scope

from schematic_core.binding import View
from schematic_core.config import ClientOptions
from schematic_core.errors import WebhookSignatureError
from schematic_core.webhooks import DEFAULT_TOLERANCE, DeliveryStore, Handler, WebhookEvent, too_large
from schematic_fastapi._gates import (
    EntitlementOf,
    FeaturesDependency,
    FlagValue,
    Gate,
    SyncFeaturesDependency,
    Tracking,
    features_dependencies,
)
from schematic_fastapi._install import install
from schematic_fastapi._openapi import document_denials
from schematic_fastapi._runtime import Client, InnerLifespan, Lifespan, OnDenied, Runtime
from schematic_fastapi._webhooks import WebhookApp, read_body

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from schematic_core.client import AsyncSchematic

__all__ = ["Schematic"]

H = TypeVar("H", bound=Handler)
_BAD_REQUEST = 400


class Schematic:
    """Attaches Schematic to a FastAPI application.

    Args:
        client: made from the options below at start when absent; one that is given stays yours to close.
        identity: an ordinary dependency, plain or ``async``, that gives the request's `Identity` or None.
        webhook_secret: of the webhook endpoint, or several; ``SCHEMATIC_WEBHOOK_SECRET`` (comma-separated) otherwise.
        webhook_path: where deliveries arrive.
        webhook_tolerance: seconds a delivery's timestamp may differ from the present; None checks no clock.
        webhook_store: where handled deliveries are remembered; this process otherwise.
        on_denied: makes the response to a denial, from the request and the `FeatureDenied`.
        api_key: of the client; ``SCHEMATIC_API_KEY`` otherwise.
        **client_options: of `schematic_core.AsyncSchematic`, e.g. ``offline=True``.

    Nothing is checked, read from the environment or started here; `init_app` and the start of the application do that.

    Example:
        >>> from typing import Annotated
        >>> from fastapi import Depends, FastAPI
        >>> from schematic_fastapi import FeaturesView, Identity, Schematic
        >>> async def identity() -> Identity:
        ...     return Identity(company={"id": "acme"})
        >>> schematic = Schematic(identity=identity, offline=True)
        >>> Features = Annotated[FeaturesView, Depends(schematic.features)]
        >>> app = FastAPI()
        >>> schematic.init_app(app)
        >>> @app.get("/reports", dependencies=[Depends(schematic.requires("reports"))])
        ... async def reports(features: Features) -> dict[str, bool]:
        ...     return {"beta": await features.flag("beta")}
    """

    features: FeaturesDependency
    """Gives the request's view: ``Annotated[FeaturesView, Depends(schematic.features)]``."""

    sync_features: SyncFeaturesDependency
    """Gives the plain face of the view, for ``def`` endpoints."""

    webhooks: ASGIApp
    """The ASGI application that takes deliveries, for a route or a mount of your own."""

    def __init__(
        self,
        client: Client | None = None,
        *,
        identity: Callable[..., Any] | None = None,
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
        self.features, self.sync_features = features_dependencies(self._runtime, identity)
        self.webhooks = WebhookApp(self._runtime)

    @property
    def client(self) -> AsyncSchematic:
        """The client; ``.sync`` is its plain face."""
        return self._runtime.aio

    def init_app(self, app: FastAPI) -> None:
        """Install everything in ``app``: middleware, denial handler, webhook route, OpenAPI addition, lifespan.

        Raises:
            ConfigurationError: a setting is wrong, or the application has served requests.
        """
        if install(app, self._runtime, self._open_view, self.webhooks):
            document_denials(app)

    def lifespan(self, inner: InnerLifespan | None = None) -> Lifespan:
        """Wrap a lifespan for those who prefer to write it: ours opens before ``inner`` and closes after it."""
        return self._runtime.lifespan(inner)

    def requires(
        self,
        key: str,
        *,
        status: int | None = None,
        redirect_to: str | None = None,
        denied: OnDenied | None = None,
        usage: float | None = None,
        default: bool | None = None,
    ) -> Gate:
        """Make a gate, for ``Depends``: in ``dependencies=[...]``, or as a parameter that gives the answer.

        Args:
            key: of the flag.
            status: HTTP status of the denial, e.g. 404 to hide the feature.
            redirect_to: URL, or name of a route, to send a denied request to.
            denied: makes the response to the denial.
            usage: units about to be used: would it still be allowed then?
            default: the value when nothing can answer: True opens the gate then, False keeps it shut.

        Returns:
            A dependency; two with the same arguments are equal, so ``dependency_overrides`` can name one.
        """
        return Gate(self.features, key, status, redirect_to, denied, usage, default)

    def flag(self, key: str, *, default: bool | None = None) -> FlagValue:
        """Make a dependency that gives a flag's value, and lets every request in."""
        return FlagValue(self.features, key, default)

    def entitlement(self, key: str, *, default: bool | None = None, usage: float | None = None) -> EntitlementOf:
        """Make a dependency that gives a flag's whole answer, and lets every request in."""
        return EntitlementOf(self.features, key, default, usage)

    def track(self, event: str, quantity: int = 1) -> Tracking:
        """Make a dependency that reports usage once the request succeeded.

        That is: a status below 400, and the body ended or the client went away. It never delays or fails a request.
        """
        return Tracking(self.features, event, quantity)

    def on(self, type_: str, /) -> Callable[[H], H]:
        """Register the decorated webhook handler, plain or ``async``, for a type, a prefix (``company.*``) or ``*``."""
        return self._runtime.handlers.on(type_)

    async def verified_webhook(self, request: Request) -> WebhookEvent:
        """Give the event of a genuine delivery: a dependency for a webhook route of your own.

        The answers that the event makes wrong are dropped. Repeats are yours to recognise, and handlers do not run.

        Raises:
            HTTPException: 400 when the delivery is not genuine, 413 when its body is too large.
        """
        body = await read_body(request)
        if body is None:
            raise HTTPException(too_large().status, "too_large")
        try:
            return self._runtime.inbox.verify(body, request.headers)
        except WebhookSignatureError as error:
            raise HTTPException(_BAD_REQUEST, error.code) from error

    def _open_view(self, scope: Scope) -> View:
        # The identity is a dependency, so it comes when FastAPI has resolved it.
        return View(self._runtime, remembers=scope["type"] == "http")
