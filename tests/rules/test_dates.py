"""Dates in trait values (rules-engine.md section 7)."""

from __future__ import annotations

import pytest

from tests.rules.models import company, holds, trait, trait_condition


def is_read(text: str) -> bool:
    return holds(trait_condition("not_empty", "", "date"), company(traits=[trait(text, comparable_type="date")]))


def is_same(text: str, instant: str) -> bool:
    owner = company(traits=[trait(text, comparable_type="date")])
    return is_read(text) and holds(trait_condition("eq", instant, "date"), owner)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2024-01-15T21:59:40.162Z", "2024-01-15T21:59:40.162Z"),
        ("2024-01-15t21:59:40z", "2024-01-15T21:59:40Z"),
        ("2024-01-15T21:59:40+0200", "2024-01-15T19:59:40Z"),
        ("2024-01-15T21:59:40 +02:00", "2024-01-15T19:59:40Z"),
        ("2024-01-15T21:59:40.162+0200", "2024-01-15T19:59:40.162Z"),
        ("2024-01-15T21:59:40.5+02:00", "2024-01-15T19:59:40.5Z"),
        ("2024-01-15 21:59:40+02:00", "2024-01-15T21:59:40Z"),
        ("2024-01-15 21:59:40", "2024-01-15T21:59:40Z"),
        ("2024-01-15 21:59:40 EST", "2024-01-15T21:59:40Z"),
        ("2024-01-15 21:59:40UTC", "2024-01-15T21:59:40Z"),
        ("Mon Jan 15 2024 12:44:18 GMT-0500", "2024-01-15T17:44:18Z"),
        ("Mon Jan 15 2024 12:44:18 GMT -05: 00", "2024-01-15T17:44:18Z"),
        ("Mon Jan 15 2024 12:44:18 GMT\u22120500", "2024-01-15T17:44:18Z"),
        ("Mon Jan 15 2024 12:44:18 GMT-0561", "2024-01-15T12:44:18Z"),
        ("Mon Jan 15 2024 12:44:18 PST", "2024-01-15T12:44:18Z"),
        ("Mon Jan 15 2024 12:44:18", "2024-01-15T12:44:18Z"),
        ("2024-01-05T10:00:00+24:00", "2024-01-05T10:00:00Z"),
        ("2024-01-05T10:00:00-9959", "2024-01-05T10:00:00Z"),
        ("2024-01-15T21:59:40\u221202:00", "2024-01-15T23:59:40Z"),
        ("2024-01-15 21:59:40.1234567899Z", "2024-01-15T21:59:40Z"),
        ("2024-01-15t21:59:40.1234567899Z", "2024-01-15T21:59:40.123456789Z"),
    ],
)
def test_text_names_an_instant(text: str, instant: str) -> None:
    """The examples of section 7.3, and the same shapes with other zones."""
    assert is_same(text, instant)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        (" 2024- 1- 5   1:2: 3 X", "2024-01-05T01:02:03Z"),
        ("2024-01-151:02:03", "2024-01-15T01:02:03Z"),
        ("\u30002024-1-5\u00a01:2:3", "2024-01-05T01:02:03Z"),
        ("MonJan15 2024 12:44:18", "2024-01-15T12:44:18Z"),
        ("mON jAN 15 202412:44:18 GMT", "2024-01-15T12:44:18Z"),
        ("+2024-01-15 1:2:3", "2024-01-15T01:02:03Z"),
        ("+0000002024-01-15 1:2:3", "2024-01-15T01:02:03Z"),
        ("2024-1-5T1:2:3+0000", "2024-01-05T01:02:03Z"),
        ("2024-1-5T 1:2:3\t+00 :\u200700", "2024-01-05T01:02:03Z"),
    ],
)
def test_the_shapes_other_than_rfc_3339_are_lenient(text: str, instant: str) -> None:
    """White space, short numbers and signs as section 7.1 allows them."""
    assert is_same(text, instant)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2024-01-15",
        "2024-01-15T21:59:40",
        "2024-01-15T21:59:40.5+0200",
        "2024-01-15T21:59:40.1234+0200",
        "2024-01-15 13:52:16 UTC foo",
        "2024-01-15 13:52:16 UTC ",
        "Tue Jan 15 2024 12:44:18 GMT",
        " Mon Jan 15 2024 12:44:18",
        "Monday Jan 15 2024 12:44:18",
        "Mon January 15 2024 12:44:18",
        "Mon Jan 15 2024",
        "Mon Jan 15 2024 12:44:18 GMT-0500 (Eastern Standard Time)",
        "Mon, 15 Jan 2024 12:44:18 GMT",
        "2024-01-05T24:00:00Z",
        "2024-01-05 24:00:00",
        "2023-02-29T00:00:00Z",
        "2100-02-29 00:00:00",
        "2024-13-01 00:00:00",
        "2024-00-01 00:00:00",
        "2024-01-00 00:00:00",
        "2024-01-15 10:60:00",
        "2024-01-15 10:00:61",
        "20240-01-15 10:00:00",
        "262143-01-01 10:00:00",
        "+262143-01-01 10:00:00",
        "-262144-01-01 10:00:00",
        "+99999999999999999999999-01-01 10:00:00",
        "2024-01-15T10:00:00+00",
        "2024-01-15T10:00:00.123+0:00",
        "2024-01-15T10:00:00.123 Z",
        "2024-01-15T10:00:00+00:60",
        "2024-01-15T10:00:00.Z",
        "2024-1-05T10:00:00Z",
        "2024/01/15 10:00:00",
        "1705312800",
        "1705312800000",
        "2024-01-15_10:00:00Z",
        "2024 -01-15 10:00:00",
        "2024-01-15T10:00:00+0000 ",
        "2024-01-15T10:00:00gmt",
    ],
)
def test_text_is_no_date(text: str) -> None:
    """What section 7 does not list is unreadable, and so empty."""
    assert not is_read(text)
    assert holds(trait_condition("is_empty", "", "date"), company(traits=[trait(text, comparable_type="date")]))


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("", "0000-01-01T00:00:00Z"),
        ("-262143-01-01 00:00:00", "0000-01-01T00:00:00Z"),
        ("2024-01-15T23:59:59.999999999Z", "2024-01-15T23:59:60Z"),
        ("2024-01-15T23:59:60Z", "2024-01-16T00:00:00Z"),
        ("2024-01-15 23:59:60", "2024-01-15T23:59:60.5Z"),
        ("2024-01-15T00:00:00.000Z", "2024-01-15T00:00:00.001+0000"),
        ("9999-12-31T23:59:59Z", "+262142-12-31 23:59:59"),
    ],
)
def test_dates_compare_in_time(earlier: str, later: str) -> None:
    """Chronological, with what cannot be read before everything and leap seconds in their place."""
    owner = company(traits=[trait(earlier, comparable_type="date")])

    assert holds(trait_condition("lt", later, "date"), owner)
    assert holds(trait_condition("lte", later, "date"), owner)
    assert holds(trait_condition("ne", later, "date"), owner)
    assert not holds(trait_condition("gt", later, "date"), owner)
    assert not holds(trait_condition("gte", later, "date"), owner)


def test_two_unreadable_dates_are_equal() -> None:
    """Both sides that cannot be read are the same date."""
    assert holds(trait_condition("eq", "soon", "date"), company(traits=[trait("later", comparable_type="date")]))
