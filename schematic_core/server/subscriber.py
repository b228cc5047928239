"""One connection as the streams see it, and the habits that the server can take on."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from schematic_core.environment.model import EntityKind
from schematic_core.server.frames import DeleteForm

__all__ = ["Close", "Habits", "Subscriber"]

_MAX_WAITING = 100_000
_TOO_SLOW = 1013  # "try again later"


@dataclass(frozen=True, slots=True)
class Close:
    """The end of a connection, sent in its turn."""

    code: int
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """Ways in which servers differ, and in which ours can be made to behave.

    Attributes:
        nulls: empty lists and maps are null, as Go sends nil ones.
        deletes: what a ``delete`` carries: the whole entity (every known client reads that), its id and keys, its id
            alone, or null.
        duplicate: every frame is sent twice.
        hold_after: requests for companies and users wait once so many were answered; None: none waits.
        page_size: flags come in pages of so many, whatever was asked for; None: as was asked for.
        delay: seconds before each frame.
        refusals: a wrong API key is refused at the handshake (401), or by a close frame (4001) after it.
    """

    nulls: bool = False
    deletes: DeleteForm = "entity"
    duplicate: bool = False
    hold_after: int | None = None
    page_size: int | None = None
    delay: float = 0.0
    refusals: Literal["status", "close"] = "status"


@dataclass(slots=True, eq=False)
class Subscriber:
    """What one connection asked for, and what it has still to be sent, in order.

    ``entities`` are kinds and ids. After a `Close` nothing is queued any more.
    """

    outbox: deque[str | bytes | Close] = field(default_factory=deque)
    entities: set[tuple[EntityKind, str]] = field(default_factory=set)
    bulk: set[EntityKind] = field(default_factory=set)
    has_flags: bool = False
    is_closing: bool = False

    def put(self, frame: str | bytes | Close) -> None:
        """Queue a frame. Who lets too many wait is closed instead: it must not go on with a gap."""
        if self.is_closing:
            return
        if len(self.outbox) >= _MAX_WAITING:
            self.outbox.clear()
            frame = Close(_TOO_SLOW, "the client reads too slowly")
        self.is_closing = isinstance(frame, Close)
        self.outbox.append(frame)

    def follows(self, kind: EntityKind, own_id: str) -> bool:
        """Whether it wants to hear of an entity."""
        return kind in self.bulk or (kind, own_id) in self.entities
