"""Sign and verify raw bytes: HMAC-SHA256 over body, a plus sign and the timestamp. Pure; nothing is parsed here.

Source: ``http-api.md`` section 20. The age check and the refusal of empty secrets are our choice: without them a delivery
recorded once could be replayed for ever, and an unset variable would accept everything.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Union

from schematic_core.errors import ConfigurationError, WebhookSignatureError

if TYPE_CHECKING:
    from hashlib import _Hash

    _Key = tuple[_Hash, _Hash]

__all__ = [
    "DEFAULT_TOLERANCE",
    "WEBHOOK_SIGNATURE_HEADER",
    "WEBHOOK_TIMESTAMP_HEADER",
    "Body",
    "Instant",
    "Secrets",
    "compute_hex_signature",
    "compute_signature",
    "raw_body",
    "sign",
    "verify_signature",
]

WEBHOOK_SIGNATURE_HEADER = "X-Schematic-Webhook-Signature"
WEBHOOK_TIMESTAMP_HEADER = "X-Schematic-Webhook-Timestamp"
DEFAULT_TOLERANCE = 300.0

Body = Union[bytes, str, bytearray, memoryview]
"""A raw request body; text is taken as UTF-8."""

Secrets = Union[str, Sequence[str]]
"""The endpoint's secret, or several while one replaces another; any may match."""

Instant = Union[float, datetime, None]
"""Epoch seconds, an aware ``datetime``, or None for the present."""

_VERSION_HEADER = "X-Schematic-Webhook-Signature-Version"
_DIGEST_BYTES = 32
_BLOCK_BYTES = 64
_MAX_TIMESTAMP_DIGITS = 15


def compute_signature(body: Body, timestamp: str, secret: str) -> bytes:
    """Give the 32 bytes that sign ``body`` as sent at ``timestamp``.

    Args:
        body: raw bytes of the request.
        timestamp: epoch seconds in decimal digits, exactly as in the header.
        secret: of the webhook endpoint.

    Raises:
        ConfigurationError: the secret is blank or not text.
        WebhookSignatureError: the body or the timestamp cannot be turned into bytes.
    """
    if not isinstance(timestamp, str) or not timestamp.isascii():
        raise WebhookSignatureError("the timestamp must be ASCII text", code="bad_timestamp")
    return _digest(raw_body(body), timestamp, _keyed(secret))


def compute_hex_signature(body: Body, timestamp: str, secret: str) -> str:
    """Give the signature as the header carries it: 64 lower-case hex digits; see `compute_signature`."""
    return compute_signature(body, timestamp, secret).hex()


def sign(body: Body, secret: str, now: Instant = None) -> dict[str, str]:
    """Give the headers of a signed delivery, for tests and for replaying one locally.

    Args:
        body: the raw body that will be sent.
        secret: of the webhook endpoint.
        now: when it is sent; the present when absent.
    """
    timestamp = str(int(_epoch(now)))
    return {
        WEBHOOK_SIGNATURE_HEADER: compute_hex_signature(body, timestamp, secret),
        _VERSION_HEADER: "v1",
        WEBHOOK_TIMESTAMP_HEADER: timestamp,
    }


def verify_signature(
    body: Body,
    signature: str | bytes,
    timestamp: str | bytes,
    secret: Secrets,
    *,
    tolerance: float | None = DEFAULT_TOLERANCE,
    now: Instant = None,
) -> None:
    """Return if ``signature`` signs ``body`` with one of the secrets, recently enough; raise otherwise.

    Args:
        body: the raw body as received.
        signature: value of `WEBHOOK_SIGNATURE_HEADER`.
        timestamp: value of `WEBHOOK_TIMESTAMP_HEADER`.
        secret: one secret or several; all are tried.
        tolerance: seconds the timestamp may differ from ``now``, in both directions; None checks no clock.
        now: the present when absent.

    Raises:
        WebhookSignatureError: anything about the delivery is wrong; ``code`` says what.
        ConfigurationError: no secret was given, or a blank one.
    """
    keys = (_keyed(secret),) if isinstance(secret, str) else _several(secret)
    text = timestamp if isinstance(timestamp, str) else _decoded(timestamp)
    if not (text.isdigit() and text.isascii() and len(text) <= _MAX_TIMESTAMP_DIGITS):
        raise WebhookSignatureError("the timestamp is not a number of seconds", code="bad_timestamp")
    # Written so that a tolerance of NaN refuses.
    if tolerance is not None and not abs((time.time() if now is None else _epoch(now)) - int(text)) <= tolerance:
        raise WebhookSignatureError(
            f"the timestamp is more than {tolerance:g} seconds away from now", code="outside_tolerance"
        )
    given = _signature_bytes(signature if isinstance(signature, str) else _decoded(signature))
    raw = body if isinstance(body, bytes) else raw_body(body)
    is_genuine = False
    for key in keys:
        is_genuine |= hmac.compare_digest(_digest(raw, text, key), given)
    if not is_genuine:
        raise WebhookSignatureError("the signature does not match the body", code="mismatch")


def _several(secrets: Sequence[str]) -> list[_Key]:
    if not secrets or not isinstance(secrets, Sequence) or not all(isinstance(secret, str) for secret in secrets):
        raise ConfigurationError("webhook secret is missing; give the endpoint's secret as text, or several as a list")
    return [_keyed(secret) for secret in secrets]


def _signature_bytes(text: str) -> bytes:
    try:
        given = bytes.fromhex(text)
    except ValueError:
        given = b""
    # Both lengths: fromhex skips blanks.
    if len(given) != _DIGEST_BYTES or len(text) != 2 * _DIGEST_BYTES:
        raise WebhookSignatureError("the signature is not 64 hex digits", code="malformed_header")
    return given


def _decoded(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    raise WebhookSignatureError(
        f"a webhook header must be text or bytes, not {type(value).__name__}", code="malformed_header"
    )


def raw_body(body: object) -> bytes:
    """Give a body as bytes.

    Raises:
        WebhookSignatureError: it is no raw body (``"malformed_body"``).
    """
    if isinstance(body, bytes):
        return body
    if isinstance(body, str):
        try:
            return body.encode()
        except UnicodeEncodeError as error:
            raise WebhookSignatureError("the body is not valid Unicode", code="malformed_body") from error
    if isinstance(body, (bytearray, memoryview)):
        return bytes(body)
    raise WebhookSignatureError(
        f"the body must be the raw bytes as received, not {type(body).__name__}; a parsed body cannot be verified",
        code="malformed_body",
    )


def _digest(body: bytes, timestamp: str, key: _Key) -> bytes:
    inner = key[0].copy()
    inner.update(body)
    inner.update(b"+" + timestamp.encode())
    outer = key[1].copy()
    outer.update(inner.digest())
    return outer.digest()


# The two halves of HMAC (RFC 2104) with the key already hashed in. Copying them halves the time of the hmac module, which
# hashes the key anew for each body and spends as long on its wrapper as on a kilobyte.
@lru_cache(maxsize=16)
def _keyed(secret: str) -> _Key:
    if not secret.strip():
        raise ConfigurationError("webhook secret is blank; give the endpoint's secret")
    key = secret.encode()
    block = (key if len(key) <= _BLOCK_BYTES else hashlib.sha256(key).digest()).ljust(_BLOCK_BYTES, b"\0")
    return hashlib.sha256(bytes(b ^ 0x36 for b in block)), hashlib.sha256(bytes(b ^ 0x5C for b in block))


def _epoch(now: Instant) -> float:
    if now is None:
        return time.time()
    if not isinstance(now, datetime):
        return now
    if now.tzinfo is None:
        raise ValueError("now must be aware of its time zone")
    return now.timestamp()
