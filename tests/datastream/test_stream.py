"""A client that follows the stream, over real sockets, both faces: answers, events, usage, what is pushed, what is told."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from math import ceil
from typing import Any

import pytest

from schematic_core.client import AsyncSchematic, CheckFlagOptions, EventUsage, Schematic
from schematic_core.datastream.client import DataStreamClient, DataStreamClientOptions
from schematic_core.datastream.rules_client import KeyConflictError
from schematic_core.datastream.values import StreamChange
from schematic_core.errors import ConfigurationError, StreamError
from schematic_core.values import REASON_NO_CONTEXT
from tests.datastream.support import (
    ACME,
    ADA,
    TINY,
    Script,
    Service,
    ask,
    company,
    following,
    frame,
    full,
    hasten,
    plan_flag,
    serving,
    stream_of,
    until,
)
from tests.server.conftest import ENVIRONMENT
from tests.support.faces import Driver
from tests.support.upstream import Answer, Upstream, verdict

Follow = Callable[..., Driver]

KEY = "sk_a_key_that_is_secret"
FLAGS = ["daily", "exports", "new-nav", "on-by-default", "reports", "seats", "tokens"]


# -- the first checks


def test_the_first_check_asks_for_the_company_and_answers_here(follow: Follow, service: Service) -> None:
    """One request over the stream, none over HTTP; the second check asks nobody."""
    client = follow()

    first, second = ask(client), ask(client)

    assert (first.value, first.source, first.age, first.is_stale) == (True, "stream", 0.0, False)
    assert (first.company_id, first.entitlement.allocation, first.feature_usage) == ("comp_acme", 5, 0)
    assert first.as_of is not None
    assert second == first
    assert service.asked("Company") == [ACME]


def test_a_company_and_a_user_are_asked_for_together(follow: Follow, service: Service) -> None:
    """Each once, however many checks need them."""
    client = follow()

    answers = [ask(client, "new-nav", ACME, ADA) for _ in range(3)]

    assert {(one.value, one.company_id, one.user_id) for one in answers} == {(True, "comp_acme", "user_ada")}
    assert (service.asked("Company"), service.asked("User")) == ([ACME], [ADA])


def test_initialize_comes_back_when_flags_can_be_answered_here(listen: Follow, upstream: Upstream) -> None:
    """So that the first check needs no HTTP."""
    client = listen()

    assert client.datastream.is_connected
    assert ask(client).source == "stream"
    assert upstream.asked == []


def test_initialize_waits_no_longer_than_it_may(listen: Follow, script: Script, upstream: Upstream) -> None:
    """A stream that says nothing costs the time that was allowed; then the service answers."""
    script.flags = None
    client = listen(initialize=False)

    client.initialize(0.05)

    assert client.datastream.status == "connecting"
    assert ask(client).source == "api"
    assert len(upstream.asked) == 1


def test_wait_ready_says_whether_it_is(listen: Follow, script: Script) -> None:
    """It starts the stream, too."""
    flags, script.flags = script.flags, None
    client = listen(initialize=False)

    assert client.datastream.wait_ready(0.05) is False
    assert until(lambda: script.lines)
    script.line.send(*(flags or ()))
    assert client.datastream.wait_ready(10.0) is True


def test_a_stream_that_nobody_started_begins_with_the_first_check(
    listen: Follow, script: Script, upstream: Upstream
) -> None:
    """Which the service answers meanwhile; later ones are answered here."""
    client = listen(initialize=False)
    assert client.datastream.status == "idle"

    assert ask(client).source == "api"

    assert until(lambda: client.datastream.status == "ready")
    assert ask(client, user={"id": "nobody"}).source == "api"
    assert ask(client).source == "stream"
    assert script.asked("Company") == [ACME]
    assert len(upstream.asked) == 2


def test_making_a_client_connects_to_nobody(script: Script, face: str) -> None:
    """Nor does it start a thread."""
    before = threading.active_count()

    kind = Schematic if face == "sync" else AsyncSchematic
    client: Any = kind("key", base_url=script.url.replace("ws", "http", 1), use_datastream=True)

    assert threading.active_count() == before
    assert client.datastream.status == "idle"
    assert script.lines == []


@pytest.mark.parametrize(
    ("base_url", "expected"),
    [
        (None, "wss://datastream.schematichq.com/datastream"),
        ("  ", "wss://datastream.schematichq.com/datastream"),
        ("https://api.staging.example.com/v1", "wss://datastream.staging.example.com/datastream"),
        ("http://localhost:8080", "ws://localhost:8080/datastream"),
    ],
)
def test_the_address_follows_from_the_base_url(base_url: str | None, expected: str) -> None:
    """Without one it is that of the default environment."""
    client = Schematic("key", base_url=base_url, use_datastream=True)

    assert stream_of(client)._make_pump.args[0].url == expected


def test_without_use_datastream_there_is_no_stream() -> None:
    """Options of a stream alone do not switch it on."""
    assert Schematic("key").datastream is None
    assert Schematic("key", use_datastream=True, offline=True).datastream is None


def test_a_stream_and_a_file_together_are_refused() -> None:
    """They are two sources of one thing."""
    with pytest.raises(ConfigurationError, match="environment_file"):
        Schematic("key", use_datastream=True, environment_file="schematic.yaml")


def test_the_handshake_says_who_is_there(follow: Follow, service: Service) -> None:
    """Key, mode, client and version."""
    follow()

    headers = service.connections[0]["headers"]

    assert headers["x-schematic-api-key"] == "dev"
    assert headers["x-schematic-datastream-mode"] == "direct"
    assert headers["x-schematic-client"] == "schematic-suite"
    assert headers["x-schematic-client-version"]


def test_both_faces_of_a_client_share_one_stream(service: Service) -> None:
    """One connection, one request, the same answers."""
    with following("async", service.url) as client:
        first = ask(client)
        second = client.client.sync.check_flag_with_entitlement("exports", ACME)

    assert first == second
    assert len(service.connections) == 1
    assert service.asked("Company") == [ACME]


# -- what is not here


def test_an_unknown_company_is_asked_for_once(follow: Follow, service: Service) -> None:
    """Over the stream and over HTTP; afterwards its absence is remembered for a while."""
    client = follow()

    answers = [ask(client, company={"id": "nobody"}) for _ in range(5)]

    assert {one.source for one in answers} <= {"api", "cache"}
    assert {one.value for one in answers} == {False}
    assert service.asked("Company") == [{"id": "nobody"}]


def test_a_company_that_shows_up_is_unknown_no_longer(listen: Follow, script: Script) -> None:
    """What is pushed ends the memory of its absence."""
    client = listen()
    assert ask(client, company={"id": "late"}).source == "api"

    script.line.send(full(company("comp_2", {"id": "late"}, "plan_pro")))

    assert until(lambda: ask(client, company={"id": "late"}).source == "stream")
    assert script.asked("Company") == [{"id": "late"}]


def test_an_unknown_flag_is_asked_of_the_service_and_remembered(listen: Follow, upstream: Upstream) -> None:
    """The stream has all flags there are, so the service knows it no better; it is asked once."""
    upstream.respond = lambda _: Answer(404, {"error": "flag not found"})
    client = listen(flag_defaults={"no-such-flag": True})

    answers = [ask(client, "no-such-flag") for _ in range(3)]

    assert [one.value for one in answers] == [True] * 3
    assert len(upstream.asked) == 1


def test_a_stream_that_cannot_answer_a_request_sends_it_to_the_service(
    listen: Follow, script: Script, upstream: Upstream
) -> None:
    """At once, when it says so."""
    script.answer = lambda kind, keys: [frame(kind, "error", {"error": "internal error", "keys": keys})]
    client = listen()

    assert ask(client).source == "api"
    assert len(upstream.asked) == 1


def test_keys_of_two_companies_are_a_conflict(follow: Follow, service: Service) -> None:
    """Answered here with the flag's default; the error names both."""
    client = follow()
    ask(client), ask(client, company=TINY)

    answer = ask(client, "on-by-default", {"id": "tiny", "ref": "a1"})

    assert (answer.value, answer.reason, answer.source) == (True, "key conflict", "stream")
    assert "comp_acme" in answer.error
    assert "comp_tiny" in answer.error
    assert len(service.asked("Company")) == 2


def test_without_keys_the_flag_s_default_answers(follow: Follow, service: Service) -> None:
    """As the service does; nobody is asked."""
    client = follow()

    answers = [ask(client, key, None) for key in ("exports", "on-by-default")]

    assert [(one.value, one.reason, one.source) for one in answers] == [
        (False, REASON_NO_CONTEXT, "stream"),
        (True, REASON_NO_CONTEXT, "stream"),
    ]
    assert service.asked("Company") == []


# -- preflight, several flags


def test_a_preflight_is_answered_here_as_the_service_would(follow: Follow, service: Service) -> None:
    """Of usage, of an event, of credits; and it leaves no trace in later checks."""
    client = follow()
    ask(client)

    for usage in (1, 4.2, 5, 6):
        here = ask(client, options=CheckFlagOptions(usage=usage))
        theirs = service.call("POST", "/flags/exports/check", {"company": ACME, "preflight": {"usage": ceil(usage)}})
        assert (here.value, here.source, usage) == (theirs["value"], "stream", usage)
    of_event = [
        ask(client, options=CheckFlagOptions(event_usage=EventUsage("export_created", quantity))).value
        for quantity in (1, 6)
    ]
    of_credits = [
        ask(client, "tokens", options=CheckFlagOptions(credit_cost={"bcrd_ai": cost})).value for cost in (1, 3)
    ]

    assert (of_event, of_credits) == ([True, False], [True, False])
    assert ask(client).value is True
    assert service.asked("Company") == [ACME]


@pytest.mark.parametrize("keys", [None, ["seats", "exports", "reports", "new-nav"]])
def test_several_flags_are_answered_here(follow: Follow, service: Service, keys: list[str] | None) -> None:
    """In the order asked, as the service would answer each; all of them when none is named."""
    client = follow()

    answers = client.check_flags(keys, ACME, ADA)

    assert {one.source for one in answers} == {"stream"}
    assert [one.flag_key for one in answers] == (keys or [one.flag_key for one in answers])
    assert sorted(one.flag_key for one in answers) == sorted(keys or FLAGS)
    assert {one.flag_key: one.value for one in answers} == {
        one.flag_key: service.check(one.flag_key, ACME, ADA)["value"] for one in answers
    }
    assert (service.asked("Company"), service.asked("User")) == ([ACME], [ADA])


# -- events


def test_each_single_local_check_is_reported_once(follow: Follow, service: Service) -> None:
    """Cold, remembered, in conflict and without keys; not those of several flags, nor what the service answered."""
    client = follow()

    ask(client), ask(client), ask(client), ask(client, company=TINY)
    ask(client, company={"id": "tiny", "ref": "a1"})
    ask(client, company=None)
    client.check_flags(["exports", "reports"], ACME)
    ask(client, company={"id": "nobody"})
    ask(client, "no-such-flag")
    client.flush(10.0)

    reported = [(one["flag_key"], one.get("req_company"), one["reason"]) for one in service.events("flag_check")]
    matched = 'Matched plan entitlement rule "Pro" (rule_pro_exports)'
    assert sorted(reported, key=str) == sorted(
        [
            *[("exports", ACME, matched)] * 3,
            ("exports", TINY, 'Matched plan entitlement rule "free" (rule_free_exports)'),
            ("exports", {"id": "tiny", "ref": "a1"}, "key conflict"),
            ("exports", None, REASON_NO_CONTEXT),
        ],
        key=lambda one: str((one[0], one[1], one[2])),
    )


def test_a_reported_check_says_whom_it_was_about(follow: Follow, service: Service) -> None:
    """Ids as the service knows them, keys as they were asked."""
    client = follow()

    ask(client, "new-nav", {"ref": "a1"}, ADA)
    client.flush(10.0)

    (body,) = service.events("flag_check")
    assert {name: body[name] for name in ("value", "company_id", "user_id", "flag_id", "req_company", "req_user")} == {
        "value": True,
        "company_id": "comp_acme",
        "user_id": "user_ada",
        "flag_id": "flag_new-nav",
        "req_company": {"ref": "a1"},
        "req_user": ADA,
    }


def test_tracked_usage_counts_at_once_and_only_once(follow: Follow, service: Service) -> None:
    """Before the event is sent, and no more often once the service has counted it too."""
    client = follow()
    ask(client)
    service.track("export_created")  # so that the company has the metric
    assert until(lambda: ask(client).feature_usage == 1)

    usages = []
    for _ in range(4):
        client.track("export_created", ACME)
        usages.append((ask(client).feature_usage, ask(client).value))

    assert usages == [(2, True), (3, True), (4, True), (5, False)]
    assert service.check("exports", ACME)["feature_usage"] == 1
    client.flush(10.0)
    assert until(lambda: service.check("exports", ACME)["feature_usage"] == 5)
    client.datastream.wait_ready(1.0)
    assert (ask(client).feature_usage, ask(client).value) == (5, False)


def test_tracking_something_else_moves_nothing(follow: Follow, service: Service) -> None:
    """Another event, another company, a quantity of zero."""
    client = follow()
    service.track("export_created")
    assert ask(client).feature_usage == 1

    client.track("report_run", ACME)
    client.track("export_created", TINY)
    client.track("export_created", ACME, quantity=0)

    assert ask(client).feature_usage == 1


# -- what is pushed


def test_a_change_of_plan_is_pushed(follow: Follow, service: Service) -> None:
    """The next check knows; nobody asks again."""
    client = follow()
    assert ask(client, "reports").value is True

    service.plan("acme", "free")

    assert until(lambda: ask(client, "reports").value is False)
    assert ask(client).entitlement.allocation == 2
    assert service.asked("Company") == [ACME]


def test_an_override_is_pushed_and_taken_back(follow: Follow, service: Service) -> None:
    """It comes with another rule on the company and a change of the flag."""
    client = follow()
    ask(client)

    override = service.override("acme", "exports", 0)
    assert until(lambda: ask(client).value is False)
    assert ask(client).rule_type.startswith("company_override")

    service.take_back(override)
    assert until(lambda: ask(client).value is True)


def test_traits_users_and_deletes_are_pushed(follow: Follow, service: Service) -> None:
    """As plans are."""
    client = follow()
    assert ask(client, "seats").value is True

    service.trait("acme", seats=10)
    assert until(lambda: ask(client, "seats").value is False)
    assert ask(client, "seats").feature_usage == 10

    service.call("DELETE", "/companies/comp_acme")
    assert until(lambda: client.datastream.find_company(ACME) is None)
    assert ask(client, "seats").source == "api"


def test_a_change_of_flags_is_pushed(listen: Follow, script: Script) -> None:
    """One flag, or all of them; one that is gone is not answered here."""
    client = listen()
    assert ask(client).value is True

    script.line.send(frame("Flag", "full", plan_flag(plan="plan_other"), "flag_exports"))
    assert until(lambda: ask(client).value is False)

    script.line.send(frame("Flags", "full", [plan_flag("reports")]))
    assert until(lambda: client.datastream.find_flag("exports") is None)
    assert ask(client, "reports").value is True
    assert ask(client).source == "api"


# -- what is told


def test_listeners_hear_of_each_change_of_status(follow: Follow, service: Service) -> None:
    """In order; until they are taken off."""
    client = follow(initialize=False)
    heard: list[str] = []
    others: list[str] = []
    client.datastream.on_status(heard.append)
    remove = client.datastream.on_status(others.append)

    client.initialize()
    remove()
    service.dev("drop")
    assert until(lambda: heard[2:] == ["reconnecting", "ready"])
    client.close(1.0)

    assert heard == ["connecting", "ready", "reconnecting", "ready", "closed"]
    assert others == ["connecting", "ready"]


def test_listeners_hear_what_has_changed(follow: Follow, service: Service) -> None:
    """By kind and id, flags by key."""
    client = follow(initialize=False)
    heard: list[StreamChange] = []
    client.datastream.on_change(heard.append)

    client.initialize()
    ask(client, "exports", ACME, ADA)
    service.plan("acme", "free")

    assert until(lambda: len(heard) >= 4)
    assert (heard[0].kind, sorted(heard[0].ids)) == ("flag", FLAGS)
    assert sorted((one.kind, one.ids) for one in heard[1:3]) == [("company", ("comp_acme",)), ("user", ("user_ada",))]
    assert heard[3] == StreamChange("company", ("comp_acme",))


def test_a_listener_that_raises_harms_nobody(
    follow: Follow, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """The stream stays up, other listeners are told, the log has the traceback."""
    client = follow(initialize=False)
    heard: list[str] = []

    def fail(news: object) -> None:
        raise ZeroDivisionError

    client.datastream.on_status(fail)
    client.datastream.on_change(fail)
    client.datastream.on_status(heard.append)
    client.initialize()

    assert ask(client).source == "stream"
    assert heard == ["connecting", "ready"]
    assert len(service.connections) == 1
    raised = [record for record in caplog.records if "a listener of" in record.getMessage()]
    assert len(raised) >= 3
    assert all(record.exc_info and record.exc_info[0] is ZeroDivisionError for record in raised)


def test_what_is_held_can_be_looked_at(follow: Follow, service: Service) -> None:
    """As the service sent it; looking asks nobody."""
    client = follow()
    stream = client.datastream
    assert stream.find_company(ACME) is None

    ask(client, "exports", ACME, ADA), ask(client, company=TINY)

    assert stream.find_company({"ref": "a1"})["plan_ids"] == ["plan_pro"]
    assert stream.find_user(ADA)["id"] == "user_ada"
    assert stream.find_flag("exports")["key"] == "exports"
    assert stream.find_flag("no-such-flag") is None
    with pytest.raises(KeyConflictError, match="comp_tiny"):
        stream.find_company({"id": "tiny", "ref": "a1"})
    with pytest.raises(TypeError):
        stream.find_company({"id": 1.5})
    assert len(service.asked("Company")) == 2


def test_what_cannot_be_used_is_counted(follow: Follow, service: Service) -> None:
    """By kind of trouble."""
    client = follow()
    ask(client)

    service.dev("garble", kind="text")
    service.dev("send", frame={"entity_type": "rulesengine.Invented", "message_type": "full", "data": {}})
    service.dev("send", frame={"entity_type": "rulesengine.Flag", "message_type": "full", "data": {"key": "exports"}})

    assert until(lambda: client.datastream.counts()["bad_flag"] == 1)
    counts = client.datastream.counts()
    assert (counts["garbled"], counts["unknown_type"]) == (1, 1)
    assert (client.datastream.status, len(service.connections)) == ("ready", 1)


# -- the log


def _said(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    records = [one for one in caplog.records if one.name.startswith("schematic") and one.levelno >= level]
    return [record.getMessage() for record in records]


def test_a_loss_is_logged_once_and_so_is_the_return(
    follow: Follow, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """However many dials fail and however many checks are made in between."""
    caplog.set_level(logging.INFO)
    client = follow()
    ask(client)

    service.fault(path="/datastream", count=6, status=503)
    service.dev("drop")
    assert until(lambda: len(service.connections) > 7)
    for _ in range(20):
        ask(client)
    assert until(lambda: client.datastream.status == "ready")

    assert len([one for one in _said(caplog) if "there is no connection to the stream" in one]) == 1
    assert len([one for one in _said(caplog, logging.INFO) if "the stream is ready" in one]) == 2
    assert [one for one in _said(caplog) if "there is no connection" not in one] == []


def test_each_kind_of_trouble_is_logged_once(
    follow: Follow, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """Until the stream has been away and is ready again."""
    client = follow()

    for _ in range(5):
        service.dev("garble", kind="text")
        service.dev("garble", kind="binary")
        service.dev("send", frame={"entity_type": "rulesengine.Flag", "message_type": "full", "data": {"key": "x"}})
    assert until(lambda: client.datastream.counts()["bad_flag"] == 5)

    assert len([one for one in _said(caplog) if "cannot be read" in one]) == 1
    assert len([one for one in _said(caplog) if "the engine refuses" in one]) == 1


@pytest.mark.parametrize("refusals", ["status", "close"])
def test_the_api_key_is_never_shown(
    refusals: str, face: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not in logs of any level, not in what is printed, not in representations; not even after a refusal."""
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []
    with serving(f"{ENVIRONMENT}api_keys: [{KEY}]\n") as service:
        service._http.headers["X-Schematic-Api-Key"] = KEY
        service.habits(refusals=refusals)
        for key in (KEY, f"{KEY}-wrong"):
            options: Any = {"arguments": (key,), "initialize": False, "close_timeout": 0.1}
            with following(face, service.url, **options) as client:
                client.initialize()
                assert client.datastream.status == ("ready" if key == KEY else "refused")
                ask(client)
                stream = stream_of(client.client)
                parts = (client.client, client.datastream, client.settings, stream, stream._make_pump.args[0])
                shown += [repr(one) + str(one) for one in parts]

    format_record = logging.Formatter().format
    texts = [format_record(record) + str(record.__dict__) for record in caplog.records if not _is_ours(record)]
    assert KEY not in "".join((*texts, *shown, *capsys.readouterr()))


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether a record is the test's own server's or HTTP client's, which show what they please."""
    return record.name.startswith(("httpcore", "httpx", "websockets", "uvicorn", "asyncio"))


# -- the stream by itself


def test_the_stream_can_be_followed_without_a_client(service: Service) -> None:
    """It waits, evaluates what is held, says what is not, and reports no checks."""
    service.call("POST", "/companies", {"keys": {"id": "new"}})
    with DataStreamClient(DataStreamClientOptions(api_key="dev", base_url=service.url)) as stream:
        assert stream.wait_ready(10.0)
        assert repr(stream) == "<DataStreamClient ready>"
        with pytest.raises(StreamError, match="company"):
            stream.check_flag("exports", ACME)
        assert stream.check_flag("on-by-default").value is True
        odd: Any = {"id": 1.5}
        with pytest.raises(TypeError):
            stream.check_flag("exports", odd)

    assert stream.status == "closed"
    assert service.events("flag_check") == []
    stream.close()


def test_a_refused_key_is_told_at_once(upstream: Upstream, script: Script, face: str) -> None:
    """Nobody waits for a stream that will not come; the service is asked instead."""
    script.refusals = [401] * 3
    upstream.respond = lambda _: verdict()
    with following(face, upstream.url, stream_url=script.url, initialize=False) as client:
        client.initialize(30.0)

        assert client.datastream.status == "refused"
        assert ask(client).source == "api"
        assert len(script.headers) == 1


def test_the_limits_of_a_stream_are_those_of_the_specification_unless_hastened() -> None:
    """The helper of these tests changes one client's stream alone."""
    hastened, other = Schematic("key", use_datastream=True), Schematic("key", use_datastream=True)

    hasten(hastened, first_backoff=0.5)

    assert stream_of(hastened)._make_pump.args[0].limits.first_backoff == 0.5
    assert stream_of(other)._make_pump.args[0].limits.first_backoff == 1.0
