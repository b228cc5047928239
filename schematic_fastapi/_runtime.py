"""What one `Schematic` object of the adapter holds: client, webhook inbox, life cycle. Knows Starlette, not FastAPI."""

from __future__ import annotations

import inspect
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Union, cast

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.responses import Response

from schematic_core.client import AsyncSchematic, Schematic
from schematic_core.config import AsyncSchematicConfig, ClientOptions, webhook_secrets
from schematic_core.errors import ConfigurationError, FeatureDenied
from schematic_core.values import Keys
from schematic_core.webhooks import DeliveryStore, Handler, Inbox, Router, WebhookEvent

__all__ = ["Client", "InnerLifespan", "Lifespan", "OnDenied", "Runtime"]

Client = Union[Schematic, AsyncSchematic]
InnerLifespan = Callable[[Any], AbstractAsyncContextManager[Union[Mapping[str, Any], None]]]
"""A lifespan as applications write it, with or without state."""
Lifespan = Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any]]]
"""A lifespan as Starlette takes it."""
OnDenied = Callable[[HTTPConnection, FeatureDenied], Union[Response, Awaitable[Response]]]

_FLUSH_TIMEOUT = 5.0


class Runtime:
    """Parts of one `Schematic` object. Construction checks nothing and reads no environment: `check` and `running` do.

    The client is made at start, or at first use where no lifespan runs (mounted applications, some test clients). One that
    was given stays the giver's to close; it is flushed when the application ends.
    """

    def __init__(
        self,
        client: Client | None,
        api_key: str | None,
        client_options: ClientOptions,
        *,
        webhook_secret: str | Sequence[str] | None,
        webhook_path: str,
        webhook_tolerance: float | None,
        webhook_store: DeliveryStore | None,
        on_denied: OnDenied | None,
    ) -> None:
        self.handlers = Router()
        self.on_denied = on_denied
        self.webhook_path = webhook_path
        self._webhook_secret = webhook_secret
        self._webhook_tolerance = webhook_tolerance
        self._webhook_store = webhook_store
        self._inbox: Inbox | None = None
        self._given = client
        self._api_key = api_key
        self._client_options = client_options
        self._faces: tuple[Schematic, AsyncSchematic] | None = None
        self._making = threading.Lock()
        self._users = 0
        self._has_ended = False

    @property
    def aio(self) -> AsyncSchematic:
        """The awaited face of the client."""
        return (self._faces or self._make_faces())[1]

    @property
    def sync(self) -> Schematic:
        """The plain face of the client."""
        return (self._faces or self._make_faces())[0]

    @property
    def secrets(self) -> tuple[str, ...]:
        """The webhook secrets, read now; empty when there are none."""
        return webhook_secrets(self._webhook_secret, os.environ)

    @property
    def inbox(self) -> Inbox:
        """Where deliveries go.

        Raises:
            ConfigurationError: there is no secret.
        """
        if self._inbox is None:
            secrets = self.secrets
            if not secrets:
                raise ConfigurationError(
                    "webhook_secret is missing; pass it to Schematic(...) or set SCHEMATIC_WEBHOOK_SECRET"
                )
            self._inbox = Inbox(
                secrets,
                self,
                self.handlers,
                _run_handler,
                store=self._webhook_store,
                tolerance=self._webhook_tolerance,
            )
        return self._inbox

    def check(self) -> None:
        """Check what was written in code.

        Raises:
            ConfigurationError: a setting is wrong; the message names it.
        """
        AsyncSchematicConfig(**self._client_options)
        if isinstance(self._given, str):
            raise ConfigurationError("client must be a client, not text; pass the key as api_key=...")
        names = ", ".join([*(["api_key"] if self._api_key is not None else []), *sorted(self._client_options)])
        if self._given is not None and names:
            raise ConfigurationError(f"client was given, so its settings are made already; leave out {names}")
        if not isinstance(self.webhook_path, str) or not self.webhook_path.startswith("/"):
            raise ConfigurationError(f"webhook_path must start with a slash, not {self.webhook_path!r}")
        tolerance = self._webhook_tolerance
        if tolerance is not None and not (isinstance(tolerance, (int, float)) and tolerance >= 0):
            raise ConfigurationError(f"webhook_tolerance must be seconds, zero or more, or None, not {tolerance!r}")
        webhook_secrets(self._webhook_secret, {})

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Check the settings and get the client ready; at the end deliver events and close it. May be nested.

        Raises:
            ConfigurationError: a setting is missing or wrong. Trouble with the service raises nothing.
        """
        self.check()
        if self.handlers or self.secrets:
            _ = self.inbox
        if self._has_ended:
            self._faces, self._has_ended = None, False
        client = self.aio
        self._users += 1
        try:
            await client.initialize()
            yield
        finally:
            self._users -= 1
            if not self._users:
                await self._end(client)

    def lifespan(self, inner: InnerLifespan | None = None) -> Lifespan:
        """Wrap a lifespan: ours opens first and closes last, and its state is passed through."""
        wrapped = asynccontextmanager(inner) if inspect.isasyncgenfunction(inner) else inner

        @asynccontextmanager
        async def composed(app: Any) -> AsyncIterator[Mapping[str, Any] | None]:
            async with self.running():
                if wrapped is None:
                    yield None
                    return
                async with wrapped(app) as state:
                    yield state

        return cast("Lifespan", composed)  # Starlette takes None for no state, but has no one type for both

    def purge(
        self,
        *,
        company_id: str | None = None,
        user_id: str | None = None,
        company: Keys | None = None,
        user: Keys | None = None,
    ) -> int:
        """Drop remembered answers of the client."""
        return self.sync.purge(company_id=company_id, user_id=user_id, company=company, user=user)

    async def _end(self, client: AsyncSchematic) -> None:
        if self._given is not None:
            await client.flush(_FLUSH_TIMEOUT)
            return
        self._has_ended = True
        await client.close()

    def _make_faces(self) -> tuple[Schematic, AsyncSchematic]:
        with (
            self._making
        ):  # worker threads may come first where no lifespan runs; a second client would lose its events
            if self._faces is None:
                client = self._given or AsyncSchematic(self._api_key, **self._client_options)
                self._faces = (client, client.aio) if isinstance(client, Schematic) else (client.sync, client)
            return self._faces


async def _run_handler(handler: Handler, event: WebhookEvent) -> None:
    if inspect.iscoroutinefunction(handler):
        await handler(event)
        return
    result = await run_in_threadpool(handler, event)
    if inspect.isawaitable(result):
        await result
