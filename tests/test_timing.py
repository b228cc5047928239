"""Waiting: how long, and when not at all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from schematic_core.timing import Backoff, Breaker


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_a_delay_is_anywhere_below_a_doubling_ceiling_with_a_cap(attempt: int, chance: float) -> None:
    delay = Backoff(1.0, 30.0, lambda: chance).delay(attempt)

    assert 0 <= delay <= min(30.0, 2.0 ** min(attempt, 10))


def test_five_failures_in_a_row_open_the_breaker_and_one_success_closes_it() -> None:
    breaker = Breaker(Backoff(1.0, 30.0, lambda: 0.5))
    for _ in range(4):
        breaker.failed(0.0)
    breaker.succeeded()
    for _ in range(4):
        breaker.failed(0.0)
    assert breaker.allows(0.0)

    breaker.failed(0.0)

    assert breaker.is_open
    assert not breaker.allows(0.5)
    breaker.succeeded()
    assert breaker.allows(0.5)


def test_an_open_breaker_lets_one_probe_through_at_a_time_with_growing_pauses() -> None:
    breaker = Breaker(Backoff(1.0, 30.0, lambda: 0.99), threshold=1)
    breaker.failed(0.0)

    probes = []
    for tenth in range(1000):
        now = tenth / 10
        if breaker.allows(now):
            probes.append(now)
            assert not breaker.allows(now)
            breaker.failed(now)

    pauses = [round(later - earlier, 3) for earlier, later in zip(probes, probes[1:], strict=False)]
    assert pauses == sorted(pauses)
    assert 1.0 <= pauses[0] < pauses[-1] <= 30.1


def test_asking_whether_it_blocks_takes_no_probe() -> None:
    breaker = Breaker(Backoff(1.0, 30.0, lambda: 0.0), threshold=1)
    breaker.failed(0.0)

    assert breaker.blocks(0.9)
    assert not breaker.blocks(1.0)
    assert breaker.allows(1.0)
    assert breaker.blocks(1.5)
