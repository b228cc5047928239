"""Pure ASGI middleware: gives each request its view, and settles the metering once the outcome is known.

Success is a status below 400 and a body that ended, or a client that went away. So usage is settled after the last message
was sent; when the application returns early because nobody listens; or when sending fails for that reason. An exception
before or during the body meters nothing. Nothing here reads the body or catches without raising again, but for denials
that no handler inside took.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from schematic_core.binding import Features, View
from schematic_core.errors import ConfigurationError, FeatureDenied
from schematic_fastapi._denial import answer
from schematic_fastapi._runtime import Runtime

__all__ = ["RequestMiddleware", "deny", "handle_denials", "view_of"]

_VIEWS = "schematic.views"
_FIRST_ERROR_STATUS = 400

_log = logging.getLogger("schematic.fastapi")


def view_of(connection: HTTPConnection, runtime: Runtime) -> View:
    """Give the request's view.

    Raises:
        ConfigurationError: the application was not given to ``init_app``.
    """
    try:
        view: View = connection.scope[_VIEWS][runtime]
    except KeyError:
        raise ConfigurationError("schematic is not installed here; call schematic.init_app(app) first") from None
    return view


async def deny(connection: HTTPConnection, error: FeatureDenied, runtime: Runtime) -> Response | None:
    """Answer a denial, which counts nothing even if the answer is a redirect; None for a WebSocket."""
    view_of(connection, runtime).meter.discard()
    return await answer(connection, error, runtime.on_denied)


def handle_denials(connection: HTTPConnection) -> None:
    """Have the application that serves ``connection`` answer denials, also one that is only mounted in ours.

    A mounted application has error handling of its own, which would answer 500 before ours hears of the denial.
    """
    handlers = connection.scope.get("starlette.exception_handlers")
    if handlers:
        handlers[0].setdefault(FeatureDenied, _denied_in_mounted)


async def _denied_in_mounted(connection: HTTPConnection, error: FeatureDenied) -> Response | None:
    return await deny(connection, error, next(iter(connection.scope[_VIEWS])))


class RequestMiddleware:
    """Opens a view for HTTP and WebSocket scopes; keeps no state of a request on itself.

    Args:
        app: what comes after.
        runtime: of the `Schematic` object; a scope that has its view already, as below a mounted application, keeps it.
        open_view: makes the view of one scope.
    """

    def __init__(self, app: ASGIApp, runtime: Runtime, open_view: Callable[[Scope], View]) -> None:
        self.app = app
        self.runtime = runtime
        self._open_view = open_view

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one scope; other kinds than HTTP and WebSocket pass through untouched."""
        if scope["type"] not in ("http", "websocket") or self.runtime in scope.setdefault(_VIEWS, {}):
            await self.app(scope, receive, send)
            return
        view = scope[_VIEWS][self.runtime] = self._open_view(scope)
        serve = self._serve_http if scope["type"] == "http" else self._serve_websocket
        await serve(view, scope, receive, send)

    async def _serve_http(self, view: View, scope: Scope, receive: Receive, send: Send) -> None:
        outcome = _Outcome(send, view)
        try:
            await self.app(scope, receive, outcome.send)
        except FeatureDenied as denied:
            if outcome.status:
                await outcome.end(is_complete=outcome.is_client_gone)
                raise
            answered = await deny(Request(scope, receive), denied, self.runtime)
            if answered is not None:
                await answered(scope, receive, outcome.send)
        except Exception:
            await outcome.end(is_complete=outcome.is_client_gone)
            raise
        except BaseException:
            # Servers cancel the task when the client leaves; nothing can be awaited any more.
            outcome.end_now()
            raise
        await outcome.end(is_complete=True)

    async def _serve_websocket(self, view: View, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        except FeatureDenied as denied:
            await deny(WebSocket(scope, receive, send), denied, self.runtime)
        finally:
            if view.meter.is_pending:
                await _settle(view)


class _Outcome:
    """Watches what is sent, and settles the view's meter once."""

    __slots__ = ("_has_ended", "_send", "_view", "is_client_gone", "status")

    def __init__(self, send: Send, view: View) -> None:
        self._send = send
        self._view = view
        self._has_ended = False
        self.status = 0
        self.is_client_gone = False

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            self.status = message["status"]
        try:
            await self._send(message)
        except OSError:
            self.is_client_gone = True
            raise
        if kind == "http.response.pathsend" or (kind == "http.response.body" and not message.get("more_body")):
            await self.end(is_complete=True)

    async def end(self, *, is_complete: bool) -> None:
        if self._has_ended:
            return
        self._has_ended = True
        if not (is_complete and self._is_success):
            self._view.meter.discard()
        elif self._view.identity is not None:
            self._view.meter.settle()
        elif self._view.meter.is_pending:
            await _settle(self._view)

    def end_now(self) -> None:
        if self._has_ended:
            return
        self._has_ended = True
        if self._is_success and self._view.identity is not None:
            self._view.meter.settle()
        else:
            self._view.meter.discard()

    @property
    def _is_success(self) -> bool:
        return 0 < self.status < _FIRST_ERROR_STATUS


async def _settle(view: View) -> None:
    try:
        await Features(view).identify()
    except Exception:  # noqa: BLE001 - user code
        _log.exception("usage was not counted: the identity function failed")
        view.meter.discard()
        return
    view.meter.settle()
