"""The story of a call, without a clock or a socket."""

from __future__ import annotations

import pytest

from schematic_core.api.call import Call, Failure, Response
from schematic_core.api.exchange import Clocks, Pause, Send, exchange
from schematic_core.config import Settings
from schematic_core.errors import ApiError, ConnectionFailed, InternalServerError, TimedOut

SETTINGS = Settings(api_key="key", base_url="https://host", flag_defaults={}, headers={}, timeout=10.0)
CALL = Call(method="GET", path="/x")


class Clock:
    """Hand-turned."""

    def __init__(self) -> None:
        self.now = 100.0

    def clocks(self) -> Clocks:
        return Clocks(lambda: self.now, lambda: 0.0, lambda: 0.5)


def test_a_call_is_one_send_when_it_succeeds() -> None:
    """The limit is the timeout from now, and the answer is the generator's value."""
    story = exchange(CALL, SETTINGS, Clock().clocks())

    step = next(story)

    assert isinstance(step, Send)
    assert (step.deadline, step.is_explicit) == (110.0, False)
    with pytest.raises(StopIteration) as ended:
        story.send(Response(200, {}, b""))
    assert ended.value.value == Response(200, {}, b"")


def test_trouble_pauses_then_sends_again() -> None:
    """Between two tries there is the wait that the rules ask for."""
    story = exchange(CALL, SETTINGS, Clock().clocks())
    first = next(story)

    assert story.send(Response(503, {}, b"")) == Pause(0.5)
    assert story.send(None) == first


def test_no_wait_is_begun_that_would_outlast_the_deadline() -> None:
    """The error comes now instead of later."""
    story = exchange(CALL, SETTINGS, Clock().clocks(), 103.0)
    next(story)

    with pytest.raises(InternalServerError):
        story.send(Response(503, {"retry-after": "3"}, b""))


def test_time_that_is_up_sends_nothing() -> None:
    """Neither at the start nor after a redirect."""
    clock = Clock()
    story = exchange(CALL, SETTINGS, clock.clocks())
    next(story)
    clock.now = 110.0

    with pytest.raises(TimedOut):
        story.send(Response(302, {"location": "/y"}, b""))


def test_a_redirect_is_followed_inside_one_try() -> None:
    """It costs no repeat; ten are followed."""
    story = exchange(Call(method="GET", path="/x", timeout=5.0), SETTINGS, Clock().clocks())
    next(story)
    for _ in range(10):
        step = story.send(Response(302, {"location": "/y"}, b""))
        assert isinstance(step, Send)
        assert (step.request.url, step.deadline, step.is_explicit) == ("https://host/y", 105.0, True)

    with pytest.raises(ApiError, match="more than 10 redirects"):
        story.send(Response(302, {"location": "/y"}, b""))


def test_a_redirect_to_nowhere_ends_the_story() -> None:
    """It is the error of the call."""
    story = exchange(CALL, SETTINGS, Clock().clocks())
    next(story)

    with pytest.raises(ApiError):
        story.send(Response(302, {}, b""))


def test_a_send_without_outcome_is_a_fault_of_the_driver() -> None:
    """It reads as something that could not be sent."""
    story = exchange(CALL, SETTINGS, Clock().clocks())
    next(story)

    with pytest.raises(ConnectionFailed):
        story.send(None)


def test_a_failure_is_judged_like_an_answer() -> None:
    """A refused connection is tried again."""
    story = exchange(CALL, SETTINGS, Clock().clocks())
    next(story)

    assert story.send(Failure("refused")) == Pause(0.5)


def test_an_offline_client_tells_no_story() -> None:
    """It raises before the first step."""
    offline = Settings(api_key="", flag_defaults={}, headers={}, offline=True)

    with pytest.raises(ConnectionFailed, match="offline"):
        next(exchange(CALL, offline, Clock().clocks()))
