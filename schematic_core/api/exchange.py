"""The story of one call, told once for both executors: send, follow redirects, repeat, give up in time.

A generator asks for one thing at a time: `Send` (answer it with the outcome) or `Pause` (wait, then answer with None).
Whoever drives it does no more than that. It returns the answer in 2xx, or raises the typed error.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Union

from schematic_core.api.call import Call, Failure, Outcome, Request, Response
from schematic_core.api.rules import address, judge, redirect
from schematic_core.config import Settings
from schematic_core.errors import ApiError, ConnectionFailed

__all__ = ["Clocks", "Pause", "Send", "Step", "exchange"]

MAX_REDIRECTS = 10


@dataclass(frozen=True, slots=True)
class Send:
    """Send this and read the whole answer before ``deadline`` (monotonic seconds).

    ``is_explicit``: the limit was given for this very call, so a supplied client's own shorter limits do not apply.
    """

    request: Request
    deadline: float
    is_explicit: bool


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait this many seconds."""

    delay: float


Step = Union[Send, Pause]
Exchange = Generator[Step, Union[Outcome, None], Response]


@dataclass(frozen=True, slots=True)
class Clocks:
    """Sources of time and chance: monotonic seconds, epoch seconds, floats in [0, 1)."""

    monotonic: Callable[[], float]
    epoch: Callable[[], float]
    random: Callable[[], float]


def exchange(call: Call, settings: Settings, clocks: Clocks, deadline: float | None = None) -> Exchange:
    """Tell the story of ``call``.

    Args:
        call: what to do.
        settings: where, as whom, how long and how often.
        clocks: time and chance.
        deadline: monotonic seconds at which all must be over; the timeout applies besides.

    Raises:
        ApiError: the typed error of the last try; a wait that would outlast the deadline is not begun.
    """
    if settings.offline:
        raise ConnectionFailed(message=f"{call.label}: the client is offline")
    limit = clocks.monotonic() + (settings.timeout if call.timeout is None else call.timeout)
    limit = limit if deadline is None else min(limit, deadline)
    max_retries = settings.max_retries if call.max_retries is None else call.max_retries
    attempt = 0
    while True:
        outcome = yield from _try(
            call, settings, clocks, Send(address(call, settings), limit, call.timeout is not None)
        )
        verdict = judge(call, outcome, attempt, max_retries=max_retries, random=clocks.random, now=clocks.epoch())
        if isinstance(verdict, Response):
            return verdict
        if isinstance(verdict, ApiError):
            raise verdict
        if clocks.monotonic() + verdict.delay >= limit:
            raise verdict.error
        yield Pause(verdict.delay)
        attempt += 1


def _try(call: Call, settings: Settings, clocks: Clocks, send: Send) -> Generator[Step, Outcome | None, Outcome]:
    """Send once and follow redirects; gives the first outcome that is none."""
    for _ in range(MAX_REDIRECTS + 1):
        if clocks.monotonic() >= send.deadline:
            return Failure("timeout")
        outcome = yield send
        if not isinstance(outcome, Response):
            return outcome or Failure("unsendable")
        target = redirect(call, send.request, outcome, follow=settings.follow_redirects)
        if target is None:
            return outcome
        if isinstance(target, ApiError):
            raise target
        send = Send(target, send.deadline, send.is_explicit)
    raise ApiError(message=f"{call.label}: more than {MAX_REDIRECTS} redirects")
