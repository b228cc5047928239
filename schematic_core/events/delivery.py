"""Requests of the event sender: one kept-alive connection of its own, every end of a request told as an outcome."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from schematic_core._version import __version__
from schematic_core.events.codec import assemble
from schematic_core.events.outcome import judge
from schematic_core.events.values import Outcome

if TYPE_CHECKING:
    import httpx

    from schematic_core.events.report import Log

__all__ = ["REQUEST_TIMEOUT", "Delivery"]

REQUEST_TIMEOUT = 10.0
"""Seconds one request may take; a factory's client brings its own limits of connecting, writing and reading."""

_MAX_ANSWER_BYTES = 65_536


class Delivery:
    """Sends batches; used by one thread at a time. Its HTTP client is made at the first request, by that thread.

    Args:
        url: where batches are posted.
        api_key: of the environment.
        factory: makes the HTTP client, which is closed here; None for our own kind.
        log: hears of a factory or transport that raises what httpx never raises.
        wall: gives epoch seconds.
    """

    def __init__(
        self,
        *,
        url: str,
        api_key: str,
        factory: Callable[[], httpx.Client] | None,
        log: Log,
        wall: Callable[[], float],
    ) -> None:
        self._url = url
        self._headers = {
            "Content-Type": "application/json",
            "User-Agent": f"schematic-suite/{__version__}",
            "X-Schematic-Client": "schematic-suite",
            "X-Schematic-Api-Key": api_key,
        }
        self._factory = factory
        self._log = log
        self._wall = wall
        self._client: httpx.Client | None = None

    def post(self, events: Iterable[bytes], timeout: float | None) -> Outcome:
        """Send one batch.

        Args:
            events: each event's JSON.
            timeout: seconds left, when they are fewer than the usual; None for the usual.
        """
        import httpx

        body = assemble(events)
        try:
            try:
                return self._request(body, timeout)
            except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
                # Services close idle connections, and the last request of a process must not be lost to that.
                return self._request(body, timeout)
        except httpx.HTTPError as error:
            return Outcome("retry", detail=type(error).__name__)
        except Exception as error:  # noqa: BLE001 - a user's factory or transport; its events are kept, not lost
            self._log.debug("the HTTP client of the event sender raised", exc_info=True)
            return Outcome("retry", detail=type(error).__name__)

    def close(self) -> None:
        """Close the HTTP client, if one was made."""
        client, self._client = self._client, None
        if client is None:
            return
        try:
            client.close()
        except Exception:  # noqa: BLE001 - a user's client; nothing of ours depends on its end
            self._log.debug("the HTTP client of the event sender could not be closed", exc_info=True)

    def _request(self, body: bytes, timeout: float | None) -> Outcome:
        import httpx

        from schematic_core.api.deadline import Until
        from schematic_core.api.over_httpx import make_client

        if self._client is None:
            self._client = make_client() if self._factory is None else self._factory()
        deadline = time.monotonic() + (REQUEST_TIMEOUT if timeout is None else timeout)
        if self._factory is None:
            limit: Any = Until.at(deadline)
        else:
            limit = httpx.USE_CLIENT_DEFAULT if timeout is None else timeout
        with self._client.stream(
            "POST", self._url, content=body, headers=self._headers, timeout=limit, follow_redirects=False
        ) as answer:
            text = _beginning(answer, deadline)
            return judge(answer.status_code, answer.headers.get("retry-after"), text, now=self._wall())


def _beginning(answer: httpx.Response, deadline: float) -> bytes:
    """Give the first part of the body: the status says what became of the events, whatever its body is or does."""
    import httpx

    text = b""
    try:
        for part in answer.iter_bytes():
            text += part
            if len(text) > _MAX_ANSWER_BYTES or time.monotonic() >= deadline:
                break
    except httpx.HTTPError:
        return text
    return text
