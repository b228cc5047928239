"""``schematic webhook send`` and ``replay``: what arrives, what is printed, which code the process ends with."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schematic_core.cli import main
from schematic_core.cli_webhook import recorded
from schematic_core.errors import ConfigurationError
from schematic_core.webhooks import Inbox, Router, WebhookEvent, verify
from schematic_core.webhooks.sample import EVENT_TYPES
from tests.server.conftest import ENVIRONMENT, Api
from tests.server.receiver import Receiver, receiving
from tests.server.schemas import faults_of_notice

SECRET = "whsec_test"
SIGNED = ["--secret", SECRET]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def arrived(receiver: Receiver, secret: str = SECRET) -> WebhookEvent:
    headers, body = receiver.next()
    assert headers["content-type"] == "application/json"
    return verify(body, headers, secret)


@pytest.mark.parametrize("type_", EVENT_TYPES)
def test_every_published_type_can_be_sent(type_: str, receiver: Receiver, capsys: pytest.CaptureFixture[str]) -> None:
    """Signed, and with the body that the API's schema describes."""
    assert main(["webhook", "send", type_, receiver.url, *SIGNED]) == 0

    event = arrived(receiver)
    assert event.type == type_
    assert faults_of_notice(dict(event.raw)) == []
    assert capsys.readouterr().out == f"{type_}: 200 OK\n"


def test_ids_and_body_can_be_given(receiver: Receiver, tmp_path: Path) -> None:
    """As JSON or in a file; with a body, any type can be sent."""
    path = tmp_path / "body.json"
    path.write_text('{"crater": "wide"}', encoding="utf-8")
    more = ["--company-id", "comp_7", "--feature-id", "feat_7"]

    assert main(["webhook", "send", "comet.landed", receiver.url, *SIGNED, *more, "--data", f"@{path}"]) == 0
    assert main(["webhook", "send", "user.created", receiver.url, *SIGNED, "--data", '{"id": "user_7"}']) == 0

    landed, created = arrived(receiver), arrived(receiver)
    assert (landed.type, landed.company_id, landed.feature_id) == ("comet.landed", "comp_7", "feat_7")
    assert (landed.data, created.data) == ({"crater": "wide"}, {"id": "user_7"})


def test_the_secret_may_come_from_the_environment(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of several; an explicit one wins."""
    monkeypatch.setenv("SCHEMATIC_WEBHOOK_SECRET", "whsec_new, whsec_old")
    assert main(["webhook", "send", "test.send", receiver.url]) == 0
    assert main(["webhook", "send", "test.send", receiver.url, *SIGNED]) == 0
    assert arrived(receiver, "whsec_new").type == arrived(receiver).type == "test.send"


def test_a_refusal_is_printed_and_ends_with_1(receiver: Receiver, capsys: pytest.CaptureFixture[str]) -> None:
    """Status and body; a redirect is no acknowledgement; no answer says why."""
    for status in (500, 302):
        receiver.answers.put(status)
        assert main(["webhook", "send", "test.send", receiver.url, *SIGNED]) == 1
    assert main(["webhook", "send", "test.send", "http://127.0.0.1:1/none", *SIGNED]) == 1
    assert main(["webhook", "send", "test.send", f"http://{'a' * 70}.example/", *SIGNED]) == 1
    receiver.gate.clear()
    assert main(["webhook", "send", "test.send", receiver.url, *SIGNED, "--timeout", "0.05"]) == 1

    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["test.send: 500 Internal Server Error", "test.send: 302 Found"]
    assert lines[2].startswith("test.send: no answer: ConnectError")
    assert lines[3].startswith("test.send: no answer: ")
    assert lines[4].startswith("test.send: no answer: ReadTimeout")
    assert SECRET not in "".join(lines)


def test_the_endpoint_s_own_words_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Against an application of ours: the outcome of the delivery."""
    from fastapi import FastAPI

    from schematic_core.server.run import bind
    from schematic_fastapi import Schematic
    from tests.fastapi.test_end_to_end import under_uvicorn

    schematic = Schematic(webhook_secret=SECRET, offline=True)
    app = FastAPI()
    schematic.init_app(app)
    listener, url = bind("127.0.0.1", 0)
    path = f"{url}/webhooks/schematic"
    with listener, under_uvicorn(app, listener):
        assert main(["webhook", "send", "company.plan_changed", path, *SIGNED]) == 0
        assert main(["webhook", "send", "company.plan_changed", path, "--secret", "other"]) == 1

    assert capsys.readouterr().out.splitlines() == [
        "company.plan_changed: 200 OK",
        '{"outcome":"handled"}',
        "company.plan_changed: 400 Bad Request",
        '{"outcome":"mismatch"}',
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["send", "compny.updated", "http://h", *SIGNED], "did you mean company.updated"),
        (["send", "xyzzy", "http://h", *SIGNED], "give its body with --data"),
        (["send", "test.send", "http://h"], "there is no secret to sign with"),
        (["send", "test.send", "http://h", "--secret", " "], "webhook_secret is empty"),
        (["send", "test.send", "nowhere", *SIGNED], "URL must be one of http or https, not 'nowhere'"),
        (["send", "test.send", "http://h:99999/", *SIGNED], "URL must be one of http or https"),
        (["send", "test.send", "http://[", *SIGNED], "URL must be one of http or https"),
        (["send", "test.send", "http://h\n", *SIGNED], "URL must be one of http or https"),
        (["send", "test.send", "ftp://h/", *SIGNED], "URL must be one of http or https"),
        (["send", "test.send", "http://h", *SIGNED, "--data", "[1]"], "--data must be a JSON object"),
        (["send", "test.send", "http://h", *SIGNED, "--data", "{"], "expected JSON"),
        (["send", "test.send", "http://h", *SIGNED, "--data", "@/none"], "/none cannot be read: No such file"),
        (["replay", "/none", *SIGNED], "/none cannot be read: No such file"),
        (["replay", "/dev/null", *SIGNED], "/dev/null holds no delivery"),
    ],
)
def test_wrong_arguments_end_with_2(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line that says what would be right; nothing is sent."""
    assert main(["webhook", *arguments]) == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize("timeout", ["0", "-1", "soon", "nan", "inf"])
def test_a_timeout_must_be_some_time(timeout: str) -> None:
    """The usage message of argparse."""
    with pytest.raises(SystemExit) as exited:
        main(["webhook", "send", "test.send", "http://h", "--timeout", timeout])
    assert exited.value.code == 2


RAW = b'{ "action": "company.updated",\n  "company_id": "comp_1", "n": 1.50 }\n'
RECORDS: list[dict[str, Any]] = [
    {"id": "b", "created_at": "2026-01-02T00:00:00Z", "request_type": "x.b", "payload": '{"action": "x.b"}'},
    {"id": "a2", "created_at": "2026-01-01T00:00:00Z", "request_type": "x.a", "payload": '{"action":"x.a","n":2}'},
    {"id": "a1", "created_at": "2026-01-01T00:00:00Z", "request_type": "x.a", "payload": '{"action":"x.a","n":1}'},
]
IN_ORDER = [b'{"action":"x.a","n":1}', b'{"action":"x.a","n":2}', b'{"action": "x.b"}']


@pytest.mark.parametrize(
    ("recording", "bodies"),
    [
        (RAW, [RAW]),
        (b'{"action":"a", "n":1}\n\n{"action":"b" }\n', [b'{"action":"a", "n":1}', b'{"action":"b" }']),
        (b'[{"action": "a"}, {"action": "b"}]', [b'{"action":"a"}', b'{"action":"b"}']),
        (json.dumps({"data": RECORDS, "params": {}}).encode(), IN_ORDER),
        (json.dumps(RECORDS).encode(), IN_ORDER),
        (json.dumps({"data": RECORDS[0]}).encode(), [IN_ORDER[2]]),
        ("\n".join(map(json.dumps, RECORDS)).encode(), IN_ORDER),
        (json.dumps([{"payload": "any"}, {"payload": "x\ud800"}]).encode(), [b"any", b"x?"]),
        (b"", []),
        (b"[]", []),
    ],
)
def test_a_recording_gives_raw_bodies(recording: bytes, bodies: list[bytes]) -> None:
    """Byte for byte, for a signature is over bytes; the oldest first, as they were sent."""
    assert recorded(recording) == bodies


@pytest.mark.parametrize("recording", [b"5", b'["x"]', b'{"no": 1}', b"{", b'{"data": 5}', b"\xff", b'{"action": 5}'])
def test_what_is_no_recording_is_refused(recording: bytes) -> None:
    """Before anything is sent."""
    with pytest.raises(ConfigurationError):
        recorded(recording)


def test_a_recording_is_sent_again_in_order(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each signed anew; one that is refused does not keep the others back. ``-`` is standard input."""
    path = tmp_path / "deliveries.json"
    path.write_bytes(json.dumps(RECORDS).encode())
    receiver.answers.put(500)
    assert main(["webhook", "replay", str(path), "--url", receiver.url, *SIGNED]) == 1
    assert [receiver.next()[1] for _ in range(3)] == IN_ORDER
    assert capsys.readouterr().out.splitlines() == ["x.a: 500 Internal Server Error", "x.a: 200 OK", "x.b: 200 OK"]

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(RAW)))
    assert main(["webhook", "replay", "-", "--url", receiver.url, *SIGNED]) == 0
    headers, body = receiver.next()
    assert body == RAW
    assert Inbox(SECRET, None, Router()).receive_sync(body, headers).outcome == "handled"


def test_what_is_no_event_is_sent_all_the_same(receiver: Receiver, capsys: pytest.CaptureFixture[str]) -> None:
    """The endpoint is to refuse it."""
    receiver.answers.put(400)
    recording = json.dumps([{"payload": "no json"}, {"payload": "[]"}]).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(recording)))
        assert main(["webhook", "replay", "-", "--url", receiver.url, *SIGNED]) == 1
    assert capsys.readouterr().out.splitlines() == ["delivery: 400 Bad Request", "delivery: 200 OK"]


def test_the_log_of_the_local_server_can_be_replayed(receiver: Receiver, tmp_path: Path) -> None:
    """What ``/webhook-events`` answers is a recording."""
    from schematic_core.environment import parse_environment
    from schematic_core.server import serve

    hook = f'webhooks: [{{url: "{receiver.url}", secret: whsec_dev}}]\n'
    with serve(parse_environment(ENVIRONMENT + hook)) as server:
        api = Api(server.url)
        for name in ("one", "two"):
            api("POST", "/companies", 200, json={"keys": {"id": name}})
        first = [receiver.next()[1] for _ in range(2)]
        log = api.client.get("/webhook-events").content
        api.client.close()
    path = tmp_path / "log.json"
    path.write_bytes(log)

    assert main(["webhook", "replay", str(path), "--url", receiver.url, *SIGNED]) == 0

    again = [receiver.next() for _ in range(2)]
    assert [body for _, body in again] == first
    assert verify(again[0][1], again[0][0], SECRET).type == "company.created"


def test_the_command_needs_no_extra() -> None:
    """Base install: neither Starlette nor uvicorn nor the engine."""
    program = (
        "import sys\nfor name in ('starlette', 'uvicorn', 'wasmtime', 'yaml', 'websockets'): sys.modules[name] = None\n"
        "from schematic_core.cli import main\n"
        "sys.exit(main(['webhook', 'send', 'test.send', 'http://127.0.0.1:1/', '--secret', 's']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("test.send: no answer")
