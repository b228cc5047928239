"""Run calls with httpx on asyncio, from any event loop; each loop has its own httpx client.

A loop's client is closed by the loop itself when it shuts its asynchronous generators down (``asyncio.run`` does), so that
short-lived loops leave no connection behind. The client of a loop that was closed without that is dropped, not awaited.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from schematic_core.api.call import Call, Failure, Outcome, Response
from schematic_core.api.exchange import Clocks, Pause, Send, exchange
from schematic_core.chance import chance
from schematic_core.config import Settings
from schematic_core.errors import ConnectionFailed
from schematic_core.offloop import off_loop

if TYPE_CHECKING:
    import httpx

__all__ = ["AsyncExecutor"]

_CLOCKS = Clocks(time.monotonic, time.time, chance)


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """A loop's client and the generator whose end closes it."""

    client: httpx.AsyncClient
    keeper: AsyncGenerator[None, None]


class AsyncExecutor:
    """Runs calls; makes its httpx clients on first use unless the settings supply an async one, which it never closes.

    Args:
        settings: of the client; a supplied ``httpx.Client`` is the other executor's and ignored here.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._held: dict[asyncio.AbstractEventLoop, _Held] = {}
        self._supplied: httpx.AsyncClient | None = None
        self._is_closed = False
        self._inherited: list[_Held] = []  # of a parent process: kept, for closing them would disturb it

    async def run(self, call: Call, *, deadline: float | None = None) -> Response:
        """Make the call and give its answer in 2xx.

        Args:
            call: what to do.
            deadline: monotonic seconds at which all must be over, repeats included; the call's timeout applies besides.

        Raises:
            ApiError: a subclass by what went wrong; nothing of httpx escapes, it is the ``__cause__``.
        """
        steps = exchange(call, self._settings, _CLOCKS, deadline)
        outcome: Outcome | None = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                answer: Response = end.value
                return answer
            if isinstance(step, Pause):
                await asyncio.sleep(step.delay)
                outcome = None
            else:
                outcome = await self._send(step)

    async def prepare(self) -> None:
        """Make the client for this loop ahead of the first call; a closed executor has nothing to prepare."""
        if not self._is_closed:
            await self._client()

    async def close(self) -> None:
        """Close what this executor made, on every loop; later calls fail with ``ConnectionFailed``. May be repeated."""
        with self._lock:
            mine = self._held.pop(asyncio.get_running_loop(), None)
        self.close_soon()
        if mine is not None:
            await mine.keeper.aclose()

    def close_soon(self) -> None:
        """Have each running loop close its client, without waiting; for callers outside of them."""
        with self._lock:
            held, self._held, self._is_closed = self._held, {}, True
        for loop, one in held.items():
            if loop.is_running():
                asyncio.run_coroutine_threadsafe(_close(one), loop)

    def after_fork_in_child(self) -> None:
        """Forget the parent's connections and locks, without closing what the parent still uses."""
        self._lock = threading.Lock()
        self._inherited.extend(self._held.values())
        self._held = {}

    async def _send(self, step: Send) -> Outcome:
        client, is_own = await self._client()
        import anyio

        from schematic_core.api import over_httpx

        with anyio.move_on_after(step.deadline - time.monotonic()):
            try:
                request = over_httpx.build_request(client, step, is_own=is_own)
                response = await _dispatch(client, request, is_foreign=step.request.is_foreign)
                try:
                    body = b"".join([part async for part in response.aiter_bytes()])
                finally:
                    await response.aclose()
                return over_httpx.response_of(response, body)
            except over_httpx.EXPECTED as error:
                if isinstance(error, RuntimeError) and not client.is_closed:
                    raise
                return over_httpx.failure_of(error)
        return Failure("timeout")

    async def _client(self) -> tuple[httpx.AsyncClient, bool]:
        """Give the client to use on this loop, and whether it is our own."""
        if self._is_closed:
            raise ConnectionFailed(message="the client is closed")
        if self._supplied is not None:
            return self._supplied, False
        held = self._held.get(asyncio.get_running_loop())
        if held is not None:
            return held.client, True
        client = await off_loop(lambda: _find_or_make(self._settings))  # imports and the TLS context take long
        if client is self._settings.http_client:
            self._supplied = client
            return client, False
        return await self._publish(client), True

    async def _publish(self, made: httpx.AsyncClient) -> httpx.AsyncClient:
        """Keep ``made`` for this loop unless another task was faster or the executor was closed."""
        loop = asyncio.get_running_loop()
        keeper = _keep(made)
        await keeper.__anext__()
        with self._lock:
            for other in [other for other in self._held if other.is_closed()]:
                del self._held[other]
            if not self._is_closed:
                self._held.setdefault(loop, _Held(made, keeper))
            kept = self._held.get(loop)
        if kept is None or kept.client is not made:
            await keeper.aclose()
        if kept is None:
            raise ConnectionFailed(message="the client is closed")
        return kept.client


def _find_or_make(settings: Settings) -> httpx.AsyncClient:
    """Give the supplied client or a new one; runs on a worker thread."""
    import anyio  # noqa: F401  (so that the loop finds it loaded)
    import httpx

    from schematic_core.api import over_httpx  # the loop finds it loaded

    if isinstance(settings.http_client, httpx.AsyncClient):
        return settings.http_client
    return over_httpx.make_async_client()


async def _dispatch(client: httpx.AsyncClient, request: httpx.Request, *, is_foreign: bool) -> httpx.Response:
    if is_foreign:
        return await client.send(request, stream=True, follow_redirects=False, auth=None)
    return await client.send(request, stream=True, follow_redirects=False)


async def _keep(client: httpx.AsyncClient) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await client.aclose()


async def _close(held: _Held) -> None:
    await held.keeper.aclose()
