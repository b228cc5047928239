"""Translate between our values and httpx; imported only when the first call is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Union
from urllib.request import getproxies

import httpx

from schematic_core.api.call import Failure, Response
from schematic_core.api.deadline import Until, deadline_transport
from schematic_core.api.exchange import Send

__all__ = ["EXPECTED", "build_request", "failure_of", "make_client", "response_of"]

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
    if getproxies().keys() & {"http", "https", "all"}:
        return httpx.Client()
    return httpx.Client(transport=deadline_transport())


def _phases(client: _AnyClient, step: Send, *, is_own: bool) -> dict[str, float]:
    if is_own:
        limits: dict[str, float | None] = {"connect": CONNECT_TIMEOUT, "read": None, "write": None, "pool": None}
    elif step.is_explicit:
        limits = dict.fromkeys(("connect", "read", "write", "pool"))
    else:
        limits = client.timeout.as_dict()
    until = Until.at(step.deadline)
    return {phase: until if limit is None or limit >= until else limit for phase, limit in limits.items()}
