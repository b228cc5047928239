"""Events as JSON: each on its own, in the form of the capture host or of the REST endpoint; and whole batches."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from typing import Any, Union

from schematic_core.events.intake import Unfit, check_track_options
from schematic_core.events.values import FlagCheckRecord, IdentifyRecord, TrackRecord
from schematic_core.values import CheckResult
from schematic_core.wire import format_instant

__all__ = ["Codec", "assemble", "plain_event"]

Written = Union[TrackRecord, IdentifyRecord, FlagCheckRecord]

_CHECK_MEMBERS = ("flag_id", "rule_id", "company_id", "user_id", "error")
_MAX_CHECKS = 1000
_write = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class Codec:
    """Writes events of one client.

    Args:
        form: ``"capture"`` (``{"api_key": ..., "type": ..., "body": ...}``) or ``"rest"`` (``{"event_type": ..., "body": ...}``).
        api_key: repeated in every event of the capture form.
        token: unique to this process and client; with the number it makes the idempotency key.
        trusted_client_clock: said of every event whose own options do not say otherwise.
        dates: whether events carry ``sent_at`` when nothing else needs it.

    Safe to share between threads, but for flag checks, which one thread at a time may write.

    Source: `events.md` section 2 and ``EventBody*`` of the HTTP API.
    """

    __slots__ = ("_checks", "_dates", "_heads", "_second", "_token", "_trusted")

    def __init__(
        self, *, form: str, api_key: str, token: str, trusted_client_clock: bool = False, dates: bool = True
    ) -> None:
        head = '{"event_type":' if form == "rest" else '{"api_key":' + _write(api_key) + ',"type":'
        self._heads = {kind: f'{head}"{kind}","body":' for kind in ("track", "identify", "flag_check")}
        self._token = token
        self._trusted = trusted_client_clock
        self._checks: dict[tuple[int, int, int, bool], tuple[FlagCheckRecord, str]] = {}
        self._dates = dates
        self._second = (-1, "")  # one tuple, since threads share it

    def __repr__(self) -> str:
        return f"Codec(token={self._token!r})"

    def encode(self, record: Written) -> tuple[bytes, list[str]]:
        """Write one event.

        Returns:
            Its JSON, and the names of traits left out because they cannot be written.

        Raises:
            Unfit: its options are filled wrongly, or the rest of it cannot be written either, e.g. a vast quantity.
        """
        tail, unfit = self.tail(record)
        return self.whole(record[0], tail), unfit

    def tail(self, record: Written) -> tuple[str, list[str]]:
        """Write one event from its body on: without its type, and without the API key. See `encode`."""
        if record[0] == "flag_check":
            return f"{self._check(record)}{self._envelope(record)}}}", []
        body = _track(record) if record[0] == "track" else _identify(record)
        unfit: list[str] = []
        try:
            text = _write(body)
        except (ValueError, TypeError, RecursionError):
            unfit = _prune(body)
            try:
                text = _write(body)
            except (ValueError, TypeError, RecursionError) as fault:
                raise Unfit(f"{record[0]} holds a value that JSON cannot carry") from fault
        return f"{text}{self._envelope(record)}}}", unfit

    def whole(self, kind: str, tail: str) -> bytes:
        """Give the event whose tail this is."""
        return (self._heads[kind] + tail).encode("ascii")

    def rewritten(self, kind: str, tail: str, change: Callable[[dict[str, Any]], Any]) -> bytes | None:
        """Give the event as ``change`` wants it; it gets and gives ``{"type": ..., "body": {...}, "sent_at": ...}``.

        An idempotency key that it takes out is put back: without one, a repeat would be billed twice.

        Returns:
            Its JSON; None when ``change`` gives None.

        Raises:
            TypeError, ValueError, RecursionError: what it gave is no event.
        """
        event = plain_event(kind, tail)
        key = event.get("idempotency_key")
        given = change(event)
        if given is None:
            return None
        if not isinstance(given, dict) or given.get("type") != kind or not isinstance(given.get("body"), dict):
            raise TypeError(f"before_send must give the {kind} event or None")
        changed = {name: value for name, value in given.items() if name not in ("type", "body", "api_key")}
        if key is not None:
            changed["idempotency_key"] = changed.get("idempotency_key") or key
        envelope = _write(changed)[1:-1]
        return self.whole(kind, f"{_write(given['body'])}{envelope and ','}{envelope}}}")

    def _check(self, record: FlagCheckRecord) -> str:
        """Write the event up to its envelope. An answer that is remembered comes again and again as the same objects."""
        objects = id(record[3]), id(record[4]), id(record[5]), record[6]
        written = self._checks.get(objects)
        if written is None:
            if len(self._checks) >= _MAX_CHECKS:
                self._checks.clear()
            text = _write(_flag_check(record))
            written = self._checks[objects] = (record, text)  # the record keeps its objects, and thus their ids, alive
        return written[1]

    def _envelope(self, record: Written) -> str:
        if record[0] == "flag_check":
            return f',"sent_at":"{self._instant(record[2])}"' if self._dates else ""
        options = record[-1]
        if options is None:
            if not self._dates:
                return f',"idempotency_key":"{self._token}-{record[1]}"'
            trusted = ',"trusted_client_clock":true' if self._trusted else ""
            return f',"idempotency_key":"{self._token}-{record[1]}","sent_at":"{self._instant(record[2])}"{trusted}'
        said = check_track_options(options) if record[0] == "track" else options
        key = said.idempotency_key or f"{self._token}-{record[1]}"  # blank text says as little as None
        trusts = self._trusted if said.trusted_client_clock is None else said.trusted_client_clock
        trusts = trusts or bool(said.backfill)
        members: dict[str, object] = {"idempotency_key": key}
        if said.sent_at is not None:
            members["sent_at"] = format_instant(said.sent_at)
        elif self._dates or trusts:
            members["sent_at"] = self._instant(record[2])
        if trusts or said.trusted_client_clock is not None:
            members["trusted_client_clock"] = trusts
        if said.backfill is not None:
            members["backfill"] = said.backfill
        return "," + _write(members)[1:-1]

    def _instant(self, epoch: float) -> str:
        second = int(epoch)
        known, text = self._second
        if second != known:  # writing it costs as much as the rest of the event, and most share their second
            text = datetime.fromtimestamp(second, timezone.utc).isoformat()[:-6]
            self._second = (second, text)
        return f"{text}.{int((epoch - second) * 1000):03d}Z"


def plain_event(kind: str, tail: str) -> dict[str, Any]:
    """Read an event back from its `Codec.tail`."""
    event: dict[str, Any] = json.loads(f'{{"type":"{kind}","body":{tail}')
    return event


def assemble(events: Iterable[bytes]) -> bytes:
    """Give the body of one request, ``{"events": [...]}``."""
    return b'{"events":[' + b",".join(events) + b"]}"


def _track(record: TrackRecord) -> dict[str, Any]:
    _, _, _, event, company, user, traits, quantity, options = record
    body: dict[str, Any] = {"event": event}
    if company:
        body["company"] = company
    if user:
        body["user"] = user
    if traits:
        body["traits"] = traits
    if quantity is not None:
        body["quantity"] = quantity
    if options is not None and options.lease_id:
        body["lease_id"] = options.lease_id
    elif options is not None and options.reservation_id:
        body["reservation_id"] = options.reservation_id
    return body


def _identify(record: IdentifyRecord) -> dict[str, Any]:
    _, _, _, keys, company, name, traits, _ = record
    body: dict[str, Any] = {"keys": keys, "company": company, "name": name, "traits": traits}
    return {name: value for name, value in body.items() if value is not None}


def _flag_check(record: FlagCheckRecord) -> dict[str, Any]:
    result: CheckResult = record[3]
    body: dict[str, Any] = {"flag_key": result.flag_key, "value": result.value, "reason": result.reason}
    for name in _CHECK_MEMBERS:
        value = getattr(result, name)
        if value is not None:
            body[name] = value
    if record[4]:
        body["req_company"] = dict(record[4])
    if record[5]:
        body["req_user"] = dict(record[5])
    if record[6]:
        body["preflight"] = True
    return body


def _prune(body: dict[str, Any]) -> list[str]:
    """Take the traits out of ``body`` that cannot be written, and give their names."""
    unfit: list[str] = []
    company = body.get("company")
    holders = [body, company] if "keys" in body and isinstance(company, dict) else [body]
    for holder in holders:
        traits = holder.get("traits")
        if traits:
            bad = [name for name, value in traits.items() if not _is_writable(value)]
            holder["traits"] = {name: value for name, value in traits.items() if name not in bad}
            unfit += bad
    return unfit


def _is_writable(value: object) -> bool:
    try:
        _write(value)
    except (ValueError, TypeError, RecursionError):
        return False
    return True
