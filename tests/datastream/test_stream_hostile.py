"""Whatever a server sends: the connection stays or is made again, what was not spoken of stays right, nothing is raised."""

from __future__ import annotations

import json
import logging
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.datastream.frames import entitlement, metric
from tests.datastream.support import (
    ACME,
    TINY,
    Json,
    Script,
    ask,
    company,
    flag,
    following,
    frame,
    full,
    plan_flag,
    playing,
    stream_of,
    until,
)
from tests.support.faces import Driver
from tests.support.upstream import Upstream

Follow = Callable[..., Driver]

VICTIM = {"id": "victim"}


def _victim(**members: Any) -> Json:
    """Give a company in full, of which frames may say anything."""
    full_of = {
        "traits": [
            {"value": "eu", "trait_definition": {"id": "t", "comparable_type": "string", "entity_type": "company"}}
        ],
        "metrics": [metric()],
        "entitlements": [entitlement(event_name="export", usage=1, allocation=3, credit_id="bcrd_ai")],
        "credit_balances": {"bcrd_ai": 2.5},
        "rules": [],
        "subscription": {"id": "s", "period_start": "2026-01-01T00:00:00Z", "period_end": "2026-02-01T00:00:00Z"},
    }
    return {**company("comp_victim", VICTIM, "plan_pro", **full_of), **members}


# -- frames, mutated

_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["", "comp_victim", "flag_victim", "full", "rulesengine.Company", "2026-13-45", "not found"])
)
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)

_whole = st.sampled_from(
    [
        {"entity_type": "rulesengine.Company", "message_type": "full", "entity_id": "comp_victim", "data": _victim()},
        {
            "entity_type": "rulesengine.User",
            "message_type": "full",
            "entity_id": "user_v",
            "data": company("user_v", VICTIM),
        },
        {
            "entity_type": "rulesengine.Company",
            "message_type": "partial",
            "entity_id": "comp_victim",
            "data": {
                name: _victim()[name] for name in ("metrics", "credit_balances", "keys", "plan_ids", "entitlements")
            }
            | {"credit_lease_balance": {"bcrd_ai": {"remaining": 1.5, "reserved": 1}}},
        },
        {"entity_type": "rulesengine.Company", "message_type": "delete", "entity_id": "comp_victim", "data": None},
        {"entity_type": "rulesengine.Flag", "message_type": "full", "entity_id": "flag_v", "data": plan_flag("victim")},
        {"entity_type": "rulesengine.Flag", "message_type": "delete", "entity_id": None, "data": {"key": "victim"}},
        {
            "entity_type": "rulesengine.Company",
            "message_type": "error",
            "entity_id": None,
            "data": {"error": "company not found", "keys": VICTIM, "entity_type": "rulesengine.Company"},
        },
        {"entity_type": "rulesengine.Companies", "message_type": "full", "entity_id": None, "data": {"ok": True}},
    ]
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """List where something stands in a document."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield (*path, step)
        yield from _places(inner, (*path, step))


@st.composite
def _mutated(draw: st.DrawFn) -> str:
    """A frame that was right until some of its members were replaced, left out or added."""
    whole = json.loads(json.dumps(draw(_whole)))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(_places(whole))))
        *way, last = path
        holder = whole
        with suppress(KeyError, IndexError, TypeError):
            for step in way:
                holder = holder[step]
            change = draw(st.sampled_from(["replace", "replace", "null", "leave out", "add"]))
            if change == "leave out":
                del holder[last]
            elif change == "add" and isinstance(holder, dict):
                holder[draw(st.text(max_size=6))] = draw(_values)
            else:
                holder[last] = None if change == "null" else draw(_values)
    return _harmless(whole)


def _harmless(whole: Json) -> str:
    """Write a frame that says nothing of what is held to stay right: an empty set of flags would be one."""
    if str(whole.get("entity_type")) == "rulesengine.Flags":
        whole["entity_type"] = "rulesengine.Flag"
    text = json.dumps(whole)
    return text if '"exports"' not in text else "{}"


@st.composite
def _cut(draw: st.DrawFn) -> str:
    """A frame with something wrong in its text."""
    text = draw(_mutated())
    place = draw(st.integers(0, len(text)))
    rest = text[place + draw(st.integers(0, 4)) :] if draw(st.booleans()) else ""
    return (
        text[:place] + draw(st.sampled_from(["", '"', "}", "]", ",", "\\u00", "NaN", "1e999", "\x00", "\ufeff"])) + rest
    )


@st.composite
def _flags(draw: st.DrawFn) -> str:
    """All flags: a good one and others that need not be."""
    others = draw(st.lists(_values | st.just(plan_flag("victim")), max_size=4))
    place = draw(st.integers(0, len(others)))
    return frame("Flags", "full", [*others[:place], plan_flag("exports"), *others[place:]])


_anything: st.SearchStrategy[str | bytes] = st.one_of(
    _mutated(),
    _mutated(),
    _cut(),
    _flags(),
    st.binary(max_size=30),
    _values.map(lambda value: _harmless(value) if isinstance(value, dict) else json.dumps(value)),
    st.just(frame("Company", "reload")),
)


class _Harness:
    """A client on a scripted stream; it has a company that nobody mentions, and one that tells when all was applied."""

    def __init__(self, client: Driver, script: Script) -> None:
        self.client = client
        self.script = script
        self.number = 0
        script.flags = [frame("Flags", "full", [plan_flag("exports"), plan_flag("victim")])]
        script.entities = {
            "acme": company("comp_1", ACME, "plan_pro"),
            "tiny": company("comp_2", TINY),
            "victim": _victim(),
        }

    def hear(self, *frames: str | bytes) -> None:
        """Let the client hear these, and wait until it has."""
        ask(self.client, "victim", VICTIM)
        self.script.line.send(*frames)
        self.number += 1
        self.script.entities["tiny"] = company("comp_2", TINY, f"plan_{self.number}")
        self.script.line.send(full(self.script.entities["tiny"]))
        assert until(self._has_all), (self.client.datastream.status, frames)

    @property
    def lives(self) -> int:
        """How often the stream was made ready, at least."""
        return len(self.script.lines) + len(self.script.asked("Flags"))

    def _has_all(self) -> bool:
        held = None
        if ask(self.client, "exports", TINY).source == "stream":
            held = self.client.datastream.find_company(TINY)
        return held is not None and held["plan_ids"] == [f"plan_{self.number}"]

    def is_right(self) -> bool:
        """Whether everything that no frame was about is as it was."""
        here, there = ask(self.client), ask(self.client, "exports", TINY)
        return (here.value, here.source, there.value, there.source) == (True, "stream", False, "stream")


@pytest.fixture(scope="module")
def harness() -> Iterator[_Harness]:
    """One for all examples, for a connection is to survive them all; the HTTP service does not exist."""
    with playing() as script:
        options: Any = {"stream_url": script.url, "initialize": False, "close_timeout": 0.1, "check_timeout": 0.5}
        with following("sync", "http://127.0.0.1:1", limits={"reload_interval": 0.001}, **options) as client:
            found = _Harness(client, script)
            client.initialize()
            yield found


def _troubles(caplog: pytest.LogCaptureFixture) -> tuple[list[str], Counter[str]]:
    """Give what should never be logged, and how often each kind of trouble was."""
    records = [one for one in caplog.records if one.name.startswith("schematic")]
    raised = [one.getMessage() for one in records if one.exc_info and one.levelno >= logging.WARNING]
    told = [one for one in records if one.levelno >= logging.WARNING and "stream" in str(one.msg)]
    kinds = Counter(
        one.getMessage().partition(", ")[0] for one in told
    )  # what is refused is a flag, a company or a user
    return raised, kinds


@pytest.fixture(scope="module")
def examples() -> list[list[str | bytes]]:
    """Made before there is a client: hypothesis does not bear that other threads draw random numbers meanwhile."""
    found: list[list[str | bytes]] = []

    @settings(max_examples=400, deadline=None, database=None, phases=[Phase.generate])
    @given(st.lists(_anything, min_size=1, max_size=8))
    def collect(frames: list[str | bytes]) -> None:
        found.append(frames)

    collect()
    return found


def test_no_frame_harms_what_it_is_not_about(
    examples: list[list[str | bytes]], harness: _Harness, caplog: pytest.LogCaptureFixture
) -> None:
    """Mutated, cut, random, binary: the stream goes on, and each kind of trouble is logged once a connection."""
    for frames in examples:
        caplog.clear()
        lives = harness.lives

        harness.hear(*frames)

        assert harness.is_right(), frames
        raised, kinds = _troubles(caplog)
        assert raised == [], frames
        assert not kinds or max(kinds.values()) <= 1 + harness.lives - lives, (kinds, frames)


NASTY: dict[str, str | bytes] = {
    "nothing": "",
    "no object": "[1, 2]",
    "a number": "7",
    "null": "null",
    "no members": "{}",
    "deep lists": "[" * 100_000,
    "deep objects": '{"data":' * 50_000,
    "a deep entity": frame("Company", "full", "@").replace('"@"', "[" * 5000 + "]" * 5000),
    "a deep trait": full(_victim(traits="@")).replace('"@"', '[{"a":' * 2000 + "1" + "}]" * 2000),
    "a number beyond all bounds": full(_victim(credit_balances="@")).replace('"@"', '{"bcrd_ai": 1e999}'),
    "no number": full(_victim(credit_balances="@")).replace('"@"', '{"bcrd_ai": NaN}'),
    "thousands of digits": full(_victim(metrics="@")).replace('"@"', "9" * 10_000),
    "half a surrogate": frame("Company", "full", _victim(name="@"), "comp_victim").replace("@", "\\ud800"),
    "a null byte": frame("Company", "full", _victim(name="\x00"), "comp_victim"),
    "members twice": '{"entity_type": "rulesengine.Flags", "entity_type": "rulesengine.X", "message_type": "full", "data": []}',
    "data first": '{"data": {"id": "comp_victim"}, "entity_type": "rulesengine.Company", "message_type": "full"}',
    "an id that is none": frame("Company", "full", _victim(id=7), None),
    "keys that are none": full(_victim(keys=["id", "victim"])),
    "keys of numbers": full(_victim(keys={"id": 7, "ref": None, "slug": ["a"]})),
    "a megabyte of key": full(_victim(keys={"id": "x" * 1_000_000})),
    "a partial of nothing": frame("Company", "partial", None, "comp_victim"),
    "a partial of a list": frame("Company", "partial", [], "comp_victim"),
    "a partial of wrong types": frame(
        "Company", "partial", {"metrics": 7, "keys": [], "credit_balances": "x"}, "comp_victim"
    ),
    "a partial of odd rows": frame(
        "Company", "partial", {"metrics": [None, 7, {}, []], "entitlements": [None]}, "comp_victim"
    ),
    "a delete of a list": frame("Company", "delete", [], None),
    "an error without words": frame("Company", "error", None),
    "an error of a list": frame("Company", "error", [1]),
    "an error about nobody": frame("Company", "error", {"error": 7, "keys": {"id": 7}}),
    "an error about the flags": frame("Flags", "error", {"error": "no"}),
    "pages that never end": frame("Flags", "full", [flag("x")], pagination={"has_more": True, "page": 1, "total": 9}),
    "odd pages": frame("Flags", "full", [plan_flag("exports")], pagination={"has_more": "maybe", "page": "first"}),
    "flags that are none": frame("Flags", "full", {"exports": True}),
    "binary": b"\xff\xfe\x00{",
    "a text in bytes": b'{"entity_type": "rulesengine.Invented", "message_type": "full"}',
}


@pytest.mark.parametrize("kind", NASTY)
def test_a_nasty_frame_harms_nobody(harness: _Harness, caplog: pytest.LogCaptureFixture, kind: str) -> None:
    """Each on a stream that has heard all those before it."""
    harness.hear(NASTY[kind])

    assert harness.is_right()
    assert _troubles(caplog)[0] == []


def test_flags_that_break_off_end_the_connection_and_not_the_flags(harness: _Harness) -> None:
    """What was held goes on answering, and the new connection brings them anew."""
    text = frame("Flags", "full", [plan_flag("exports", "plan_other"), flag("other")])
    before = len(harness.script.lines)

    harness.hear(text[: -len('"default_value": false}]}')])
    harness.hear(text[:-30] + "]}")

    assert harness.is_right()
    assert len(harness.script.lines) - before in {0, 1, 2}


# -- below the frames


def _websocket(opcode: int, payload: bytes, *, is_final: bool = True, reserved: int = 0) -> bytes:
    head = bytes([(0x80 if is_final else 0) | reserved << 4 | opcode])
    if len(payload) < 126:
        return head + bytes([len(payload)]) + payload
    return head + bytes([126]) + struct.pack("!H", len(payload)) + payload


RAW = {
    "text that is no UTF-8": _websocket(1, b"\xff\xfe"),
    "an unknown opcode": _websocket(3, b"{}"),
    "a reserved bit": _websocket(1, b"{}", reserved=4),
    "a masked frame": bytes([0x81, 0x82, 1, 2, 3, 4, 5, 6]),
    "a long ping": _websocket(9, b"x" * 200),
    "half a ping": _websocket(9, b"x", is_final=False),
    "a continuation of nothing": _websocket(0, b"{}"),
    "a text inside a text": _websocket(1, b"{", is_final=False) + _websocket(1, b"{}"),
    "half a close code": _websocket(8, b"\x03"),
    "a close code that is none": _websocket(8, struct.pack("!H", 1005)),
    "a close with odd words": _websocket(8, struct.pack("!H", 1000) + b"\xff"),
    "a length beyond all bounds": bytes([0x81, 127]) + struct.pack("!Q", 2**62),
    "half a frame and the end": bytes([0x81, 126, 1]),
    "an answer to nothing": b"HTTP/1.1 400 Bad Request\r\n\r\n" + b" " * 200,
}


@pytest.mark.parametrize("kind", RAW)
def test_bytes_that_are_no_frames_are_followed_by_a_new_connection(
    listen: Follow, script: Script, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """And everything is right again."""
    client = listen()
    assert ask(client).value is True
    line = script.line

    with suppress(OSError):
        line.socket.socket.sendall(RAW[kind])
        if kind.endswith("the end"):
            line.cut()

    assert until(lambda: len(script.lines) > 1 and client.datastream.status == "ready")
    assert (ask(client).value, ask(client).source) == (True, "stream")
    assert _troubles(caplog)[0] == []
    assert len(script.lines) == 2


@pytest.mark.parametrize("seed", range(5))
def test_noise_on_the_wire_is_followed_by_a_new_connection(listen: Follow, script: Script, seed: int) -> None:
    """Frames cut, joined and strewn with noise, on five connections one after the other."""
    chance = random.Random(seed)
    client = listen()

    for number in range(1, 6):
        assert until(lambda number=number: len(script.lines) >= number and client.datastream.status == "ready")  # type: ignore[misc]  # mypy knows no such defaults
        good = b"".join(_websocket(1, full(_victim(name=str(n))).encode()) for n in range(3))
        noise = bytearray(good)
        for _ in range(chance.randint(1, 20)):
            noise[chance.randrange(len(noise))] = chance.randrange(256)
        with suppress(OSError):
            script.line.socket.socket.sendall(bytes(noise[: chance.randrange(1, len(noise))]))
        script.line.cut()
        assert until(lambda number=number: len(script.lines) > number)  # type: ignore[misc]

    assert until(lambda: client.datastream.status == "ready")
    assert (ask(client).value, ask(client).source) == (True, "stream")


# -- handshakes

ANSWERS = {
    "nothing": b"",
    "noise": bytes(range(256)),
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "no upgrade": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
    "not found": b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
    "busy": b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 3\r\ncontent-length: 0\r\n\r\n",
    "a wrong accept": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: x\r\n\r\n",
    "half a header": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: web",
    "endless headers": b"HTTP/1.1 101 Switching Protocols\r\n" + b"x: y\r\n" * 5000,
    "an odd status": b"HTTP/1.1 999 Whatever\r\n\r\n",
}


@contextmanager
def _answering(answer: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Answer every handshake so; gives the address and what was asked."""
    heard: list[bytes] = []
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(0.05)
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                with suppress(OSError):
                    peer, _ = listener.accept()
                    with peer:
                        peer.settimeout(5.0)
                        heard.append(peer.recv(65_536))
                        peer.sendall(answer)

        serving = threading.Thread(target=serve)
        serving.start()
        try:
            yield f"ws://127.0.0.1:{listener.getsockname()[1]}/datastream", heard
        finally:
            over.set()
            serving.join(10.0)


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_handshake_that_is_none_is_tried_again(
    face: str, upstream: Upstream, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """Quietly; the service answers meanwhile."""
    with (
        _answering(ANSWERS[kind]) as (url, heard),
        following(face, upstream.url, stream_url=url, initialize=False) as client,
    ):
        client.datastream.start()

        assert until(lambda: len(heard) >= 3)
        assert ask(client).source == "api"
        assert client.datastream.status == "connecting"

    raised, kinds = _troubles(caplog)
    assert raised == []
    assert list(kinds.values()) == [1]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_of_the_handshake_is_not_followed(script: Script, upstream: Upstream, status: int) -> None:
    """The API key is for nobody else."""
    elsewhere = f"HTTP/1.1 {status} Moved\r\nlocation: {script.url}\r\ncontent-length: 0\r\n\r\n".encode()
    with (
        _answering(elsewhere) as (url, heard),
        following("sync", upstream.url, stream_url=url, initialize=False) as client,
    ):
        stream_of(client.client).start()

        assert until(lambda: len(heard) >= 2)

    assert script.headers == []
