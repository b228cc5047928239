"""Webhook verification under the contract's names; the code is in `schematic_core.webhooks`."""

from __future__ import annotations

from schematic_core.errors import WebhookSignatureError
from schematic_core.webhooks.receipt import verify_webhook_signature
from schematic_core.webhooks.signing import (
    WEBHOOK_SIGNATURE_HEADER,
    WEBHOOK_TIMESTAMP_HEADER,
    compute_hex_signature,
    compute_signature,
    verify_signature,
)

__all__ = [
    "WEBHOOK_SIGNATURE_HEADER",
    "WEBHOOK_TIMESTAMP_HEADER",
    "WebhookSignatureError",
    "compute_hex_signature",
    "compute_signature",
    "verify_signature",
    "verify_webhook_signature",
]
