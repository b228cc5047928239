"""How processes end: SIGTERM with the documented handler and without, one deadline for an exit, clients that are dropped."""

from __future__ import annotations

import gc
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from schematic_core.client import AsyncSchematic, Schematic
from schematic_core.lifecycle import flush_on_sigterm
from tests.datastream.support import Service, free_port, serving, stream_threads, until
from tests.events.apps.running import Program, have_arrived, is_each_once, running, thorough, tracked
from tests.events.conftest import Capture, event_threads
from tests.events.cycles import descriptors
from tests.support.upstream import Answer

Start = Callable[..., Any]

PRELUDE = """
import asyncio, logging, os, signal, sys, time
from schematic_core import AsyncSchematic, Schematic
from schematic_core.lifecycle import flush_on_sigterm
from tests.events.apps.settings import COMPANY, options, traits
"""


@pytest.fixture
def start(capture: Capture, tmp_path: Path) -> Iterator[Start]:
    with running(capture, tmp_path) as start:
        yield start


def run(start: Start, program: str, *arguments: str, **environment: str) -> Program:
    started: Program = start(sys.executable, "-c", PRELUDE + program, *arguments, **environment)
    return started


def names_of(capture: Capture) -> Counter[str]:
    return Counter(body["event"] for body in tracked(capture))


# -- SIGTERM

WAITING = """
client = Schematic("dev", **options())
client.track("first", COMPANY, traits=traits())
client.flush(20.0)
for number in range(5): client.track(str(number), COMPANY, traits=traits())
print("ready", flush=True)
while True: time.sleep(60)
"""


def test_sigterm_with_the_handler_delivers(start: Start, capture: Capture) -> None:
    """And the process ends by the signal, as whoever sent it expects."""
    program = run(start, "flush_on_sigterm()\nflush_on_sigterm()\n" + WAITING)
    program.wait_until(lambda: "ready" in program.printed)

    ended = program.stop()

    assert ended == -signal.SIGTERM
    assert names_of(capture) == Counter(["first", *map(str, range(5))])
    assert program.printed == "ready\n"


def test_sigterm_without_a_handler_loses_the_last_seconds(start: Start, capture: Capture) -> None:
    """That is Python's default; what was sent before arrived, and nothing twice."""
    program = run(start, WAITING)
    program.wait_until(lambda: "ready" in program.printed)

    ended = program.stop()

    assert ended == -signal.SIGTERM
    assert names_of(capture) == Counter(["first"])
    assert program.printed == "ready\n"


def test_the_handler_goes_on_to_the_one_before_it(start: Start, capture: Capture) -> None:
    """Which may track, and may let the process live; then it ends as it likes."""
    program = run(
        start,
        """
def before(number, frame):
    client.track("in the handler", COMPANY, traits=traits())
    print("before", number == signal.SIGTERM, frame is not None, flush=True)
signal.signal(signal.SIGTERM, before)
assert flush_on_sigterm()
client = Schematic("dev", **options())
client.track("first", COMPANY, traits=traits())
client.flush(20.0)
client.track("second", COMPANY, traits=traits())
os.kill(os.getpid(), signal.SIGTERM)
assert client._runtime.events.counts.sent == 2
client.track("last", COMPANY, traits=traits())
""",
    )

    assert program.process.wait(30.0) == 0, program.printed
    assert names_of(capture) == Counter(["first", "second", "in the handler", "last"])
    assert program.printed == "before True True\n"


def test_the_handler_serves_every_client_and_asyncio(start: Start, capture: Capture) -> None:
    """Those of both faces, whoever made them and when, also while a loop runs."""
    program = run(
        start,
        """
first = Schematic("dev", **options())
flush_on_sigterm()
async def main():
    second = AsyncSchematic("dev", **options())
    first.track("first", COMPANY, traits=traits())
    await second.track("second", COMPANY, traits=traits())
    first.flush(20.0)
    await second.flush(20.0)
    first.track("first again", COMPANY, traits=traits())
    await second.track("second again", COMPANY, traits=traits())
    print("ready", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
""",
    )
    program.wait_until(lambda: "ready" in program.printed)

    assert program.stop() == -signal.SIGTERM
    assert names_of(capture) == Counter(["first", "second", "first again", "second again"])


def test_the_handler_may_interrupt_track_anywhere(start: Start, capture: Capture) -> None:
    """Events whose call had come back are delivered, once each."""
    program = run(
        start,
        """
flush_on_sigterm(20.0)
client = Schematic("dev", **options())
number = 0
while True:
    client.track(str(number), COMPANY, traits=traits())
    number += 1
    if number % 50 == 0:
        print(number, flush=True)
        time.sleep(0.005)
""",
    )
    assert capture.wait_for(lambda: len(capture.taken) > 500)

    assert program.stop() == -signal.SIGTERM
    tracked_before = int(program.printed.split()[-1])
    assert is_each_once(capture)
    assert {str(number) for number in range(tracked_before)} <= set(names_of(capture))


def test_the_handler_ends_though_the_service_hangs(start: Start, capture: Capture) -> None:
    """All clients share its time; a second SIGTERM is not needed."""
    gate = threading.Event()
    capture.script += [Answer(200, {}, gate=gate)] * 10
    program = run(
        start,
        """
flush_on_sigterm(0.5)
clients = [Schematic("dev", **options()) for _ in range(5)]
for client in clients: client.track("used", COMPANY, traits=traits())
print("ready", flush=True)
while True: time.sleep(60)
""",
    )
    program.wait_until(lambda: "ready" in program.printed)

    ended = program.stop()
    gate.set()

    assert ended == -signal.SIGTERM


def test_there_is_no_handler_where_sigterm_is_ignored() -> None:
    """Nothing would end then; and a thread cannot have one."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raised: list[BaseException] = []

    def call() -> None:
        try:
            flush_on_sigterm()
        except ValueError as error:
            raised.append(error)

    try:
        assert not flush_on_sigterm()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
    finally:
        signal.signal(signal.SIGTERM, before)

    assert len(raised) == 1


@pytest.mark.skipif(find_spec("uvicorn") is None, reason="not installed: uvicorn")
@pytest.mark.parametrize("way", ["lifespan", "handler"])
def test_uvicorn_delivers(start: Start, capture: Capture, way: str) -> None:
    """Through the lifespan, or through the handler: it ends its process by the signal, which is no exit to Python."""
    port = free_port()
    quiet = ["--log-level=warning", f"--port={port}", "tests.events.apps.asgi:application"]
    given = {"FLUSH_ON_SIGTERM": "1"} if way == "handler" else {}
    server = start(sys.executable, "-m", "uvicorn", *quiet, port=port, **given)
    server.ask_all(1)
    assert have_arrived(capture, server.pids)
    server.ask()

    assert server.stop() in (0, -signal.SIGTERM)
    assert names_of(capture) == Counter([*server.asked, "loaded"])
    assert server.printed == ""


# -- exits


@pytest.mark.parametrize(
    "trouble", ["hangs", pytest.param("refuses", marks=thorough), pytest.param("fails", marks=thorough)]
)
def test_an_exit_has_one_deadline_for_all_clients(start: Start, capture: Capture, trouble: str) -> None:
    """Twenty clients with a service that is down: two seconds, not forty. Some follow a stream that is down as well."""
    gate = threading.Event()
    capture.script += [Answer(503, {}, gate=gate if trouble == "hangs" else None)] * 200
    dead = f"http://127.0.0.1:{free_port()}"
    program = run(
        start,
        """
own = {**options(), **({"event_capture_url": sys.argv[1]} if sys.argv[2] == "refuses" else {})}
clients = [Schematic("dev", **own) for _ in range(16)]
clients += [Schematic("dev", **own, base_url=sys.argv[1], use_datastream=True) for _ in range(4)]
for client in clients:
    client.track("used", COMPANY, traits=traits())
for client in clients[16:]:
    client.initialize(0.01)
print("ready", flush=True)
""",
        dead,
        trouble,
    )
    program.wait_until(lambda: "ready" in program.printed, 60.0)

    ended = program.process.wait(20.0)  # 2 s by rights; 40 would be one deadline for each
    gate.set()

    assert ended == 0
    assert program.printed == "ready\n"


# -- dropped clients


@pytest.fixture
def service() -> Iterator[Service]:
    with serving() as service:
        yield service


@pytest.mark.parametrize("kind", [Schematic, AsyncSchematic])
@pytest.mark.parametrize("is_streaming", [False, True])
def test_dropped_clients_leave_nothing_behind(
    capture: Capture, service: Service, kind: Callable[..., Any], is_streaming: bool
) -> None:
    """Their events are delivered; their threads, sockets and memory go."""

    def use_one(number: int) -> None:
        options = {"base_url": service.url, "use_datastream": True} if is_streaming else {"base_url": service.url}
        client = kind("dev", event_capture_url=capture.url, event_buffer_period=60.0, **options)
        client.track(str(number), {"id": "acme"})
        if is_streaming:
            client.datastream.start()
            assert client.datastream.wait_ready(10.0)

    before = event_threads(), len(stream_threads()), descriptors()
    for number in range(5):
        use_one(number)
    gc.collect()

    assert until(lambda: (event_threads(), len(stream_threads())) <= before[:2])
    assert names_of(capture) == Counter(map(str, range(5)))
    assert until(lambda: descriptors() <= before[2] + 2)  # of the test's own services


# -- uWSGI, by a stand-in

STAND_IN = """
import types
sys.modules["uwsgi"] = uwsgi = types.ModuleType("uwsgi")
uwsgi.opt, uwsgi.has_threads = {option: b"1" for option in sys.argv[2:]}, int(sys.argv[1])
uwsgi.post_fork_hook = lambda: print("the user's own", flush=True)
logging.basicConfig(format="%(message)s")
clients = [Schematic("dev", **options()) for _ in range(3)]
for client in clients: client.track("used", COMPANY, traits=traits())
uwsgi.post_fork_hook()
"""


@pytest.mark.parametrize(
    ("threads", "options", "named"),
    [
        ("1", ["py-call-osafterfork"], []),
        ("1", ["lazy-apps"], []),
        ("0", [], ["enable-threads", "py-call-uwsgi-fork-hooks"]),
    ],
)
def test_uwsgi_s_missing_options_are_named_once(
    start: Start, threads: str, options: list[str], named: list[str]
) -> None:
    """However many clients there are; and the hook that was there before is still called."""
    program = run(start, STAND_IN, threads, *options)

    assert program.process.wait(30.0) == 0
    *warnings, last = program.printed.splitlines()
    assert last == "the user's own"
    assert len(warnings) == len(named)
    assert all(option in line for option, line in zip(named, warnings, strict=True))
