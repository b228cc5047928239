"""An awaitable that is already done, for methods that do their work at the call."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

__all__ = ["FINISHED"]


class _Finished(Coroutine[Any, Any, None]):
    """May be awaited any number of times, made a task of, or ignored without a warning."""

    __slots__ = ()

    def __await__(self) -> Any:
        return iter(())

    def send(self, _value: Any, /) -> Any:
        raise StopIteration

    def throw(self, *error: Any) -> Any:
        raise error[0]

    def close(self) -> None:
        """Nothing is open."""


FINISHED = _Finished()
