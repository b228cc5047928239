"""Translate between our values and httpx; imported only when the first call is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Union
from urllib.request import getproxies

import httpx

from schematic_core.api.call import Failure, Response
from schematic_core.api.deadline import Until, deadline_transport
from schematic_core.api.exchange import Send
from schematic_core.api.off_pool import off_pool_transport

__all__ = ["EXPECTED", "build_request", "failure_of", "make_async_client", "make_client", "response_of"]

EXPECTED = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, httpx.CookieConflict, UnicodeError, RuntimeError)
"""What a send may raise for reasons outside this package; ``RuntimeError`` is how httpx says that a client is closed,
``UnicodeError`` how Python says that a redirect's host cannot be a name."""

CONNECT_TIMEOUT = 10.0
"""Seconds one connection attempt may take (choice: a packet filter that swallows must not eat a whole minute)."""

_AnyClient = Union[httpx.Client, httpx.AsyncClient]


def build_request(client: _AnyClient, step: Send, *, is_own: bool) -> httpx.Request:
    """Make httpx's request, its phases limited by the deadline and, for a supplied client, by that client's own limits."""
    request = step.request
    extensions = {"timeout": _phases(client, step, is_own=is_own)}
    headers = list(request.headers)
    if request.is_foreign:  # none of a supplied client's headers or cookies may leave the first host
        return httpx.Request(request.method, request.url, headers=headers, content=request.body, extensions=extensions)
    return client.build_request(
        request.method, request.url, headers=headers, content=request.body, extensions=extensions
    )


def response_of(response: httpx.Response, body: bytes) -> Response:
    """Give the complete answer as our value."""
    headers: Mapping[str, str] = dict(response.headers)
    return Response(response.status_code, headers, body)


def failure_of(error: Exception) -> Failure:
    """Say how much is known after httpx raised ``error``."""
    if isinstance(error, httpx.ConnectError):
        return Failure("refused", error)
    if isinstance(error, httpx.TimeoutException):
        return Failure("timeout", error)
    if isinstance(error, (httpx.NetworkError, httpx.RemoteProtocolError)):
        return Failure("broken", error)
    return Failure("unsendable", error)


def make_client() -> httpx.Client:
    """Make a blocking client; behind a proxy of the environment it is a stock one, strict about each wait alone."""
    return httpx.Client() if _is_proxied() else httpx.Client(transport=deadline_transport())


def make_async_client() -> httpx.AsyncClient:
    """Make a client for one event loop; behind a proxy of the environment it is a stock one."""
    return httpx.AsyncClient() if _is_proxied() else httpx.AsyncClient(transport=off_pool_transport())


def _is_proxied() -> bool:
    return bool(getproxies().keys() & {"http", "https", "all"})


def _phases(client: _AnyClient, step: Send, *, is_own: bool) -> dict[str, float]:
    until = Until.at(step.deadline)
    if is_own:
        connect = Until.at(step.deadline, CONNECT_TIMEOUT)
        return {"connect": connect, "read": until, "write": until, "pool": until}
    limits = dict.fromkeys(("connect", "read", "write", "pool")) if step.is_explicit else client.timeout.as_dict()
    return {phase: until if limit is None or limit >= until else limit for phase, limit in limits.items()}
