"""The table that a run prints."""

from __future__ import annotations

from tests.benchmarks.rows import Measured, Row

__all__ = ["heading", "is_reached", "line", "verdict"]

_COLUMNS = "{what:<44}  {vendor:>12}  {ours:>12}  {ratio:>7}  {bar:>7}  {moonshot:>8}  {verdict}"


def heading() -> str:
    """Name the columns."""
    return _COLUMNS.format(
        what="what", vendor="vendor", ours="ours", ratio="ratio", bar="bar", moonshot="moonshot", verdict="verdict"
    )


def line(row: Row, measured: Measured) -> str:
    """Show one row."""
    return _COLUMNS.format(
        what=row.what,
        vendor=_shown(measured.vendor, f"{{:.4g}} {row.unit}"),
        ours=_shown(measured.ours, f"{{:.4g}} {row.unit}"),
        ratio=_shown(measured.ratio, "{:.2f} x"),
        bar=_shown(row.bar, "{:g} x"),
        moonshot=_shown(row.moonshot, "{:g} x"),
        verdict=verdict(row, measured),
    ).rstrip()


def _shown(number: float | None, form: str) -> str:
    return "" if number is None else form.format(number)


def is_reached(row: Row, measured: Measured) -> bool:
    """Tell whether the bar is reached, if there is one."""
    return row.bar is None or measured.ratio is None or measured.ratio >= row.bar


def verdict(row: Row, measured: Measured) -> str:
    """Give ``"moonshot"``, ``"bar"`` or ``"BELOW BAR"``; nothing for a row that only reports."""
    if measured.ratio is None or row.moonshot is None:
        return ""
    if measured.ratio >= row.moonshot:
        return "moonshot"
    return "bar" if is_reached(row, measured) else "BELOW BAR"
