"""Partial updates merged into what is held: pure functions on the JSON of companies and users.

Whatever the shapes, nothing here raises. A member that cannot be merged takes the place of the held one, as any other
member does, so that the engine, which judges the result, refuses the document: an old state must not go on answering.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from schematic_core.wire import format_instant, parse_instant

__all__ = [
    "count_usage",
    "deep_copy_company",
    "deep_copy_user",
    "members_read",
    "merge_company",
    "merge_user",
    "partial_company",
    "partial_user",
]

Json = dict[str, Any]
RowKey = tuple[object, ...]

_REQUIRED = frozenset({"id", "account_id", "environment_id"})
_LISTS = frozenset(
    {
        "billing_product_ids",
        "credit_spend_policies",
        "entitlements",
        "plan_ids",
        "plan_version_ids",
        "rules",
        "traits",
    }
)
_COMPANY_MAPS = frozenset({"credit_balances", "credit_lease_balance", "keys"})
_USER_MAPS = frozenset({"keys"})
_READ = {
    "credit_balances": ("credit_balances", "entitlements"),
    "credit_lease_balance": ("credit_balances", "credit_lease_balance", "entitlements"),
    "keys": ("keys",),
    "metrics": ("metrics", "entitlements"),
}
_PERIODS = frozenset({"all_time", "current_day", "current_week", "current_month"})
_RESETS = frozenset({"first_of_month", "billing_cycle"})
_SMALLEST, _LARGEST = -(2**63), 2**63 - 1  # what the engine takes for a metric's value


def partial_company(company: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Merge a partial into a company.

    Args:
        company: the whole company, e.g. ``{"id": "comp_9", "keys": {"slug": "a"}, "credit_balances": {}}``.
        data: the changed fields alone, e.g. ``{"plan_ids": ["plan_team"]}``.

    Returns:
        A new company that shares nothing with the arguments, which stay as they are.

    Source: ``datastream.md`` 6.2. ``metrics`` are upserted, ``keys`` and ``credit_balances`` merged entry by entry,
    ``credit_lease_balance`` sets balances, everything else replaces; null lists are empty. Usage and remaining credits
    of entitlements follow. A null id and null entries of maps count as not sent.
    """
    return merge_company(_deep_copy(company), _deep_copy(data))


def partial_user(user: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Merge a partial into a user: ``keys`` entry by entry, everything else replaces. Otherwise as `partial_company`."""
    return merge_user(_deep_copy(user), _deep_copy(data))


def deep_copy_company(company: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a company through all its objects and lists."""
    return _deep_copy(company)


def deep_copy_user(user: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a user through all its objects and lists."""
    return _deep_copy(user)


def merge_company(company: Json, data: Json) -> Json:
    """Do what `partial_company` does, but share what is unchanged with the arguments."""
    merged = _merged(company, data, _COMPANY_MAPS)
    balances = _new_balances(data)
    held = merged.get("credit_balances")
    if balances and (held is None or isinstance(held, dict)):
        merged["credit_balances"] = {**(held or {}), **balances}
    counting: dict[RowKey, Any] = {}
    sent = data.get("metrics", ())
    if sent is None or isinstance(sent, list):
        merged["metrics"], counting = _upserted(company.get("metrics"), sent or [])
    if "entitlements" not in data:
        _derive(merged, balances, counting)
    return merged


def merge_user(user: Json, data: Json) -> Json:
    """Do what `partial_user` does, but share what is unchanged with the arguments."""
    return _merged(user, data, _USER_MAPS)


def count_usage(company: Mapping[str, Any], event: str, quantity: int, now: datetime) -> dict[str, Any]:
    """Add ``quantity`` to every metric of ``event`` whose period is not over, and to usage that rests on one of them.

    A metric that an entitlement names and that is not there, since nothing was ever counted, is made (choice: otherwise a
    first burst would pass the limit).

    Args:
        company: the whole company; it stays as it is.
        event: the name that was tracked, e.g. ``"export"``.
        quantity: units; 0 adds nothing.
        now: aware; metrics whose ``valid_until`` is not later are over.

    Returns:
        A new company that shares what is unchanged with ``company``. Credit balances stay (the server prices them).

    Source: ``datastream.md`` 10, with its recommendations.
    """
    counted = dict(company)
    metrics = company.get("metrics")
    if metrics is not None and not isinstance(metrics, list):
        return counted
    counting: dict[RowKey, Json] = {}
    rows = [*(metrics or ()), *_rows_wanting(company, event, now)]
    if not rows:
        return counted
    for place, row in enumerate(rows):
        if _is_counting(row, event, now):
            value = min(max(row["value"] + quantity, _SMALLEST), _LARGEST)
            rows[place] = {**row, "value": value}
            counting.setdefault(_row_key(row), rows[place])  # the first of equal rows counts
    counted["metrics"] = rows
    _derive(counted, {}, counting)
    return counted


def members_read(data: Mapping[str, Any]) -> frozenset[str]:
    """Name the members of the held entity that merging ``data`` looks at; without the others the result is the same."""
    return frozenset(member for name in data for member in _READ.get(name, ()))


def _merged(entity: Json, data: Json, maps: frozenset[str]) -> Json:
    """Merge what takes the place of the held member, and what is merged entry by entry."""
    merged = dict(entity)
    for name, value in data.items():
        if name in maps and (value is None or isinstance(value, dict)):
            held = entity.get(name)
            merged[name] = {**(held if isinstance(held, dict) else {}), **_entries(value or {})}
        elif name in _LISTS and value is None:
            merged[name] = []
        elif value is not None or name not in _REQUIRED:
            merged[name] = value
    return merged


def _entries(sent: Json) -> Json:
    return {name: value for name, value in sent.items() if value is not None}


def _new_balances(data: Json) -> Json:
    """Give the balances that a partial names, e.g. ``{"bcrd_1": 7}``; a lease tells the balance that it leaves."""
    balances, leases = data.get("credit_balances"), data.get("credit_lease_balance")
    named = balances if isinstance(balances, dict) else {}
    for credit, lease in leases.items() if isinstance(leases, dict) else ():
        if isinstance(lease, dict):
            named = {**named, credit: lease.get("remaining")}
    return _entries(named)


def _upserted(held: object, sent: list[Any]) -> tuple[list[Any], dict[RowKey, Any]]:
    """Put each row sent in the place of the first with its name, period and reset, which is the one that counts.

    Gives the rows that count as well, unless nothing was sent.
    """
    rows = list(held) if isinstance(held, list) else []
    if not sent:
        return rows, {}
    places: dict[RowKey, int] = {}
    for place, row in enumerate(rows):
        places.setdefault(_row_key(row), place)
    for row in sent:
        if row is not None:
            place = places.setdefault(_row_key(row), len(rows))
            rows[place : place + 1] = [row]
    return rows, {key: rows[place] for key, place in places.items()}


def _row_key(row: object) -> RowKey:
    """Tell which row a metric is."""
    if not isinstance(row, dict):
        return (object(),)
    return _key(row.get("event_subtype"), row.get("period"), row.get("month_reset"))


def _metric_of(entitlement: object) -> RowKey:
    """Tell which metric an entitlement rests on; one that rests on none is like no metric."""
    if not isinstance(entitlement, dict):
        return (object(),)
    period, reset = entitlement.get("metric_period"), entitlement.get("month_reset")
    return _key(entitlement.get("event_name"), period or "all_time", reset or "first_of_month")


def _key(event: object, period: object, reset: object) -> RowKey:
    """Give the name of a metric; where one of the three is no text, it is like no other."""
    if type(event) is type(period) is type(reset) is str:
        return event, period, reset
    return (object(),)


def _derive(company: Json, balances: Json, counting: Mapping[RowKey, Any]) -> None:
    entitlements = company.get("entitlements")
    if not isinstance(entitlements, list) or not (balances or counting):
        return
    derived = [_derived(entitlement, balances, counting) for entitlement in entitlements]
    if any(new is not old for new, old in zip(derived, entitlements, strict=True)):
        company["entitlements"] = derived


def _derived(entitlement: Any, balances: Json, counting: Mapping[RowKey, Any]) -> Any:
    """Bring remaining credits and usage up to date; what is not named, or is so already, stays."""
    if not isinstance(entitlement, dict):
        return entitlement
    changes: Json = {}
    credit, row = entitlement.get("credit_id"), counting.get(_metric_of(entitlement))
    if isinstance(credit, str) and credit in balances:
        changes["credit_remaining"] = balances[credit]
    if isinstance(row, dict) and _is_whole(row.get("value")):
        changes["usage"] = row["value"]
    if all(name in entitlement and entitlement[name] == value for name, value in changes.items()):
        return entitlement
    return {**entitlement, **changes}


def _rows_wanting(company: Mapping[str, Any], event: str, now: datetime) -> list[Json]:
    """Make the metrics that entitlements rest on and that are not there, at the usage they state."""
    entitlements, metrics = company.get("entitlements"), company.get("metrics")
    there = {_row_key(row) for row in metrics or ()}
    made: dict[RowKey, Json] = {}
    for entitlement in entitlements if isinstance(entitlements, list) else ():
        key = _metric_of(entitlement)
        if key not in there and key[0] == event and key[1] in _PERIODS and key[2] in _RESETS:
            usage = entitlement.get("usage")
            owners = {"account_id": "", "environment_id": "", "company_id": "", "created_at": format_instant(now)}
            names = {"event_subtype": event, "period": key[1], "month_reset": key[2]}
            made.setdefault(key, {**owners, **names, "value": usage if _is_whole(usage) else 0})
    return list(made.values())


def _is_counting(row: object, event: str, now: datetime) -> bool:
    if not isinstance(row, dict) or row.get("event_subtype") != event or not _is_whole(row.get("value")):
        return False
    over = parse_instant(row.get("valid_until"))
    return over is None or over > now


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _deep_copy(value: Mapping[str, Any]) -> Json:
    """Copy JSON of any depth: by a list of work, for recursion ends before the depth that a server can send."""
    copied = dict(value)
    work: list[Json | list[Any]] = [copied]
    while work:
        place = work.pop()
        for key, item in place.items() if isinstance(place, dict) else enumerate(place):
            if isinstance(item, (dict, list)):
                place[key] = inner = item.copy()  # type: ignore[index] # key and place belong together
                work.append(inner)
    return copied
