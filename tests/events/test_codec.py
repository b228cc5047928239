"""Events as JSON, in both forms, with golden samples of the wire."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any, Union

import pytest

from schematic_core.events.codec import Codec, assemble, plain_event
from schematic_core.events.intake import Unfit
from schematic_core.events.values import FlagCheckRecord, IdentifyRecord, TrackRecord
from schematic_core.values import CheckResult, IdentifyOptions, TrackOptions

AT = 1782892800.25
Written = Union[TrackRecord, IdentifyRecord, FlagCheckRecord]
TRACK: TrackRecord = (
    "track",
    7,
    AT,
    "invoice_sent",
    {"account_ref": "north-7"},
    {"uid": "u5"},
    {"region": "eu"},
    3,
    None,
)


def codec(**changes: Any) -> Codec:
    return Codec(**{"form": "capture", "api_key": "sk_x", "token": "t0", **changes})


def written(record: Written, **changes: Any) -> Any:
    data, unfit = codec(**changes).encode(record)
    assert unfit == []
    return json.loads(data)


def test_a_track_in_the_form_of_the_capture_host() -> None:
    """The key is repeated, the type is called ``type``, and the JSON is compact."""
    data, _ = codec().encode(TRACK)

    assert data == (
        b'{"api_key":"sk_x","type":"track","body":{"event":"invoice_sent","company":{"account_ref":"north-7"},'
        b'"user":{"uid":"u5"},"traits":{"region":"eu"},"quantity":3},'
        b'"idempotency_key":"t0-7","sent_at":"2026-07-01T08:00:00.250Z"}'
    )


def test_a_track_in_the_form_of_the_rest_endpoint() -> None:
    """There the type is called ``event_type`` and no key is in the body."""
    event = written(TRACK, form="rest")

    assert event.pop("event_type") == "track"
    assert event == {name: value for name, value in written(TRACK).items() if name not in ("api_key", "type")}


def test_unset_members_are_left_out() -> None:
    """Neither empty maps nor absent values reach the wire."""
    assert written(("track", 0, AT, "e", {}, None, None, None, None))["body"] == {"event": "e"}


def test_a_null_trait_is_data() -> None:
    """It clears the trait and is sent."""
    assert written(("track", 0, AT, "e", None, None, {"a": None}, None, None))["body"]["traits"] == {"a": None}


def test_options_of_a_track_win() -> None:
    """The caller's idempotency key, instant and clock are those that are sent."""
    when = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)
    options = TrackOptions(idempotency_key="job-88", sent_at=when, trusted_client_clock=False, backfill=False)

    event = written((*TRACK[:8], options), trusted_client_clock=True)

    assert event["idempotency_key"] == "job-88"
    assert event["sent_at"] == "2026-05-01T12:00:00Z"
    assert event["trusted_client_clock"] is False
    assert event["backfill"] is False


def test_empty_options_change_nothing() -> None:
    """Options without members leave key and instant as they would be."""
    assert written((*TRACK[:8], TrackOptions())) == written(TRACK)


@pytest.mark.parametrize("options", [None, TrackOptions(idempotency_key="k")])
def test_the_clients_clock_is_trusted_when_the_settings_say_so(options: TrackOptions | None) -> None:
    """The setting speaks for every event that does not speak for itself."""
    record: TrackRecord = (*TRACK[:8], options)

    assert written(record, trusted_client_clock=True)["trusted_client_clock"] is True
    assert "trusted_client_clock" not in written(record)


def test_an_identify_carries_user_and_company() -> None:
    """Keys of the user on top, the company as an object."""
    company: dict[str, object] = {"keys": {"account_ref": "north-7"}, "name": "North", "traits": {}}
    traits: dict[str, object] = {"role": "owner"}
    event = written(("identify", 3, AT, {"uid": "u5"}, company, "Kim", traits, None))

    assert event["type"] == "identify"
    assert event["idempotency_key"] == "t0-3"
    assert event["body"] == {"keys": {"uid": "u5"}, "name": "Kim", "traits": {"role": "owner"}, "company": company}


def test_an_identify_with_its_own_key_and_little_else() -> None:
    """Absent parts are left out."""
    event = written(("identify", 3, AT, {"uid": "u5"}, None, None, None, IdentifyOptions(idempotency_key="mine")))

    assert event["idempotency_key"] == "mine"
    assert event["body"] == {"keys": {"uid": "u5"}}


def test_a_flag_check_needs_no_idempotency_key() -> None:
    """It reports the answer and what was asked, and nothing that is absent."""
    result = CheckResult(value=True, reason="plan", flag_key="exports", flag_id="flag_3", company_id="comp_9")

    full = written(("flag_check", 1, AT, result, {"id": "acme"}, {"id": "ada"}, True))
    bare = written(("flag_check", 1, AT, CheckResult(value=False, reason="r", flag_key="f"), {}, {}, False))

    assert "idempotency_key" not in full
    assert full["sent_at"] == "2026-07-01T08:00:00.250Z"
    assert full["body"] == {
        "flag_key": "exports",
        "value": True,
        "reason": "plan",
        "flag_id": "flag_3",
        "company_id": "comp_9",
        "req_company": {"id": "acme"},
        "req_user": {"id": "ada"},
        "preflight": True,
    }
    assert bare["body"] == {"flag_key": "f", "value": False, "reason": "r"}


def test_instants_of_different_seconds_differ() -> None:
    """The memory of the last second's text does not outlive it."""
    one = codec()
    instants = [
        json.loads(one.encode((*TRACK[:2], AT + late, *TRACK[3:]))[0] or b"")["sent_at"] for late in (0, 0.5, 61)
    ]

    assert instants == ["2026-07-01T08:00:00.250Z", "2026-07-01T08:00:00.750Z", "2026-07-01T08:01:01.250Z"]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), object(), b"\xff", pytest.param(10**5000, id="huge")])
def test_a_trait_that_json_cannot_carry_is_left_out(bad: object) -> None:
    """The event and its other traits survive; the name is told, the value is not."""
    data, unfit = codec().encode(("track", 0, AT, "e", None, None, {"bad": bad, "good": 1}, None, None))

    assert unfit == ["bad"]
    assert json.loads(data)["body"]["traits"] == {"good": 1}


def test_traits_of_an_identifys_company_are_pruned_too() -> None:
    """Both places that hold traits are searched."""
    company: dict[str, object] = {"keys": {"id": "a"}, "traits": {"c": float("nan")}}

    traits: dict[str, object] = {"u": float("inf"), "v": 2}
    data, unfit = codec().encode(("identify", 0, AT, {"id": "u"}, company, None, traits, None))

    assert unfit == ["u", "c"]
    body = json.loads(data)["body"]
    assert body["traits"] == {"v": 2}
    assert body["company"]["traits"] == {}


def test_an_event_that_cannot_be_written_at_all_is_unfit() -> None:
    """When leaving traits out does not help, the event alone is lost, and somebody hears of it."""
    with pytest.raises(Unfit, match="track holds a value that JSON cannot carry"):
        codec().encode(("track", 0, AT, "e", None, None, None, 10**5000, None))


def test_a_blank_idempotency_key_is_none() -> None:
    """Events that all share it would be taken for repeats of each other, or billed twice after a lost answer."""
    event = written((*TRACK[:-1], TrackOptions(idempotency_key="")))

    assert event["idempotency_key"] == "t0-7"


def test_lone_surrogates_are_escaped() -> None:
    """Text that UTF-8 cannot hold spoils nothing."""
    assert written(("track", 0, AT, "a\ud800", None, None, None, None, None))["body"]["event"] == "a\ud800"


def test_the_key_is_not_in_the_codecs_text() -> None:
    """Secrets stay out of reprs."""
    assert not re.search("sk_x", repr(codec()))


def test_a_batch_is_one_object() -> None:
    """Serialised events are joined as they are."""
    assert assemble([b'{"a":1}', b'{"b":2}']) == b'{"events":[{"a":1},{"b":2}]}'


def test_a_remembered_answer_is_written_once_and_dated_each_time() -> None:
    """Its record brings the same objects; another answer never gets its text, however often the memory starts over."""
    codec = Codec(form="rest", api_key="k", token="t")
    same = CheckResult(value=True, reason="r", flag_key="exports")
    keys: dict[str, str] = {"id": "acme"}
    nobody: dict[str, str] = {}

    first, _ = codec.encode(("flag_check", 1, 0.0, same, keys, nobody, False))
    second, _ = codec.encode(("flag_check", 2, 1.0, same, keys, nobody, False))
    others = [
        json.loads(codec.encode(("flag_check", n, 0.0, replace(same, reason=str(n)), keys, {}, False))[0])["body"][
            "reason"
        ]
        for n in range(2500)
    ]

    assert (json.loads(first)["body"], json.loads(first)["sent_at"]) == (
        json.loads(second)["body"],
        "1970-01-01T00:00:00.000Z",
    )
    assert json.loads(second)["sent_at"] == "1970-01-01T00:00:01.000Z"
    assert others == [str(n) for n in range(2500)]


def test_usage_of_credits_names_its_lease_or_its_reservation() -> None:
    """The lease wins; both are never sent."""

    def body(**options: Any) -> Any:
        return written((*TRACK[:8], TrackOptions(**options)))["body"]

    assert body(lease_id="lse_1")["lease_id"] == "lse_1"
    assert body(reservation_id="res_1")["reservation_id"] == "res_1"
    both = body(lease_id="lse_1", reservation_id="res_1")
    assert (both["lease_id"], "reservation_id" in both) == ("lse_1", False)
    assert not {"lease_id", "reservation_id"} & set(body(lease_id="", reservation_id=""))


def test_a_backfill_trusts_its_own_time() -> None:
    """The service takes no backfill whose time it cannot believe."""
    when = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)

    event = written((*TRACK[:8], TrackOptions(sent_at=when, backfill=True)))

    assert (event["backfill"], event["trusted_client_clock"], event["sent_at"]) == (True, True, "2026-05-01T12:00:00Z")


def test_an_identify_takes_the_options_of_the_envelope() -> None:
    """The same four as a track."""
    when = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)
    options = IdentifyOptions("mine", sent_at=when, trusted_client_clock=True)

    event = written(("identify", 3, AT, {"uid": "u5"}, None, None, None, options))

    assert (event["idempotency_key"], event["sent_at"], event["trusted_client_clock"]) == (
        "mine",
        "2026-05-01T12:00:00Z",
        True,
    )


def test_events_may_go_undated_unless_their_time_matters() -> None:
    """A trusted clock needs a time."""
    check: FlagCheckRecord = ("flag_check", 1, AT, CheckResult(value=True, reason="r", flag_key="f"), {}, {}, False)

    def member(options: TrackOptions | None) -> Any:
        return written((*TRACK[:8], options), dates=False).get("sent_at")

    assert member(None) is None
    assert member(TrackOptions("k")) is None
    assert member(TrackOptions(trusted_client_clock=True)) == "2026-07-01T08:00:00.250Z"
    assert "sent_at" not in written(check, dates=False)


def test_an_event_is_read_back_and_written_anew() -> None:
    """A hook sees the event without the API key, and what it changes is sent; the idempotency key survives it."""
    tail, _ = codec().tail(TRACK)
    seen: list[Any] = []

    def change(event: dict[str, Any]) -> dict[str, Any]:
        seen.append(deepcopy(event))
        event["body"]["traits"] = {"region": None}
        del event["idempotency_key"], event["sent_at"]
        return event

    changed = json.loads(codec().rewritten("track", tail, change) or b"")

    assert seen == [plain_event("track", tail)]
    assert seen[0]["type"] == "track"
    assert "api_key" not in seen[0]
    assert changed == {
        "api_key": "sk_x",
        "type": "track",
        "body": {**seen[0]["body"], "traits": {"region": None}},
        "idempotency_key": "t0-7",
    }


def test_a_hook_may_drop_an_event_or_leave_nothing_but_its_body() -> None:
    """None drops it; a flag check needs no envelope."""
    check: FlagCheckRecord = ("flag_check", 1, AT, CheckResult(value=True, reason="r", flag_key="f"), {}, {}, False)
    tail, _ = codec().tail(check)

    assert codec().rewritten("flag_check", tail, lambda _: None) is None
    bare = codec(form="rest").rewritten("flag_check", tail, lambda event: {"type": "flag_check", "body": event["body"]})
    assert bare == b'{"event_type":"flag_check","body":{"flag_key":"f","value":true,"reason":"r"}}'


@pytest.mark.parametrize("given", [5, {}, {"type": "identify", "body": {}}, {"type": "track", "body": 5}])
def test_what_is_no_event_is_not_written(given: Any) -> None:
    """The caller sends the event as it was."""
    tail, _ = codec().tail(TRACK)

    with pytest.raises(TypeError, match="before_send"):
        codec().rewritten("track", tail, lambda _: given)
