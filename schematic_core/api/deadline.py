"""An httpx transport that keeps one deadline for a whole exchange.

httpx limits each wait for bytes, so a peer that sends a byte now and then holds a blocking caller for ever; asyncio has
cancellation for that. Here the limit of a wait is a `Until`, and each read and write takes what is left of it.
"""

from __future__ import annotations

import math
import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpcore
import httpx

from schematic_core.api.lookup import Lookup, addresses

__all__ = ["LIMITS", "Until", "core_request", "deadline_transport", "translated"]

LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=5.0)
"""httpx's own."""


class Until(float):
    """Seconds one wait may take, for whoever takes it as a number; for us, the deadline (monotonic seconds) as well."""

    __slots__ = ("deadline",)

    deadline: float

    @classmethod
    def at(cls, deadline: float, most: float = math.inf) -> Until:
        """Make one for a deadline, no wait of which takes more than ``most`` seconds."""
        until = cls(min(most, max(0.001, deadline - time.monotonic())))
        until.deadline = deadline
        return until


class _DeadlineTransport(httpx.BaseTransport):
    """httpx's own connection pool, with httpx's own limits, on sockets that know `Until`."""

    def __init__(self, lookup: Lookup | None) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            max_connections=LIMITS.max_connections,
            max_keepalive_connections=LIMITS.max_keepalive_connections,
            keepalive_expiry=LIMITS.keepalive_expiry,
            network_backend=_Backend(lookup),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; the body of the answer is read as it is iterated."""
        with translated():
            answer = self._pool.handle_request(core_request(request))
        return httpx.Response(
            answer.status, headers=answer.headers, stream=_Body(answer), extensions=dict(answer.extensions)
        )

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()


def deadline_transport(lookup: Lookup | None = None) -> httpx.BaseTransport:
    """Make a transport with connections of its own; names are looked up with ``lookup``, as `find` says."""
    return _DeadlineTransport(lookup)


def core_request(request: httpx.Request) -> httpcore.Request:
    """Give httpx's request in the form of its connection pool."""
    url = httpcore.URL(
        scheme=request.url.raw_scheme,
        host=request.url.raw_host,
        port=request.url.port,
        target=request.url.raw_path,
    )
    return httpcore.Request(
        method=request.method,
        url=url,
        headers=request.headers.raw,
        content=request.stream,
        extensions=request.extensions,
    )


class _Body(httpx.SyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        with translated():
            yield from self._answer.iter_stream()

    def close(self) -> None:
        self._answer.close()


@contextmanager
def translated() -> Iterator[None]:
    """Raise httpx's exception of the same name in place of httpcore's."""
    try:
        yield
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError) as error:
        raise getattr(httpx, type(error).__name__, httpx.TransportError)(str(error)) from error


class _Backend(httpcore.NetworkBackend):
    def __init__(self, lookup: Lookup | None) -> None:
        self._lookup = lookup
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            found = addresses(host, port, _left(timeout), self._lookup)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        for address in found[:-1]:
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):  # the next one may do
                some = _half(_left(timeout))
                return _Stream(self._plain.connect_tcp(address, port, some, local_address, socket_options))
        return _Stream(self._plain.connect_tcp(found[-1], port, _left(timeout), local_address, socket_options))

    def sleep(self, seconds: float) -> None:
        self._plain.sleep(seconds)


class _Stream(httpcore.NetworkStream):
    def __init__(self, plain: httpcore.NetworkStream) -> None:
        self._plain = plain

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._plain.read(max_bytes, _left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._plain.write(buffer, _left(timeout))

    def close(self) -> None:
        self._plain.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._plain.start_tls(ssl_context, server_hostname, _left(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._plain.get_extra_info(info)


def _left(timeout: float | None) -> float | None:
    if not isinstance(timeout, Until):
        return timeout
    return max(0.001, min(timeout, timeout.deadline - time.monotonic()))


def _half(limit: float | None) -> float | None:
    """Give what one of several addresses may take: one that swallows leaves time to those behind it."""
    return None if limit is None else limit / 2
