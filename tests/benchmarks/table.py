"""The table that a run prints."""

from __future__ import annotations

from tests.benchmarks.measuring import Measured, Row

__all__ = ["heading", "is_reached", "line", "verdict"]

_COLUMNS = "{what:<50}  {vendor:>12}  {ours:>12}  {ratio:>7}  {bar:>7}  {moonshot:>8}  {verdict}"


def heading() -> str:
    """Name the columns."""
    return _COLUMNS.format(
        what="what", vendor="vendor", ours="ours", ratio="ratio", bar="bar", moonshot="moonshot", verdict="verdict"
    )


def line(row: Row, measured: Measured) -> str:
    """Show one row."""
    target = f"{{:g}} {row.unit}" if row.is_absolute else "{:g} x"
    return _COLUMNS.format(
        what=row.what,
        vendor=_shown(measured.vendor, f"{{:.4g}} {row.unit}"),
        ours=_shown(measured.ours, f"{{:.4g}} {row.unit}"),
        ratio=_shown(measured.ratio, "{:.2f} x"),
        bar=_shown(row.bar, target),
        moonshot=_shown(row.moonshot, target),
        verdict=verdict(row, measured),
    ).rstrip()


def _shown(number: float | None, form: str) -> str:
    return "" if number is None else form.format(number)


def is_reached(row: Row, measured: Measured) -> bool:
    """Tell whether the bar is reached, if there is one."""
    return _meets(row, measured, row.bar)


def verdict(row: Row, measured: Measured) -> str:
    """Give ``"moonshot"``, ``"bar"`` or ``"BELOW BAR"``; nothing for a row that only reports."""
    if row.bar is None:
        return ""
    if _meets(row, measured, row.moonshot):
        return "moonshot"
    return "bar" if is_reached(row, measured) else "BELOW BAR"


def _meets(row: Row, measured: Measured, target: float | None) -> bool:
    if target is None:
        return True
    if row.is_absolute:
        return measured.ours <= target
    return measured.ratio is None or measured.ratio >= target
