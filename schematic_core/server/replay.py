"""Ids for what is published on the stream, and the frames of late, to be sent again to who missed them."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field

__all__ = ["ReplayLog"]

_ID = re.compile(r"(\d{1,15})-(\d{1,15})", re.ASCII)

_Id = tuple[int, int]


@dataclass(slots=True)
class _Topic:
    floor: _Id  # nothing after this id is missing
    frames: deque[tuple[_Id, str]] = field(default_factory=deque)


class ReplayLog:
    """What one process published, by topic; a topic is kept from `begin` on.

    Args:
        millis: the present in milliseconds since the epoch; every id is greater than ``<millis>-0``.
        kept: how many frames of each topic are kept.
    """

    def __init__(self, millis: int, kept: int) -> None:
        self._last: _Id = (millis, 0)
        self._kept = kept
        self._topics: dict[str, _Topic] = {}

    @property
    def next_millis(self) -> int:
        """Milliseconds that no id of this log has reached, for the log of the next process."""
        return self._last[0] + 1

    def begin(self, topic: str) -> None:
        """Keep the frames of a topic from now on; it may be kept already."""
        self._topics.setdefault(topic, _Topic(self._last))

    def next_id(self, millis: int) -> str:
        """Give the id of what is published next, ``<millis>-<seq>``; ids rise even when the clock is set back."""
        last, seq = self._last
        self._last = (millis, 0) if millis > last else (last, seq + 1)
        return f"{self._last[0]}-{self._last[1]}"

    def add(self, topic: str, frame: str) -> None:
        """Keep a frame under the id that was given last; frames of other topics are of no interest."""
        kept = self._topics.get(topic)
        if kept is None:
            return
        kept.frames.append((self._last, frame))
        if len(kept.frames) > self._kept:
            kept.floor, _ = kept.frames.popleft()

    def since(self, topic: str, own_id: str) -> list[str] | None:
        """Give the frames of a topic after an id; None when it cannot be told that they are all there."""
        kept, found = self._topics.get(topic), _ID.fullmatch(own_id)
        if kept is None or found is None:
            return None
        cursor = (int(found[1]), int(found[2]))
        if not kept.floor <= cursor <= self._last:
            return None
        return [frame for one, frame in kept.frames if one > cursor]
