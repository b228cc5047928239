"""A capture host that answers as the test says, and senders that post to it."""

from __future__ import annotations

import gc
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from schematic_core.events.thread import EventSender
from tests.events.support import options
from tests.support.upstream import Answer, Asked, Upstream


class Capture:
    """The capture host: answers ``script`` in order and 200 afterwards; remembers what it took in."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.url = upstream.url
        self.script: deque[Answer] = deque()
        self.max_size = 100
        self.taken: list[dict[str, Any]] = []
        upstream.respond = self._respond

    def _respond(self, asked: Asked) -> Answer:
        with self.upstream.arrived:
            answer = self.script.popleft() if self.script else Answer(200, {})
            events = asked.json["events"]
            if len(events) > self.max_size:
                return Answer(400, {"error": "batch too large", "max_size": self.max_size})
            if answer.status == 200:
                self.taken += events
            self.upstream.arrived.notify_all()
            return answer

    @property
    def requests(self) -> int:
        return len(self.upstream.asked)

    @property
    def names(self) -> list[str]:
        """The names of the `track` events taken in, in order."""
        return [event["body"]["event"] for event in self.taken]

    def wait_for(self, condition: Callable[[], bool]) -> bool:
        return self.upstream.wait_for(condition)


@pytest.fixture
def capture(upstream: Upstream) -> Capture:
    return Capture(upstream)


@pytest.fixture
def make(capture: Capture) -> Iterator[Callable[..., EventSender]]:
    """Make senders that wait for nothing between retries and are closed when the test ends."""
    made: list[EventSender] = []

    def make(**changes: Any) -> EventSender:
        own = {name: changes.pop(name) for name in ("on_acknowledged", "random") if name in changes}
        settings = options(**{"event_capture_url": capture.url, "event_buffer_period": 60.0, **changes})
        made.append(EventSender(settings, **{"random": lambda: 0.0, **own}))
        return made[-1]

    yield make
    for sender in made:
        sender.close(1.0)


def event_threads() -> int:
    """Count the senders' threads that are alive."""
    gc.collect()
    return sum(thread.name == "schematic-events" for thread in threading.enumerate())
