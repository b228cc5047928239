"""Records, a queue driven by hand, and a sender against a service that runs in the test."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from schematic_core.config import ClientOptions, Settings, resolve
from schematic_core.events.queue import EventQueue
from schematic_core.events.values import Batch, Done, Encode, Entry, Limits, Outcome, Record, Send, Step, Wait
from schematic_core.values import CheckResult

ACKNOWLEDGED = Outcome("acknowledged", 200)
UNAVAILABLE = Outcome("retry", 503, "HTTP status 503")
REJECTED = Outcome("rejected", 400, "HTTP status 400")
REFUSED = Outcome("refused", 401, "HTTP status 401")

VERDICT = CheckResult(value=True, reason="because", flag_key="exports")


def track(number: int, event: str = "used") -> Record:
    return ("track", number, 0.0, event, {"id": "acme"}, None, None, None, None)


def flag_check(number: int) -> Record:
    return ("flag_check", number, 0.0, VERDICT, {}, {}, False)


def entry(record: Record, now: float, size: int = 10) -> Entry:
    company = record[4] if record[0] == "track" else None
    return Entry(record[1], record[0], now, b"x" * size, company)


def options(**changes: Any) -> Settings:
    return resolve("sk_test", cast("ClientOptions", changes), environment={})


@dataclass
class Turned:
    """A queue with a hand-turned clock and a service that answers what ``outcomes`` says, in order, then yes."""

    limits: Limits = field(default_factory=lambda: Limits(5.0, 1000, 1_000_000, 3600.0))
    outcomes: list[Outcome] = field(default_factory=list)
    event_size: int = 10
    now: float = 1000.0
    jitter: float = 0.5
    sent: list[list[int]] = field(default_factory=list)
    acknowledged: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.queue = EventQueue(self.limits, lambda: self.jitter)

    def push(self, *records: Record) -> None:
        self.queue.push(records, self.now)

    def tracks(self, *numbers: int) -> None:
        self.push(*(track(number) for number in numbers))

    def step(self) -> Step:
        step = self.queue.next(self.now)
        if isinstance(step, Encode):
            self.queue.store([entry(record, self.now, self.event_size) for record in step.records])
        elif isinstance(step, Send):
            self.sent.append([e.number for e in step.batch.entries])
            self.settle(self.outcomes.pop(0) if self.outcomes else ACKNOWLEDGED)
        return step

    def settle(self, outcome: Outcome) -> Batch | None:
        batch = self.queue.settle(outcome, self.now)
        if batch is not None:
            self.acknowledged += [e.number for e in batch.entries]
        return batch

    def run(self) -> Wait | Done:
        """Do what the queue asks until it wants to wait or is done."""
        while True:
            step = self.step()
            if isinstance(step, (Wait, Done)):
                return step

    def until_send(self) -> Batch:
        """Do what the queue asks until it hands out a batch, which stays under way."""
        while True:
            step = self.queue.next(self.now)
            if isinstance(step, Send):
                return step.batch
            assert isinstance(step, Encode)
            self.queue.store([entry(record, self.now, self.event_size) for record in step.records])

    def run_until(self, end: float) -> None:
        """Turn the clock to ``end``, stopping wherever the queue wants to act."""
        while True:
            step = self.run()
            if isinstance(step, Done) or step.until is None or step.until > end:
                self.now = max(self.now, end)
                return
            self.now = max(self.now, step.until)

    def waits(self) -> float | None:
        """Give the seconds for which the queue has nothing to do; None: for ever."""
        step = self.run()
        assert isinstance(step, Wait)
        return None if step.until is None else round(step.until - self.now, 6)

    def notices(self) -> list[str]:
        return [notice.kind for notice in self.queue.take_notices()]
