"""Calls made from arguments: names, paths, queries, bodies, options."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from enum import Enum
from uuid import UUID

import pytest

from schematic_core.api.call import Call, Endpoint
from schematic_core.api.endpoints import RESOURCES
from schematic_core.api.prepare import prepare
from schematic_core.errors import ConfigurationError

GET = Endpoint("things", "get", "GET", "/things/{thing_id}/parts/{part}", query=("ids", "keys", "on", "at", "rules"))
POST = Endpoint("things", "make", "POST", "/things", body=("name", "events", "idempotency_key"), required=("name",))


class Order(Enum):
    ASC = "asc"


def query(**arguments: object) -> list[tuple[str, str]]:
    return list(prepare(GET, ("a", "b"), arguments).query)


def body(**arguments: object) -> object:
    return json.loads(prepare(POST, (), arguments).body or b"")


@pytest.mark.parametrize(
    ("value", "segment"),
    [
        ("a", "a"),
        ("a/b", "a%2Fb"),
        ("a?limit=1", "a%3Flimit%3D1"),
        ("a#x", "a%23x"),
        ("../flags", "..%2Fflags"),
        ("%2e%2e", "%252e%252e"),
        ("é b", "%C3%A9%20b"),
        (5, "5"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
)
def test_a_path_argument_is_exactly_one_segment(value: object, segment: str) -> None:
    """No text reaches another path, query or fragment."""
    assert prepare(GET, (value, "b"), {}).path == f"/things/{segment}/parts/b"


@pytest.mark.parametrize("value", ["", ".", "..", "\ud800"])
def test_a_path_argument_that_servers_would_fold_is_refused(value: str) -> None:
    """Empty and dot segments, and text without UTF-8, raise an error that names the parameter."""
    with pytest.raises(ConfigurationError, match="part"):
        prepare(GET, ("a", value), {})


@pytest.mark.parametrize("value", [None, True, 1.5, b"a"])
def test_a_path_argument_of_another_type_is_refused(value: object) -> None:
    """Only text, whole numbers and UUIDs identify anything."""
    with pytest.raises(TypeError, match="thing_id"):
        prepare(GET, (value, "b"), {})


def test_path_arguments_go_by_position_or_name() -> None:
    """Both ways give the same call."""
    by_name = prepare(GET, ("a",), {"part": "b"})

    assert by_name == prepare(GET, ("a", "b"), {}) == prepare(GET, (), {"part": "b", "thing_id": "a"})


def test_a_renamed_path_argument_is_known_by_its_former_name() -> None:
    """The name of 1.2.0 still works, and beside the present one it is one too many."""
    endpoint = RESOURCES["plans"]["update_company_plans"]

    assert prepare(endpoint, (), {"company_plan_id": "c", "add_on_ids": []}).path == "/company-plans/c"
    with pytest.raises(TypeError, match="company_plan_id"):
        prepare(endpoint, (), {"company_plan_id": "c", "company_id": "c", "add_on_ids": []})


@pytest.mark.parametrize(
    ("args", "arguments", "text"),
    [
        (("a",), {}, "needs 'part'"),
        (("a", "b", "c"), {}, "2 positional"),
        (("a", "b"), {"part": "b"}, "two values for 'part'"),
        (("a", "b"), {"colour": "red"}, "unexpected argument 'colour'"),
    ],
)
def test_wrong_arguments_are_type_errors(args: tuple[object, ...], arguments: dict[str, object], text: str) -> None:
    """Methods made from the table complain as written ones do."""
    with pytest.raises(TypeError, match=text):
        prepare(GET, args, arguments)


def test_a_needed_member_must_be_given() -> None:
    """A body without a required member never leaves."""
    with pytest.raises(TypeError, match="needs 'name'"):
        prepare(POST, (), {})


def test_queries_repeat_lists_and_bracket_maps() -> None:
    """Lists repeat their name, maps put keys in brackets, None and empty lists vanish, order is kept."""
    assert query(ids=["a", "b"]) == [("ids", "a"), ("ids", "b")]
    assert query(ids="a") == [("ids", "a")]
    assert query(ids=[], on=None) == []
    assert query(keys={"id": "a&b", "n": 1}) == [("keys[id]", "a&b"), ("keys[n]", "1")]
    assert query(rules=[{"a": 1}, {"a": 2}]) == [("rules[a]", "1"), ("rules[a]", "2")]
    assert query(on=True, ids=Order.ASC) == [("ids", "asc"), ("on", "true")]
    assert query(on=False) == [("on", "false")]
    assert query(at=datetime(2026, 1, 2, tzinfo=timezone.utc)) == [("at", "2026-01-02T00:00:00Z")]


def test_left_out_and_null_differ_in_bodies() -> None:
    """What is left out is absent, an explicit None is sent as null."""
    assert body(name="x") == {"name": "x"}
    assert body(name=None) == {"name": None}


def test_a_call_without_arguments_for_a_body_sends_none() -> None:
    """A GET has no body, an empty argument list of a body is an object."""
    assert prepare(GET, ("a", "b"), {}).body is None
    assert prepare(RESOURCES["features"]["check_flag"], ("f",), {}).body == b"{}"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, False),
        ({"idempotency_key": None}, False),
        ({"idempotency_key": "k"}, True),
        ({"events": [{"idempotency_key": "k"}, {"idempotency_key": "l"}]}, True),
        ({"events": [{"idempotency_key": "k"}, {}]}, False),
        ({"events": ["?"]}, False),
    ],
)
def test_an_idempotency_key_makes_a_post_repeatable(arguments: dict[str, object], expected: bool) -> None:
    """Only a POST that the service can recognise again may be repeated; in a batch every event must be."""
    assert prepare(POST, (), {"name": "x", **arguments}).repeatable is expected


def test_reads_and_upserts_are_repeatable() -> None:
    """The method decides unless the endpoint says otherwise."""
    assert prepare(GET, ("a", "b"), {}).repeatable
    assert prepare(RESOURCES["companies"]["upsert_company"], (), {"keys": {}}).repeatable


def options(**given: object) -> Call:
    return prepare(POST, (), {"name": "x", "request_options": given})


def test_request_options_shape_the_call() -> None:
    """Time, repeats and additions are taken over; additions win."""
    call = options(
        timeout_in_seconds=20,
        max_retries=1,
        additional_headers={"X-Trace": "1"},
        additional_query_parameters={"limit": 5, "ids": ["a"]},
        additional_body_parameters={"name": "y", "more": 1},
    )

    assert (call.timeout, call.max_retries, call.headers) == (20.0, 1, {"X-Trace": "1"})
    assert call.query == (("limit", "5"), ("ids", "a"))
    assert json.loads(call.body or b"") == {"name": "y", "more": 1}


def test_unset_request_options_mean_the_defaults() -> None:
    """None is the same as leaving an option, or all of them, out."""
    unset = options(timeout=None, timeout_in_seconds=None, max_retries=None, additional_headers=None)

    assert unset == options() == prepare(POST, (), {"name": "x", "request_options": None})
    assert options(additional_query_parameters=None, additional_body_parameters=None) == unset


def test_timeout_wins_and_may_be_a_timedelta() -> None:
    """``timeout`` goes before the vendor's older name, in seconds or as a timedelta."""
    assert options(timeout=timedelta(seconds=1.5), timeout_in_seconds=9).timeout == 1.5


def test_additional_body_parameters_create_a_body() -> None:
    """On a call without a body they become it."""
    call = prepare(GET, ("a", "b"), {"request_options": {"additional_body_parameters": {"x": 1}}})

    assert call.body == b'{"x":1}'


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (["timeout"], "mapping"),
        ({"tiemout": 1}, "unknown request option 'tiemout'"),
        ({"timeout": 0}, "timeout must be"),
        ({"timeout": "5"}, "timeout must be"),
        ({"timeout_in_seconds": float("inf")}, "timeout_in_seconds must be"),
        ({"timeout": True}, "timeout must be"),
        ({"max_retries": -1}, "max_retries"),
        ({"max_retries": True}, "max_retries"),
        ({"max_retries": 1.0}, "max_retries"),
        ({"additional_headers": [("a", "b")]}, "additional_headers must be a mapping"),
        ({"additional_headers": {"X-A": "top-secret\n"}}, "X-A"),
        ({"additional_headers": {"X-A": 5}}, "X-A"),
    ],
)
def test_wrong_request_options_are_named(given: object, text: str) -> None:
    """The error names the option and never shows a header's value."""
    with pytest.raises(ConfigurationError, match=text) as caught:
        prepare(POST, (), {"name": "x", "request_options": given})

    assert "top-secret" not in str(caught.value)


def test_calls_hide_what_may_be_secret() -> None:
    """Headers, query and body, which may hold keys and traits, stay out of the repr."""
    call = prepare(
        POST,
        (),
        {
            "name": "top-secret",
            "request_options": {
                "additional_headers": {"A": "top-secret"},
                "additional_query_parameters": {"q": "top-secret"},
            },
        },
    )

    assert "top-secret" not in repr(call)


@pytest.mark.parametrize("name", ["X\r\nY", "\u00e9", "", "a b", 1, "Content-Length", "transfer-encoding"])
def test_names_of_headers_that_cannot_be_sent_are_refused(name: object) -> None:
    """Before anything leaves, and naming the option."""
    with pytest.raises(ConfigurationError, match="additional_headers"):
        prepare(POST, (), {"name": "x", "request_options": {"additional_headers": {name: "x"}}})


def test_a_query_that_cannot_be_encoded_is_refused() -> None:
    """Half a surrogate pair has no form in a URL."""
    with pytest.raises(ConfigurationError, match="at holds"):
        query(at="\ud800")
