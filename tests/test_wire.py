"""The service's JSON, read and written without models."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schematic_core.errors import ParsingError
from schematic_core.values import Entitlement
from schematic_core.wire import decode_check, decode_checks, dumps, format_instant, loads, parse_instant, plain

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
VERDICT = {"flag": "exports", "value": True, "reason": "r"}


class Colour(Enum):
    RED = "red"


class Shade(str, Enum):
    DARK = "dark"


class Described:
    def model_dump(self, **options: object) -> dict[str, object]:
        assert options == {"mode": "json", "by_alias": True, "exclude_unset": True}
        return {"from": 1}


def answer(**data: object) -> bytes:
    return json.dumps({"data": {**VERDICT, **data}, "params": {}}).encode()


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-01-02T03:04:05Z", NOW),
        ("2026-01-02t03:04:05z", NOW),
        ("2026-01-02 03:04:05", NOW),
        ("2026-01-02T08:04:05+05:00", NOW),
        ("2026-01-01T22:34:05-04:30", NOW),
        ("2026-01-02T03:04:05.5Z", NOW.replace(microsecond=500_000)),
        ("2026-01-02T03:04:05.123456789Z", NOW.replace(microsecond=123_456)),
        ("2026-01-02T03:04:60Z", NOW.replace(second=59)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=timezone.utc)),
    ],
)
def test_instants_are_read_in_every_form_of_rfc_3339(text: str, instant: datetime) -> None:
    """Offsets, fractions, small letters, blanks and leap seconds are read; no offset means UTC."""
    assert parse_instant(text) == instant


@pytest.mark.parametrize(
    "text", [None, 5, "", "2026-13-02T03:04:05Z", "2026-01-02", "0001-01-01T00:00:00+01:00", "x2026-01-02T03:04:05Z"]
)
def test_what_is_no_instant_reads_as_none(text: object) -> None:
    """Anything else than an instant gives None and raises nothing."""
    assert parse_instant(text) is None


@pytest.mark.parametrize(
    ("instant", "text"),
    [
        (NOW, "2026-01-02T03:04:05Z"),
        (NOW.replace(tzinfo=None), "2026-01-02T03:04:05Z"),
        (NOW.astimezone(timezone(timedelta(hours=5))), "2026-01-02T08:04:05+05:00"),
        (NOW.astimezone(timezone(timedelta(seconds=53))), "2026-01-02T03:04:05Z"),
    ],
)
def test_instants_are_written_with_z_or_their_offset(instant: datetime, text: str) -> None:
    """UTC is written with Z, naive instants are UTC, and an offset that RFC 3339 cannot express becomes UTC."""
    assert format_instant(instant) == text


@given(st.datetimes(timezones=st.just(timezone.utc)))
def test_instants_survive_the_round_trip(instant: datetime) -> None:
    """What is written is read back as the same instant."""
    assert parse_instant(format_instant(instant)) == instant


def test_values_of_every_kind_have_a_json_form() -> None:
    """Containers, models, enums, instants, dates and identifiers are translated, at any depth and as the root."""
    value: dict[str, object] = {
        "map": MappingProxyType({"at": NOW}),
        "list": (Colour.RED, Shade.DARK, {UUID(int=1)}, frozenset({Decimal("1.50")})),
        "day": date(2026, 1, 2),
        "model": Described(),
        "none": None,
    }

    expected = {
        "map": {"at": "2026-01-02T03:04:05Z"},
        "list": ["red", "dark", ["00000000-0000-0000-0000-000000000001"], ["1.50"]],
        "day": "2026-01-02",
        "model": {"from": 1},
        "none": None,
    }
    assert plain(value) == expected
    assert json.loads(dumps(value)) == expected
    assert dumps(value).count(b" ") == 0


@pytest.mark.parametrize("value", [object(), Described])
def test_what_has_no_json_form_is_refused(value: object) -> None:
    """An unknown object, or a class in place of an instance, raises TypeError."""
    with pytest.raises(TypeError, match="cannot be sent as JSON"):
        dumps({"x": value})


def test_numbers_that_json_lacks_are_refused() -> None:
    """Infinity and NaN never leave."""
    with pytest.raises(ValueError, match="JSON"):
        dumps(float("nan"))


def test_too_deep_json_is_a_value_error() -> None:
    """Nesting beyond the interpreter's depth is refused like any other broken text."""
    with pytest.raises(ValueError, match="too deeply"):
        loads(b"[" * 200_000)


def test_a_whole_verdict_is_read() -> None:
    """Every published member arrives under its name, with its type."""
    body = answer(
        flag_id="flag_1", rule_id="rule_1", rule_type="plan_entitlement", company_id="comp_1", user_id="user_1",
        error="e", feature_usage=3, feature_allocation=10.0, feature_usage_event="made", feature_usage_period="all_time",
        feature_usage_reset_at="2026-02-01T00:00:00Z",
        entitlement={
            "feature_id": "feat_1", "feature_key": "exports", "value_type": "numeric", "allocation": 10, "usage": 3,
            "metric_reset_at": "2026-02-01T00:00:00Z", "credit_remaining": 2, "metric_period": "current_month",
        },
    )  # fmt: skip

    result = decode_check(body, "exports", NOW)

    reset = datetime(2026, 2, 1, tzinfo=timezone.utc)
    assert (result.value, result.reason, result.flag_key, result.flag_id) == (True, "r", "exports", "flag_1")
    assert (result.rule_id, result.rule_type, result.company_id) == ("rule_1", "plan_entitlement", "comp_1")
    assert (result.user_id, result.error, result.source, result.as_of) == ("user_1", "e", "api", NOW)
    assert (result.feature_usage, result.feature_allocation, result.feature_usage_event) == (3, 10, "made")
    assert (result.feature_usage_period, result.feature_usage_reset_at) == ("all_time", reset)
    assert result.entitlement == Entitlement(
        feature_id="feat_1", feature_key="exports", value_type="numeric", allocation=10, usage=3,
        metric_reset_at=reset, credit_remaining=2.0, metric_period="current_month",
    )  # fmt: skip


@pytest.mark.parametrize(
    "odd",
    [
        {"flag_id": 5, "entitlement": "none", "feature_usage": "3", "unknown": {}},
        {"entitlement": {"feature_id": "f", "feature_key": "k"}, "feature_usage": True, "feature_usage_reset_at": 7},
        {"feature_usage": 1.5, "feature_allocation": 1e999, "error": []},
    ],
)
def test_odd_optional_members_count_as_absent(odd: dict[str, Any]) -> None:
    """An optional member of the wrong type is dropped, an unknown one ignored; the verdict stands."""
    result = decode_check(answer(**odd), "exports", NOW)

    assert result.value is True
    assert (result.flag_id, result.entitlement, result.feature_usage, result.error) == (None, None, None, None)
    assert (result.feature_allocation, result.feature_usage_reset_at) == (None, None)


def test_a_number_beyond_floats_counts_as_absent() -> None:
    """An integer too large for any number of ours is dropped."""
    assert decode_check(answer(feature_usage=10**400), "exports", NOW).feature_usage is None


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff", b"<html>", b"[]", b"{}", b'{"data": []}', answer(value="true"), answer(reason=None), answer(flag=1)],
)
def test_an_unusable_verdict_is_a_parsing_error(body: bytes) -> None:
    """Without an object, a flag, a value and a reason there is no verdict; the status is kept."""
    with pytest.raises(ParsingError) as caught:
        decode_check(body, "exports", NOW, status_code=201)

    assert caught.value.status_code == 201


def test_all_verdicts_are_read_by_flag() -> None:
    """The bulk answer maps flag keys to verdicts and needs nothing beside ``flags``."""
    body = json.dumps({"data": {"flags": [VERDICT, {**VERDICT, "flag": "b", "value": False}]}}).encode()

    results = decode_checks(body, NOW)

    assert {flag: result.value for flag, result in results.items()} == {"exports": True, "b": False}


@pytest.mark.parametrize("flags", [None, {}, ["x"], [{"flag": "a"}]])
def test_an_unusable_bulk_answer_is_a_parsing_error(flags: object) -> None:
    """A list of complete verdicts or an error, nothing between."""
    with pytest.raises(ParsingError):
        decode_checks(json.dumps({"data": {"flags": flags}}).encode(), NOW)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_decoder(body: bytes) -> None:
    """Whatever arrives, there is a verdict or a ParsingError."""
    with suppress(ParsingError):
        decode_check(body, "exports", NOW)
