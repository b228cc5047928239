"""A connection machine on a clock that tests turn, and the frames that a service sends it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from schematic_core.datastream.connection import Action, Connection, ConnectionLimits, Loss, Received, Request, Send
from schematic_core.datastream.messages import decode, flags_request
from schematic_core.datastream.versions import Kind

DROPPED = Loss(None, None, "the connection broke")
FLAGS = Send(flags_request(None))
TYPES: dict[str, str] = {"company": "rulesengine.Company", "user": "rulesengine.User"}


class Turned:
    """A machine, the present time, and what the machine gave to do since it was last asked."""

    def __init__(self, limits: ConnectionLimits | None = None, random: Callable[[], float] = lambda: 0.5) -> None:
        self.connection = Connection(limits or ConnectionLimits(), random)
        self.now = 1000.0
        self.called: list[Any] = []

    def take(self) -> list[Action]:
        return self.connection.take()

    def dial(self) -> None:
        """Come as far as a dial."""
        self.connection.start(self.now)
        self.take()

    def open(self) -> None:
        """Come as far as the request for flags."""
        self.dial()
        self.connection.opened(self.now)
        self.take()

    def go_live(self) -> None:
        """Come as far as live."""
        self.open()
        self.hear("rulesengine.Flags", "full", [])

    def hear(self, entity_type: str, message_type: str, data: Any = None, **members: Any) -> Received:
        """Receive a frame."""
        frame = {"entity_type": entity_type, "message_type": message_type, "data": data, **members}
        return self.connection.receive(decode(json.dumps(frame)), self.now)

    def page(self, number: int | None, *flags: str, has_more: bool) -> Received:
        """Receive a page of flags."""
        paging = {"has_more": has_more} if number is None else {"has_more": has_more, "page": number}
        return self.hear("rulesengine.Flags", "full", [{"key": flag} for flag in flags], pagination=paging)

    def entity(self, kind: Kind, **keys: str) -> Received:
        """Receive a full entity."""
        return self.hear(TYPES[kind], "full", {"id": "an_id", "keys": keys}, entity_id="an_id")

    def error(self, kind: Kind, text: str = "company not found", **keys: str) -> Received:
        """Receive an error about a request."""
        return self.hear(TYPES[kind], "error", {"error": text, "keys": keys})

    def ask(self, kind: Kind, **keys: str) -> Request:
        """Ask for an entity, and note when the answer lands."""
        request = self.connection.ask(kind, tuple(keys.items()), self.now)
        assert request is not None
        request.callbacks.append(lambda: self.called.append(request))
        return request

    def wake(self, seconds: float = 0.0) -> list[Action]:
        """Let time pass, wake the machine once, and give what it wants done."""
        self.now += seconds
        self.run(self.connection.wake(self.now))
        return self.take()

    def lose(self, loss: Loss = DROPPED) -> None:
        self.run(self.connection.lost(loss, self.now))

    def run(self, callbacks: list[Callable[[], None]]) -> None:
        for callback in callbacks:
            callback()

    def asked(self) -> list[Mapping[str, str]]:
        """Give the keys of the requests that the machine wants sent."""
        sent = [json.loads(action.text)["data"] for action in self.take() if isinstance(action, Send)]
        return [request["keys"] for request in sent if "keys" in request]

    @property
    def wait(self) -> float | None:
        """How long the machine is willing to wait."""
        deadline = self.connection.deadline()
        return None if deadline is None else deadline - self.now
