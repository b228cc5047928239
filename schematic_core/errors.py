"""Every exception of the suite, in one tree.

::

    SchematicError                     never raised itself
    ├── ConfigurationError             also a ValueError: a setting is wrong, the message names it
    ├── ApiError                       the service's HTTP API: an answer outside 2xx, or none at all
    │   ├── BadRequestError            400
    │   ├── UnauthorizedError          401
    │   ├── PaymentRequiredError       402
    │   ├── ForbiddenError             403
    │   ├── NotFoundError              404
    │   ├── RateLimitError             429, with ``retry_after``
    │   ├── InternalServerError        500 to 599
    │   ├── ParsingError               the status was fine, the body was not
    │   └── TransportError             no answer arrived, ``status_code`` is None
    │       ├── ConnectionFailed       also a ConnectionError
    │       └── TimedOut               also a TimeoutError
    ├── StreamError                    the stream's data cannot answer
    ├── EngineError                    the rules engine refused its input
    └── WebhookSignatureError          a delivery could not be verified, ``code`` says why

    FeatureDenied                      an answer, not a fault: the gate stayed shut

Checks, ``track`` and ``identify`` raise none of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from schematic_core.values import CheckResult

__all__ = [
    "ApiError",
    "BadRequestError",
    "ConfigurationError",
    "ConnectionFailed",
    "EngineError",
    "FeatureDenied",
    "ForbiddenError",
    "InternalServerError",
    "NotFoundError",
    "ParsingError",
    "PaymentRequiredError",
    "RateLimitError",
    "SchematicError",
    "StreamError",
    "TimedOut",
    "TransportError",
    "UnauthorizedError",
    "WebhookSignatureError",
]

_BODY_IN_MESSAGE = 200


class SchematicError(Exception):
    """Root of the faults; catch it to catch them all."""


class ConfigurationError(SchematicError, ValueError):
    """A setting is missing or wrong; the message names it and says what would be right."""


def _rebuild(cls: type[ApiError], state: dict[str, object]) -> ApiError:
    error = cls.__new__(cls)
    Exception.__init__(error, state.pop("message"))
    error.__dict__.update(state)
    return error


class ApiError(SchematicError):
    """The HTTP API answered with an error, or not at all.

    Args:
        status_code: HTTP status; None when no answer arrived.
        headers: response headers, lower-case names, e.g. ``{"content-type": "application/json"}``; empty when none.
        body: the parsed JSON body, e.g. ``{"error": "company not found"}``, or text when it was not JSON.
        request_id: the service's id of the request, when it sent one.
        message: replaces the text made from the status and the body.

    Source: ``http-api.md`` section 6; the class follows the status alone, never the shape of the body.
    """

    default_status: ClassVar[int | None] = None

    def __init__(
        self,
        *,
        status_code: int | None = None,
        headers: Mapping[str, str] | None = None,
        body: object = None,
        request_id: str | None = None,
        message: str | None = None,
    ) -> None:
        self.status_code: int | None = self.default_status if status_code is None else status_code
        self.headers: dict[str, str] = dict(headers or {})
        self.body = body
        self.request_id = request_id
        super().__init__(message or _describe(self.status_code, body, request_id))

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), {"message": str(self), **self.__dict__})


def _describe(status: int | None, body: object, request_id: str | None) -> str:
    said = body.get("error") if isinstance(body, dict) else body
    text = f"the API answered {status}" if status is not None else "the API gave no answer"
    if said:
        short = str(said)
        text += ": " + (short if len(short) <= _BODY_IN_MESSAGE else short[:_BODY_IN_MESSAGE] + "…")
    return f"{text} (request {request_id})" if request_id else text


class BadRequestError(ApiError):
    """400: the service could not accept the arguments."""

    default_status: ClassVar[int | None] = 400


class UnauthorizedError(ApiError):
    """401: the API key is missing, wrong or revoked."""

    default_status: ClassVar[int | None] = 401


class PaymentRequiredError(ApiError):
    """402: the credits asked for are not there."""

    default_status: ClassVar[int | None] = 402


class ForbiddenError(ApiError):
    """403: the API key may not do this."""

    default_status: ClassVar[int | None] = 403


class NotFoundError(ApiError):
    """404: there is no such thing."""

    default_status: ClassVar[int | None] = 404


class RateLimitError(ApiError):
    """429: too many requests.

    Attributes:
        retry_after: seconds to wait before the next try, from ``Retry-After``; None when the service did not say.
    """

    default_status: ClassVar[int | None] = 429

    def __init__(
        self,
        *,
        status_code: int | None = None,
        headers: Mapping[str, str] | None = None,
        body: object = None,
        request_id: str | None = None,
        message: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(status_code=status_code, headers=headers, body=body, request_id=request_id, message=message)
        self.retry_after = retry_after


class InternalServerError(ApiError):
    """500 to 599: the service failed."""

    default_status: ClassVar[int | None] = 500


class ParsingError(ApiError):
    """The answer's status was fine but its body was not what the endpoint promises; ``status_code`` is kept."""


class TransportError(ApiError):
    """No answer arrived; the httpx exception is the ``__cause__``."""


class ConnectionFailed(TransportError, ConnectionError):
    """The connection could not be made, or broke before the answer was complete."""


class TimedOut(TransportError, TimeoutError):
    """The time allowed for the call ran out."""


class StreamError(SchematicError):
    """What the stream brought cannot answer; only direct calls to `DataStreamClient` raise it."""


class EngineError(SchematicError):
    """The rules engine refused its input or could not run; there is no verdict.

    Attributes:
        code: short stable word for the kind of refusal, e.g. ``"wrong_type"``; None when there is none.
        path: where in the document, e.g. ``"rules[2].priority"``; None when unknown.
        offset: byte offset in the document; None when unknown.
    """

    def __init__(
        self, message: str, *, code: str | None = None, path: str | None = None, offset: int | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.path = path
        self.offset = offset

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (str(self),), {"code": self.code, "path": self.path, "offset": self.offset}


class WebhookSignatureError(SchematicError):
    """A webhook delivery could not be verified; answer it with 400.

    Attributes:
        code: ``"missing_header"``, ``"malformed_header"``, ``"bad_timestamp"``, ``"outside_tolerance"``,
            ``"mismatch"``, ``"no_body"`` or ``"malformed_body"``.
    """

    def __init__(self, message: str = "webhook signature could not be verified", *, code: str = "mismatch") -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (str(self),), {"code": self.code}


class FeatureDenied(Exception):
    """A gate stayed shut. An answer, not a fault, hence outside the tree of ``SchematicError``.

    Attributes:
        feature: key of the flag that was asked, e.g. ``"exports"``.
        code: ``"not_entitled"``, ``"limit_reached"``, ``"no_identity"`` or ``"unavailable"``.
        status: HTTP status an adapter answers with.
        result: the check's whole result.
    """

    def __init__(self, feature: str, code: str, status: int, result: CheckResult) -> None:
        super().__init__(f"{feature}: {code}")
        self.feature = feature
        self.code = code
        self.status = status
        self.result = result

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.feature, self.code, self.status, self.result)
