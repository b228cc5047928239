"""The rows of the table: what is compared, what must be reached, and how each is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter

from tests.benchmarks.service import Service
from tests.benchmarks.sides import OURS, VENDOR, Running, Side

__all__ = ["ROWS", "Bench", "Measured", "Row"]

BATCH = 0.05
"""Seconds of one batch."""


@dataclass(frozen=True)
class Bench:
    """What a row measures with."""

    service: Service
    workers: tuple[Running, Running]
    """The vendor's, ours."""
    rounds: int
    """How many times the sides take turns; 0 asks for the answers alone."""


@dataclass(frozen=True)
class Measured:
    """What came of a row: the median of each side in the row's unit, and the median of the ratios of the turns.

    ``vendor`` and ``ratio`` are None where the row has no vendor's side.
    """

    vendor: float | None
    ours: float
    ratio: float | None


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    what: str
    unit: str
    bar: float | None
    """What the ratio must reach; None where the row only reports."""
    moonshot: float | None
    measure: Callable[[Bench], Measured | None]
    """Gives None when asked for the answers alone; a wrong answer raises."""


def _subject(name: str, expected: Callable[[Service, Side], object]) -> Callable[[Bench], Measured | None]:
    """Measure microseconds of a subject (see ``subjects``) that answers as expected on both sides, before and after."""

    def measure(bench: Bench) -> Measured | None:
        bench.service.forget()
        for side in bench.workers:
            side.open(name)
            side.once()
        _same(bench, expected)
        vendor, ours = bench.workers
        measured = _turns(bench.rounds, lambda: vendor.batch(BATCH) * 1e6, lambda: ours.batch(BATCH) * 1e6)
        _same(bench, expected)
        for side in bench.workers:
            side.close()
        return measured

    return measure


def _ours_alone(name: str, expected: object) -> Callable[[Bench], Measured | None]:
    """Measure microseconds of a subject that the vendor has not."""

    def measure(bench: Bench) -> Measured | None:
        _, ours = bench.workers
        ours.open(name)
        ours.once()
        spent = [ours.batch(BATCH) * 1e6 for _ in range(bench.rounds)]
        answer = ours.answer()
        ours.close()
        if answer != expected:
            raise AssertionError(f"{name} answers {answer!r} instead of {expected!r}")
        return Measured(None, median(spent), None) if spent else None

    return measure


def _same(bench: Bench, expected: Callable[[Service, Side], object]) -> None:
    for side, worker in zip((VENDOR, OURS), bench.workers, strict=True):
        answer, right = worker.answer(), expected(bench.service, side)
        if answer != right:
            raise AssertionError(f"{side.root} answers {answer!r} instead of {right!r}")


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
    return _turns(bench.rounds, lambda: taken(VENDOR), lambda: taken(OURS))


def _turns(rounds: int, vendor: Callable[[], float], ours: Callable[[], float]) -> Measured | None:
    if not rounds:
        return None
    taken = [(vendor(), ours()) for _ in range(rounds)]
    return Measured(median(t for t, _ in taken), median(o for _, o in taken), median(t / o for t, o in taken))


ROWS = (
    Row("import", "import and construct, whole interpreter", "ms", 4, 8, _start),
    Row("memory", "memory over the bare interpreter after that", "MiB", 3, 6, _memory),
    Row("check", "API-mode cached check, sync", "us", 2, 3, _subject("cached_check", _by_company)),
    Row("check-async", "API-mode cached check, async", "us", 2, 3, _subject("cached_check_async", _by_company)),
    Row("track", "track enqueue, sync", "us", 20, 50, _subject("track", _all_arrived)),
    Row("track-async", "track enqueue, async", "us", 20, 50, _subject("track_async", _all_arrived)),
    Row("engine", "engine call alone, realistic", "us", None, None, _ours_alone("engine_realistic", _BY_PLAN)),
    Row("engine-trivial", "engine call alone, trivial", "us", None, None, _ours_alone("engine_trivial", _BY_RULE)),
    Row("engine-fresh", "same, realistic, company changed", "us", None, None, _ours_alone("engine_fresh", _BY_PLAN)),
    Row("verify-1kb", "webhook verify, 1 KB", "us", 1.25, 1.4, _subject("verify_1_kb", _told_apart)),
    Row("verify-100kb", "webhook verify, 100 KB", "us", 1.03, 1.08, _subject("verify_100_kb", _told_apart)),
)
"""Every row, in the order of the table."""
