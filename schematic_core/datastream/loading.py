"""All flags of one connection: when to ask for them, and the pages of the answer together with what changed in between."""

from __future__ import annotations

from schematic_core.datastream.limits import ConnectionLimits
from schematic_core.datastream.messages import Message

__all__ = ["Loading"]

_Messages = tuple[Message, ...]


class Loading:
    """Gathers the pages of one set of flags until the last has come. A set is whole only when the service says so.

    Pages of a set that has ended, or that nobody waits for any more (after a reload, or after all flags came in one piece),
    are left out until a new set begins: one that comes twice is no set of its own. They are told by their numbers; a page
    without one is always taken.

    Attributes:
        fails_at: when a load that has not ended by then has failed.
        due_at: when to ask (again); None when there is nothing to ask.
    """

    __slots__ = ("_asked_at", "_changes", "_limits", "_pages", "_size", "due_at", "fails_at")

    def __init__(self, limits: ConnectionLimits, now: float) -> None:
        self._limits = limits
        self._pages: list[Message] = []
        self._size = 0
        self._changes: list[Message] = []
        self._asked_at = now - limits.reload_interval
        self.due_at: float | None = now
        self.fails_at: float = now + limits.load_timeout

    @property
    def is_begun(self) -> bool:
        """Whether pages have come and more must follow."""
        return bool(self._pages)

    def is_due(self, now: float) -> bool:
        """Whether to ask for all flags now; a yes counts as asked."""
        if self.due_at is None or now < self.due_at:
            return False
        self.due_at = None
        self._asked_at = now
        self.fails_at = now + self._limits.load_timeout
        return True

    def again(self, now: float) -> None:
        """Forget the set that is coming and ask again, as soon as it is decent."""
        self._forget()
        self.due_at = max(now, self._asked_at + self._limits.reload_interval)
        self.fails_at = self.due_at + self._limits.load_timeout

    def note(self, message: Message) -> None:
        """Remember a change of a single flag, when pages that may be older are still to come."""
        if self.is_begun:
            self._changes.append(message)

    def add(self, message: Message, now: float) -> tuple[_Messages, _Messages] | None:
        """Take in flags; give the pages of the whole set and the changes since, or None while more must follow."""
        if message.has_more is None:
            self._forget()
            return (message,), ()
        if not self.is_begun and message.page is not None and message.page > 1:
            return None
        if message.page == 1:
            self._forget()
        self.fails_at = now + self._limits.load_timeout
        self._pages.append(message)
        self._size += len(message.array or "")
        if self._size > self._limits.max_set_size:
            self._forget()
            self.fails_at = now  # pages without end are no set of flags: a connection that waits for them is given up
            return None
        if message.has_more:
            return None
        gathered = tuple(self._pages), tuple(self._changes)
        self._forget()
        return gathered

    def _forget(self) -> None:
        self._pages = []
        self._size = 0
        self._changes = []
