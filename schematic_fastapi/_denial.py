"""Answer a denial: problem details over HTTP, a policy close over WebSocket."""

from __future__ import annotations

import inspect
import json

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response
from starlette.status import HTTP_303_SEE_OTHER, HTTP_503_SERVICE_UNAVAILABLE, WS_1008_POLICY_VIOLATION
from starlette.websockets import WebSocket

from schematic_core.binding import PROBLEM_MEDIA_TYPE, RETRY_AFTER, problem
from schematic_core.errors import FeatureDenied
from schematic_core.values import CheckResult
from schematic_fastapi._runtime import OnDenied

__all__ = ["GateDenied", "answer", "refuse"]


class GateDenied(FeatureDenied):
    """A denial by a gate that says itself how it is answered."""

    def __init__(
        self,
        feature: str,
        code: str,
        status: int,
        result: CheckResult,
        *,
        redirect_to: str | None = None,
        denied: OnDenied | None = None,
    ) -> None:
        super().__init__(feature, code, status, result)
        self.redirect_to = redirect_to
        self.denied = denied


def refuse(error: FeatureDenied, redirect_to: str | None, denied: OnDenied | None) -> FeatureDenied:
    """Give ``error`` with the gate's own way of answering, if it has one."""
    if redirect_to is None and denied is None:
        return error
    return GateDenied(error.feature, error.code, error.status, error.result, redirect_to=redirect_to, denied=denied)


async def answer(connection: HTTPConnection, error: FeatureDenied, on_denied: OnDenied | None) -> Response | None:
    """Give the response to a denial; None for a WebSocket, which is closed here."""
    if isinstance(connection, WebSocket):
        await connection.close(WS_1008_POLICY_VIOLATION, error.code)
        return None
    redirect_to = error.redirect_to if isinstance(error, GateDenied) else None
    if redirect_to is not None:
        return RedirectResponse(_location(connection, redirect_to), HTTP_303_SEE_OTHER)
    custom = error.denied if isinstance(error, GateDenied) and error.denied is not None else on_denied
    return _problem_response(error) if custom is None else await _call(custom, connection, error)


def _location(connection: HTTPConnection, target: str) -> str:
    is_url = target.startswith("/") or "://" in target
    return target if is_url else str(connection.url_for(target))


def _problem_response(error: FeatureDenied) -> Response:
    is_outage = error.status == HTTP_503_SERVICE_UNAVAILABLE
    return Response(
        json.dumps(problem(error)),
        error.status,
        {"Retry-After": str(RETRY_AFTER)} if is_outage else None,
        PROBLEM_MEDIA_TYPE,
    )


async def _call(on_denied: OnDenied, connection: HTTPConnection, error: FeatureDenied) -> Response:
    request = connection if isinstance(connection, Request) else Request(connection.scope)
    if inspect.iscoroutinefunction(on_denied):
        response: Response = await on_denied(request, error)
        return response
    given = await run_in_threadpool(on_denied, request, error)
    return await given if inspect.isawaitable(given) else given
