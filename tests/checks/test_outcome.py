"""What a failure says about the service's health, and when it is told."""

from __future__ import annotations

import logging

import pytest

from schematic_core.checks.outcome import Health
from schematic_core.errors import (
    ApiError,
    BadRequestError,
    ConnectionFailed,
    ForbiddenError,
    InternalServerError,
    NotFoundError,
    ParsingError,
    TimedOut,
    UnauthorizedError,
)
from schematic_core.timing import Backoff, Breaker


def health() -> Health:
    """Health that holds calls back after one failure."""
    return Health(Breaker(Backoff(1.0, 30.0, lambda: 0.5), 1), logging.getLogger("schematic.test"))


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (TimedOut(), "timed_out"),
        (ConnectionFailed(), "connection_failed"),
        (ParsingError(), "unreadable_answer"),
        (NotFoundError(status_code=404), "flag_not_found"),
        (InternalServerError(status_code=503), "http_503"),
        (ApiError(), "no_answer"),
    ],
)
def test_a_failure_holds_calls_back_and_has_a_stable_word(error: ApiError, word: str) -> None:
    """The service could not answer; asking again at once is not worth it."""
    judged = health()

    assert judged.failed(error, now=100.0, allowed=3.0).word == word
    assert judged.blocks(100.0)


@pytest.mark.parametrize(
    ("error", "allowed", "is_held_against_the_service"),
    [
        (BadRequestError(status_code=400), 3.0, False),
        (TimedOut(), 0.9, False),
        (TimedOut(), 1.0, True),
        (ConnectionFailed(), 0.9, True),
    ],
)
def test_what_the_caller_did_is_not_held_against_the_service(
    error: ApiError, allowed: float, is_held_against_the_service: bool
) -> None:
    """A refused question is an answer, and less than a second is no fair chance."""
    judged = health()

    judged.failed(error, now=100.0, allowed=allowed)

    assert judged.blocks(100.0) is is_held_against_the_service


def test_a_change_of_health_is_told_once_each_way(caplog: pytest.LogCaptureFixture) -> None:
    """However many calls fail or succeed in a row."""
    judged = health()
    caplog.set_level(logging.INFO)

    for _ in range(2):
        judged.failed(InternalServerError(status_code=503), now=100.0, allowed=3.0)
    for _ in range(2):
        judged.succeeded()

    assert caplog.messages == [
        "flag checks cannot reach the service (http_503)",
        "flag checks reach the service again",
    ]


@pytest.mark.parametrize("error", [UnauthorizedError(status_code=401), ForbiddenError(status_code=403)])
def test_a_refused_key_is_named_as_the_likely_cause(error: ApiError, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever reads the log looks at the key first."""
    health().failed(error, now=100.0, allowed=3.0)

    assert "is the API key right?" in caplog.text
