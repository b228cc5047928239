"""The engine's instance in one process, and the lock around it."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from schematic_core.errors import EngineError
from schematic_core.rules.failure import Trapped

if TYPE_CHECKING:
    from schematic_core.rules import engine_instance

__all__ = ["Handle", "Place", "busy", "stale"]


class Handle(NamedTuple):
    """A document held by an engine. Valid until it is dropped or the instance it is in is thrown away.

    Attributes:
        number: place and generation inside the instance, above 0.
        life: which instance.
    """

    number: int
    life: int


@dataclass(slots=True, eq=False)
class Place:
    """What belongs to one process.

    A finaliser or signal handler may interrupt a call of its own thread. It would wait for a plain lock for ever; of this one
    it gets hold, and ``is_running`` tells it that the call it interrupted has begun. That is set inside the lock and inside
    the ``try`` that unsets it, so no interrupt leaves it behind.
    """

    instance: engine_instance.Instance | None = None
    compiled: engine_instance.Compiled | None = None
    lock: threading.RLock = field(default_factory=threading.RLock)
    is_running: bool = False

    def lose(self, error: Trapped) -> EngineError:
        """Throw away the instance that trapped, and give what callers are told."""
        self.instance = None
        return EngineError(f"the engine could not go on: {error}", code="trapped")

    def free(self, dropped: deque[Handle]) -> None:
        """Free what was dropped; handles of another instance mean nothing any more. Raises ``Trapped``."""
        while dropped:
            handle = dropped.popleft()
            if self.instance is not None and self.instance.life == handle.life:
                self.instance.drop(handle.number)

    def free_now(self, dropped: deque[Handle]) -> None:
        """Free what was dropped, with the lock held and no call running. Never raises."""
        try:
            self.is_running = True
            self.free(dropped)
        except Trapped:
            self.instance = None
        finally:
            self.is_running = False


def busy() -> EngineError:
    """Give the error of a call from inside a call."""
    return EngineError("the engine is busy in this very thread", code="busy")


def stale() -> EngineError:
    """Give the error of a handle that is not valid."""
    return EngineError("a handle is not valid any more: hand the document in again", code="stale_handle")
