"""Keys: what may address an entity, and that no two questions share a row."""

from __future__ import annotations

import enum
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schematic_core.checks.question import ask, is_written_as, raw_question
from schematic_core.keys import InvalidKeys, check_row, normalise, pairs
from schematic_core.values import CheckFlagOptions, EventUsage


class Colour(str, enum.Enum):
    RED = "red"


class Number(enum.IntEnum):
    SEVEN = 7


def test_text_numbers_and_uuids_become_text_and_none_is_not_given() -> None:
    given_keys: dict[str, Any] = {
        "a": "x",
        "b": 7,
        "c": uuid.UUID(int=1),
        "d": None,
        "e": Colour.RED,
        "f": Number.SEVEN,
    }

    assert normalise(given_keys) == {"a": "x", "b": "7", "c": str(uuid.UUID(int=1)), "e": "red", "f": "7"}
    assert type(normalise({"e": Colour.RED})["e"]) is str
    assert normalise(None) == {}


@pytest.mark.parametrize(
    "keys", ["text", 7, ["id"], {"id": True}, {"id": 1.0}, {"id": b"x"}, {"id": {}}, {7: "x"}, {"id": 10**5000}]
)
def test_anything_else_is_refused(keys: Any) -> None:
    with pytest.raises(InvalidKeys):
        normalise(keys)


keys = st.dictionaries(st.text(), st.text(), max_size=4)
questions = st.tuples(st.text(), keys, keys)


@given(questions, questions)
def test_two_questions_share_a_row_only_when_they_are_the_same(
    one: tuple[str, dict[str, str], dict[str, str]], other: tuple[str, dict[str, str], dict[str, str]]
) -> None:
    rows = [check_row("ns", flag, pairs(company), pairs(user)) for flag, company, user in (one, other)]

    assert (rows[0] == rows[1]) is (one == other)


def test_two_environments_never_share_a_row() -> None:
    assert check_row("one", "f", (), ()) != check_row("two", "f", (), ())


def test_a_row_has_a_fixed_length_and_safe_characters() -> None:
    row = check_row("ns", "flag with spaces\n" * 100, (("k\r\n", "v"),), ())

    assert len(row) == 80
    assert row.isascii()
    assert " " not in row


@given(keys)
def test_the_order_of_keys_does_not_matter(given_keys: dict[str, str]) -> None:
    backwards = dict(reversed(given_keys.items()))

    assert ask("f", given_keys, None, None).subject == ask("f", backwards, None, None).subject


@pytest.mark.parametrize(
    "flag_key,options",
    [
        (7, None),
        (None, None),
        ("f", {"timeout": 3}),
        ("f", CheckFlagOptions(timeout="3")),  # type: ignore[arg-type]
        ("f", CheckFlagOptions(usage=float("nan"))),
        ("f", CheckFlagOptions(usage=True)),
        ("f", CheckFlagOptions(event_usage={"event_subtype": "x"})),  # type: ignore[arg-type]
        ("f", CheckFlagOptions(event_usage=EventUsage("x", float("inf")))),
        ("f", CheckFlagOptions(credit_cost=[1])),  # type: ignore[arg-type]
        ("f", CheckFlagOptions(credit_cost={"c": "1"})),  # type: ignore[dict-item]
    ],
)
def test_a_question_asked_wrongly_is_refused(flag_key: Any, options: Any) -> None:
    with pytest.raises(InvalidKeys):
        ask(flag_key, {"id": "a"}, None, options)


def test_only_plain_text_may_be_found_by_its_raw_form() -> None:
    """True equals 1 and an enum member equals its text, so a raw form with such values could stand for another's."""

    def may(flag_key: Any, company: Any, user: Any) -> bool:
        return is_written_as(ask(flag_key, company, user, None), raw_question(flag_key, company, user))

    assert may("f", {"id": "a"}, None)
    assert may("f", {"z": "1", "id": "a"}, {})
    assert not may("f", {"id": 1}, None)
    assert not may("f", None, {"id": Colour.RED})
    assert not may("f", {Colour.RED: "a"}, None)
    assert not may(Colour.RED, None, None)


def test_a_raw_form_that_says_something_else_by_now_stands_for_nothing() -> None:
    """Callers may change a mapping while its check is under way."""
    question = ask("f", {"id": "a"}, None, None)
    assert not is_written_as(question, raw_question("f", {"id": "b"}, None))
    assert not is_written_as(question, raw_question("f", {"id": "a", "slug": "x"}, None))
    assert not is_written_as(question, raw_question("f", None, {"id": "a"}))
