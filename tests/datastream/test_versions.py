"""Versions give their document back to the engine when they are garbage, once, and not before."""

from __future__ import annotations

from schematic_core.datastream.document import Writer, members_of
from schematic_core.datastream.versions import EntityVersion, FlagVersion
from tests.datastream.frames import make, receive


def test_a_flag_gives_its_document_back_when_it_is_garbage() -> None:
    """The handle is released with the last reference."""
    released: list[object] = []
    flag = FlagVersion("flag_1", "exports", b"{}", "handle", released.append, default_value=True)

    assert released == []
    del flag

    assert released == ["handle"]


def test_an_entity_gives_its_document_back_when_it_is_garbage() -> None:
    """The handle is released with the last reference; a stamp that answers keep is none."""
    released: list[object] = []
    pairs = (("id", "a"),)
    version = EntityVersion(
        "company", "comp_1", pairs, b"{}", "handle", released.append, generation=1, confirmed_at=2.0, events=frozenset()
    )
    stamp = version.stamp

    assert released == []
    assert (version.asked_as, version.bumps, stamp.is_current, stamp.is_used) == (pairs, [], True, False)
    del version

    assert released == ["handle"]
    assert stamp.is_current


def test_a_text_we_wrote_is_taken_apart_without_reading_it() -> None:
    """Members come back as written, names and values of any kind included."""
    members = {"id": b'"a"', 'odd "name" \u00e9': b'[1,{"b":"}"}]', "": b"null"}
    writer = Writer()

    text, layout = writer.write(members)

    assert members_of(text, layout) == members_of(text, None) == members
    assert writer.write(members)[1].heads is layout.heads


def test_shapes_of_documents_are_not_kept_without_bound() -> None:
    """Members with ever new names cost no memory for ever; what was written stays readable."""
    writer = Writer()
    first = writer.write({"first": b"1"})

    for number in range(3000):
        writer.write({f"name {number}": b"1"})

    assert members_of(*first) == {"first": b"1"}
    assert len(writer._shapes) <= 1024


def test_sets_of_events_are_shared_and_not_kept_without_bound() -> None:
    """Companies with the same metrics share one set; ever new events are forgotten."""
    replica = make(max_entities=3000)
    metric = {
        "account_id": "",
        "environment_id": "",
        "company_id": "",
        "period": "all_time",
        "month_reset": "first_of_month",
    }
    for number in range(2100):
        row = {**metric, "event_subtype": f"event {number // 2}", "value": 1, "created_at": ""}
        receive(replica, "Company", "full", {"id": f"comp_{number}", "keys": {"id": str(number)}, "metrics": [row]})

    held = [replica.find("company", (("id", str(number)),)) for number in (2098, 2099)]

    assert isinstance(held[0], EntityVersion)
    assert isinstance(held[1], EntityVersion)
    assert held[0].events is held[1].events
    assert len(replica._of_entities._event_sets) <= 1024
