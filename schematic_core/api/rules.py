"""Pure rules of the HTTP layer: what leaves, what an outcome means, where a redirect leads.

A call is repeated when that cannot do harm: after 429 and refused connections always, after 408, 5xx (never 501), broken
connections and timeouts only when the call is repeatable; 409 never. The class of an error follows the status alone.
Source: ``http-api.md`` sections 3, 6, 7 and 12, with the corrections of section 21 and ``decisions.md`` section 4.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Union
from urllib.parse import quote, urlencode, urljoin, urlsplit

from schematic_core._version import __version__
from schematic_core.api.call import Call, Failure, Outcome, Request, Response
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
from schematic_core.timing import Backoff, retry_after_seconds
from schematic_core.wire import loads

__all__ = ["PRODUCT", "Retry", "Verdict", "address", "error_of", "judge", "redirect", "retry_after"]

PRODUCT = "schematic-suite"
MAX_WAIT = 60.0
"""Seconds between two tries at most, whatever the service asks for."""

_SAFE_TO_TAKE_ABROAD = frozenset({"user-agent", "x-schematic-client", "content-type", "accept"})
_NUMBER = re.compile(r"\d{1,12}(\.\d{1,12})?", re.ASCII)
_BY_STATUS: Mapping[int, type[ApiError]] = {
    400: BadRequestError,
    401: UnauthorizedError,
    402: PaymentRequiredError,
    403: ForbiddenError,
    404: NotFoundError,
}
_SUCCESS = 2  # hundreds of a status
_SERVER_ERROR = 5
_KEEPS_METHOD = frozenset({307, 308})
_REDIRECTS = frozenset({301, 302, 303}) | _KEEPS_METHOD
_TOO_MANY = 429
_NOT_IMPLEMENTED = 501
_REQUEST_TIMEOUT = 408


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again after ``delay`` seconds; ``error`` is what to raise when there is no time for that."""

    delay: float
    error: ApiError


Verdict = Union[Response, Retry, ApiError]


def address(call: Call, settings: Settings) -> Request:
    """Make what leaves, e.g. ``POST https://api.schematichq.com/flags/exports/check``.

    Headers, lowest first: ours, the client's, the API key, the content type, the call's; names compare without case.
    """
    query = urlencode(call.query, quote_via=quote)
    headers = _merged(
        {"User-Agent": f"{PRODUCT}/{__version__}", "X-Schematic-Client": PRODUCT},
        settings.headers,
        {"X-Schematic-Api-Key": settings.api_key},
        {"Content-Type": "application/json"} if call.body is not None else {},
        call.headers,
    )
    url = settings.base_url.rstrip("/") + call.path + ("?" + query if query else "")
    return Request(method=call.method, url=url, headers=headers, body=call.body)


def judge(
    call: Call, outcome: Outcome, attempt: int, *, max_retries: int, random: Callable[[], float], now: float
) -> Verdict:
    """Say what an outcome means: the answer, a repeat, or the error to raise.

    Args:
        call: what was asked.
        outcome: what came of it; redirects were followed before.
        attempt: 0 for the first try.
        max_retries: repeats after the first try.
        random: gives floats in [0, 1).
        now: epoch seconds, to read dates in headers.
    """
    if isinstance(outcome, Response) and outcome.status // 100 == _SUCCESS:
        return outcome
    error = _failed(call, outcome) if isinstance(outcome, Failure) else error_of(outcome, now)
    if attempt >= max_retries or not _may_repeat(call, outcome):
        return error
    return Retry(_delay(outcome, attempt, random, now), error)


def redirect(call: Call, request: Request, response: Response, *, follow: bool) -> Request | ApiError | None:
    """Say where a redirect leads; None when the response is none.

    307 and 308 keep method and body, 301 to 303 are followed for GET and HEAD alone: another method turned into a GET would
    count a page as a success. Away from the first host, scheme or port only headers without secrets go along.
    """
    if response.status not in _REDIRECTS:
        return None
    if not follow:
        return error_of(response, 0.0)
    target = _target(request.url, response.headers.get("location"))
    if target is None:
        return _redirect_error(call, response, "to nowhere usable")
    if response.status not in _KEEPS_METHOD and request.method not in ("GET", "HEAD"):
        return _redirect_error(call, response, f"which a {request.method} may not follow; check base_url")
    is_foreign = request.is_foreign or _origin(target) != _origin(request.url)
    headers = tuple(pair for pair in request.headers if not is_foreign or pair[0].lower() in _SAFE_TO_TAKE_ABROAD)
    return Request(method=request.method, url=target, headers=headers, body=request.body, is_foreign=is_foreign)


def error_of(response: Response, now: float) -> ApiError:
    """Make the error of an answer outside 2xx; ``now`` in epoch seconds."""
    body = _readable(response.body)
    headers = dict(response.headers)
    request_id = headers.get("x-request-id")
    if response.status == _TOO_MANY:
        wait = retry_after(headers, now)
        return RateLimitError(headers=headers, body=body, request_id=request_id, retry_after=wait)
    cls = _BY_STATUS.get(response.status, InternalServerError if response.status // 100 == _SERVER_ERROR else ApiError)
    return cls(status_code=response.status, headers=headers, body=body, request_id=request_id)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Give the seconds the service asks to wait, from ``retry-after-ms`` or ``retry-after``; None when it does not ask.

    Zero, fractions and dates count; a date in the past is zero.
    """
    exact = headers.get("retry-after-ms", "").strip()
    if _NUMBER.fullmatch(exact):
        return float(exact) / 1000
    return retry_after_seconds(headers.get("retry-after"), now)


def _merged(*layers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    merged = {name.lower(): (name, value) for layer in layers for name, value in layer.items()}
    return tuple(merged.values())


def _failed(call: Call, failure: Failure) -> ApiError:
    if failure.kind == "timeout":
        error: ApiError = TimedOut(message=f"{call.label}: no answer within the time allowed")
    else:
        what = {"refused": "no connection", "broken": "the connection broke"}.get(failure.kind, "it could not be sent")
        error = ConnectionFailed(message=f"{call.label}: {what}")
    error.__cause__ = failure.cause
    return error


def _may_repeat(call: Call, outcome: Outcome) -> bool:
    if isinstance(outcome, Failure):
        return outcome.kind == "refused" or (call.repeatable and outcome.kind in ("timeout", "broken"))
    if outcome.status == _TOO_MANY:
        return True
    is_server_trouble = outcome.status // 100 == _SERVER_ERROR and outcome.status != _NOT_IMPLEMENTED
    return call.repeatable and (is_server_trouble or outcome.status == _REQUEST_TIMEOUT)


def _delay(outcome: Outcome, attempt: int, random: Callable[[], float], now: float) -> float:
    if isinstance(outcome, Response):
        asked = retry_after(outcome.headers, now)
        if asked is not None:
            return min(asked, MAX_WAIT)
        reset = outcome.headers.get("x-ratelimit-reset", "").strip()
        if _NUMBER.fullmatch(reset) and float(reset) > now:
            return min((float(reset) - now) * (1.0 + 0.2 * random()), MAX_WAIT)
    return Backoff(1.0, MAX_WAIT, random).delay(attempt)


def _redirect_error(call: Call, response: Response, why: str) -> ApiError:
    return ApiError(
        status_code=response.status,
        headers=response.headers,
        body=_readable(response.body),
        message=f"{call.label}: the API answered {response.status}, a redirect {why}",
    )


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _target(base: str, location: str | None) -> str | None:
    """Give the absolute URL a redirect names; None when there is none that HTTP could reach."""
    try:
        target = urljoin(base, location or "")
        parts = urlsplit(target)
        _ = parts.port
    except ValueError:
        return None
    return target if location and parts.hostname and parts.scheme in ("http", "https") else None


def _readable(body: bytes) -> object:
    if not body:
        return None
    try:
        return loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")
