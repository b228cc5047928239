"""Evaluation of flags on local data: one pure function over a flag, a company and a user."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from schematic_core.rules.documents import Document, EventUsageLike, document_of, options_of
from schematic_core.rules.engine import Engine
from schematic_core.rules.evaluation import Evaluation

__all__ = ["Document", "Engine", "Evaluation", "EventUsageLike", "check", "engine"]

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MILLISECOND = timedelta(milliseconds=1)

_engine = Engine()


def engine() -> Engine:
    """Give the engine that ``check`` uses: one for the whole process, started at its first use."""
    return _engine


def check(
    flag: Document,
    company: Document | None = None,
    user: Document | None = None,
    *,
    usage: float | None = None,
    event_usage: Mapping[str, Any] | EventUsageLike | None = None,
    credit_cost: Mapping[str, float | None] | None = None,
    now: datetime | None = None,
) -> Evaluation:
    """Evaluate one flag. Pure: the same arguments give the same result. May be called from any thread.

    Args:
        flag: the flag with its rules: JSON text, bytes of it, a mapping such as
            ``{"id": "flag_1", "account_id": "a", "environment_id": "e", "key": "seats", "default_value": False}``, or a
            pydantic model. Text goes to the engine as it is. Unknown fields are ignored.
        company: the company, in the same forms; None (or ``null`` as text) when there is none.
        user: the user, likewise.
        usage: units about to be used. Fractions are rounded up; a negative number gives a result with ``error``.
        event_usage: units of one event about to happen, e.g. ``{"event_subtype": "export", "quantity": 2}``.
        credit_cost: credits about to be drawn by credit id, e.g. ``{"bcrd_1": 2.5}``; pairs of None are left out.
        now: the clock, aware; the present when None. Cut to whole milliseconds.

    Returns:
        The result. A verdict is never guessed: where the input is not fit for one, this raises.

    Raises:
        EngineError: an argument but ``now`` was refused; the message names the field and the byte. Limits: 8 MiB for
            each document, 128 nested brackets.
        ConfigurationError: wasmtime is not installed.
        TypeError: ``now`` is no datetime.
        ValueError: ``now`` is naive.

    Source: ``rules-engine.md``.

    Example:
        >>> flag = {"id": "f", "account_id": "a", "environment_id": "e", "key": "seats", "default_value": True}
        >>> check(flag).value
        True
    """
    return _engine.evaluate(
        document_of("flag", flag),
        None if company is None else document_of("company", company),
        None if user is None else document_of("user", user),
        options_of(usage, event_usage, credit_cost),
        now_ms=_milliseconds(now),
    )


def _milliseconds(now: datetime | None) -> int:
    if now is None:
        now = datetime.now(timezone.utc)
    if not isinstance(now, datetime):
        raise TypeError(f"now must be a datetime, got {type(now).__name__}")
    if now.utcoffset() is None:
        raise ValueError("now must be aware of its time zone, got a naive datetime")
    return (now - _EPOCH) // _MILLISECOND
