"""The rows of the table: what is compared, what must be reached, and how each is measured."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from tests.benchmarks.measuring import Bench, Measured, Row, in_turns, ours_alone, subject
from tests.benchmarks.service import Service
from tests.benchmarks.sides import OURS, VENDOR, Side
from tests.benchmarks.stream_rows import STREAM_ROWS
from tests.benchmarks.webhook_timing import MISMATCH_ROWS

__all__ = ["ROWS"]


def _by_company(_service: Service, _side: Side) -> object:
    return [True, False]


def _all_arrived(service: Service, side: Side) -> object:
    return service.events(side.root)


_BY_PLAN = [True, "plan_entitlement", 37, 500]
_BY_RULE = [True, "standard", None, None]


def _told_apart(_service: Service, _side: Side) -> object:
    return "genuine accepted, tampered refused"


_CONSTRUCT = "from {root}.client import Schematic; client = Schematic('key'); "
_RESIDENT = "import resource; print(int(open('/proc/self/statm').read().split()[1]) * resource.getpagesize())"


def _start(bench: Bench) -> Measured | None:
    """Measure milliseconds of a whole interpreter that imports the client and makes one."""

    def spent(side: Side) -> float:
        started = perf_counter()
        printed = side.run((_CONSTRUCT + "print(type(client).__module__)").format(root=side.root))
        seconds = perf_counter() - started
        assert printed.split(".")[0] == side.root, printed
        return seconds * 1e3

    return _processes(bench, spent)


def _memory(bench: Bench) -> Measured | None:
    """Measure MiB over the bare interpreter once the client is imported and made."""

    def taken(side: Side) -> float:
        bare = int(side.run(_RESIDENT))
        return (int(side.run(_CONSTRUCT.format(root=side.root) + _RESIDENT)) - bare) / 2**20

    return _processes(bench, taken)


def _processes(bench: Bench, taken: Callable[[Side], float]) -> Measured | None:
    # Once before, so that no side is charged for compiling its modules.
    taken(VENDOR), taken(OURS)
    return in_turns(bench.rounds, lambda: taken(VENDOR), lambda: taken(OURS))


ROWS = (
    Row("import", "import and construct, whole interpreter", "ms", 4, 8, _start),
    Row("memory", "memory over the bare interpreter after that", "MiB", 3, 6, _memory),
    Row("check", "API-mode cached check, sync", "us", 2, 3, subject("cached_check", _by_company)),
    Row("check-async", "API-mode cached check, async", "us", 2, 3, subject("cached_check_async", _by_company)),
    Row("track", "track enqueue, sync", "us", 20, 50, subject("track", _all_arrived)),
    Row("track-async", "track enqueue, async", "us", 20, 50, subject("track_async", _all_arrived)),
    Row("flush", "flush over loopback, batches of 100, an event", "us", 4, 6, subject("flush", _all_arrived)),
    *STREAM_ROWS,
    Row("engine", "engine call alone, realistic", "us", None, None, ours_alone("engine_realistic", _BY_PLAN)),
    Row("engine-trivial", "engine call alone, trivial", "us", None, None, ours_alone("engine_trivial", _BY_RULE)),
    Row("engine-fresh", "same, realistic, company changed", "us", None, None, ours_alone("engine_fresh", _BY_PLAN)),
    Row("verify-1kb", "webhook verify, 1 KB", "us", 1.25, 1.4, subject("verify_1_kb", _told_apart)),
    Row("verify-100kb", "webhook verify, 100 KB", "us", 1.03, 1.08, subject("verify_100_kb", _told_apart)),
    *MISMATCH_ROWS,
)
"""Every row, in the order of the table."""
