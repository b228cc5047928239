"""Verifying raw bytes: what passes, what does not, and that nothing else than the one error comes out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers as StarletteHeaders
from starlette.requests import Request

from schematic_core import webhook_utils
from schematic_core.errors import ConfigurationError, WebhookSignatureError
from schematic_core.webhook_utils import (
    WEBHOOK_SIGNATURE_HEADER,
    WEBHOOK_TIMESTAMP_HEADER,
    compute_hex_signature,
    compute_signature,
    verify_signature,
    verify_webhook_signature,
)
from schematic_core.webhooks import sign, verify

SECRET = "whsec_test"
TIMESTAMP = "1767225600"
NOW = 1767225600.0
BODY = b'{"action":"test.send"}'
SIGNATURE = "f7b8d37d7432b02b6589fa10c6e6dcdeb6f529bae7ac697e69df9903fbf15f9f"
HEADERS = {WEBHOOK_SIGNATURE_HEADER: SIGNATURE, WEBHOOK_TIMESTAMP_HEADER: TIMESTAMP}


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(WebhookSignatureError) as caught:
        call()
    return caught.value.code


def test_the_published_vector_is_met() -> None:
    """The signature is HMAC-SHA256 over body, plus sign and timestamp."""
    assert compute_hex_signature(BODY, TIMESTAMP, SECRET) == SIGNATURE
    assert compute_signature(BODY.decode(), TIMESTAMP, SECRET).hex() == SIGNATURE


@pytest.mark.parametrize("secret", ["k", "k" * 64, "k" * 65, "schlüssel" * 20])
def test_keys_of_any_length_sign_as_the_standard_library_does(secret: str) -> None:
    """Keys longer than a block are hashed first, shorter ones padded."""
    import hashlib
    import hmac

    expected = hmac.new(secret.encode(), BODY + b"+" + TIMESTAMP.encode(), hashlib.sha256).digest()
    assert compute_signature(BODY, TIMESTAMP, secret) == expected


def test_names_of_the_contract_are_exported() -> None:
    """The module offers exactly the contract's names."""
    assert webhook_utils.__all__ == [
        "WEBHOOK_SIGNATURE_HEADER",
        "WEBHOOK_TIMESTAMP_HEADER",
        "WebhookSignatureError",
        "compute_hex_signature",
        "compute_signature",
        "verify_signature",
        "verify_webhook_signature",
    ]


@pytest.mark.parametrize("body", [BODY, BODY.decode(), bytearray(BODY), memoryview(BODY)])
def test_every_raw_form_of_a_body_is_verified(body: Any) -> None:
    """Bytes, text and views of bytes are all raw."""
    verify_signature(body, SIGNATURE, TIMESTAMP, SECRET, now=NOW)
    verify_signature(body, SIGNATURE.encode(), TIMESTAMP.encode(), SECRET, now=NOW)


@pytest.mark.parametrize(
    ("given_headers", "body", "code"),
    [
        ({}, BODY, "missing_header"),
        ({WEBHOOK_TIMESTAMP_HEADER: TIMESTAMP}, BODY, "missing_header"),
        ({WEBHOOK_SIGNATURE_HEADER: SIGNATURE}, BODY, "missing_header"),
        ({**HEADERS, WEBHOOK_SIGNATURE_HEADER: ""}, BODY, "missing_header"),
        ({**HEADERS, WEBHOOK_TIMESTAMP_HEADER.lower(): TIMESTAMP}, BODY, "malformed_header"),
        ({**HEADERS, WEBHOOK_SIGNATURE_HEADER: "z" * 64}, BODY, "malformed_header"),
        ({**HEADERS, WEBHOOK_SIGNATURE_HEADER: SIGNATURE[:62]}, BODY, "malformed_header"),
        ({**HEADERS, WEBHOOK_SIGNATURE_HEADER: " ".join(SIGNATURE)}, BODY, "malformed_header"),
        ({**HEADERS, WEBHOOK_SIGNATURE_HEADER: SIGNATURE[:60] + "    "}, BODY, "malformed_header"),
        ({**HEADERS, WEBHOOK_SIGNATURE_HEADER: "é" * 64}, BODY, "malformed_header"),
        ({**HEADERS, WEBHOOK_SIGNATURE_HEADER: 7}, BODY, "malformed_header"),
        ({**HEADERS, WEBHOOK_TIMESTAMP_HEADER: "now"}, BODY, "bad_timestamp"),
        ({**HEADERS, WEBHOOK_TIMESTAMP_HEADER: "-5"}, BODY, "bad_timestamp"),
        ({**HEADERS, WEBHOOK_TIMESTAMP_HEADER: "1767225600.0"}, BODY, "bad_timestamp"),
        ({**HEADERS, WEBHOOK_TIMESTAMP_HEADER: " 1767225600"}, BODY, "bad_timestamp"),
        ({**HEADERS, WEBHOOK_TIMESTAMP_HEADER: "١٧٦٧٢٢٥٦٠٠"}, BODY, "bad_timestamp"),
        ({**HEADERS, WEBHOOK_TIMESTAMP_HEADER: "9" * 5000}, BODY, "bad_timestamp"),
        ({**HEADERS, WEBHOOK_TIMESTAMP_HEADER: "1"}, BODY, "outside_tolerance"),
        ({**HEADERS, WEBHOOK_SIGNATURE_HEADER: "0" * 64}, BODY, "mismatch"),
        (HEADERS, BODY + b" ", "mismatch"),
        (HEADERS, {"action": "test.send"}, "malformed_body"),
        (HEADERS, 7, "malformed_body"),
        (HEADERS, "\ud800", "malformed_body"),
        (7, BODY, "malformed_header"),
        (None, BODY, "missing_header"),
        ("headers", BODY, "malformed_header"),
        ([7, ("one",)], BODY, "missing_header"),
    ],
)
def test_each_fault_has_its_code(given_headers: Any, body: Any, code: str) -> None:
    """Every bad input ends in the one error, whose code says what was wrong."""
    request = SimpleNamespace(headers=given_headers)
    assert refused(lambda: verify_webhook_signature(request, SECRET, body, now=NOW)) == code


@pytest.mark.parametrize("offset", [-300, 300])
def test_a_timestamp_at_the_edge_of_the_tolerance_passes(offset: int) -> None:
    """The tolerance is inclusive, in both directions."""
    verify_signature(BODY, SIGNATURE, TIMESTAMP, SECRET, now=NOW + offset)


@pytest.mark.parametrize("offset", [-301, 301])
def test_a_timestamp_outside_the_tolerance_is_refused(offset: int) -> None:
    """A recorded delivery cannot be replayed later, nor one from the future be kept for later."""
    call = lambda: verify_signature(BODY, SIGNATURE, TIMESTAMP, SECRET, now=NOW + offset)
    assert refused(call) == "outside_tolerance"


def test_the_tolerance_can_be_chosen_and_switched_off() -> None:
    """None checks no clock; a tolerance that is no number refuses instead of passing everything."""
    verify_signature(BODY, SIGNATURE, TIMESTAMP, SECRET, tolerance=None)
    verify_signature(BODY, SIGNATURE, TIMESTAMP, SECRET, tolerance=10.0, now=NOW + 10)
    call = lambda: verify_signature(BODY, SIGNATURE, TIMESTAMP, SECRET, tolerance=float("nan"), now=NOW)
    assert refused(call) == "outside_tolerance"


def test_the_default_tolerance_holds_with_four_arguments() -> None:
    """The contract's short form checks the clock too."""
    assert refused(lambda: verify_signature(BODY, SIGNATURE, TIMESTAMP, SECRET)) == "outside_tolerance"
    headers = sign(BODY, SECRET)
    verify_signature(BODY, headers[WEBHOOK_SIGNATURE_HEADER], headers[WEBHOOK_TIMESTAMP_HEADER], SECRET)


def test_now_may_be_an_aware_datetime_and_not_a_naive_one() -> None:
    """An instant without a zone would mean something else on each machine."""
    verify_signature(BODY, SIGNATURE, TIMESTAMP, SECRET, now=datetime.fromtimestamp(NOW, timezone.utc))
    with pytest.raises(ValueError, match="time zone"):
        verify_signature(BODY, SIGNATURE, TIMESTAMP, SECRET, now=datetime(2026, 1, 1))  # noqa: DTZ001


@pytest.mark.parametrize("secrets", [["new", SECRET], (SECRET, "old")])
def test_any_of_several_secrets_may_match(secrets: Any) -> None:
    """While a secret is replaced both are accepted."""
    verify_signature(BODY, SIGNATURE, TIMESTAMP, secrets, now=NOW)
    assert refused(lambda: verify_signature(BODY, SIGNATURE, TIMESTAMP, ["a", "b"], now=NOW)) == "mismatch"


@pytest.mark.parametrize("secret", ["", "  ", [], (), [""], ["good", ""], None, [None], b"bytes", 7, [["a"]]])
def test_an_empty_secret_is_a_wrong_configuration(secret: Any) -> None:
    """Verification never passes without a secret, whatever the signature."""
    with pytest.raises(ConfigurationError, match="webhook secret"):
        verify_signature(BODY, compute_hex_signature(BODY, TIMESTAMP, "x"), TIMESTAMP, secret, now=NOW)


def test_headers_are_found_in_any_case_and_form() -> None:
    """Mappings, pairs, bytes and framework headers all serve."""
    lower = {name.lower(): value for name, value in HEADERS.items()}
    raw = [(name.encode(), value.encode()) for name, value in lower.items()]
    other = {"X-Header-Of-The-Very-Same-Len": "x", **HEADERS}
    assert len("X-Header-Of-The-Very-Same-Len") == len(WEBHOOK_SIGNATURE_HEADER)
    forms: list[Any] = [HEADERS, other, lower, raw, dict(raw), StarletteHeaders(raw=raw), list(HEADERS.items())]
    for headers in forms:
        assert verify(BODY, headers, SECRET, now=NOW).type == "test.send"


def test_a_repeated_header_is_refused() -> None:
    """Two values leave open which of them a proxy looked at."""
    raw = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
    headers = StarletteHeaders(raw=[*raw, raw[0]])
    assert refused(lambda: verify(BODY, headers, SECRET, now=NOW)) == "malformed_header"


def test_requests_of_each_kind_give_their_body() -> None:
    """Django and plain objects have ``body``, Flask ``get_data``."""
    plain = SimpleNamespace(headers=HEADERS, body=BODY)
    flask = SimpleNamespace(headers=HEADERS, get_data=lambda: BODY)
    data = SimpleNamespace(headers=HEADERS, data=BODY)
    for request in (plain, flask, data):
        verify_webhook_signature(request, SECRET, now=NOW)


def test_a_request_with_an_asynchronous_body_says_what_to_do() -> None:
    """Starlette's body is a method, so it must be passed; it then passes."""
    raw = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]

    async def receive() -> Any:
        return {"type": "http.request", "body": BODY, "more_body": False}

    async def run() -> None:
        request = Request({"type": "http", "method": "POST", "headers": raw}, receive)
        with pytest.raises(WebhookSignatureError, match=r"body=await request\.body\(\)") as caught:
            verify_webhook_signature(request, SECRET, now=NOW)
        assert caught.value.code == "no_body"
        verify_webhook_signature(request, SECRET, await request.body(), now=NOW)

    asyncio.run(run())


def test_a_consumed_or_absent_body_is_named() -> None:
    """A body that a parser read first cannot be verified any more."""

    class Consumed:
        headers = HEADERS

        @property
        def body(self) -> bytes:
            raise RuntimeError("You cannot access body after reading from request's data stream")

    assert refused(lambda: verify_webhook_signature(Consumed(), SECRET, now=NOW)) == "no_body"
    assert refused(lambda: verify_webhook_signature(SimpleNamespace(headers=HEADERS), SECRET, now=NOW)) == "no_body"


@pytest.mark.parametrize(("body", "timestamp"), [(BODY, "١"), (BODY, 7), ({}, TIMESTAMP), ("\ud800", TIMESTAMP)])
def test_what_cannot_be_signed_is_refused(body: Any, timestamp: Any) -> None:
    """Computing a signature has the same one error."""
    refused(lambda: compute_hex_signature(body, timestamp, SECRET))


def test_the_error_tells_no_secret() -> None:
    """Neither secret nor signature nor body shows in what is raised."""
    with pytest.raises(WebhookSignatureError) as caught:
        verify_signature(b"private", "0" * 64, TIMESTAMP, SECRET, now=NOW)
    assert not any(word in repr(caught.value) for word in (SECRET, "private", "000000"))


@given(body=st.binary(max_size=200), secret=st.text(min_size=1).filter(str.strip), moment=st.integers(0, 10**12))
def test_what_is_signed_verifies(body: bytes, secret: str, moment: int) -> None:
    """Signing and verifying agree for any body and secret."""
    if any(0xD800 <= ord(c) <= 0xDFFF for c in secret):
        return
    headers = sign(body, secret, now=moment)
    verify_signature(
        body, headers[WEBHOOK_SIGNATURE_HEADER], headers[WEBHOOK_TIMESTAMP_HEADER], secret, now=float(moment)
    )


ANYTHING = st.one_of(
    st.none(), st.integers(), st.floats(), st.text(), st.binary(), st.booleans(), st.lists(st.text(), max_size=3)
)
HEADER_NAMES = st.sampled_from([WEBHOOK_SIGNATURE_HEADER, WEBHOOK_TIMESTAMP_HEADER, "Accept"])


@given(
    headers=st.one_of(
        ANYTHING,
        st.dictionaries(HEADER_NAMES, ANYTHING | st.just(SIGNATURE) | st.just(TIMESTAMP)),
        st.lists(st.tuples(HEADER_NAMES, ANYTHING)),
        st.lists(ANYTHING),
    ),
    body=ANYTHING | st.dictionaries(st.text(), st.integers()),
)
def test_no_input_raises_anything_else(headers: Any, body: Any) -> None:
    """Whatever arrives, the outcome is the one error."""
    for call in (
        lambda: verify_webhook_signature(SimpleNamespace(headers=headers, body=body), SECRET, now=NOW),
        lambda: verify_webhook_signature(SimpleNamespace(headers=HEADERS, body=BODY + b"x"), SECRET, body or b"x"),
        lambda: verify_webhook_signature(body, SECRET, now=NOW),
        lambda: verify_signature(body, headers, TIMESTAMP, SECRET, now=NOW),
        lambda: verify_signature(body, SIGNATURE, headers, SECRET, now=NOW),
        lambda: verify(body, headers, SECRET, now=NOW),
    ):
        with pytest.raises(WebhookSignatureError):
            call()


@given(body=st.binary() | st.just(b"\xff") | st.just(b"[" * 100_000))
def test_a_genuine_body_that_is_no_event_is_refused(body: bytes) -> None:
    """A signature proves who sent it, not that it is well formed."""
    assert refused(lambda: verify(body, sign(body, SECRET, now=NOW), SECRET, now=NOW)) == "malformed_body"
