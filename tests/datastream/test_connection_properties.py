"""Whatever happens to the machine, in whatever order, what it promises holds."""

from __future__ import annotations

import json
import random
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from schematic_core.datastream.connection import (
    ConnectionLimits,
    Dial,
    HangUp,
    Loss,
    Received,
    Request,
    Send,
)
from schematic_core.datastream.versions import Kind
from schematic_core.keys import Pairs
from tests.datastream.driving import DROPPED, TYPES, Turned

KINDS: st.SearchStrategy[Kind] = st.sampled_from(["company", "user"])
PAIR = st.tuples(st.sampled_from(["id", "ID", "slug"]), st.sampled_from(["a", "A", "b"]))
PAIRS: st.SearchStrategy[Pairs] = st.lists(PAIR, max_size=3, unique_by=lambda pair: pair[0]).map(tuple)
LOSSES = st.sampled_from(
    [DROPPED, Loss(4001, None, ""), Loss(None, 401, ""), Loss(1012, None, ""), Loss(None, 500, "")]
)
LIMITS = ConnectionLimits(max_refreshes=3, refresh_delay=0.2, refresh_interval=0.05)
ENTITY_TYPES = st.sampled_from([*TYPES.values(), "rulesengine.Flags", "rulesengine.Flag", "rulesengine.Users", "x", ""])
MESSAGE_TYPES = st.sampled_from(["full", "partial", "delete", "error", "reload", "unknown"])
OUTCOMES = st.sampled_from(["answered", "missing", "failed"])


class Life(RuleBasedStateMachine):
    """Random calls, by a shell that lands what it received at some time later, or never."""

    def __init__(self) -> None:
        super().__init__()
        self.turned = Turned(LIMITS, random.Random(0).random)
        self.connection = self.turned.connection
        self.asked: dict[Request, int] = {}
        self.landed: dict[Request, str] = {}
        self.received: list[Request] = []
        self.dials = 0

    @initialize(is_live=st.sampled_from([True, True, False]))
    def begin(self, is_live: bool) -> None:
        if is_live:
            self.turned.go_live()
            self.dials = 1

    def note(self, received: Received) -> None:
        assert set(received.requests).isdisjoint(received.missing + received.failed)
        for request in received.requests + received.missing + received.failed:
            assert request.outcome == "waiting"
            self.received.append(request)

    @rule()
    def start(self) -> None:
        self.connection.start(self.turned.now)

    @rule()
    def opened(self) -> None:
        self.connection.opened(self.turned.now)

    @rule(loss=LOSSES)
    def lost(self, loss: Loss) -> None:
        self.turned.lose(loss)

    @rule(loss=LOSSES)
    def lost_twice(self, loss: Loss) -> None:
        self.turned.lose(loss)
        before = self.connection.state, self.connection.deadline()
        self.turned.lose(loss)
        assert (self.connection.state, self.connection.deadline()) == before

    @rule(kind=KINDS, pairs=PAIRS)
    def ask(self, kind: Kind, pairs: Pairs) -> None:
        request = self.connection.ask(kind, pairs, self.turned.now)
        assert (request is None) == (self.connection.state != "live" or not pairs)
        if request is None:
            return
        assert request.outcome == "waiting"
        assert request.pairs == tuple(sorted(pairs))
        self.asked[request] = self.asked.get(request, 0) + 1
        request.callbacks.append(lambda: self.turned.called.append(request))

    @rule(wanted=st.lists(st.tuples(KINDS, PAIRS), max_size=12))
    def refresh(self, wanted: list[tuple[Kind, Pairs]]) -> None:
        self.connection.refresh(wanted, self.turned.now)

    @rule(kind=KINDS, pairs=PAIRS)
    def answer(self, kind: Kind, pairs: Pairs) -> None:
        self.note(self.turned.entity(kind, **dict(pairs)))

    @rule(kind=KINDS, pairs=PAIRS, text=st.sampled_from(["not found", "oops"]))
    def error(self, kind: Kind, pairs: Pairs, text: str) -> None:
        self.note(self.turned.error(kind, text, **dict(pairs)))

    @rule(page=st.none() | st.integers(0, 3), has_more=st.booleans())
    def page(self, page: int | None, has_more: bool) -> None:
        self.note(self.turned.page(page, "a", has_more=has_more))

    @rule()
    def flags(self) -> None:
        self.note(self.turned.hear("rulesengine.Flags", "full", []))
        assert self.connection.state != "loading"

    @rule(
        entity_type=ENTITY_TYPES,
        message_type=MESSAGE_TYPES,
        data=st.none() | st.just([]) | st.dictionaries(st.sampled_from(["keys", "error", "entity_type"]), ENTITY_TYPES),
    )
    def anything(self, entity_type: str, message_type: str, data: Any) -> None:
        self.note(self.turned.hear(entity_type, message_type, data))

    @rule(outcome=OUTCOMES, count=st.integers(0, 5))
    def land(self, outcome: Any, count: int) -> None:
        requests, self.received = self.received[:count], self.received[count:]
        self.turned.run(self.connection.land(requests, outcome, self.turned.now))
        assert all(request.outcome != "waiting" for request in requests)

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.3, 1.0, 5.0, 40.0]))
    def sleep(self, seconds: float) -> None:
        self.turned.now += seconds

    @rule()
    def wake(self) -> None:
        self.turned.run(self.connection.wake(self.turned.now))

    @precondition(lambda self: self.connection.deadline() is not None)
    @rule()
    def wake_at_the_deadline(self) -> None:
        """Waking when it asks to be woken makes progress: soon the deadline is later, and it never asks in vain for long."""
        for _ in range(60):
            deadline = self.connection.deadline()
            if deadline is None or deadline > self.turned.now:
                break
            self.wake()
        deadline = self.connection.deadline()
        assert deadline is not None
        assert deadline > self.turned.now
        self.turned.now = deadline
        before = self.state()
        self.wake()
        assert self.state() != before

    @rule(times=st.sampled_from([0] * 9 + [1, 2]))
    def close(self, times: int) -> None:
        for _ in range(times):
            self.turned.run(self.connection.close(self.turned.now))
            assert self.connection.state == "closed"
            assert self.connection.deadline() is None

    @rule()
    def act(self) -> None:
        actions = self.connection.take()
        assert self.connection.take() == []
        for action in actions:
            if isinstance(action, Dial):
                assert action.attempt > self.dials
                self.dials = action.attempt
        assert self.connection.state != "closed" or all(isinstance(action, HangUp) for action in actions)

    def state(self) -> tuple[object, ...]:
        """Give what waking can change."""
        sent = len(self.connection._actions)
        return self.connection.state, self.connection.deadline(), sent, len(self.turned.called)

    @invariant()
    def everyone_is_called_exactly_once_when_it_has_landed(self) -> None:
        called: dict[Request, int] = {}
        for request in self.turned.called:
            called[request] = called.get(request, 0) + 1
        for request, joined in self.asked.items():
            assert called.get(request, 0) == (0 if request.outcome == "waiting" else joined)

    @invariant()
    def outcomes_are_final(self) -> None:
        for request in self.asked:
            if request.outcome != "waiting":
                assert self.landed.setdefault(request, request.outcome) == request.outcome

    @invariant()
    def nobody_waits_without_a_connection(self) -> None:
        if not self.connection.is_open:
            assert all(request.outcome != "waiting" for request in self.asked)

    @invariant()
    def requests_under_way_are_all_different(self) -> None:
        waiting = [(request.kind, request.pairs) for request in self.asked if request.outcome == "waiting"]
        assert len(waiting) == len(set(waiting))

    @invariant()
    def every_request_is_found_again_and_only_while_it_waits(self) -> None:
        requests = self.connection._asking._requests
        under_way = list(requests._exact.values())
        assert all(request.outcome == "waiting" for request in under_way)
        assert {request for request in self.asked if request.outcome == "waiting"} <= set(under_way)
        assert requests.refreshes == sum(request.is_refresh for request in under_way) <= LIMITS.max_refreshes
        for index in (requests._by_keys, requests._by_pair):
            assert {request for there in index.values() for request in there} == set(under_way)
            assert all(index.values())

    @invariant()
    def no_request_outlives_its_time(self) -> None:
        for request in self.asked:
            if request.outcome == "waiting":
                deadline = self.connection.deadline()
                assert deadline is not None
                assert deadline <= request.deadline

    @invariant()
    def what_is_to_be_sent_belongs_to_the_connection(self) -> None:
        sends = [action for action in self.connection._actions if isinstance(action, Send)]
        if not self.connection.is_open:
            assert sends == []
        assert all(json.loads(send.text)["data"]["action"] == "start" for send in sends)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
