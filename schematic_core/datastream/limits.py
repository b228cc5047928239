"""The numbers of a connection: timeouts, pauses and bounds, in seconds unless said."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ConnectionLimits"]


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How long a connection waits for what, and how much it has under way.

    Args:
        dial_timeout: for the handshake, name look-up and TLS included.
        load_timeout: for all flags, counted from the request or the last page; then the connection is given up.
        resource_timeout: for the answer to a request for a company or user.
        vain_pause: for which nobody asks again for what the service could not answer, or did not in time.
        ping_after: silence after which a ping is sent.
        pong_look: how often to look for the pong.
        dead_after: silence after which the connection is given up; more than ``ping_after``.
        first_backoff: window of the first wait before a new dial; the wait is a random part of the window.
        max_backoff: to which the window doubles.
        healthy_after: a connection that lasted so long starts with ``first_backoff`` again.
        refusal_pause: about how long to wait after the API key was refused; between three and five quarters of it.
        reload_interval: least time between two requests for all flags on one connection.
        max_refreshes: requests under way at most for entities that nobody is waiting for.
        refresh_delay: the first of these starts within this time after a reconnect.
        refresh_interval: between two of them, on average.
        max_set_size: of all pages of one set of flags, characters; a larger one counts as failed.
        page_size: flags per page to ask for; None asks for no pages.

    Source: ``datastream.md`` sections 2, 8 and 9, ``decisions.md`` section 3; the times of loads, vain
    requests, looks, reloads and refreshes are choices.
    """

    dial_timeout: float = 30.0
    load_timeout: float = 60.0
    resource_timeout: float = 2.0
    vain_pause: float = 5.0
    ping_after: float = 30.0
    pong_look: float = 1.0
    dead_after: float = 40.0
    first_backoff: float = 1.0
    max_backoff: float = 30.0
    healthy_after: float = 30.0
    refusal_pause: float = 300.0
    reload_interval: float = 5.0
    max_refreshes: int = 20
    refresh_delay: float = 2.0
    refresh_interval: float = 0.02
    max_set_size: int = 1 << 29
    page_size: int | None = None
