"""When the windows over which the service counts usage begin and end (all in UTC)."""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Literal

__all__ = ["PERIODS", "RESETS", "WINDOWS", "Period", "Reset", "Subscription", "window_end", "window_start"]

Period = Literal["all_time", "current_day", "current_week", "current_month"]
Reset = Literal["first_of_month", "billing_cycle"]

PERIODS: tuple[Period, ...] = ("all_time", "current_day", "current_week", "current_month")
RESETS: tuple[Reset, ...] = ("first_of_month", "billing_cycle")

WINDOWS: tuple[tuple[Period, Reset], ...] = (
    ("all_time", "first_of_month"),
    ("current_day", "first_of_month"),
    ("current_week", "first_of_month"),
    ("current_month", "first_of_month"),
    ("current_month", "billing_cycle"),
)
"""Every window in which an event is counted; only a month can begin elsewhere than the calendar says."""

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class Subscription:
    """A company's billing period: aware instants; ``end`` is where the last cycle is cut."""

    start: datetime
    end: datetime


def window_start(period: Period, reset: Reset, now: datetime, subscription: Subscription | None = None) -> datetime:
    """Give the instant at which the window that holds ``now`` began; the epoch for ``all_time``.

    Source: ``rules-engine.md`` 8.2 and 8.3. Weeks begin on Sunday. A billing cycle without a subscription, or before
    its start, is the calendar month; the anchor day is clamped to the month's last day and does not drift.
    """
    now = now.astimezone(timezone.utc)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "all_time":
        return _EPOCH
    if period == "current_day":
        return midnight
    if period == "current_week":
        return midnight - timedelta(days=(now.weekday() + 1) % 7)
    if reset == "billing_cycle" and subscription is not None and subscription.start <= now:
        start = subscription.start.astimezone(timezone.utc)
        cycle = _anchored(start, now.year, now.month)
        if cycle > now:
            cycle = _anchored(start, *_shifted(now.year, now.month, -1))
        return max(cycle, start)
    return midnight.replace(day=1)


def window_end(
    period: Period, reset: Reset, now: datetime, subscription: Subscription | None = None
) -> datetime | None:
    """Give the instant at which usage next counts from zero; None for ``all_time``.

    Source: ``rules-engine.md`` 8.2 and 8.3. An ended subscription gives its end, which then lies in the past.
    """
    now = now.astimezone(timezone.utc)
    if period == "all_time":
        return None
    begin = window_start(period, "first_of_month", now)
    if period == "current_day":
        return begin + timedelta(days=1)
    if period == "current_week":
        return begin + timedelta(days=7)
    year, month = _shifted(begin.year, begin.month, 1)
    calendar = begin.replace(year=year, month=month)
    if reset == "first_of_month" or subscription is None:
        return calendar
    start = subscription.start.astimezone(timezone.utc)
    if start > now:
        return min(start, calendar)
    cycle = _anchored(start, now.year, now.month)
    if cycle <= now:
        cycle = _anchored(start, year, month)
    return min(cycle, subscription.end.astimezone(timezone.utc))


def _anchored(start: datetime, year: int, month: int) -> datetime:
    return start.replace(year=year, month=month, day=min(start.day, monthrange(year, month)[1]))


def _shifted(year: int, month: int, months: int) -> tuple[int, int]:
    index = year * 12 + month - 1 + months
    return index // 12, index % 12 + 1
