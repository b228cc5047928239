"""Frames: what is read from them, whatever they hold, and what is written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schematic_core.datastream.contract import DataStreamBaseReq, DataStreamReq, EntityType, MessageType
from schematic_core.datastream.messages import Element, Garbled, Message, decode, entity_request, flags_request
from tests.support.strategies import trees

DEEP = "[" * 100_000 + "]" * 100_000


def test_a_frame_about_a_company_is_read() -> None:
    """The example of the protocol's description; the data keeps its own bytes."""
    message = decode(
        '{"entity_type": "rulesengine.Company", "message_type": "partial", "entity_id": "comp_9",'
        ' "data": {"plan_ids" : ["plan_team"], "é": 1.0}, "stream_id": "1770000000123-4"}'
    )

    assert message == Message(
        "rulesengine.Company",
        "partial",
        "comp_9",
        Element({"plan_ids": ["plan_team"], "é": 1.0}, '{"plan_ids" : ["plan_team"], "é": 1.0}'.encode()),
        "1770000000123-4",
    )
    assert not message.is_array
    assert list(message.elements()) == []


@pytest.mark.parametrize("space", ["", " ", "\r\n\t "])
def test_an_array_is_walked_element_by_element(space: str) -> None:
    """Each element comes with its own text, wherever the data stands in the frame and whatever stands between."""
    array = f'[{space}{{"key": "a"}}{space},{space}"x,]"{space},{space}null{space}]'
    frame = f'{space}{{{space}"data"{space}:{space}{array}{space},"entity_type":"rulesengine.Flags"}}{space}'

    message = decode(frame.encode())

    assert message.entity_type == "rulesengine.Flags"
    assert message.is_array
    assert message.data is None
    assert list(message.elements()) == [
        Element({"key": "a"}, b'{"key": "a"}'),
        Element("x,]", b'"x,]"'),
        Element(None, b"null"),
    ]


@pytest.mark.parametrize("array", ["[]", "[ ]"])
def test_an_empty_array_is_not_null(array: str) -> None:
    """No flags is another thing than no information."""
    assert decode(f'{{"data": {array}}}').is_array
    assert list(decode(f'{{"data": {array}}}').elements()) == []
    assert not decode('{"data": null}').is_array


@pytest.mark.parametrize("frame", ["{}", '{"data": null}', '{"entity_type": 7, "message_type": null, "entity_id": 7}'])
def test_what_is_not_sent_is_absent(frame: str) -> None:
    """Absent, null and of another type than the contract's: all the same."""
    assert decode(frame) == Message("", "")


@pytest.mark.parametrize(
    ("pagination", "expected"),
    [
        ('{"has_more": true, "page": 1, "total": 3}', (True, 1)),
        ('{"has_more": false, "page": 2}', (False, 2)),
        ('{"page": true}', (False, None)),
        ('{"has_more": "yes"}', (False, None)),
        ("{}", (False, None)),
        ("null", (None, None)),
        ("[1]", (None, None)),
    ],
)
def test_only_has_more_says_that_pages_follow(pagination: str, expected: tuple[bool | None, int | None]) -> None:
    """A page without it is the last, as Go leaves out what is false."""
    message = decode(f'{{"pagination": {pagination}}}')

    assert (message.has_more, message.page) == expected


def test_the_last_of_several_members_of_one_name_wins() -> None:
    """As everywhere in JSON."""
    message = decode('{"data": [1], "entity_type": "a", "data": {"b": 1}, "entity_type": "c"}')

    assert (message.entity_type, message.data, message.is_array) == ("c", Element({"b": 1}, b'{"b": 1}'), False)


@pytest.mark.parametrize(
    "frame",
    [
        "",
        " ",
        "[]",
        "null",
        "7",
        '"text"',
        "{",
        "{]",
        '{"a"',
        '{"a"}',
        '{"a":',
        '{"a":}',
        '{"a":1',
        '{"a":1,',
        '{"a":1,}',
        '{"a":1 "b":2}',
        '{"a":1}}',
        '{"a":1} x',
        '{"a":tru}',
        '{"a":"open}',
        '{"a":"\t"}',
        '{"a\t":1}',
        "{a:1}",
        '{"data":[',
        '{"data":[1',
        '{"data":[1}',
        '{"data":[1,]}',
        '{"data":[,1]}',
        '{"data":[1 2]}',
        '{"data":[]',
        f'{{"a": {DEEP[:-1]}',
        f'{{"a": {DEEP[:100_000]}',
        '{"a": "\ud800", "data": "\ud800"}',
        b"\xff",
        b'{"a": "\xc3"}',
    ],
)
def test_what_cannot_be_read_is_garbled(frame: str | bytes) -> None:
    """Whatever is wrong, it is one kind of error, and nothing of the frame is in its text."""
    with pytest.raises(Garbled) as caught:
        decode(frame)

    assert "open" not in str(caught.value)
    assert len(str(caught.value)) < 80


def test_one_element_nested_too_deeply_spoils_no_other() -> None:
    """It is given without a value, with its text, brackets in strings notwithstanding."""
    deep = f'{{"a": "]}}\\"", "b": {DEEP}}}'

    message = decode(f'{{"data": [{{"key": "a"}}, {deep}, {{"key": "c"}}], "extra": {deep}}}')

    assert [element.value for element in message.elements()] == [{"key": "a"}, None, {"key": "c"}]
    assert list(message.elements())[1].text == deep.encode()


def test_one_number_of_too_many_digits_spoils_no_other() -> None:
    """Python turns only so many digits into a whole number; beyond, the value is read as a float."""
    message = decode(f'{{"data": [1, {"9" * 10_000}, [{"9" * 10}, {"9" * 10_000}]]}}')

    assert [element.value for element in message.elements()] == [1, float("inf"), [9999999999, float("inf")]]


def test_an_array_made_by_hand_is_checked_while_it_is_walked() -> None:
    """Messages from elsewhere may hold a broken array: what comes before the break is given."""
    elements = Message("rulesengine.Flags", "full", array="[1, 2 3]").elements()

    assert next(elements).value == 1
    assert next(elements).value == 2
    with pytest.raises(Garbled):
        next(elements)


def test_the_representation_shows_no_data() -> None:
    """Messages may be logged: traits and keys of customers must not be."""
    assert "secret" not in repr(decode('{"data": {"a": "secret"}}'))
    assert "secret" not in repr(decode('{"data": ["secret"]}'))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (flags_request(None), {"action": "start", "entity_type": "rulesengine.Flags"}),
        (flags_request(500), {"action": "start", "entity_type": "rulesengine.Flags", "page_size": 500}),
        (
            entity_request("company", (("id", "ä"), ("slug", '"'))),
            {"action": "start", "entity_type": "rulesengine.Company", "keys": {"id": "ä", "slug": '"'}},
        ),
        (
            entity_request("user", (("id", "\ud800"),)),
            {"action": "start", "entity_type": "rulesengine.User", "keys": {"id": "\ud800"}},
        ),
    ],
)
def test_requests_are_wrapped_in_data(text: str, expected: dict[str, Any]) -> None:
    """One object, its only member ``data``, in characters that every socket takes."""
    assert json.loads(text) == {"data": expected}
    assert text.isascii()


def test_the_contracts_names_equal_their_wire_values() -> None:
    """Text enums: a member may stand wherever its text may."""
    assert {EntityType.COMPANY: 1}["rulesengine.Company"] == 1  # type: ignore[index] # equal, which mypy denies
    assert MessageType("reload") is MessageType.RELOAD
    assert DataStreamBaseReq(DataStreamReq(EntityType.FLAGS)).data.action == "start"


JSON = trees(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    st.text(max_size=3),
)
ENVELOPES = st.dictionaries(
    st.sampled_from(["data", "entity_type", "message_type", "entity_id", "stream_id", "pagination", "x"]), JSON
)


@given(st.text() | st.binary() | st.text('{}[]":,\\ ndat01', max_size=30).map('{"data":'.__add__))
def test_decoding_raises_nothing_but_garbled(frame: str | bytes) -> None:
    """Whatever text or bytes arrive, they are read or refused, and what is read is what JSON reads."""
    try:
        message = decode(frame)
    except Garbled:
        return

    assert read(message) == json.loads(frame).get("data")


@given(ENVELOPES, st.sampled_from([None, 1]), st.booleans(), st.booleans())
def test_decoding_agrees_with_json(
    envelope: dict[str, Any], indent: int | None, is_ascii: bool, is_bytes: bool
) -> None:
    """Every valid frame is read as JSON reads it, and the texts of its data read the same again."""
    text = json.dumps(envelope, indent=indent, ensure_ascii=is_ascii)

    message = decode(text.encode() if is_bytes else text)

    assert read(message) == envelope.get("data")
    elements = [message.data] if message.data is not None else list(message.elements())
    assert all(json.loads(element.text) == element.value for element in elements)


@given(ENVELOPES, st.data())
def test_part_of_a_frame_is_garbled(envelope: dict[str, Any], data: st.DataObject) -> None:
    """A frame that ends early is never taken for a whole one."""
    text = json.dumps(envelope)
    end = data.draw(st.integers(0, len(text) - 1))

    with pytest.raises(Garbled):
        decode(text[:end])


def read(message: Message) -> Any:
    """Give all of the data."""
    if message.is_array:
        return [element.value for element in message.elements()]
    return None if message.data is None else message.data.value


def test_a_member_without_its_colon_is_garbled() -> None:
    """Wherever it stands."""
    with pytest.raises(Garbled):
        decode('{"entity_type" "rulesengine.Company"}')


def test_elements_are_values() -> None:
    """Equal ones have the same hash."""
    assert len({Element(1, b"1"), Element(1, b"1"), Element(2, b"2")}) == 2


def test_a_name_may_be_written_with_escapes() -> None:
    """It is the same name."""
    assert decode('{"entity\\u005ftype": "rulesengine.User"}').entity_type == "rulesengine.User"
