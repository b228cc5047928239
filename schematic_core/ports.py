"""Seams: what the flow of a check needs from the world. Sync shells block inside these methods, async ones suspend."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from schematic_core.api.call import Call, Response
__all__ = ["CheckPorts", "OutOfTime"]


class OutOfTime(Exception):
    """The caller had no more time to wait for a cache provider, which says nothing about the provider."""


class CheckPorts(Protocol):
    """One face's way to ask, wait and work in the background. Deadlines are monotonic seconds."""

    async def call(self, call: Call, deadline: float) -> Response:
        """Make one API call, repeats included, before ``deadline``; raises ``ApiError``."""
        ...

    async def wait(self, subscribe: Callable[[Callable[[], None]], None], deadline: float) -> None:
        """Come back when what ``subscribe`` was given is called, on any thread, or at ``deadline``."""
        ...

    async def invoke(self, deadline: float, method: Callable[..., Any], *arguments: object) -> Any:
        """Run one method of a cache provider, plain or async, and give what it gives; raises `OutOfTime`."""
        ...

    def spawn(self, job: Callable[[CheckPorts], Coroutine[Any, Any, None]]) -> bool:
        """Run ``job`` in the background; False when there is no room for it, and then it never runs."""
        ...
