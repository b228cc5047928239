"""What all subjects are made of: the package, the subject as the worker runs it, an event loop that lasts.

Imported by either package's interpreter, as everything that runs inside a worker.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from importlib import import_module
from typing import Any

__all__ = ["Loop", "Package", "Subject", "made", "timed"]


@dataclass(frozen=True)
class Subject:
    """One thing to time in one package."""

    run: Callable[[int], float]
    """Do it so many times; the seconds that took. A wrong answer raises."""
    answer: Callable[[], object]
    """What it answers now, to be compared with what the row expects: JSON."""
    close: Callable[[], object]
    section: int = 1
    """``run`` takes multiples of this."""
    most_sections: int = 10_000_000
    """For subjects whose untimed half is long."""


@dataclass(frozen=True)
class Package:
    """One of the two packages, and the service its clients ask."""

    root: str
    """Import root; also the API key of its clients, by which the service tells the two apart."""
    url: str
    stream_url: str
    """Where DataStream is spoken and no check is answered."""
    is_brief: bool = False
    """Whether only answers count, so that what takes long to set up may be small."""

    @property
    def is_ours(self) -> bool:
        """Whether it is this one."""
        return self.root == "schematic_core"

    def module(self, name: str) -> Any:
        """Import one of its modules, e.g. ``"client"``."""
        return import_module(f"{self.root}.{name}")

    def client(self) -> Any:
        """Make a sync client: defaults throughout, the logger at WARNING."""
        return self.module("client").Schematic(self.root, self._config("SchematicConfig"))

    def async_client(self) -> Any:
        """Make an async client, likewise; call it inside the loop, the vendor's needs that."""
        return self.module("client").AsyncSchematic(self.root, self._config("AsyncSchematicConfig"))

    def _config(self, name: str) -> Any:
        config = getattr(self.module("client"), name)
        return config(base_url=self.url, event_capture_url=self.url, log_level=logging.WARNING)


class Loop:
    """One event loop kept over all batches, as an application would."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(work)

    def end(self, client: Any) -> None:
        self.run(client.shutdown())
        self._loop.close()


async def made(package: Package) -> Any:
    """Make an async client inside a loop."""
    return package.async_client()


def timed(spent: float, value: object) -> float:
    """Give the seconds that it took to get the right answer, which is True."""
    if value is not True:
        raise AssertionError(f"timed a wrong answer: {value!r}")
    return spent
