"""A verified delivery as a value, and which remembered answers it makes wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic

from typing_extensions import TypeVar

from schematic_core.errors import WebhookSignatureError
from schematic_core.types._generated.payloads import PAYLOADS
from schematic_core.webhooks.receipt import Headers, signature_headers
from schematic_core.webhooks.signing import DEFAULT_TOLERANCE, Body, Instant, Secrets, verify_signature

__all__ = ["Purge", "WebhookEvent", "affected", "parse", "verify"]

P = TypeVar("P", default=Any)

TEST_EVENT = "test.send"
_GLOBAL = ("feature", "flag", "flag_rules", "plan", "plan_version", "rule")


@dataclass(frozen=True, slots=True)
class WebhookEvent(Generic[P]):
    """One verified delivery. Types and members that this version does not know come as they are.

    A handler may say what it expects: ``def changed(event: WebhookEvent[PlanChangeResponseData])``.

    Attributes:
        type: e.g. ``"company.plan_changed"`` (``action`` on the wire).
        company_id: id of the company concerned; None when the event is about none.
        feature_id: id of the feature, on entitlement events; None otherwise.
        data: the ``body`` member, plain JSON; empty when it is absent or no object. Members may be missing or null.
        raw: the whole envelope, plain JSON, unknown members included.

    Source: ``http-api.md`` section 20.
    """

    type: str
    company_id: str | None
    feature_id: str | None
    data: Mapping[str, Any]
    raw: Mapping[str, Any]
    _payload: Any = field(default=None, init=False, repr=False, compare=False)

    @property
    def payload(self) -> P:
        """``data`` as the model of its type (``schematic_core.types``), picked by the type alone, never by its shape.

        Where the body of a type is not published, and for types of the future, it is ``data`` itself. A member that is
        missing or null where the model promises one reads as None, a list as empty; what the model does not know stays.
        Made when first asked for: that is what loads pydantic.
        """
        if self._payload is None:
            object.__setattr__(self, "_payload", _payload_of(self.type, self.data))
        payload: P = self._payload
        return payload


@dataclass(frozen=True, slots=True)
class Purge:
    """Which remembered answers to drop: of one company, of one user, or all when every member is None."""

    company_id: str | None = None
    user_id: str | None = None
    company: Mapping[str, str] | None = None
    user: Mapping[str, str] | None = None


def verify(
    body: Body,
    headers: Headers,
    secrets: Secrets,
    tolerance: float | None = DEFAULT_TOLERANCE,
    *,
    now: Instant = None,
) -> WebhookEvent:
    """Give the event of a delivery, once it is proved to be genuine; needs no framework.

    Args:
        body: the raw body as received.
        headers: any mapping in any letter case, or pairs of name and value.
        secrets: one secret or several; all are tried.
        tolerance: seconds the timestamp may differ from ``now``, in both directions; None checks no clock.
        now: the present when absent.

    Raises:
        WebhookSignatureError: anything about the delivery is wrong; ``code`` says what. Answer it with 400.
        ConfigurationError: no secret was given, or a blank one.
    """
    signature, timestamp = signature_headers(headers)
    verify_signature(body, signature, timestamp, secrets, tolerance=tolerance, now=now)
    return parse(body)


def parse(body: Body) -> WebhookEvent:
    """Read the envelope of a verified body; only ``action`` must be there.

    Raises:
        WebhookSignatureError: it is not a JSON object with an ``action`` (``"malformed_body"``).
    """
    try:
        text = body if isinstance(body, str) else bytes(body).decode()
        envelope = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WebhookSignatureError("the body is not JSON", code="malformed_body") from error
    action = _text(envelope.get("action")) if isinstance(envelope, dict) else None
    if action is None:
        raise WebhookSignatureError("the body names no action", code="malformed_body")
    data = envelope.get("body")
    return WebhookEvent(
        type=action,
        company_id=_text(envelope.get("company_id")),
        feature_id=_text(envelope.get("feature_id")),
        data=data if isinstance(data, dict) else {},
        raw=envelope,
    )


def affected(event: WebhookEvent) -> Purge | None:
    """Say what to drop before handlers run: a company's or user's answers, all for a global or unclear change.

    Returns:
        None when the event changes no answer.
    """
    kind = event.type.partition(".")[0]
    if event.type == TEST_EVENT:
        return None
    if kind in _GLOBAL:
        return Purge()
    if kind == "user":
        id_ = _text(event.data.get("id"))
        return Purge(user_id=id_, user=_keys(event.data)) if id_ else Purge()
    company_id = event.company_id or _text(event.data.get("company_id")) or _id_of(event.data.get("company"))
    if kind != "company":
        return Purge(company_id=company_id)
    is_about_override = event.type.startswith("company.override")
    company_id = company_id or (None if is_about_override else _text(event.data.get("id")))
    return Purge(company_id=company_id, company=_keys(event.data)) if company_id else Purge()


def _payload_of(action: str, data: Mapping[str, Any]) -> Any:
    name = PAYLOADS.get(action)
    if name is None:
        return data
    from schematic_core.types import parse_leniently

    return parse_leniently(name, data)


def _text(value: object) -> str | None:
    """Give text that is some, and that can be written: JSON can name half a character, which no log or cache takes."""
    if not isinstance(value, str) or not value:
        return None
    try:
        value.encode()
    except UnicodeEncodeError:
        return None
    return value


def _id_of(entity: object) -> str | None:
    return _text(entity.get("id")) if isinstance(entity, dict) else None


def _keys(data: Mapping[str, Any]) -> dict[str, str] | None:
    """Read ``[{"key": "id", "value": "acme"}]``; answers given before the entity existed carry keys and no id."""
    listed = data.get("keys")
    rows = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
    texts = [(_text(row.get("key")), _text(row.get("value"))) for row in rows]
    return {key: value for key, value in texts if key and value} or None
