"""How events move a company's usage and credits, and which limits that reaches."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from schematic_core.environment.effective import allocation, effective_grants, feature_usage
from schematic_core.environment.model import Balance, Company, Environment
from schematic_core.environment.periods import WINDOWS, Period, Reset, window_start

__all__ = ["count_event", "draw_credits", "limits_reached"]

_MOST = 2**62


def count_event(company: Company, event: str, quantity: int, at: datetime, now: datetime) -> Company:
    """Count ``quantity`` of an event that happened at ``at`` into the windows that are open at ``now``.

    A window that ended since the last count begins anew; an event from before an open window's start does not count
    there. A count never falls under 0.
    """
    former = company.counters.get(event, {})
    counter: dict[tuple[Period, Reset], tuple[datetime, int]] = {}
    for window in WINDOWS:
        start = window_start(*window, now, company.subscription)
        counted = former.get(window)
        count = counted[1] if counted is not None and counted[0] == start else 0
        if at >= start:
            count = min(max(count + quantity, 0), _MOST)
        counter[window] = (start, count)
    return replace(company, counters={**company.counters, event: counter})


def draw_credits(environment: Environment, company: Company, event: str, quantity: int, now: datetime) -> Company:
    """Take the credits that ``quantity`` of an event costs, for each feature that it draws for; never under 0."""
    balances = dict(company.credits)
    for key, found in effective_grants(environment, company, now).items():
        credit = found.grant.credit
        if credit is None or environment.features[key].event != event:
            continue
        balance = balances.get(credit, Balance(0.0, 0.0))
        left = min(max(balance.remaining - quantity * found.grant.rate, 0.0), balance.total)
        balances[credit] = replace(balance, remaining=left)
    return company if balances == company.credits else replace(company, credits=balances)


def limits_reached(environment: Environment, before: Company, after: Company, now: datetime) -> list[str]:
    """Give the keys of the features whose limit ``after`` has reached and ``before`` had not."""
    former = effective_grants(environment, before, now)
    reached: list[str] = []
    for key, found in effective_grants(environment, after, now).items():
        limit, usage = allocation(after, found.grant), feature_usage(environment, after, key, found.grant, now)
        if limit is None or usage is None or usage < limit or key not in former:
            continue
        if (feature_usage(environment, before, key, former[key].grant, now) or 0) < limit:
            reached.append(key)
    return reached
