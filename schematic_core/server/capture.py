"""Events as they are captured: checking what was sent, and letting each have its effect once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from schematic_core.environment.model import Company
from schematic_core.environment.usage import count_event, draw_credits
from schematic_core.server.entities import Upsert
from schematic_core.server.faults import Refused
from schematic_core.server.records import CapturedEvent, Change
from schematic_core.server.requests import Body
from schematic_core.server.state import State

__all__ = ["EVENT_TYPES", "IncomingEvent", "capture", "read_event"]

EVENT_TYPES = ("track", "identify", "flag_check", "inference")

_DUPLICATE_WINDOW = timedelta(hours=24)
_AHEAD = timedelta(minutes=5)
_BACK = timedelta(days=34)
_BACKFILL_BACK = timedelta(days=365)


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingEvent:
    """One event whose members have the right types; ``body`` is the part that its type reads."""

    type: str
    raw: Mapping[str, object]
    body: Body
    idempotency_key: str | None = None
    sent_at: datetime | None = None
    trusted_client_clock: bool = False
    backfill: bool = False
    api_key: str | None = field(default=None, repr=False)
    remote_ip: str = ""
    user_agent: str = ""


def read_event(body: Body, *, type_member: str, remote_ip: str, user_agent: str) -> IncomingEvent:
    """Check one event of a request.

    Args:
        body: the event; ``type_member`` is ``"event_type"`` on the API, ``"type"`` on the capture host.
        type_member: see there.
        remote_ip: who sent it.
        user_agent: with what.

    Raises:
        Refused: 400, naming the member that is wrong.
    """
    kind = body.one_of(type_member, EVENT_TYPES, required=True) or ""
    content = body.need_object("body")
    _READERS[kind](content)
    return IncomingEvent(
        type=kind,
        raw=content.raw(),
        body=content,
        idempotency_key=body.text("idempotency_key"),
        sent_at=body.instant("sent_at"),
        trusted_client_clock=bool(body.boolean("trusted_client_clock")),
        backfill=bool(body.boolean("backfill")),
        api_key=body.text("api_key"),
        remote_ip=remote_ip,
        user_agent=user_agent,
    )


def capture(state: State, events: Sequence[IncomingEvent], now: datetime) -> tuple[list[CapturedEvent], list[Change]]:
    """Let events have their effect, in order.

    Choices: a track event whose company is unknown is recorded without effect, only identify creates. So is one whose
    trusted time lies outside the window that the service accepts. Without a trusted clock the receipt counts.
    """
    captured: list[CapturedEvent] = []
    changes: list[Change] = []
    for event in events:
        try:
            effect, changed = _apply(state, event, now)
        except Refused:  # as the service does: captured first, found wanting later
            effect, changed = "none", []
        record = CapturedEvent(
            id=state.new_id("evt"),
            type=event.type,
            body=event.raw,
            captured_at=now,
            effect=effect,
            idempotency_key=event.idempotency_key,
            remote_ip=event.remote_ip,
            user_agent=event.user_agent,
        )
        state.events.append(record)
        captured.append(record)
        changes += changed
    return captured, changes


def _apply(state: State, event: IncomingEvent, now: datetime) -> tuple[str, list[Change]]:
    if _is_repeat(state, event, now):
        return "duplicate", []
    if event.type == "identify":
        return "upserted", _identify(state, event.body, now)
    if event.type == "flag_check":
        key = event.body.need("flag_key")
        if key not in state.environment.flags:
            return "none", []
        state.flag_checks[key] = state.flag_checks.get(key, 0) + 1
        return "counted", []
    return _track(state, event, now)


def _is_repeat(state: State, event: IncomingEvent, now: datetime) -> bool:
    seen = state.seen_keys
    while seen and next(iter(seen.values())) <= now - _DUPLICATE_WINDOW:
        del seen[next(iter(seen))]
    if not event.idempotency_key:
        return False
    key = (event.type, event.idempotency_key)
    if key in seen:
        return True
    seen[key] = now
    return False


def _identify(state: State, body: Body, now: datetime) -> list[Change]:
    changes: list[Change] = []
    company_ids: list[str] = []
    inner = body.object("company")
    if inner is not None and inner.keys("keys"):
        wanted = Upsert(
            keys=inner.keys("keys"), name=inner.text("name"), traits=inner.mapping("traits"), last_seen_at=now
        )
        company, changed = state.upsert_company(wanted, now)
        company_ids.append(company.id)
        changes += changed
    if body.keys("keys"):
        wanted = Upsert(keys=body.keys("keys"), name=body.text("name"), traits=body.mapping("traits"), last_seen_at=now)
        changes += state.upsert_user(wanted, now, company_ids)[1]
    return changes


def _track(state: State, event: IncomingEvent, now: datetime) -> tuple[str, list[Change]]:
    name = event.body.text("event")
    company = state.companies.lookup(event.body.keys("company"))
    at = _effective_time(event, now)
    if not name or company is None or at is None:
        return "none", []
    quantity = event.body.whole("quantity")
    moved = _moved(state, company, event, (name, 1 if quantity is None else quantity), at=at, now=now)
    changes = state.put_company(company, moved, now)
    return "counted", [] if event.backfill else changes


def _moved(
    state: State, company: Company, event: IncomingEvent, what: tuple[str, int], *, at: datetime, now: datetime
) -> Company:
    moved = count_event(company, *what, at, now)
    if event.backfill:
        return moved
    return replace(draw_credits(state.environment, moved, *what, now), last_seen_at=now)


def _effective_time(event: IncomingEvent, now: datetime) -> datetime | None:
    if event.sent_at is None or not (event.trusted_client_clock or event.backfill):
        return now
    back = _BACKFILL_BACK if event.backfill else _BACK
    return event.sent_at if now - back <= event.sent_at <= now + _AHEAD else None


def _read_track(body: Body) -> None:
    body.need("event")
    body.whole("quantity")
    body.mapping("traits")
    _read_keys(body)


def _read_identify(body: Body) -> None:
    company = body.object("company")
    if not body.keys("keys") and (company is None or not company.keys("keys")):
        raise body.refusal("keys", "an object with at least one pair")
    body.text("name")
    body.mapping("traits")
    if company is not None:
        company.text("name")
        company.mapping("traits")


def _read_flag_check(body: Body) -> None:
    body.need("flag_key")
    body.text("reason")
    body.boolean("value")


def _read_inference(body: Body) -> None:
    for name in ("provider", "response_model"):
        body.need(name)
    for name in ("input_tokens", "output_tokens", "quantity"):
        body.whole(name)
    body.text("event")
    _read_keys(body)


def _read_keys(body: Body) -> None:
    body.keys("company")
    body.keys("user")


_READERS = {
    "track": _read_track,
    "identify": _read_identify,
    "flag_check": _read_flag_check,
    "inference": _read_inference,
}
