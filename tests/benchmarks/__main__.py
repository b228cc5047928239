"""Run the benchmarks, print the table, and fail below a bar: ``python -m tests.benchmarks [--once] [row ...]``."""

from __future__ import annotations

import argparse
import sys

from tests.benchmarks.measuring import Bench, Row
from tests.benchmarks.rows import ROWS
from tests.benchmarks.service import serving
from tests.benchmarks.sides import VENDOR, running
from tests.benchmarks.table import heading, is_reached, line


def main() -> int:
    """Give the exit status: 0 when every row reaches its bar, 1 when one does not, 2 when there is nothing to run."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--once", action="store_true", help="run each row once for its answers, without measuring")
    parser.add_argument("--rounds", type=int, default=15, help="how many times the sides take turns (at least 5)")
    parser.add_argument("rows", nargs="*", metavar="row", help=f"any of {', '.join(row.name for row in ROWS)}")
    chosen = parser.parse_args()
    unknown = set(chosen.rows) - {row.name for row in ROWS}
    if unknown or chosen.rounds < 5:
        parser.error(f"no such row: {', '.join(sorted(unknown))}" if unknown else "fewer than 5 rounds tell nothing")
    if not VENDOR.python.exists():
        parser.error("the vendor's package is not installed beside ours; `make bench` does that")
    return _run(
        [row for row in ROWS if not chosen.rows or row.name in chosen.rows], 0 if chosen.once else chosen.rounds
    )


def _run(rows: list[Row], rounds: int) -> int:
    failed = 0
    if rounds:
        print(heading())
    manner = "thorough" if rounds else "brief"
    with serving() as service, running(service.url, service.stream_url, manner) as workers:
        for row in rows:
            measured = row.measure(Bench(service, workers, rounds))
            if measured is None:
                print(f"{row.what}: answers are right", flush=True)
                continue
            print(line(row, measured), flush=True)
            failed += not is_reached(row, measured)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
