"""Nothing passes that another implementation of HMAC would refuse, and nothing is refused that it would pass."""

from __future__ import annotations

import ast
import hashlib
import hmac
import inspect
import json
import os
import random
import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schematic_core.client import Schematic
from schematic_core.errors import WebhookSignatureError
from schematic_core.webhooks import (
    WEBHOOK_SIGNATURE_HEADER,
    WEBHOOK_TIMESTAMP_HEADER,
    Inbox,
    Router,
    compute_hex_signature,
    sign,
    signing,
    verify,
    verify_signature,
)
from tests.webhooks.mutations import MUTATIONS, false_accepts

SECRET = "whsec_test"
NOW = 1767225600
CLIENT = Schematic("key", offline=True)
MUTATED = int(os.environ.get("SCHEMATIC_MUTATIONS", "30000"))
"""``SCHEMATIC_MUTATIONS=1000000 pytest tests/webhooks/test_forgeries.py -k mutated`` is the whole proof."""


def independent(body: bytes, timestamp: str, secret: str) -> str:
    """Compute the signature from RFC 2104, with nothing of ours and nothing of the standard library's `hmac`."""
    key = secret.encode()
    key = (hashlib.sha256(key).digest() if len(key) > 64 else key) + b"\0" * 64
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in key[:64]) + body + b"+" + timestamp.encode()).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in key[:64]) + inner).hexdigest()


def test_thousands_of_deliveries_agree_with_independent_computations() -> None:
    """Any body, secret and timestamp, headers in any case and among others: signed and verified as elsewhere."""
    chance = random.Random(20260101)
    for number in range(5000):
        body = chance.randbytes(chance.choice((0, 1, 63, 64, 65, 200, chance.randrange(3000))))
        secret = "".join(chance.choices("aZ0_-+ß漢\U0001f511", k=chance.randrange(1, 80)))
        timestamp = str(chance.randrange(10**12))
        expected = independent(body, timestamp, secret)
        library = hmac.new(secret.encode(), body + b"+" + timestamp.encode(), hashlib.sha256).hexdigest()
        assert compute_hex_signature(body, timestamp, secret) == expected == library
        verify_signature(body, expected, timestamp, secret, tolerance=None)
        headers = {
            chance.choice((str, str.lower, str.upper))(name): value
            for name, value in (
                ("Content-Type", "application/json"),
                (WEBHOOK_TIMESTAMP_HEADER, timestamp),
                (f"X-{number}", "x"),
                (WEBHOOK_SIGNATURE_HEADER, expected),
            )
        }
        if number % 10 == 0:
            envelope = json.dumps({"action": f"a.{number}"}).encode()
            headers = sign(envelope, secret, now=int(timestamp)) | {"X-Other": "x"}
            assert verify(envelope, headers, [f"{secret}x", secret], now=int(timestamp)).type == f"a.{number}"


def test_no_mutated_delivery_passes() -> None:
    """Changed signatures, timestamps and bodies are all refused, each with a code, and with nothing but the one error."""
    passed, codes = false_accepts(MUTATED, seed=5)

    assert passed == []
    assert sum(codes.values()) == MUTATED
    assert set(codes) == {"mismatch", "malformed_header", "bad_timestamp"}
    assert codes["mismatch"] > MUTATED / 2


def test_every_mutation_changes_something() -> None:
    """Otherwise the proof would prove nothing."""
    chance = random.Random(1)
    headers = sign(b"body", SECRET, now=NOW)
    delivery = (b"body", headers[WEBHOOK_SIGNATURE_HEADER], headers[WEBHOOK_TIMESTAMP_HEADER])
    for mutate in MUTATIONS:
        assert all(mutate(chance, delivery) != delivery for _ in range(500))


def test_a_secret_more_or_less_changes_the_answer() -> None:
    """A signature by one secret passes with exactly that one among those configured."""
    body, headers = b"{}", sign(b"{}", SECRET, now=NOW)
    signature, timestamp = headers[WEBHOOK_SIGNATURE_HEADER], headers[WEBHOOK_TIMESTAMP_HEADER]
    verify_signature(body, signature, timestamp, ["a", "b", SECRET], now=NOW)
    for others in ("a", ["a", "b"], [SECRET + " "], [SECRET.upper()], [SECRET[:-1]]):
        with pytest.raises(WebhookSignatureError):
            verify_signature(body, signature, timestamp, others, now=NOW)


# -- constant time


def mutated_at(place: int) -> str:
    signature = compute_hex_signature(b"body", str(NOW), SECRET)
    return signature[:place] + ("0" if signature[place] != "0" else "1") + signature[place + 1 :]


def outcome_of(signature: str, secrets: Any = SECRET) -> str:
    try:
        verify_signature(b"body", signature, str(NOW), secrets, now=NOW)
    except WebhookSignatureError as error:
        return error.code
    return "passed"


def test_compare_digest_on_whole_digests_is_the_only_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    """It sees 32 bytes on both sides, once for each secret, wherever the first difference is and whichever secret matches."""
    compared: list[tuple[object, object]] = []
    genuine = hmac.compare_digest

    def watched(ours: Any, given_digest: Any) -> bool:
        compared.append((ours, given_digest))
        return genuine(ours, given_digest)

    monkeypatch.setattr(hmac, "compare_digest", watched)
    right = compute_hex_signature(b"body", str(NOW), SECRET)
    for signature, secrets, outcome in (
        (mutated_at(0), SECRET, "mismatch"),
        (mutated_at(63), SECRET, "mismatch"),
        (right, SECRET, "passed"),
        (right, [SECRET, "b", "c"], "passed"),
        (right, ["b", "c", SECRET], "passed"),
        (mutated_at(31), ["b", SECRET, "c"], "mismatch"),
    ):
        compared.clear()
        assert outcome_of(signature, secrets) == outcome
        assert len(compared) == (1 if isinstance(secrets, str) else len(secrets))
        assert all(type(side) is bytes and len(side) == 32 for pair in compared for side in pair)


def executed(call: Callable[[], object]) -> list[tuple[str, int]]:
    """List every instruction of ours that a call runs, in order."""
    instructions: list[tuple[str, int]] = []

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        if not frame.f_code.co_filename.endswith(("webhooks/signing.py", "schematic_core/errors.py")):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            instructions.append((frame.f_code.co_name, frame.f_lasti))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return instructions


def test_the_same_instructions_run_wherever_the_first_difference_is() -> None:
    """Instruction by instruction, so that no comparison of ours can end early; also with several secrets."""
    for secrets in (SECRET, ["a", SECRET, "b"]):
        outcome_of(mutated_at(0), secrets)  # the keys are hashed once
        paths = [executed(partial(outcome_of, mutated_at(place), secrets)) for place in range(64)]
        assert len(paths[0]) > 100
        assert all(path == paths[0] for path in paths)
    right = compute_hex_signature(b"body", str(NOW), SECRET)
    orders = ([SECRET, "a", "b"], ["a", SECRET, "b"], ["a", "b", SECRET])
    paths = [executed(partial(outcome_of, right, order)) for order in orders]
    assert paths[0] == paths[1] == paths[2]


def test_the_code_compares_nothing_else_with_a_signature() -> None:
    """Comparisons in the module are of lengths, types, and the clock; each is listed here."""
    tree = ast.parse(inspect.getsource(signing))
    compared = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Compare)]
    assert sorted(compared) == sorted(
        [
            "len(text) <= _MAX_TIMESTAMP_DIGITS",
            "tolerance is not None",
            "abs((time.time() if now is None else _epoch(now)) - int(text)) <= tolerance",
            "now is None",
            "now is None",
            "len(given) != _DIGEST_BYTES",
            "len(text) != 2 * _DIGEST_BYTES",
            "len(key) <= _BLOCK_BYTES",
            "now.tzinfo is None",
        ]
    )


# -- fuzzing

NAMES = st.sampled_from([WEBHOOK_SIGNATURE_HEADER, WEBHOOK_TIMESTAMP_HEADER, "Content-Type", ""]) | st.text(max_size=5)
VALUES = st.text(max_size=70) | st.from_regex(r"[0-9a-fA-F]{64}", fullmatch=True) | st.just(str(NOW))


@settings(max_examples=400, deadline=None)
@given(
    body=st.binary(max_size=300) | st.text(max_size=50).map(lambda text: json.dumps({"action": text}).encode()),
    headers=st.dictionaries(NAMES, VALUES, max_size=5) | st.lists(st.tuples(NAMES, VALUES), max_size=5),
)
def test_every_unsigned_input_is_a_400(body: bytes, headers: Any) -> None:
    """Never a 500, never a handler."""
    router, ran = Router(), list[object]()
    router.on("*")(ran.append)
    acknowledgement = Inbox(SECRET, None, router).receive_sync(body, headers, now=NOW)
    assert (acknowledgement.status, ran) == (400, [])


ODD = st.sampled_from(
    [
        b"",
        b"\xff",
        b"{",
        b"[]",
        b"null",
        b"[" * 5000,
        b'{"a":' * 3000,
        b'{"action":' + b"9" * 5000 + b"}",
        b'{"action":"\\ud800"}',
        b'{"action":NaN}',
        b'{"action":"a","action":5}',
        b'{"action":["company"]}',
        b'\xef\xbb\xbf{"action":"a"}',
    ]
)


@settings(max_examples=400, deadline=None)
@given(body=st.binary(max_size=200) | ODD | st.text().map(str.encode))
def test_every_signed_body_that_is_no_event_is_a_400(body: bytes) -> None:
    """Who has the secret may still send rubbish."""
    assert Inbox(SECRET, None, Router()).receive_sync(body, sign(body, SECRET, now=NOW), now=NOW).status == 400


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("\ud800")
ENVELOPES = st.fixed_dictionaries(
    {"action": st.sampled_from(["company.updated", "user.deleted", "company.override.created", "flag.created", "a\n"])},
    optional={
        "company_id": SCALARS,
        "feature_id": SCALARS,
        "body": SCALARS
        | st.lists(SCALARS, max_size=2)
        | st.dictionaries(
            st.sampled_from(["id", "company_id", "company", "keys"]),
            SCALARS | st.lists(st.dictionaries(st.sampled_from(["key", "value"]), SCALARS), max_size=3),
        ),
    },
)


@settings(max_examples=400, deadline=None)
@given(envelope=ENVELOPES)
def test_every_signed_event_is_handled(envelope: Any) -> None:
    """Whatever its members are; a client of ours takes what is to be dropped."""
    body = json.dumps(envelope).encode()
    acknowledgement = Inbox(SECRET, CLIENT, Router()).receive_sync(body, sign(body, SECRET, now=NOW), now=NOW)
    assert acknowledgement.status == 200
