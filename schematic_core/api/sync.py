"""Run calls with httpx, blocking; any number of threads may share one executor."""

from __future__ import annotations

import threading
import time
import weakref
from typing import TYPE_CHECKING

from schematic_core.api.call import Call, Failure, Outcome, Response
from schematic_core.api.exchange import Clocks, Pause, Send, exchange
from schematic_core.chance import chance
from schematic_core.config import Settings
from schematic_core.errors import ApiError, ConnectionFailed

if TYPE_CHECKING:
    import httpx

__all__ = ["SyncExecutor"]

_CLOCKS = Clocks(time.monotonic, time.time, chance)


class SyncExecutor:
    """Runs calls; makes its httpx client on first use unless the settings supply a sync one, which it never closes.

    Args:
        settings: of the client; a supplied ``httpx.AsyncClient`` is the other executor's and ignored here.
    """

    def __init__(self, settings: Settings) -> None:
        self._own: httpx.Client | None = None
        self._settings = settings
        self._lock = threading.Lock()
        self._is_closed = False
        self._inherited: list[httpx.Client] = []  # of a parent process: kept, for closing them would disturb it

    def run(self, call: Call, *, deadline: float | None = None) -> Response:
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
                time.sleep(step.delay)
                outcome = None
            else:
                outcome = self._send(step)

    def close(self) -> None:
        """Close what this executor made; later calls fail with ``ConnectionFailed``. May be repeated."""
        with self._lock:
            own, self._own, self._is_closed = self._own, None, True
        if own is not None:
            own.close()

    def after_fork_in_child(self) -> None:
        """Forget the parent's connections and locks, without closing what the parent still uses."""
        self._lock = threading.Lock()
        if self._own is not None:
            self._inherited.append(self._own)
            self._own = None
            self._when_dropped.detach()

    def _send(self, step: Send) -> Outcome:
        from schematic_core.api import over_httpx

        client, is_own = self._client()
        try:
            request = over_httpx.build_request(client, step, is_own=is_own)
            response = _dispatch(client, request, is_foreign=step.request.is_foreign)
            try:
                parts: list[bytes] = []
                for part in response.iter_bytes():
                    if time.monotonic() >= step.deadline:
                        return Failure("timeout")
                    parts.append(part)
            finally:
                response.close()
            return over_httpx.response_of(response, b"".join(parts))
        except over_httpx.EXPECTED as error:
            if isinstance(error, RuntimeError) and not client.is_closed:
                raise
            return over_httpx.failure_of(error)

    def _client(self) -> tuple[httpx.Client, bool]:
        """Give the client to use, and whether it is our own."""
        if self._is_closed:
            raise _closed()
        if self._own is not None:
            return self._own, True
        import httpx

        from schematic_core.api.over_httpx import make_client

        if isinstance(self._settings.http_client, httpx.Client):
            return self._settings.http_client, False
        return self._publish(make_client()), True

    def _publish(self, made: httpx.Client) -> httpx.Client:
        """Keep ``made`` unless another thread was faster or the executor was closed."""
        with self._lock:
            if self._own is None and not self._is_closed:
                self._when_dropped = weakref.finalize(self, made.close)  # its connections go with it
                self._when_dropped.atexit = False
                self._own = made  # last, since a fork may come between, and its child detaches the finaliser
            kept = self._own
        if kept is not made:
            made.close()
        if kept is None:
            raise _closed()
        return kept


def _dispatch(client: httpx.Client, request: httpx.Request, *, is_foreign: bool) -> httpx.Response:
    if is_foreign:
        return client.send(request, stream=True, follow_redirects=False, auth=None)
    return client.send(request, stream=True, follow_redirects=False)


def _closed() -> ApiError:
    return ConnectionFailed(message="the client is closed")
