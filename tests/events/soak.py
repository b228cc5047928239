"""Load from threads and an event loop while the capture host fails in every way; then it is healthy, and nothing is missing.

Run by ``make soak`` for minutes; `test_soak` runs a bounded slice.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType
from typing import Any

from schematic_core import AsyncSchematic, Schematic
from schematic_core.events.values import EventCounts
from tests.events.cycles import memory

COMPANY = {"id": "acme"}

STORM = {
    "500": 10,
    "503": 10,
    "408": 3,
    "429": 3,
    "slow": 10,
    "reset before reading": 10,
    "reset after taking all": 10,
    "cut after taking some": 20,
    "half an answer": 5,
    "no HTTP": 5,
    "fine": 60,
}
"""How often each happens."""
DEAD = {"503": 1}
FINE = {"fine": 1}


class Service:
    """A capture host with moods, that drops repeats by idempotency key as the real one does."""

    def __init__(self, slowness: float) -> None:
        self.weather: dict[str, int] = STORM
        self.slowness = slowness
        self.happened: Counter[str] = Counter()
        self.names: dict[str, str] = {}
        self.arrivals = 0
        self.url = ""
        self._lock = threading.Lock()
        self._random = random.Random(4)  # the same storm every time

    def mood(self) -> str:
        with self._lock:
            (mood,) = self._random.choices([*self.weather], [*self.weather.values()])
            self.happened[mood] += 1
        return mood

    def take(self, events: list[dict[str, Any]]) -> None:
        with self._lock:
            self.arrivals += len(events)
            for event in events:
                body = event["body"]
                self.names[event["idempotency_key"]] = body["event"] if event["type"] == "track" else body["name"]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, service: Service) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.service = service

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are part of it."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        service = self.server.service
        mood = service.mood()
        if mood == "reset before reading":
            self.reset()
            return
        events = json.loads(self.rfile.read(int(self.headers["content-length"])))["events"]
        assert len(events) <= 100
        if mood.isdigit():
            self.answer(int(mood), **({"Retry-After": "1"} if mood == "429" else {}))
        elif mood == "cut after taking some":
            service.take(events[: len(events) // 2 + 1])
            self.reset()
        else:
            service.take(events)
            self.say_so(mood)

    def say_so(self, mood: str) -> None:
        """Answer after everything was taken in, or do not."""
        if mood == "reset after taking all":
            self.reset()
        elif mood in ("half an answer", "no HTTP"):
            self.wfile.write(b"HTTP/1.1 2" if mood == "half an answer" else b"220 welcome\r\n\r\n")
            self.close_connection = True
        else:
            time.sleep(self.server.service.slowness if mood == "slow" else 0.0)
            self.answer(200)

    def answer(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": "2", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"{}")

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def finish(self) -> None:
        with suppress(OSError, ValueError):
            super().finish()

    def log_message(self, *_: Any) -> None:
        """The figures say enough."""


@contextmanager
def serving(slowness: float) -> Iterator[Service]:
    """Run a capture host whose slow answers take ``slowness`` seconds."""
    service = Service(slowness)
    server = _Server(service)
    service.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5.0)


# -- callers


class Watch:
    """Sees every function that a caller's thread enters, and notes those of the sender."""

    FILES = (
        "/schematic_core/events/delivery.py",
        "/schematic_core/events/courier.py",
        "/schematic_core/events/codec.py",
    )
    PACKAGES = ("/httpx/", "/httpcore/", "/ssl.py")
    STEPS = frozenset({"step", "_send", "_encode", "_sleep", "_run", "_repeat"})

    def __init__(self) -> None:
        self.entered: Counter[str] = Counter()
        self.tracks = 0
        self.longest = 0.0

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        if event != "call":
            return
        file, name = frame.f_code.co_filename.replace("\\", "/"), frame.f_code.co_name
        if (
            file.endswith(self.FILES)
            or any(package in file for package in self.PACKAGES)
            or ("/schematic_core/events/" in file and name in self.STEPS)
        ):
            self.entered[f"{file.rpartition('/')[2]}:{name}"] += 1
        elif name == "track" and file.endswith("/events/recording.py"):
            self.tracks += 1

    @contextmanager
    def on(self) -> Iterator[None]:
        """Watch this thread."""
        before = sys.getprofile()
        sys.setprofile(self)
        try:
            yield
        finally:
            sys.setprofile(before)

    def time(self, call: Callable[[], Any]) -> Any:
        begun = time.perf_counter()
        given = call()
        self.longest = max(self.longest, time.perf_counter() - begun)
        return given


@dataclass
class Load:
    """Threads and an event loop that track until they are told to stop, ``pause`` seconds after every tenth event."""

    client: Schematic
    pause: float
    watches: list[Watch] = field(default_factory=list)
    tracked: dict[str, int] = field(default_factory=dict)
    faults: list[BaseException] = field(default_factory=list)
    most_waiting: int = 0
    most_memory: int = 0
    _ended: threading.Event = field(default_factory=threading.Event)

    def run(self, seconds: float, threads: int = 4) -> None:
        works = [(self._thread, f"thread-{n}") for n in range(threads)] + [(self._loop, "loop")]
        running = [threading.Thread(target=self._contained, args=work, daemon=True) for work in works]
        for one in running:
            one.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.look()
            time.sleep(0.1)
        self._ended.set()
        for one in running:
            one.join(30.0)
            assert not one.is_alive(), "a caller hangs"

    def look(self) -> None:
        self.most_waiting = max(self.most_waiting, self.client._runtime.events.counts.waiting)
        self.most_memory = max(self.most_memory, memory())

    @property
    def names(self) -> int:
        return sum(self.tracked.values())

    def _contained(self, work: Callable[[str, Watch], None], name: str) -> None:
        watch = Watch()
        self.watches.append(watch)
        try:
            with watch.on():
                work(name, watch)
        except BaseException as error:
            self.faults.append(error)

    def _thread(self, name: str, watch: Watch) -> None:
        number = 0
        while not self._ended.is_set():
            event = f"{name}-{number}"
            if number % 20 == 19:
                watch.time(partial(self.client.identify, {"id": "ada"}, name=event))
            else:
                watch.time(partial(self.client.track, event, COMPANY, traits={"some": "text", "n": 1}))
            number += 1
            self.tracked[name] = number
            if self.pause and not number % 10:
                time.sleep(self.pause)

    def _loop(self, name: str, watch: Watch) -> None:
        asyncio.run(self._on_loop(self.client.aio, name, watch))

    async def _on_loop(self, client: AsyncSchematic, name: str, watch: Watch) -> None:
        number = 0
        while not self._ended.is_set():
            await watch.time(partial(client.track, f"{name}-{number}", COMPANY))
            number += 1
            self.tracked[name] = number
            if not number % 10:
                await asyncio.sleep(self.pause)


# -- the two parts


@dataclass(frozen=True)
class Report:
    """What came out."""

    title: str
    seconds: float
    recovery: float
    events: int
    unique: int
    arrivals: int
    remaining: int
    counts: EventCounts
    most_waiting: int
    grown: int
    longest: float
    entered: Counter[str]
    tracks_seen: int
    happened: Counter[str]
    lost_names: int
    faults: list[BaseException]

    def __str__(self) -> str:
        return "\n".join(
            [
                f"{self.title}: {self.events:,} events in {self.seconds:.1f} s ({self.events / self.seconds:,.0f} a second)",
                f"  arrived once: {self.unique:,}; with repeats {self.arrivals:,}; after the trouble in {self.recovery:.1f} s",
                f"  remaining {self.remaining}, {self.counts}",
                f"  most waiting {self.most_waiting:,}; memory grew by {self.grown / 1e6:.1f} MB at most",
                f"  longest call of a caller {self.longest * 1000:.1f} ms (watched, so slower than usual)",
                f"  callers entered the sender: {dict(self.entered) or 'never'}",
                f"  requests: {dict(self.happened)}",
            ]
        )

    def problems(self) -> list[str]:
        """Say what must not be."""
        said = {
            "callers raised": bool(self.faults),
            "callers entered the sender": bool(self.entered),
            "callers were not watched": self.tracks_seen < self.events * 0.9,
            "events remain": self.remaining > 0 or self.counts.waiting > 0,
            "events are lost": self.lost_names > 0,
            "events arrived twice under different keys": self.unique > self.counts.sent,
            "the counters are wrong": self.counts.queued != self.counts.sent + sum(self.counts.dropped.values()),
        }
        return [problem for problem, holds in said.items() if holds]


def run(
    title: str, seconds: float, weather: dict[str, int], *, pause: float, nag: float, slowness: float, **options: Any
) -> Report:
    """Track under ``weather`` for some seconds and then see that it arrives.

    Args:
        title: of the report.
        seconds: of load.
        weather: how often what happens.
        pause: seconds that each caller rests after ten events.
        nag: seconds between calls of `flush` beside the load, which cut retry waits short.
        slowness: seconds of a slow answer.
        **options: of the client.
    """
    with serving(slowness) as service:
        service.weather = weather
        client = Schematic("k", event_capture_url=service.url, event_buffer_period=0.5, **options)
        load = Load(client, pause)
        before = memory()
        ended = threading.Event()

        def nagging() -> None:
            while not ended.wait(nag):
                client.flush(nag)

        nagger = threading.Thread(target=nagging, daemon=True)
        nagger.start()
        begun = time.monotonic()
        load.run(seconds)
        took = time.monotonic() - begun
        ended.set()
        service.weather = FINE
        begun = time.monotonic()
        remaining = client.flush(120.0)
        recovery = time.monotonic() - begun
        load.look()
        nagger.join(10.0)
        counts = client._runtime.events.counts
        client.close(10.0)
        names = set(service.names.values())
        lost = load.names - len(names) - sum(counts.dropped.values())
        return Report(
            title,
            took,
            recovery,
            load.names,
            len(service.names),
            service.arrivals,
            remaining,
            counts,
            load.most_waiting,
            load.most_memory - before,
            max(watch.longest for watch in load.watches),
            sum((watch.entered for watch in load.watches), Counter()),
            sum(watch.tracks for watch in load.watches),
            service.happened,
            lost,
            load.faults,
        )


def storm(seconds: float, *, nag: float = 0.02, slowness: float = 0.1) -> Report:
    """Everything goes wrong, at a load that the queue can hold: nothing may be lost."""
    return run("storm", seconds, STORM, pause=0.05, nag=nag, slowness=slowness)


def flood(seconds: float, max_events: int = 5_000) -> Report:
    """The host is dead and callers do not rest: the queue keeps its bounds, and counts what it drops."""
    return run(
        "flood",
        seconds,
        DEAD,
        pause=0.0,
        nag=0.5,
        slowness=0.0,
        event_queue_max=max_events,
        event_queue_max_bytes=2_000_000,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=180.0, help="of the storm; the flood takes a sixth of it")
    given = parser.parse_args()
    problems: list[str] = []
    for report in (
        storm(given.seconds, nag=0.2, slowness=1.0),
        flood(given.seconds / 6, 20_000),
    ):
        print(report, flush=True)
        problems += [f"{report.title}: {problem}" for problem in report.problems()]
    sys.exit("\n".join(problems) or 0)


if __name__ == "__main__":
    main()
