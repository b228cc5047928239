"""Domain values: what the clients take and give, as frozen objects without behaviour (standard library only)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Literal, Union

if TYPE_CHECKING:
    from uuid import UUID

__all__ = [
    "REASON_CLOSED",
    "REASON_ERROR",
    "REASON_FLAG_NOT_FOUND",
    "REASON_INVALID_KEYS",
    "REASON_NO_CONTEXT",
    "REASON_OFFLINE",
    "CheckFlagOptions",
    "CheckResult",
    "Entitlement",
    "EventUsage",
    "FlagDefault",
    "IdentifyOptions",
    "KeyValue",
    "Keys",
    "Source",
    "Standing",
    "TrackOptions",
]

KeyValue = Union[str, int, "UUID", None]
"""Value of one key: text as it is, ``int`` (not ``bool``) and ``UUID`` by ``str()``, None means the pair is not given."""

Keys = Mapping[str, KeyValue]
"""Keys that address one entity, e.g. ``{"id": "acme"}``; several pairs may point at the same entity."""

FlagDefault = Union[bool, Callable[[], bool]]
"""A default value, or a function that gives it when it is needed."""

Source = Literal["override", "stream", "shared", "file", "cache", "api", "default"]

REASON_OFFLINE = "Offline mode - using default value"
REASON_FLAG_NOT_FOUND = "Flag not found - using default value"
REASON_ERROR = "Error occurred - using default value"
REASON_CLOSED = "Client closed - using default value"
REASON_INVALID_KEYS = "Invalid keys - using default value"
REASON_NO_CONTEXT = "No company or user context; default value for flag"


def _to_json(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
    if isinstance(value, Entitlement):
        return value.to_dict()
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Entitlement:
    """What a company may use of one feature, as the service states it.

    Every member but the first three may be absent (None): a boolean feature has no allocation, an unlimited one no limit.
    ``allocation``, ``usage`` and ``soft_limit`` count units of the feature in the period; ``credit_*`` are credits.

    Source: ``FeatureEntitlement`` of the HTTP API and the engine's echo.
    """

    feature_id: str
    feature_key: str
    value_type: str
    allocation: int | None = None
    usage: int | None = None
    soft_limit: int | None = None
    event_name: str | None = None
    event_subtype: str | None = None
    metric_period: str | None = None
    month_reset: str | None = None
    metric_reset_at: datetime | None = None
    credit_id: str | None = None
    consumption_rate: float | None = None
    credit_total: float | None = None
    credit_used: float | None = None
    credit_remaining: float | None = None
    credit_reserved: float | None = None
    credit_settled: float | None = None

    def to_dict(self) -> dict[str, object]:
        """Give the members that are present, ready for JSON; instants as RFC 3339 text in UTC."""
        return {f.name: _to_json(v) for f in fields(self) if (v := getattr(self, f.name)) is not None}


@dataclass(slots=True, eq=False)
class Standing:
    """Whether a source still stands by the answers it gave, shared by all of them.

    Attributes:
        until: None while it does, as a stream that is connected; afterwards the instant it last did (aware, UTC).
    """

    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """Answer to one flag check: the value, why, from where, and how old.

    Attributes:
        value: the flag's value.
        reason: short text saying why, e.g. ``'Matched plan entitlement rule "Pro" (rule_1)'``.
        flag_key: the key that was asked.
        source: where the answer came from; ``"default"`` when nothing could answer.
        as_of: when the service gave this answer (aware, UTC); None when it never did.
        entitlement: what the company may use of the feature, when the flag guards one.
        error: what went wrong, when something did.
        valid_until: until when the answer counts as fresh; None: as long as its source stands by it.
        standing: of the stream that gave the answer; None when another source did.

    The ``feature_*`` members are those of the rule that held: usage and allocation in units of the period, the instant
    of the next reset (aware, UTC). ``credit_spend_policy`` is ``{"cost": 2.0, "policy": {...}}`` when one denied the draw.
    """

    value: bool
    reason: str
    flag_key: str
    flag_id: str | None = None
    rule_id: str | None = None
    rule_type: str | None = None
    company_id: str | None = None
    user_id: str | None = None
    entitlement: Entitlement | None = None
    error: str | None = None
    feature_usage: int | None = None
    feature_allocation: int | None = None
    feature_usage_event: str | None = None
    feature_usage_period: str | None = None
    feature_usage_reset_at: datetime | None = None
    credit_spend_policy: Mapping[str, object] | None = None
    source: Source = "default"
    as_of: datetime | None = None
    valid_until: datetime | None = field(default=None, repr=False, compare=False)
    standing: Standing | None = field(default=None, repr=False, compare=False)

    @property
    def flag(self) -> str:
        """The flag's key, under the name that the HTTP API uses."""
        return self.flag_key

    @property
    def age(self) -> float:
        """Seconds since the service stood by this answer, read now; 0.0 while the stream does, or when no age applies."""
        since = self.as_of if self.standing is None else self.standing.until
        if since is None:
            return 0.0
        return max(0.0, (datetime.now(timezone.utc) - since).total_seconds())

    @property
    def is_stale(self) -> bool:
        """Whether the answer is older than its source would normally allow, read now."""
        if self.standing is not None:
            return self.standing.until is not None
        return self.valid_until is not None and datetime.now(timezone.utc) > self.valid_until

    def to_dict(self) -> dict[str, object]:
        """Give the members that are present, ready for JSON; instants as RFC 3339 text in UTC."""
        names = (f.name for f in fields(self) if f.compare)
        return {name: _to_json(value) for name in names if (value := getattr(self, name)) is not None}


@dataclass(frozen=True, slots=True)
class EventUsage:
    """Usage of one event that a check should assume, beyond what is recorded.

    Args:
        event_subtype: name of the event, e.g. ``"export_created"``.
        quantity: units of it; fractions are rounded up.
    """

    event_subtype: str
    quantity: float = 1


@dataclass(frozen=True, slots=True)
class CheckFlagOptions:
    """Options of one check.

    Args:
        default_value: the value when nothing can answer; before the flag's own default. May be a function.
        timeout: seconds the whole check may take, retries and connection time included.
        usage: units about to be used: would the flag still allow then? Fractions are rounded up.
        event_usage: the same for one event.
        credit_cost: credits about to be drawn, by credit id, e.g. ``{"bcrd_1": 2.5}``.

    Answers to checks with ``usage``, ``event_usage`` or ``credit_cost`` (a *preflight*) are never cached.
    """

    default_value: FlagDefault | None = None
    timeout: float | None = None
    usage: float | None = None
    event_usage: EventUsage | None = None
    credit_cost: Mapping[str, float] | None = None

    @property
    def is_preflight(self) -> bool:
        """Whether the check asks about usage that is not recorded yet."""
        return self.usage is not None or self.event_usage is not None or bool(self.credit_cost)


@dataclass(frozen=True, slots=True)
class TrackOptions:
    """Options of one ``track``.

    Args:
        idempotency_key: repeats with the same key are dropped by the service for 24 hours; made for you when absent.
        sent_at: when it happened (aware); now when absent. Without ``trusted_client_clock`` the service dates usage by
            the receipt all the same.
        trusted_client_clock: let ``sent_at`` be the effective time (needs a secret key); the client's setting otherwise.
        backfill: import of the past, without billing effects (needs a secret key and ``sent_at``); implies
            ``trusted_client_clock``.
        lease_id: the credit lease that this usage settles; with it ``reservation_id`` is not sent.
        reservation_id: the credit reservation that this usage settles.
    """

    idempotency_key: str | None = None
    sent_at: datetime | None = None
    trusted_client_clock: bool | None = None
    backfill: bool | None = None
    lease_id: str | None = None
    reservation_id: str | None = None


@dataclass(frozen=True, slots=True)
class IdentifyOptions:
    """Options of one ``identify``.

    Args:
        idempotency_key: repeats with the same key are dropped by the service for 24 hours; made for you when absent.
        prewarm: with DataStream, ask the stream for the user and the company once the service has acknowledged them, so
            that their next check is answered here; means nothing otherwise.
        sent_at: as for `TrackOptions`.
        trusted_client_clock: as for `TrackOptions`.
        backfill: as for `TrackOptions`.
    """

    idempotency_key: str | None = None
    prewarm: bool | None = None
    sent_at: datetime | None = None
    trusted_client_clock: bool | None = None
    backfill: bool | None = None
