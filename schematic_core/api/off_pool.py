"""An httpx transport for asyncio that looks names up on threads of its own.

asyncio looks names up in the loop's thread pool, which is the application's: a look-up that hangs keeps the application
from its threads and ``asyncio.run`` from its end, and an application that filled the pool keeps us from connecting.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any

import anyio
import httpcore
import httpx

from schematic_core.api.deadline import LIMITS, core_request, translated
from schematic_core.api.lookup import Lookup, find
from schematic_core.offloop import off_loop

__all__ = ["off_pool_transport"]

HEAD_START = 0.25
"""Seconds an address has before the next one is tried beside it (RFC 8305, section 5)."""


class _OffPoolTransport(httpx.AsyncBaseTransport):
    """httpx's own connection pool, with httpx's own limits."""

    def __init__(self, lookup: Lookup | None) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            max_connections=LIMITS.max_connections,
            max_keepalive_connections=LIMITS.max_keepalive_connections,
            keepalive_expiry=LIMITS.keepalive_expiry,
            network_backend=_Backend(lookup),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; the body of the answer is read as it is iterated."""
        with translated():
            answer = await self._pool.handle_async_request(core_request(request))
        return httpx.Response(
            answer.status, headers=answer.headers, stream=_Body(answer), extensions=dict(answer.extensions)
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()


def off_pool_transport(lookup: Lookup | None = None) -> httpx.AsyncBaseTransport:
    """Make a transport with connections of its own; names are looked up with ``lookup``, as `find` says."""
    return _OffPoolTransport(lookup)


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with translated():
            async for part in self._answer.aiter_stream():
                yield part

    async def aclose(self) -> None:
        await self._answer.aclose()


class _Backend(httpcore.AsyncNetworkBackend):
    def __init__(self, lookup: Lookup | None) -> None:
        self._lookup = lookup
        self._plain = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            with anyio.fail_after(timeout):
                found = await off_loop(partial(find, host, port, self._lookup))
                return await _first(
                    [
                        partial(self._plain.connect_tcp, address, port, None, local_address, socket_options)
                        for address in found
                    ]
                )
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(f"connecting to {host!r} took too long") from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error

    async def sleep(self, seconds: float) -> None:
        await self._plain.sleep(seconds)


Attempt = Callable[[], Awaitable[httpcore.AsyncNetworkStream]]


async def _first(attempts: Sequence[Attempt]) -> httpcore.AsyncNetworkStream:
    """Give the first connection that comes about, or raise why the first attempt failed."""
    made: list[httpcore.AsyncNetworkStream] = []
    faults: list[Exception] = []

    async def run(attempt: Attempt, over: anyio.Event) -> None:
        try:
            made.append(await attempt())
            group.cancel_scope.cancel()
        except (httpcore.ConnectError, httpcore.ConnectTimeout) as fault:
            faults.append(fault)
        finally:
            over.set()

    kept: httpcore.AsyncNetworkStream | None = None
    try:
        async with anyio.create_task_group() as group:
            for attempt in attempts:
                over = anyio.Event()
                group.start_soon(run, attempt, over)
                with anyio.move_on_after(HEAD_START):
                    await over.wait()
        kept = made[0] if made else None
    finally:
        for spare in made:
            if spare is not kept:
                with anyio.CancelScope(shield=True):
                    await spare.aclose()
    if kept is None:
        raise faults[0]
    return kept
