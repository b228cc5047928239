"""Webhooks: verify and sign deliveries, and hand them to handlers once."""

from __future__ import annotations

from schematic_core.errors import WebhookSignatureError
from schematic_core.webhooks.body import MAX_BODY_BYTES, Acknowledgement, read_body, read_chunks, too_large
from schematic_core.webhooks.event import Purge, WebhookEvent, affected, parse, verify
from schematic_core.webhooks.inbox import Inbox, Purger
from schematic_core.webhooks.receipt import Headers, verify_webhook_signature
from schematic_core.webhooks.router import Handler, Router
from schematic_core.webhooks.signing import (
    DEFAULT_TOLERANCE,
    WEBHOOK_SIGNATURE_HEADER,
    WEBHOOK_TIMESTAMP_HEADER,
    compute_hex_signature,
    compute_signature,
    sign,
    verify_signature,
)
from schematic_core.webhooks.store import DeliveryStore, MemoryDeliveryStore

__all__ = [
    "DEFAULT_TOLERANCE",
    "MAX_BODY_BYTES",
    "WEBHOOK_SIGNATURE_HEADER",
    "WEBHOOK_TIMESTAMP_HEADER",
    "Acknowledgement",
    "DeliveryStore",
    "Handler",
    "Headers",
    "Inbox",
    "MemoryDeliveryStore",
    "Purge",
    "Purger",
    "Router",
    "WebhookEvent",
    "WebhookSignatureError",
    "affected",
    "compute_hex_signature",
    "compute_signature",
    "parse",
    "read_body",
    "read_chunks",
    "sign",
    "too_large",
    "verify",
    "verify_signature",
    "verify_webhook_signature",
]
