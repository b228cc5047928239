"""How rows are measured: both sides in turn, answers compared before and after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from tests.benchmarks.service import Service
from tests.benchmarks.sides import OURS, VENDOR, Running, Side

__all__ = ["Bench", "Measured", "Row", "in_turns", "ours_alone", "subject"]

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
    is_absolute: bool = False
    """Whether bar and moonshot are what our side must stay within, in the row's unit."""


def subject(name: str, expected: Callable[[Service, Side], object]) -> Callable[[Bench], Measured | None]:
    """Measure microseconds of a subject (see ``subjects``) that answers as expected on both sides, before and after."""

    def measure(bench: Bench) -> Measured | None:
        bench.service.forget()
        for side in bench.workers:
            side.open(name)
            side.once()
        _same(bench, expected)
        vendor, ours = bench.workers
        measured = in_turns(bench.rounds, lambda: vendor.batch(BATCH) * 1e6, lambda: ours.batch(BATCH) * 1e6)
        _same(bench, expected)
        for side in bench.workers:
            side.close()
        return measured

    return measure


def ours_alone(name: str, expected: object) -> Callable[[Bench], Measured | None]:
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


def in_turns(rounds: int, vendor: Callable[[], float], ours: Callable[[], float]) -> Measured | None:
    """Measure both sides so many times, in turn; None for no times."""
    if not rounds:
        return None
    taken = [(vendor(), ours()) for _ in range(rounds)]
    return Measured(median(t for t, _ in taken), median(o for _, o in taken), median(t / o for t, o in taken))
