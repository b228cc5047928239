"""The vendor's module name for the errors of the HTTP API."""

from schematic_core.errors import (
    ApiError,
    BadRequestError,
    ConnectionFailed,
    ForbiddenError,
    InternalServerError,
    NotFoundError,
    ParsingError,
    PaymentRequiredError,
    RateLimitError,
    TimedOut,
    TransportError,
    UnauthorizedError,
)

__all__ = [
    "ApiError",
    "BadRequestError",
    "ConnectionFailed",
    "ForbiddenError",
    "InternalServerError",
    "NotFoundError",
    "ParsingError",
    "PaymentRequiredError",
    "RateLimitError",
    "TimedOut",
    "TransportError",
    "UnauthorizedError",
]
