"""What the server keeps beside companies and users, and what it tells: webhooks, captured events, changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from schematic_core.environment.model import Company, Override, User

__all__ = ["CapturedEvent", "Change", "Webhook"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """An endpoint that wants to be told.

    ``feature_ids`` are the features whose limits it asked about; None means all (endpoints of the environment file).
    """

    id: str
    name: str
    url: str
    secret: str = field(repr=False)
    request_types: tuple[str, ...]
    created_at: datetime
    updated_at: datetime
    status: str = "active"
    feature_ids: tuple[str, ...] | None = ()
    credit_ids: tuple[str, ...] = ()

    def wants(self, request_type: str, feature_id: str | None) -> bool:
        """Whether the endpoint asked for this."""
        if self.status != "active" or request_type not in self.request_types:
            return False
        if not request_type.startswith("entitlement.") or self.feature_ids is None:
            return True
        return feature_id in self.feature_ids


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedEvent:
    """An event that was accepted; ``effect`` says what it did: ``counted``, ``upserted``, ``none`` or ``duplicate``."""

    id: str
    type: str
    body: Mapping[str, object]
    captured_at: datetime
    effect: str
    idempotency_key: str | None = None
    remote_ip: str = ""
    user_agent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Something that happened, as the webhooks tell it; which members are set follows from ``action``.

    ``company``, ``user`` and ``override`` are as they stand after the change, or stood before a deletion.
    ``before`` is the company before its plan changed, ``cause`` why it did, ``feature`` the key of the feature
    whose limit was reached.
    """

    action: str
    company: Company | None = None
    user: User | None = None
    override: Override | None = None
    before: Company | None = None
    cause: str = ""
    feature: str | None = None
