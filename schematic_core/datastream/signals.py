"""What a connection is told and what it says: losses in; actions, and what a message asks of the shell, out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from schematic_core.datastream.messages import Message
from schematic_core.datastream.requests import Request

__all__ = ["Action", "Dial", "HangUp", "Loss", "Ping", "Received", "Send"]

UNAUTHORIZED = 4001
_REFUSALS = frozenset({401, 403})


@dataclass(frozen=True, slots=True)
class Loss:
    """Why there is no connection.

    Attributes:
        code: of the close frame, e.g. 1001; None when there was none.
        status: HTTP status of a handshake that the service answered with anything but 101; None otherwise.
        text: for logs, e.g. ``"the service answered the handshake with status 503"``; no secrets.
    """

    code: int | None
    status: int | None
    text: str

    @property
    def is_refusal(self) -> bool:
        """Whether the service does not take the API key."""
        return self.code == UNAUTHORIZED or self.status in _REFUSALS


@dataclass(frozen=True, slots=True)
class Dial:
    """Open a socket; ``attempt`` counts all dials from 1. What an earlier attempt still brings is to be dropped."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Send:
    """Write ``text`` to the socket, a frame of its own."""

    text: str


@dataclass(frozen=True, slots=True)
class Ping:
    """Send a ping, and say ``heard`` when the pong came."""


@dataclass(frozen=True, slots=True)
class HangUp:
    """Close the socket, or give the dial up, and forget it: a loss that it reports later is none of the next one's."""

    code: int
    reason: str


Action = Dial | Send | Ping | HangUp


@dataclass(frozen=True, slots=True)
class Received:
    """What the shell must do with a message: apply it, then land requests.

    Attributes:
        update: ``"entity"`` or ``"flag"``: apply the message; ``"flags"``: apply ``pages`` as the whole set, then each
            message of ``later``; None: nothing to apply.
        pages: messages that together hold all flags, in order.
        later: single flags that changed while the pages came, in order; the pages may be older.
        requests: are answered by the entity of the message; land them once it was applied. May be empty.
        missing: the service knows no entity with these keys; land them as ``"missing"``.
        failed: the service could not answer them; land them as ``"failed"``.
        is_live_now: with these flags the connection became live.
        is_reload: everything held counts as unconfirmed from now on; all flags are asked for again.
    """

    update: Literal["entity", "flag", "flags"] | None = None
    pages: tuple[Message, ...] = ()
    later: tuple[Message, ...] = ()
    requests: tuple[Request, ...] = ()
    missing: tuple[Request, ...] = ()
    failed: tuple[Request, ...] = ()
    is_live_now: bool = False
    is_reload: bool = False
