"""What callers may hand to `track` and `identify`, and what becomes of it."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from schematic_core.events.intake import (
    Unfit,
    check_identify_options,
    check_track,
    copy_company,
    copy_text,
    copy_traits,
)
from schematic_core.values import IdentifyOptions, TrackOptions


class Colour(str, Enum):
    RED = "red"


class Level(Enum):
    HIGH = 3


class Hostile:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("no")

    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("quantity", "whole"), [(None, None), (3, 3), (0, 0), (-2, -2), (3.0, 3), (Decimal(4), 4), (Fraction(4, 2), 2)]
)
def test_whole_quantities_of_any_type_are_taken(quantity: object, whole: int | None) -> None:
    """What is whole is sent as an integer, negative corrections too."""
    assert check_track("e", quantity, None) == ("e", whole, None)


@pytest.mark.parametrize("quantity", [0.5, float("nan"), float("inf"), True, "3", b"3", Decimal("1.5"), object(), [1]])
def test_other_quantities_are_refused(quantity: object) -> None:
    """Rounding would bill something else than what was reported."""
    with pytest.raises(Unfit, match="quantity"):
        check_track("e", quantity, None)


@pytest.mark.parametrize("event", [123, None, "", b"e", ["e"]])
def test_an_event_is_non_empty_text(event: object) -> None:
    """Anything else is refused."""
    with pytest.raises(Unfit, match="event"):
        check_track(event, None, None)


def test_a_text_enum_is_its_text() -> None:
    """The value is sent, not the member's name."""
    assert check_track(Colour.RED, None, None)[0] == "red"
    assert type(check_track(Colour.RED, None, None)[0]) is str


@pytest.mark.parametrize(
    "options",
    [
        {"idempotency_key": "k"},
        TrackOptions(idempotency_key=5),  # type: ignore[arg-type]
        TrackOptions(sent_at="now"),  # type: ignore[arg-type]
        TrackOptions(trusted_client_clock="yes"),  # type: ignore[arg-type]
        TrackOptions(backfill=1),  # type: ignore[arg-type]
        TrackOptions(lease_id=1),  # type: ignore[arg-type]
        TrackOptions(reservation_id=1),  # type: ignore[arg-type]
        TrackOptions(backfill=True),
        TrackOptions(backfill=True, sent_at=datetime(2026, 1, 1, tzinfo=timezone.utc), trusted_client_clock=False),
    ],
)
def test_wrong_options_are_refused(options: object) -> None:
    """A wrong clock could bill in another period, so nothing is guessed."""
    with pytest.raises(Unfit):
        check_track("e", None, options)


def test_right_options_are_kept() -> None:
    """They are frozen, so they need no copy."""
    options = TrackOptions("k", datetime(2026, 1, 1, tzinfo=timezone.utc), trusted_client_clock=True, backfill=False)

    assert check_track("e", None, options)[2] is options


def test_options_of_an_identify_are_checked() -> None:
    """None, or `IdentifyOptions` with a text key."""
    options = IdentifyOptions("k")

    assert check_identify_options(None) is None
    assert check_identify_options(options) is options
    with pytest.raises(Unfit):
        check_identify_options(TrackOptions())
    with pytest.raises(Unfit):
        check_identify_options(IdentifyOptions(5))  # type: ignore[arg-type]
    with pytest.raises(Unfit):
        check_identify_options(IdentifyOptions(prewarm="yes"))  # type: ignore[arg-type]
    with pytest.raises(Unfit):
        check_identify_options(IdentifyOptions(backfill=True))


def test_traits_become_json() -> None:
    """Instants, dates, UUIDs, Decimals and enum members have a sensible form; a None is kept."""
    traits = {
        "none": None,
        "at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=1))),
        "day": date(2026, 1, 2),
        "id": UUID(int=1),
        "price": Decimal("1.50"),
        "colour": Colour.RED,
        "level": Level.HIGH,
        "tags": ["a", ("b", 1)],
    }

    copied, unfit = copy_traits(traits)

    assert unfit == []
    assert copied == {
        "none": None,
        "at": "2026-01-02T03:04:05+01:00",
        "day": "2026-01-02",
        "id": "00000000-0000-0000-0000-000000000001",
        "price": "1.50",
        "colour": "red",
        "level": 3,
        "tags": ["a", ["b", 1]],
    }


def test_traits_are_copied_deeply() -> None:
    """What the caller changes afterwards does not reach the event."""
    tags = ["a"]

    copied, _ = copy_traits({"tags": tags})
    tags.append("b")

    assert copied == {"tags": ["a"]}


def test_traits_without_a_json_form_are_left_out_by_name() -> None:
    """Also hostile objects, names that are no text, and values that contain themselves."""
    knot: list[object] = []
    knot.append(knot)

    copied, unfit = copy_traits({"bytes": b"x", "hostile": Hostile(), "knot": knot, 5: "five", "good": 1})

    assert copied == {"good": 1}
    assert unfit == ["bytes", "hostile", "knot", "(int)"]


def test_traits_are_a_mapping() -> None:
    """None is no traits; anything else is refused."""
    assert copy_traits(None) == (None, [])
    with pytest.raises(Unfit, match="traits"):
        copy_traits(["a"])


def test_a_company_is_a_mapping_or_has_its_attributes() -> None:
    """The vendor's model and a dictionary mean the same."""
    parts = {"keys": {"id": 7}, "name": "Acme", "traits": {"region": "eu", "bad": b"x"}}
    expected = ({"keys": {"id": "7"}, "name": "Acme", "traits": {"region": "eu"}}, ["bad"])

    assert copy_company(parts) == expected
    assert copy_company(SimpleNamespace(**parts)) == expected
    assert copy_company({"keys": {"id": "a"}}) == ({"keys": {"id": "a"}}, [])
    assert copy_company(None) == (None, [])


@pytest.mark.parametrize(
    "company", [5, {}, {"keys": "a"}, {"keys": {"id": "a"}, "name": 5}, {"keys": {"id": "a"}, "traits": 5}]
)
def test_a_company_without_usable_parts_is_refused(company: object) -> None:
    """Keys are needed, the name is text, the traits are a mapping."""
    with pytest.raises(Unfit):
        copy_company(company)


def test_optional_text_is_text() -> None:
    """None stays None; anything else is refused under its name."""
    assert copy_text("name", None) is None
    assert copy_text("name", Colour.RED) == "red"
    with pytest.raises(Unfit, match="name must be text, not int"):
        copy_text("name", 5)
