"""Rules of the HTTP layer: headers, verdicts, waits, redirects, errors."""

from __future__ import annotations

import dataclasses
import pickle
from email.utils import formatdate
from typing import Any

import pytest

from schematic_core._version import __version__
from schematic_core.api.call import Call, Failure, Outcome, Request, Response
from schematic_core.api.rules import Retry, Verdict, address, error_of, judge, redirect, retry_after
from schematic_core.config import Settings
from schematic_core.errors import (
    ApiError,
    BadRequestError,
    ConnectionFailed,
    ForbiddenError,
    InternalServerError,
    NotFoundError,
    PaymentRequiredError,
    RateLimitError,
    TimedOut,
    UnauthorizedError,
)

NOW = 1_767_225_600.0
SETTINGS = Settings(api_key="key", base_url="https://host/prefix", flag_defaults={}, headers={})
GET = Call(method="GET", path="/x")
POST = Call(method="POST", path="/x", body=b"{}", repeatable=False)


def response(status: int, body: bytes = b"", /, **headers: str) -> Response:
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def verdict(outcome: Outcome, call: Call = GET, attempt: int = 0, random: float = 0.5) -> Verdict:
    return judge(call, outcome, attempt, max_retries=2, random=lambda: random, now=NOW)


def wait(outcome: Outcome, **options: Any) -> float:
    result = verdict(outcome, **options)
    assert isinstance(result, Retry)
    return result.delay


def test_the_address_keeps_the_prefix_and_encodes_the_query() -> None:
    """A base URL may carry a path; brackets and all else in the query are percent-encoded."""
    call = Call(method="GET", path="/companies/lookup", query=(("keys[id]", "a&b c"),))

    assert address(call, SETTINGS).url == "https://host/prefix/companies/lookup?keys%5Bid%5D=a%26b%20c"


def test_headers_win_in_the_documented_order() -> None:
    """Ours, the client's, the key, the content type, the call's; a name in another case replaces, never doubles."""
    settings = dataclasses.replace(SETTINGS, headers={"user-agent": "mine", "x-schematic-api-key": "no", "X-A": "1"})
    call = Call(method="POST", path="/x", body=b"{}", headers={"x-a": "2", "CONTENT-TYPE": "text/x"})

    assert dict(address(call, settings).headers) == {
        "user-agent": "mine",
        "X-Schematic-Client": "schematic-suite",
        "X-Schematic-Api-Key": "key",
        "x-a": "2",
        "CONTENT-TYPE": "text/x",
    }


def test_a_bodyless_call_says_who_we_are_and_nothing_of_content() -> None:
    """Product, version and key; no content type."""
    assert dict(address(GET, SETTINGS).headers) == {
        "User-Agent": f"schematic-suite/{__version__}",
        "X-Schematic-Client": "schematic-suite",
        "X-Schematic-Api-Key": "key",
    }


def test_requests_hide_the_key() -> None:
    """The repr of what leaves shows no header."""
    assert "key" not in repr(address(GET, SETTINGS)).lower().replace("x-schematic-api-key", "key!")


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_any_2xx_is_the_answer(status: int) -> None:
    """Success is given back as it is."""
    answer = response(status)

    assert verdict(answer) is answer


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_trouble_of_the_service_is_repeated_when_harmless(status: int) -> None:
    """A repeatable call is tried again."""
    assert isinstance(verdict(response(status)), Retry)


@pytest.mark.parametrize("status", [301, 400, 401, 402, 403, 404, 409, 422, 501])
def test_settled_answers_are_never_repeated(status: int) -> None:
    """Neither mistakes nor 409 nor 501 get better by asking again."""
    assert isinstance(verdict(response(status)), ApiError)


@pytest.mark.parametrize(
    "outcome", [response(408), response(500), response(503), Failure("timeout"), Failure("broken")]
)
def test_a_call_that_may_have_been_executed_is_not_repeated(outcome: Outcome) -> None:
    """A POST without protection runs at most once."""
    assert isinstance(verdict(outcome, call=POST), ApiError)


@pytest.mark.parametrize("outcome", [response(429), Failure("refused")])
def test_a_call_that_was_not_executed_is_repeated(outcome: Outcome) -> None:
    """After 429 and a refused connection even an unprotected POST is safe."""
    assert isinstance(verdict(outcome, call=POST), Retry)


@pytest.mark.parametrize("kind", ["timeout", "broken", "refused"])
def test_missing_answers_are_repeated_when_harmless(kind: Any) -> None:
    """A repeatable call survives a broken connection."""
    assert isinstance(verdict(Failure(kind)), Retry)


def test_what_cannot_be_sent_is_not_repeated() -> None:
    """Repeating would fail the same way."""
    assert isinstance(verdict(Failure("unsendable")), ConnectionFailed)


def test_repeats_are_counted() -> None:
    """After the last repeat the error stands."""
    assert isinstance(verdict(response(503), attempt=1), Retry)
    assert isinstance(verdict(response(503), attempt=2), InternalServerError)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry_after_ms": "250", "retry_after": "9"}, 0.25),
        ({"retry_after": "7"}, 7.0),
        ({"retry_after": "0"}, 0.0),
        ({"retry_after": "1.5"}, 1.5),
        ({"retry_after": formatdate(NOW + 10, usegmt=True)}, 10.0),
        ({"retry_after": formatdate(NOW - 10, usegmt=True)}, 0.0),
        ({"retry_after": "3600"}, 60.0),
        ({"x_ratelimit_reset": str(int(NOW) + 10)}, 11.0),
        ({"x_ratelimit_reset": str(int(NOW) + 500)}, 60.0),
        ({"x_ratelimit_reset": str(int(NOW) - 5)}, 0.5),
        ({"retry_after": "soon", "retry_after_ms": "-1", "x_ratelimit_reset": "later"}, 0.5),
        ({}, 0.5),
    ],
)
def test_the_service_says_how_long_to_wait(headers: dict[str, str], expected: float) -> None:
    """Zero, fractions, dates and milliseconds count; whatever is asked, sixty seconds are the end."""
    assert wait(response(503, **headers)) == pytest.approx(expected)


def test_without_advice_the_wait_doubles_with_jitter() -> None:
    """Full jitter below a doubling ceiling."""
    assert [wait(Failure("refused"), attempt=attempt) for attempt in (0, 1)] == [0.5, 1.0]
    assert wait(Failure("refused"), random=0.0) == 0.0


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequestError),
        (401, UnauthorizedError),
        (402, PaymentRequiredError),
        (403, ForbiddenError),
        (404, NotFoundError),
        (409, ApiError),
        (429, RateLimitError),
        (500, InternalServerError),
        (599, InternalServerError),
        (600, ApiError),
    ],
)
@pytest.mark.parametrize("body", [b'{"error":"no"}', b'{"detail":1}', b"<html>", b""])
def test_the_class_follows_the_status_and_the_body_is_kept(status: int, kind: type[ApiError], body: bytes) -> None:
    """Whatever the body looks like."""
    error = error_of(response(status, body, x_request_id="req_1"), NOW)

    assert type(error) is kind
    assert error.status_code == status
    assert error.body == {b'{"error":"no"}': {"error": "no"}, b'{"detail":1}': {"detail": 1}, b"": None}.get(
        body, "<html>"
    )
    assert (error.request_id, error.headers["x-request-id"]) == ("req_1", "req_1")
    assert pickle.loads(pickle.dumps(error)).body == error.body


def test_a_rate_limit_says_when_to_come_back() -> None:
    """``retry_after`` is what the service said, uncapped; None when it said nothing."""
    limited = error_of(response(429, retry_after="90"), NOW)

    assert isinstance(limited, RateLimitError)
    assert limited.retry_after == 90.0
    assert retry_after({}, NOW) is None
    assert retry_after({"retry-after": "Mon, 99 Foo"}, NOW) is None


@pytest.mark.parametrize(
    ("kind", "error"), [("timeout", TimedOut), ("broken", ConnectionFailed), ("refused", ConnectionFailed)]
)
def test_a_missing_answer_is_typed_and_keeps_its_cause(kind: Any, error: type[ApiError]) -> None:
    """The exception of the transport is the cause; the text names the call and no host."""
    cause = OSError("x")

    result = verdict(Failure(kind, cause), attempt=2)

    assert type(result) is error
    assert result.__cause__ is cause
    assert str(result).startswith("GET /x: ")


FIRST = Request(method="GET", url="https://host/a", headers=(("X-Schematic-Api-Key", "key"), ("User-Agent", "us")))


def led(status: int, location: str | None, request: Request = FIRST, follow: bool = True) -> Request | ApiError | None:
    return redirect(
        GET, request, response(status, **({} if location is None else {"location": location})), follow=follow
    )


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_of_reads_are_followed(status: int) -> None:
    """On the same host everything goes along, relative targets included."""
    target = led(status, "/b?c=1")

    assert target == dataclasses.replace(FIRST, url="https://host/b?c=1")


@pytest.mark.parametrize("location", ["https://other/b", "http://host/b", "https://host:8443/b", "//other/b"])
def test_secrets_stay_with_the_first_host(location: str) -> None:
    """Another host, scheme or port gets neither the key nor any header of the user."""
    target = led(302, location)

    assert isinstance(target, Request)
    assert target.headers == (("User-Agent", "us"),)
    assert target.is_foreign


def test_the_way_back_does_not_bring_the_key_again() -> None:
    """Once away, always away."""
    away = dataclasses.replace(FIRST, url="https://other/", is_foreign=True)

    target = led(302, "https://other/b", away)

    assert isinstance(target, Request)
    assert target.is_foreign


def test_a_named_default_port_is_the_same_host() -> None:
    """``:443`` changes nothing on https."""
    target = led(302, "https://host:443/b")

    assert isinstance(target, Request)
    assert not target.is_foreign


@pytest.mark.parametrize("status", [307, 308])
def test_a_kept_method_keeps_its_body(status: int) -> None:
    """307 and 308 repeat the POST as it was."""
    post = Request(method="POST", url="https://host/a", body=b"{}")

    assert led(status, "/b", post) == Request(method="POST", url="https://host/b", body=b"{}")


@pytest.mark.parametrize("status", [301, 302, 303])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_a_write_is_never_turned_into_a_read(status: int, method: str) -> None:
    """Such a redirect is an error that says so."""
    result = led(status, "/b", Request(method=method, url="https://host/a"))

    assert isinstance(result, ApiError)
    assert result.status_code == status
    assert method in str(result)


@pytest.mark.parametrize("location", [None, "ftp://host/x", "http:///x", "https://host:x/", "https://[/"])
def test_a_redirect_to_nowhere_is_an_error(location: str | None) -> None:
    """Without a usable target there is nothing to follow."""
    assert isinstance(led(302, location), ApiError)


def test_redirects_can_be_switched_off() -> None:
    """Then the redirect is the error, with its status."""
    result = led(302, "/b", follow=False)

    assert isinstance(result, ApiError)
    assert result.status_code == 302


def test_other_statuses_are_no_redirects() -> None:
    """304 and the like are left to the judge."""
    assert led(304, "/b") is None
