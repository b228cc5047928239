"""Deliveries that were genuine until one thing about them was changed; none may pass."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

from schematic_core.errors import WebhookSignatureError
from schematic_core.webhooks import WEBHOOK_SIGNATURE_HEADER, WEBHOOK_TIMESTAMP_HEADER, sign, verify_signature

__all__ = ["MUTATIONS", "false_accepts"]

_DELIVERIES = 1000  # genuine ones; each is changed many times
_HEX = "0123456789abcdef"
_Delivery = tuple[bytes, str, str]
"""Body, signature, timestamp."""


def _signature_digit(chance: random.Random, delivery: _Delivery) -> _Delivery:
    body, signature, timestamp = delivery
    place = chance.randrange(64)
    digit = chance.choice(_HEX.replace(signature[place], ""))
    return body, signature[:place] + digit + signature[place + 1 :], timestamp


def _signature_bit(chance: random.Random, delivery: _Delivery) -> _Delivery:
    body, signature, timestamp = delivery
    flipped = int(signature, 16) ^ (1 << chance.randrange(256))
    return body, f"{flipped:064x}", timestamp


def _signature_shape(chance: random.Random, delivery: _Delivery) -> _Delivery:
    body, signature, timestamp = delivery
    cut = chance.randrange(64)
    shapes = (
        signature[:cut],
        signature + chance.choice(_HEX),
        signature[cut:] + signature[:cut] if cut and signature[cut:] + signature[:cut] != signature else "",
        signature[:cut] + chance.choice(" \t\n-_:xg\u0661\xa0") + signature[cut + 1 :],
        "0" * 64,
        f"{chance.getrandbits(256):064x}",
    )
    return body, chance.choice(shapes), timestamp


def _timestamp(chance: random.Random, delivery: _Delivery) -> _Delivery:
    body, signature, timestamp = delivery
    other = int(timestamp) + (chance.randrange(1, 10**6) * chance.choice((1, -1)))
    shapes = (
        str(other),
        "0" + timestamp,
        timestamp + "0",
        timestamp[:-1],
        f" {timestamp}",
        f"{timestamp}.0",
        "-" + timestamp,
    )
    return body, signature, chance.choice(shapes)


def _body(chance: random.Random, delivery: _Delivery) -> _Delivery:
    body, signature, timestamp = delivery
    place = chance.randrange(len(body))
    changed = bytes([body[place] ^ (1 << chance.randrange(8))])
    shapes = (
        body[:place] + changed + body[place + 1 :],
        body[:place],
        body[:place] + bytes([chance.randrange(256)]) + body[place:] + b"x",
        body + b" ",
    )
    return chance.choice(shapes), signature, timestamp


def _moved_border(_chance: random.Random, delivery: _Delivery) -> _Delivery:
    """What is signed is body, plus sign, timestamp: a digit may not change sides."""
    body, signature, timestamp = delivery
    return body + b"+" + timestamp.encode(), signature, timestamp


MUTATIONS: tuple[Callable[[random.Random, _Delivery], _Delivery], ...] = (
    _signature_digit,
    _signature_bit,
    _signature_shape,
    _timestamp,
    _body,
    _moved_border,
)


def false_accepts(count: int, seed: int) -> tuple[list[_Delivery], Counter[str]]:
    """Verify ``count`` changed deliveries, without a clock, so that it is the signature that refuses.

    Returns:
        Those that passed, and the codes of those that did not. Any other exception is raised.
    """
    chance = random.Random(seed)
    genuine: list[tuple[str, _Delivery]] = []
    for _ in range(_DELIVERIES):
        secret, body = f"whsec_{chance.getrandbits(64):x}", chance.randbytes(chance.randrange(1, 400))
        headers = sign(body, secret, now=chance.randrange(10**9, 2 * 10**9))
        genuine.append((secret, (body, headers[WEBHOOK_SIGNATURE_HEADER], headers[WEBHOOK_TIMESTAMP_HEADER])))
    passed: list[_Delivery] = []
    codes: Counter[str] = Counter()
    for number in range(count):
        secret, delivery = chance.choice(genuine)
        body, signature, timestamp = MUTATIONS[number % len(MUTATIONS)](chance, delivery)
        try:
            verify_signature(body, signature, timestamp, secret, tolerance=None)
        except WebhookSignatureError as error:
            codes[error.code] += 1
        else:
            passed.append((body, signature, timestamp))
    return passed, codes
