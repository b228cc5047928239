"""The rows about DataStream."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

from tests.benchmarks.measuring import Bench, Measured, Row, in_turns, ours_alone, subject
from tests.benchmarks.scene import Scene
from tests.benchmarks.service import Service
from tests.benchmarks.sides import OURS, VENDOR, Side

__all__ = ["STREAM_ROWS"]

_BY_PLAN: list[object] = [True, "plan_entitlement", 37, 500]
_BY_RULE: list[object] = [True, "standard", None, None]
_MANY = 1_000


def _repeated(fixture: str, verdict: list[object], *, flags: int = 1, companies: int = 1) -> Callable[..., object]:
    """Expect a verdict about each company, and as many events of checks as there were."""

    def expected(service: Service, side: Side) -> object:
        return [*[verdict] * companies, {"recorded": service.events(Scene(side.root, fixture, flags).api_key)}]

    return expected


def _changed(fixture: str, *verdict: object) -> Callable[..., object]:
    """Expect a verdict, the usage sent last, and the events."""

    def expected(service: Service, side: Side) -> object:
        return [*verdict, True, {"recorded": service.events(Scene(side.root, fixture).api_key)}]

    return expected


def _updated(_service: Service, _side: Side) -> object:
    return "as sent last"


def _first_answer(flags: int, *, is_cold: bool = False) -> Callable[[Bench], Measured | None]:
    """Measure milliseconds from the start of an interpreter to the answer, with the compiled engine in a cache or not."""

    def measure(bench: Bench) -> Measured | None:
        def spent(side: Side) -> float:
            where = bench.service.url, bench.service.stream_url, str(flags if bench.rounds else min(flags, 20))
            with tempfile.TemporaryDirectory() as empty:
                answered, seconds = side.told("first_answer", *where, **({"XDG_CACHE_HOME": empty} if is_cold else {}))
                _expect(side, answered, _BY_PLAN)
                if is_cold and side is OURS and bench.rounds:
                    assert any(Path(empty).iterdir()), "wasmtime keeps its cache elsewhere: this was not cold"
            return seconds * 1e3

        spent(VENDOR), spent(OURS)
        return in_turns(bench.rounds, lambda: spent(VENDOR), lambda: spent(OURS))

    return measure


def _held(bench: Bench) -> Measured | None:
    """Measure KiB for each company held. Memory does not vary as time does: three rounds."""

    def taken(side: Side) -> float:
        count = 2_000 if bench.rounds else 100
        answered, _ = side.told("held", bench.service.url, bench.service.stream_url, str(count))
        _expect(side, answered["verdict"], _BY_PLAN)
        return float(answered["bytes"]) / 1024

    if not bench.rounds:
        taken(VENDOR), taken(OURS)
    return in_turns(min(3, bench.rounds), lambda: taken(VENDOR), lambda: taken(OURS))


def _stalled(during: str) -> Callable[[Bench], Measured | None]:
    """Measure the longest delay of an event loop, milliseconds.

    Of the rounds the best counts: what blocks the loop does so each time, and whatever else the machine does only adds.
    """

    def measure(bench: Bench) -> Measured | None:
        def longest(side: Side) -> float:
            where = bench.service.url, bench.service.stream_url, str(_MANY if bench.rounds else 20)
            answered, _ = side.told("stall", *where)
            _expect(side, answered["verdict"], [True, "plan_entitlement", 500])
            return float(answered[during])

        if not bench.rounds:
            longest(OURS)
            return None
        rounds = range(min(7, bench.rounds))
        return Measured(min(longest(VENDOR) for _ in rounds[:2]), min(longest(OURS) for _ in rounds), None)

    return measure


def _contended(bench: Bench) -> Measured | None:
    """Measure the p99 of checks, microseconds, ours alone."""

    def p99() -> float:
        answered, _ = OURS.told("contended", bench.service.url, bench.service.stream_url, "1")
        assert answered["wrong"] == 0, answered
        return float(answered["p99"])

    spent = [p99() for _ in range(min(5, bench.rounds) or 1)]
    return Measured(None, median(spent), None) if bench.rounds else None


def _expect(side: Side, answer: object, right: object) -> None:
    if answer != right:
        raise AssertionError(f"{side.root} answers {answer!r} instead of {right!r}")


_PLAN, _RULE = _repeated("realistic", _BY_PLAN), _repeated("trivial", _BY_RULE)
_PAIRS = _repeated("realistic", _BY_PLAN, flags=100, companies=5)
_USAGE, _NOTHING = _changed("realistic", True, "plan_entitlement", 500), _changed("trivial", False, None, None)

STREAM_ROWS = (
    Row("stream", "DataStream check, memoised, async, realistic", "us", 1000, 2000, subject("stream_check", _PLAN)),
    Row("stream-trivial", "same, trivial", "us", 250, 450, subject("stream_check_trivial", _RULE)),
    Row("stream-sync", "same, realistic, sync", "us", 1200, 2400, subject("stream_check_sync", _PLAN)),
    Row("stream-pairs", "same, 100,000 pairs at random", "us", 500, 1200, subject("stream_check_pairs", _PAIRS)),
    Row(
        "stream-sustained",
        "same, one pair, sender never idle",
        "us",
        None,
        None,
        ours_alone("stream_sustained", _BY_PLAN),
    ),
    Row("stream-fresh", "evaluated afresh, realistic", "us", 300, 1000, subject("stream_fresh", _USAGE)),
    Row("stream-fresh-trivial", "evaluated afresh, trivial", "us", 80, 250, subject("stream_fresh_trivial", _NOTHING)),
    Row("stream-contended", "p99, 16 threads and a loop, updates streaming", "us", None, None, _contended),
    Row("start-warm", "start to first local answer, warm compile cache", "ms", 4, 10, _first_answer(1)),
    Row("start-cold", "same, cold compile cache", "ms", 1.5, 4, _first_answer(1, is_cold=True)),
    Row("start-large", "1,000 realistic flags to first answer", "ms", 5, 10, _first_answer(_MANY)),
    Row("update", "company update, 10,000 held", "us", 40, 100, subject("stream_update", _updated)),
    Row("held", "memory per company held", "KiB", 3, 5, _held),
    Row("stall-start", "loop blocked at start, 9 MB of flags", "ms", 20, 5, _stalled("start"), is_absolute=True),
    Row("stall-updates", "loop blocked during updates", "ms", 20, 5, _stalled("updates"), is_absolute=True),
)
"""In the order of the table."""
