"""The service's JSON: text in and out, instants, and answers to flag checks as plain values (standard library only).

Instants are RFC 3339 text. A naive one, in either direction, is read as UTC (choice: the present local offset would be
wrong for any other date, and refusing would lose events). Answers are read leniently: unknown members are ignored, an
optional member of the wrong type counts as absent; what a verdict cannot do without raises ``ParsingError``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import fields
from datetime import date, datetime, timedelta, timezone
from enum import Enum
from typing import Any, cast

from schematic_core.errors import ParsingError
from schematic_core.values import CheckResult, Entitlement

__all__ = ["decode_check", "decode_checks", "dumps", "format_instant", "loads", "parse_instant", "plain"]

_INSTANT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?(?:[Zz]|([+-])(\d\d):(\d\d))?", re.ASCII
)
_TEXT = frozenset(
    {
        "feature_id",
        "feature_key",
        "value_type",
        "event_name",
        "event_subtype",
        "metric_period",
        "month_reset",
        "credit_id",
    }
)
_WHOLE = frozenset({"allocation", "usage", "soft_limit"})
_ENTITLEMENT = tuple(f.name for f in fields(Entitlement))


def loads(text: str | bytes) -> Any:
    """Read JSON text.

    Raises:
        ValueError: it is not JSON, not UTF-8, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None


def dumps(value: object) -> bytes:
    """Write ``value`` as compact JSON; what `plain` accepts is accepted.

    Raises:
        TypeError: something in it has no JSON form.
        ValueError: a number is not finite, or the value contains itself.
    """
    return json.dumps(value, default=_unknown, separators=(",", ":"), allow_nan=False).encode()


def plain(value: object) -> object:
    """Give ``value`` as what `json` knows: models by their set members and wire names, instants as text.

    Args:
        value: a scalar, mapping, sequence, set, model, enum member, ``datetime``, ``date``, ``UUID`` or ``Decimal``.

    Raises:
        TypeError: something in it has no JSON form.
    """
    if value is None or isinstance(value, (str, int, float)):
        return value.value if isinstance(value, Enum) else value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    return _unknown(value)


def _unknown(value: object) -> object:
    """Translate what is neither scalar nor container; the hook of `json` for the same purpose."""
    if isinstance(value, datetime):
        return format_instant(value)
    if isinstance(value, date):
        return value.isoformat()
    from decimal import Decimal
    from uuid import UUID

    if isinstance(value, (UUID, Decimal)):
        return str(value)
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, (Mapping, set, frozenset)):
        return plain(value)
    dump = getattr(value, "model_dump", None)
    if dump is None or isinstance(value, type):
        raise TypeError(f"{type(value).__name__} cannot be sent as JSON")
    return dump(mode="json", by_alias=True, exclude_unset=True)


def format_instant(instant: datetime) -> str:
    """Write an instant as RFC 3339 text: ``Z`` for UTC, the offset otherwise; a naive one is read as UTC.

    Example:
        >>> format_instant(datetime(2026, 1, 2, tzinfo=timezone.utc))
        '2026-01-02T00:00:00Z'
    """
    offset = instant.utcoffset()
    if offset is None:
        instant, offset = instant.replace(tzinfo=timezone.utc), timedelta(0)
    if offset % timedelta(minutes=1):  # RFC 3339 has no seconds in offsets
        instant = instant.astimezone(timezone.utc)
    text = instant.isoformat()
    return text[:-6] + "Z" if text.endswith("+00:00") else text


def parse_instant(text: object) -> datetime | None:
    """Read RFC 3339 text as an aware instant in UTC; without an offset it is read as UTC.

    Returns:
        The instant, fractions cut to microseconds and a leap second folded into the one before; None when ``text`` is
        no text or no instant.
    """
    found = _INSTANT.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in found.group(1, 2, 3, 4, 5, 6))
    fraction, sign, hours, minutes = found.group(7, 8, 9, 10)
    micros = int((fraction or "0").ljust(6, "0")[:6])
    try:
        local = datetime(year, month, day, hour, minute, min(second, 59), micros, timezone.utc)
        if sign is None:
            return local
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        return local - offset if sign == "+" else local + offset
    except (ValueError, OverflowError):
        return None


def decode_check(body: bytes, flag_key: str, now: datetime, *, status_code: int | None = None) -> CheckResult:
    """Read the answer of ``POST /flags/{key}/check``.

    Args:
        body: the answer, e.g. ``{"data": {"flag": "exports", "value": true, "reason": "..."}, "params": {}}``.
        flag_key: the key that was asked; the result carries it.
        now: when the answer arrived (aware, UTC); becomes ``as_of``.
        status_code: the answer's status, for the error alone.

    Raises:
        ParsingError: the answer is no object, or lacks ``flag``, ``value`` or ``reason``.
    """
    return _check_result(_data(body, status_code), flag_key, now, status_code)


def decode_checks(body: bytes, now: datetime, *, status_code: int | None = None) -> dict[str, CheckResult]:
    """Read the answer of ``POST /flags/check``: the verdict on every flag, by flag key.

    Only ``data.flags`` is needed; it may be empty. Arguments as in `decode_check`.

    Raises:
        ParsingError: the answer is no object, or a verdict lacks ``flag``, ``value`` or ``reason``.
    """
    flags = _data(body, status_code).get("flags")
    if not isinstance(flags, list):
        raise _unreadable("data.flags is not a list", body, status_code)
    results = (_check_result(flag, None, now, status_code) for flag in flags)
    return {result.flag_key: result for result in results}


def _data(body: bytes, status_code: int | None) -> dict[str, Any]:
    try:
        answer = loads(body)
    except ValueError:
        raise _unreadable("the answer is not JSON", body.decode("utf-8", "replace"), status_code) from None
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, dict):
        raise _unreadable("data is not an object", answer, status_code)
    return data


def _check_result(data: object, flag_key: str | None, now: datetime, status_code: int | None) -> CheckResult:
    if not isinstance(data, dict):
        raise _unreadable("a verdict is not an object", data, status_code)
    flag, value, reason = data.get("flag"), data.get("value"), data.get("reason")
    if not (isinstance(flag, str) and isinstance(value, bool) and isinstance(reason, str)):
        raise _unreadable("a verdict lacks its flag, value or reason", data, status_code)
    return CheckResult(
        value=value,
        reason=reason,
        flag_key=flag if flag_key is None else flag_key,
        flag_id=_text(data.get("flag_id")),
        rule_id=_text(data.get("rule_id")),
        rule_type=_text(data.get("rule_type")),
        company_id=_text(data.get("company_id")),
        user_id=_text(data.get("user_id")),
        entitlement=_entitlement(data.get("entitlement")),
        error=_text(data.get("error")),
        feature_usage=_whole(data.get("feature_usage")),
        feature_allocation=_whole(data.get("feature_allocation")),
        feature_usage_event=_text(data.get("feature_usage_event")),
        feature_usage_period=_text(data.get("feature_usage_period")),
        feature_usage_reset_at=parse_instant(data.get("feature_usage_reset_at")),
        source="api",
        as_of=now,
    )


def _entitlement(data: object) -> Entitlement | None:
    if not isinstance(data, dict):
        return None
    values = {name: _member(name, data.get(name)) for name in _ENTITLEMENT}
    if None in (values["feature_id"], values["feature_key"], values["value_type"]):
        return None
    return Entitlement(**cast("dict[str, Any]", values))  # each member was checked by name


def _member(name: str, value: object) -> object:
    if name in _TEXT:
        return _text(value)
    if name in _WHOLE:
        return _whole(value)
    if name == "metric_reset_at":
        return parse_instant(value)
    return _number(value)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if number - number == 0 else None  # neither infinite nor NaN, which Python's JSON lets in


def _whole(value: object) -> int | None:
    number = _number(value)
    if number is None or number % 1:
        return None
    return value if isinstance(value, int) else int(number)


def _unreadable(why: str, body: object, status_code: int | None) -> ParsingError:
    return ParsingError(status_code=status_code, body=body, message=f"the API's answer could not be read: {why}")
