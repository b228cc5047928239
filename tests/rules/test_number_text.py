"""Numbers in the reasons of spend policies: the shortest decimal, ties away from zero (rules-engine.md section 10.4)."""

from __future__ import annotations

import json
import math
import random
import struct
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from itertools import islice

import pytest

from schematic_core.rules import Engine
from tests.rules.models import company, condition, flag, policy, rule

SEED = 20231114
NUMBERS = 2000


def neighbours(value: float) -> tuple[int, int, bool]:
    """The shortest decimals around a positive double, ``digits * 10**exponent`` from below; whether they tie."""
    exponent = Decimal(repr(value)).normalize().as_tuple().exponent
    assert isinstance(exponent, int)
    # The length comes from repr, which digits are right is found out here.
    scaled = Fraction(value) / Fraction(10) ** exponent
    below = math.floor(scaled)
    reading_back = [digits for digits in (below, below + 1) if float(f"{digits}e{exponent}") == value]
    assert reading_back
    return below, exponent, len(reading_back) == 2 and scaled - below == Fraction(1, 2)


def expected(value: float) -> str:
    """The text of a double that is not negative."""
    if value == 0:
        return "0"
    below, exponent, is_tie = neighbours(value)
    if is_tie:
        return format(Decimal(f"{below + 1}e{exponent}"), "f")
    return format(Decimal(repr(value)).normalize(), "f")


def ties(source: random.Random) -> Iterator[float]:
    """Doubles exactly halfway between two shortest decimals: ``odd / 2**(places + 1)``, its last decimal being a 5."""
    while True:
        places = source.randint(1, 24)
        low, high = 10**15 // 5**places, 2 * 10**17 // 5**places
        odd = source.randint(low, min(high, 2**53)) | 1
        value = math.ldexp(odd, -places - 1)
        if odd < 2**53 and neighbours(value)[2]:
            yield value


def any_doubles(source: random.Random) -> Iterator[float]:
    """Doubles of every size, sizes being equally likely, and powers of two with those beside them."""
    while True:
        (value,) = struct.unpack("<d", struct.pack("<Q", source.getrandbits(63)))
        if math.isfinite(value):
            yield value
        power = math.ldexp(1.0, source.randint(-1074, 1023))
        yield from (power, math.nextafter(power, 0.0), math.nextafter(power, math.inf))


def quarters(source: random.Random) -> Iterator[float]:
    """Amounts with few binary places, which are often halfway between decimals too long to be the shortest."""
    while True:
        yield source.getrandbits(source.randint(1, 53)) / 2 ** source.randint(0, 20)


def writer(engine: Engine) -> Callable[[float], str]:
    """How an engine writes the cost of a draw."""
    tested = condition("credit", credit_id="cr", consumption_rate=1)
    asked = engine.put_flag(json.dumps(flag(rule("standard", tested))).encode())
    owner = engine.put_company(json.dumps(company(credit_spend_policies=[policy(-1)])).encode())

    def write(cost: float) -> str:
        options = engine.put_options(json.dumps({"credit_cost": {"cr": cost}}).encode())
        assert options is not None
        reason = engine.check(asked, owner, None, options, now_ms=0).reason
        engine.drop(options)
        return reason.removeprefix("A draw of ").split(" ")[0]

    return write


@pytest.mark.parametrize("doubles", [ties, any_doubles, quarters])
def test_numbers_are_the_shortest_decimals_and_ties_go_away_from_zero(
    safe_engine: Engine, doubles: Callable[[random.Random], Iterator[float]]
) -> None:
    """Against a model in exact fractions, on the committed module and on the one with overflow checks."""
    values = list(islice(doubles(random.Random(SEED)), NUMBERS))

    for engine in (Engine(), safe_engine):
        write = writer(engine)
        wrong = [(value, write(value)) for value in values if write(value) != expected(value)]
        assert not wrong, wrong[:5]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (900719925474099.25, "900719925474099.3"),
        (900719925474099.75, "900719925474099.8"),
        (2.9442520141601562, "2.9442520141601563"),
        (0.5, "0.5"),
        (2.5, "2.5"),
        (5e-324, "0." + "0" * 323 + "5"),
        (2.0**53, "9007199254740992"),
        (1.7976931348623157e308, "17976931348623157" + "0" * 292),
    ],
)
def test_limits_are_written_like_costs(number: float, text: str) -> None:
    """Negative ones away from zero too."""
    asked = json.dumps(flag(rule("standard", condition("credit", credit_id="cr")))).encode()
    owner = json.dumps(company(credit_spend_policies=[policy(-number)])).encode()

    reason = Engine().evaluate(asked, owner, None, b'{"credit_cost": {"cr": 0}}', now_ms=0).reason

    assert reason == f"A draw of 0 credits exceeds the company limit of -{text} credits per request"
