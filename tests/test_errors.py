"""Errors: one tree, keyword construction, messages without secrets, and copies through pickle."""

from __future__ import annotations

import copy
import pickle

import pytest

from schematic_core import core, errors
from schematic_core.errors import (
    ApiError,
    ConfigurationError,
    ConnectionFailed,
    EngineError,
    FeatureDenied,
    NotFoundError,
    RateLimitError,
    SchematicError,
    TimedOut,
    WebhookSignatureError,
)
from schematic_core.values import CheckResult

DENIAL = FeatureDenied("exports", "not_entitled", 402, CheckResult(value=False, reason="r", flag_key="exports"))


@pytest.mark.parametrize("name", [name for name in errors.__all__ if name not in ("SchematicError", "FeatureDenied")])
def test_every_fault_is_a_schematic_error_and_has_a_docstring(name: str) -> None:
    kind = getattr(errors, name)

    assert issubclass(kind, SchematicError)
    assert kind.__doc__


def test_the_standard_kinds_can_be_caught_too() -> None:
    assert issubclass(ConfigurationError, ValueError)
    assert issubclass(ConnectionFailed, ConnectionError)
    assert issubclass(TimedOut, TimeoutError)
    assert not issubclass(FeatureDenied, SchematicError)


def test_api_errors_are_where_the_contract_has_them() -> None:
    assert core.ApiError is ApiError


@pytest.mark.parametrize(
    "error",
    [
        NotFoundError(headers={"a": "b"}, body={"error": "no such company"}, request_id="req_1"),
        RateLimitError(retry_after=2.5, body="slow down"),
        TimedOut(message="the call took too long"),
        ApiError(status_code=418),
        EngineError("rejected", code="wrong_type", path="rules[0]", offset=7),
        WebhookSignatureError("no", code="mismatch"),
        DENIAL,
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_survive_pickling_and_copying_whole(error: Exception) -> None:
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is type(error)
        assert (str(again), again.__dict__) == (str(error), error.__dict__)


def test_the_message_says_what_the_service_said_and_stays_short() -> None:
    assert str(NotFoundError(body={"error": "no such company"})) == "the API answered 404: no such company"
    assert str(ApiError(status_code=409, request_id="req_1")) == "the API answered 409 (request req_1)"
    assert str(ConnectionFailed()) == "the API gave no answer"
    assert len(str(ApiError(status_code=500, body="x" * 10_000))) < 300


def test_headers_stay_out_of_the_message() -> None:
    assert "hidden" not in str(NotFoundError(headers={"x-token": "hidden"}))


def test_a_status_of_its_own_wins_over_the_class_s() -> None:
    assert (NotFoundError().status_code, errors.InternalServerError(status_code=503).status_code) == (404, 503)
