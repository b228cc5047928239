"""Documents meant to do harm: each ends in a typed error, and the engine goes on."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest

from schematic_core.errors import EngineError
from schematic_core.rules import Engine, check
from tests.rules.corpus import cases
from tests.rules.models import NOW, company, condition, flag, policy, rule

MIB = 1 << 20
PIECES = [
    *[b"{", b"}", b"[", b"]", b'"', b"\\", b",", b":", b"null", b"true", b"-0", b"1e999", b"1" * 400, b"\\ud800"],
    *[b"\xff", b"\xed\xa0\x80", b"\x00", b"[" * 200, b'{"a":' * 200, b'"id":""', b"\\u0000", b"-9223372036854775809"],
]


def assert_still_answers(engine: Engine) -> None:
    known = flag(rule("standard", condition("company", resource_ids=["co_1"])))
    documents = (json.dumps(known).encode(), json.dumps(company()).encode())

    assert engine.evaluate(*documents, now_ms=0).reason == 'Matched standard rule "Pro" (rule_1)'


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An engine of its own, that must be well at the end and hold nothing."""
    engine = Engine()
    yield engine
    assert_still_answers(engine)
    assert engine.stats().entities == 0


def mutated(chance: random.Random, text: bytes) -> bytes:
    mutant = bytearray(text)
    for _ in range(chance.choice([1, 1, 2, 8])):
        at = chance.randrange(len(mutant) + 1)
        until = min(len(mutant), at + chance.choice([0, 1, 2, 30]))
        kind = chance.randrange(4)
        if kind == 0:
            mutant[at:until] = chance.choice(PIECES)
        elif kind == 1:
            mutant[at:until] = bytes([chance.randrange(256)])
        elif kind == 2:
            mutant[at:until] = b""
        else:
            start = chance.randrange(len(mutant) + 1)
            mutant[at:at] = mutant[start : start + chance.choice([3, 40, 400])]
    return bytes(mutant)


def fuzz(engine: Engine, seed: int, count: int) -> int:
    """Put mutants of corpus documents. Gives how many were refused; anything but a refusal or an answer fails."""
    chance = random.Random(seed)
    refused = 0
    for case in islice(cases(), count):
        texts = [case.flag.encode(), case.company.encode(), case.user.encode()]
        spoiled = chance.randrange(3)
        texts[spoiled] = mutated(chance, texts[spoiled])
        code = code_of_refusal(engine, texts, case.now_ms)
        assert code != "trapped", case.number
        refused += code is not None
        if code is not None and refused % 50 == 0:
            assert_still_answers(engine)
    return refused


def code_of_refusal(engine: Engine, texts: list[bytes], now_ms: int) -> str | None:
    try:
        engine.evaluate(*texts, now_ms=now_ms)
    except EngineError as error:
        return error.code
    return None


def test_mutants_are_refused_or_answered(engine: Engine) -> None:
    """Spliced, cut and overwritten documents never trap."""
    assert fuzz(engine, seed=1, count=3000) > 1000


def test_mutants_do_not_overflow(safe_engine: Engine) -> None:
    """The same with a build that traps on overflow and bad indexes."""
    assert fuzz(safe_engine, seed=2, count=2000) > 700


def test_truncated_documents_are_refused(engine: Engine) -> None:
    """At every byte."""
    text = json.dumps(flag(rule("standard", condition("plan", resource_ids=["é", "\\"])))).encode()

    for size in range(len(text)):
        with pytest.raises(EngineError) as caught:
            engine.evaluate(text[:size], now_ms=0)
        assert caught.value.code in ("malformed", "encoding", "missing")


@pytest.mark.parametrize("source", ["x" * (100 * MIB), b"x" * (100 * MIB), bytearray(9 * MIB), "é" * (5 * MIB)])
def test_huge_texts_are_refused_without_reaching_the_module(source: Any) -> None:
    """By their length alone; the memory of the module does not grow."""
    began = time.monotonic()

    with pytest.raises(EngineError, match="larger than 8 MiB") as caught:
        check(flag(), source, now=NOW)

    assert caught.value.code == "too_large"
    assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    "document",
    [
        b'{"id":"' + b"x" * (8 * MIB - 100) + b'"}',
        b'{"zz":' + b"[" * (4 * MIB) + b"]" * (4 * MIB - 10) + b"}",
        b'{"zz":' + b'{"a":' * MIB + b"1" + b"}" * MIB + b"}",
        b"[" * (8 * MIB),
        b"-" * (8 * MIB),
        b"1" * (8 * MIB),
        b'"' + b"\\" * (8 * MIB - 1),
        b'{"credit_spend_policies":[' + b"{}," * (2 * MIB) + b"{}]}",
        b'{"plan_ids":[' + b'"",' * (2 * MIB) + b'""]}',
        b'{"credit_balances":{' + b'"":1,' * (1 * MIB) + b'"":1}}',
        b'{"keys":{' + b",".join(b'"%d":""' % n for n in range(600_000)) + b"}}",
    ],
    ids=["string", "nesting", "objects", "brackets", "minus", "digits", "escapes", "policies", "list", "map", "keys"],
)
def test_bombs_are_refused_in_bounded_time(engine: Engine, document: bytes) -> None:
    """Just below the size limit, with the most work for each byte."""
    began = time.monotonic()

    with pytest.raises(EngineError) as caught:
        engine.evaluate(json.dumps(flag()).encode(), document, now_ms=0)

    assert caught.value.code != "trapped"
    assert time.monotonic() - began < 20


def test_large_honest_documents_are_answered(engine: Engine) -> None:
    """Tens of thousands of ids and balances: sorting and searching stay cheap."""
    ids = [f"co_{number}" for number in range(50_000)]
    asked = flag(rule("standard", condition("company", resource_ids=ids), condition("credit", credit_id="cr_999")))
    owner = company(id="co_49999", credit_balances={f"cr_{number}": 1 for number in range(50_000)})
    documents = (json.dumps(asked).encode(), json.dumps(owner).encode())

    assert engine.evaluate(*documents, now_ms=0).value


def test_a_check_that_takes_too_long_is_stopped(engine: Engine) -> None:
    """Thousands of draws against thousands of policies run out of fuel; the next question is answered."""
    draws = [condition("credit", "gt", credit_id="cr", consumption_rate=0.5, trait_value="") for _ in range(20_000)]
    asked = flag(*[rule("standard", condition_groups=[{"conditions": draws}])])
    owner = company(credit_balances={"cr": 1}, credit_spend_policies=[policy(9) for _ in range(60_000)])
    documents = (json.dumps(asked).encode(), json.dumps(owner).encode())
    held = engine.put_flag(json.dumps(flag()).encode())

    with pytest.raises(EngineError) as caught:
        engine.evaluate(*documents, now_ms=0)

    assert caught.value.code == "trapped"
    assert_still_answers(engine)
    with pytest.raises(EngineError) as stale:
        engine.check(held, now_ms=0)
    assert stale.value.code == "stale_handle"


def test_a_full_memory_refuses_and_keeps_answering() -> None:
    """What is held stays good, and room made is used again."""
    engine = Engine(memory_limit=128 * MIB)
    big = json.dumps(company(plan_ids=[f"plan_{number}" for number in range(20_000)])).encode()
    asked = engine.put_flag(json.dumps(flag(rule("standard", condition("plan", resource_ids=["plan_7"])))).encode())
    held = []

    def fill() -> None:
        for _ in range(1000):
            held.append(engine.put_company(big))  # noqa: PERF401 - what was held before the failure counts

    with pytest.raises(EngineError) as caught:
        fill()

    assert caught.value.code == "out_of_memory"
    assert held
    assert all(engine.check(asked, handle, now_ms=0).value for handle in held)
    last = held.pop()
    assert last is not None
    engine.drop(last)
    assert engine.check(asked, engine.put_company(big), now_ms=0).value
