"""Find body and headers in whatever a framework hands over, and refuse what is missing, repeated or already read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol, Union

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
    """A request of Flask, Django, Starlette, or a plain object: all that is needed is ``headers``, and a body."""

    @property
    def headers(self) -> Headers:
        """The request's headers."""


_SIGNATURE = WEBHOOK_SIGNATURE_HEADER.lower()
_TIMESTAMP = WEBHOOK_TIMESTAMP_HEADER.lower()
_NAME_LENGTH = len(_SIGNATURE)  # both names happen to have it, so that other headers cost one comparison of lengths


def verify_webhook_signature(
    request: WebhookRequest,
    secret: Secrets,
    body: Body | None = None,
    *,
    tolerance: float | None = DEFAULT_TOLERANCE,
    now: Instant = None,
) -> None:
    """Return if the request was signed with one of the secrets, recently enough; raise otherwise.

    Args:
        request: of Flask, Django, Starlette or FastAPI, or any object with ``headers``.
        secret: one secret or several; all are tried.
        body: the raw body. Needed where reading it is asynchronous: ``body=await request.body()``.
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
    signature, timestamp = signature_headers(getattr(request, "headers", None))
    raw = body if body is not None else _body_of(request)
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


def _body_of(request: object) -> Body:
    try:
        body = getattr(request, "body", None)
        if body is None:
            reader = getattr(request, "get_data", None)
            body = reader() if callable(reader) else getattr(request, "data", None)
    except Exception as error:  # frameworks differ in what they raise for a body that was consumed or cut off
        raise WebhookSignatureError("the request's body can no longer be read", code="no_body") from error
    if body is None:
        raise WebhookSignatureError("the request has no body; pass it as body=...", code="no_body")
    if callable(body):
        raise WebhookSignatureError("this request reads its body later; pass body=await request.body()", code="no_body")
    return body  # type: ignore[no-any-return]  # whatever it is, verify_signature refuses what is not raw
