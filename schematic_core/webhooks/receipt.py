"""Find body and headers in whatever a framework hands over, and refuse what is missing, repeated or already read."""

from __future__ import annotations

import inspect
from base64 import b64decode
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, Union

from schematic_core.errors import WebhookSignatureError
from schematic_core.webhooks.signing import (
    DEFAULT_TOLERANCE,
    WEBHOOK_SIGNATURE_HEADER,
    WEBHOOK_TIMESTAMP_HEADER,
    Body,
    Instant,
    Secrets,
    verify_signature,
)

if TYPE_CHECKING:
    from typing import TypeGuard

__all__ = ["Headers", "HeadersLike", "WebhookRequest", "signature_headers", "verify_webhook_signature"]

HeaderText = Union[str, bytes]


class HeadersLike(Protocol):
    """Headers of any framework: whatever lists its pairs."""

    def items(self) -> Iterable[tuple[HeaderText, HeaderText]]:
        """Give the pairs of name and value; a repeated header may come twice."""


Headers = Union[Mapping[str, str], Mapping[bytes, bytes], HeadersLike, Iterable[tuple[HeaderText, HeaderText]]]
"""Headers as a mapping in any letter case, or as pairs of name and value."""


class WebhookRequest(Protocol):
    """A request of any framework, or a plain object: all that is needed is ``headers``, and a body."""

    @property
    def headers(self) -> Headers:
        """The request's headers."""


_SIGNATURE = WEBHOOK_SIGNATURE_HEADER.lower()
_TIMESTAMP = WEBHOOK_TIMESTAMP_HEADER.lower()
_NAME_LENGTH = len(_SIGNATURE)  # both names happen to have it, so that other headers cost one comparison of lengths


def verify_webhook_signature(
    request: WebhookRequest | Mapping[str, Any],
    secret: Secrets,
    body: Body | None = None,
    *,
    tolerance: float | None = DEFAULT_TOLERANCE,
    now: Instant = None,
) -> None:
    """Return if the request was signed with one of the secrets, recently enough; raise otherwise.

    Args:
        request: of Flask, Werkzeug, Django, Starlette, FastAPI, Quart or aiohttp; any object with ``headers`` and
            ``body``; a mapping with these, e.g. ``{"headers": {...}, "body": "..."}`` as AWS Lambda gives it; or just
            the headers as a mapping.
        secret: one secret or several; all are tried.
        body: the raw body. Needed where reading it is asynchronous: ``body=await request.body()``. The error says so.
        tolerance: seconds the timestamp may differ from ``now``, in both directions; None checks no clock.
        now: the present when absent.

    Raises:
        WebhookSignatureError: anything about the delivery is wrong; ``code`` says what.
        ConfigurationError: no secret was given, or a blank one.

    Example:
        >>> from schematic_core.webhooks import sign
        >>> from types import SimpleNamespace
        >>> body = b'{"action":"test.send"}'
        >>> verify_webhook_signature(SimpleNamespace(headers=sign(body, "whsec_test"), body=body), "whsec_test")
    """
    headers, find_body = getattr(request, "headers", None), _body_of
    if headers is None and isinstance(request, Mapping):
        headers, find_body = request.get("headers", request), _body_in
    signature, timestamp = signature_headers(headers)
    raw = body if body is not None else find_body(request)
    verify_signature(raw, signature, timestamp, secret, tolerance=tolerance, now=now)


def signature_headers(headers: object) -> tuple[HeaderText, HeaderText]:
    """Give the values of the signature and the timestamp header.

    Raises:
        WebhookSignatureError: one is missing (``"missing_header"``), or repeated or unreadable (``"malformed_header"``).
    """
    found: dict[str, HeaderText] = {}
    for name, value in _pairs(headers):
        if len(name) != _NAME_LENGTH:
            continue
        folded = (name.decode("latin-1") if isinstance(name, bytes) else name).lower()
        if folded not in (_SIGNATURE, _TIMESTAMP):
            continue
        if folded in found:
            raise WebhookSignatureError(f"header {folded} is repeated", code="malformed_header")
        found[folded] = value
    for wanted in (WEBHOOK_SIGNATURE_HEADER, WEBHOOK_TIMESTAMP_HEADER):
        if not found.get(wanted.lower()):
            raise WebhookSignatureError(f"header {wanted} is missing", code="missing_header")
    return found[_SIGNATURE], found[_TIMESTAMP]


def _pairs(headers: object) -> Iterable[tuple[HeaderText, HeaderText]]:
    items = getattr(headers, "items", None)
    listed = items() if callable(items) else headers
    if listed is None:
        return ()
    if not isinstance(listed, Iterable) or isinstance(listed, (str, bytes)):
        raise WebhookSignatureError("the request's headers cannot be listed", code="malformed_header")
    return [pair for pair in listed if _is_header(pair)]


def _is_header(pair: object) -> TypeGuard[tuple[HeaderText, HeaderText]]:
    return isinstance(pair, (tuple, list)) and len(pair) == len(("name", "value")) and isinstance(pair[0], (str, bytes))


def _body_in(request: Any) -> Any:
    body = request.get("body")
    if body is None:
        raise WebhookSignatureError("the mapping has no body; pass it as body=...", code="no_body")
    if not request.get("isBase64Encoded"):
        return body
    try:
        return b64decode(body, validate=True)
    except (TypeError, ValueError) as error:
        raise WebhookSignatureError("the mapping's body is not base64", code="malformed_body") from error


def _body_of(request: object) -> Any:
    """Give the body of a request that has it, or can read it here; whatever it is, `verify_signature` refuses what is not raw."""
    try:
        body = getattr(request, "body", None)
        if _is_raw(body):
            return body
        reader = getattr(request, "get_data", None)
        if callable(reader) and not inspect.iscoroutinefunction(reader):
            return reader()
        if body is None and reader is None:
            body = getattr(request, "data", None)
    except Exception as error:  # frameworks differ in what they raise for a body that was consumed or cut off
        raise WebhookSignatureError("the request's body can no longer be read", code="no_body") from error
    for method in ("get_data", "read", "body"):
        if inspect.iscoroutinefunction(getattr(request, method, None)):
            raise WebhookSignatureError(
                f"this request reads its body later; pass body=await request.{method}()", code="no_body"
            )
    if body is None or callable(body):
        raise WebhookSignatureError(
            "the request has no body that can be read here; pass it as body=...", code="no_body"
        )
    return body


def _is_raw(body: object) -> bool:
    return isinstance(body, (bytes, str, bytearray, memoryview))
