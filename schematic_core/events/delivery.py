"""Requests of the event sender: one kept-alive connection of its own, every end of a request told as an outcome."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from schematic_core._version import __version__
from schematic_core.events.codec import assemble
from schematic_core.events.outcome import judge
from schematic_core.events.values import Outcome

if TYPE_CHECKING:
    import httpx

    from schematic_core.events.report import Log

__all__ = ["REQUEST_TIMEOUT", "Delivery"]

REQUEST_TIMEOUT = 10.0
"""Seconds of each of connecting, writing and reading; a factory's client brings its own."""


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
                response = self._request(body, timeout)
            except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
                # Services close idle connections, and the last request of a process must not be lost to that.
                response = self._request(body, timeout)
        except httpx.HTTPError as error:
            return Outcome("retry", detail=type(error).__name__)
        except Exception as error:  # noqa: BLE001 - a user's factory or transport; its events are kept, not lost
            self._log.debug("the HTTP client of the event sender raised", exc_info=True)
            return Outcome("retry", detail=type(error).__name__)
        return judge(response.status_code, response.headers.get("retry-after"), response.content, now=self._wall())

    def close(self) -> None:
        """Close the HTTP client, if one was made."""
        client, self._client = self._client, None
        if client is None:
            return
        try:
            client.close()
        except Exception:  # noqa: BLE001 - a user's client; nothing of ours depends on its end
            self._log.debug("the HTTP client of the event sender could not be closed", exc_info=True)

    def _request(self, body: bytes, timeout: float | None) -> httpx.Response:
        import httpx

        client = self._client = self._client or self._make()
        limit = httpx.USE_CLIENT_DEFAULT if timeout is None else timeout
        return client.post(self._url, content=body, headers=self._headers, timeout=limit, follow_redirects=False)

    def _make(self) -> httpx.Client:
        import httpx

        return httpx.Client(timeout=REQUEST_TIMEOUT) if self._factory is None else self._factory()
