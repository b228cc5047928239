"""What `track` of the async face gives with immediate delivery: awaited, it waits until the event was sent."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["Sent"]


class Sent(Coroutine[Any, Any, None]):
    """May be awaited, made a task of, or ignored without a warning: the event is queued and on its way in any case.

    Args:
        flush: waits for what is queued, on this thread, within its own bound.
    """

    __slots__ = ("_flush", "_waiting")

    def __init__(self, flush: Callable[[], object]) -> None:
        self._flush = flush
        self._waiting: Coroutine[Any, Any, None] | None = None

    def __await__(self) -> Any:
        return self._begun().__await__()

    def send(self, value: Any, /) -> Any:
        """Go on, as a coroutine does."""
        return self._begun().send(value)

    def throw(self, *error: Any) -> Any:
        """Raise inside, as a coroutine does."""
        return self._begun().throw(*error)

    def close(self) -> None:
        """Stop waiting."""
        if self._waiting is not None:
            self._waiting.close()

    def _begun(self) -> Coroutine[Any, Any, None]:
        if self._waiting is None:
            self._waiting = _wait(self._flush)
        return self._waiting


async def _wait(flush: Callable[[], object]) -> None:
    from schematic_core.offloop import off_loop

    await off_loop(flush)
