"""Refused signatures: as fast when the first digit is wrong as when the last one is."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from time import perf_counter

from schematic_core.errors import WebhookSignatureError
from schematic_core.webhooks import WEBHOOK_SIGNATURE_HEADER, WEBHOOK_TIMESTAMP_HEADER, sign, verify_signature
from tests.benchmarks.measuring import Bench, Measured, Row

__all__ = ["MISMATCH_ROWS", "Mismatches", "mismatches"]

_SECRET = "whsec_benchmark"
_BODY = b'{"action": "test.send", "body": {"text": "'.ljust(997, b"x") + b'"}}'
_SECTION = 500


@dataclass(frozen=True)
class Mismatches:
    """Microseconds to refuse a signature whose first digit is wrong, and one whose last digit is; and how they compare."""

    early: float
    late: float
    ratio: float
    """Median of early by late, turn by turn: 1 when nothing tells them apart."""


def mismatches(rounds: int) -> Mismatches:
    """Measure both in turns, ``rounds`` times.

    Raises:
        AssertionError: a wrong signature was accepted.
    """
    early, late = (_wrong_at(place) for place in (0, 63))
    _refuse(early, _SECTION), _refuse(late, _SECTION)
    turns = [(_refuse(early, _SECTION), _refuse(late, _SECTION)) for _ in range(rounds)]
    return Mismatches(
        early=median(first for first, _ in turns),
        late=median(last for _, last in turns),
        ratio=median(first / last for first, last in turns),
    )


def _wrong_at(place: int) -> tuple[str, str]:
    headers = sign(_BODY, _SECRET, now=time.time())
    signature = headers[WEBHOOK_SIGNATURE_HEADER]
    digit = "0" if signature[place] != "0" else "1"
    return signature[:place] + digit + signature[place + 1 :], headers[WEBHOOK_TIMESTAMP_HEADER]


def _refuse(delivery: tuple[str, str], count: int) -> float:
    """Give the microseconds of one refusal."""
    refused = 0
    started = perf_counter()
    for _ in range(count):
        try:
            verify_signature(_BODY, *delivery, _SECRET)
        except WebhookSignatureError as error:
            refused += error.code == "mismatch"
    spent = perf_counter() - started
    assert refused == count, "a wrong signature was accepted"
    return spent / count * 1e6


def _early(bench: Bench) -> Measured | None:
    measured = mismatches(20 * bench.rounds or 1)
    return Measured(None, measured.early, None) if bench.rounds else None


def _late(bench: Bench) -> Measured | None:
    """Beside the time stands the ratio of early to late."""
    measured = mismatches(20 * bench.rounds or 1)
    return Measured(None, measured.late, measured.ratio) if bench.rounds else None


MISMATCH_ROWS = (
    Row("refuse-early", "webhook refused, first digit wrong, 1 KB", "us", None, None, _early),
    Row("refuse-late", "same, last digit (ratio: first to last)", "us", None, None, _late),
)
"""To stand behind the other rows of webhooks."""
