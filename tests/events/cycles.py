"""Clients that come and go by the thousand, and what of a process must stay as it was: threads, descriptors, memory."""

from __future__ import annotations

import argparse
import ctypes
import gc
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schematic_core import AsyncSchematic, Schematic, lifecycle
from tests.support.upstream import Answer, Asked, Upstream, running

COMPANY = {"id": "acme"}


@dataclass(frozen=True)
class Figures:
    """What a process holds. Memory in bytes; without /proc, descriptors and memory are 0."""

    threads: int
    descriptors: int
    memory: int
    objects: int
    parts: int


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir()) if sys.platform == "linux" else 0


def memory() -> int:
    """Give the bytes in real memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 if sys.platform == "linux" else 0


def figures() -> Figures:
    """Look, once threads that are ending have ended."""
    end = time.monotonic() + 10.0
    gc.collect()
    while any(thread.name.startswith("schematic") for thread in threading.enumerate()) and time.monotonic() < end:
        time.sleep(0.01)
    gc.collect()
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)  # glibc keeps what threads that are gone have freed
    return Figures(threading.active_count(), descriptors(), memory(), len(gc.get_objects()), len([*lifecycle._parts]))


def tracks(number: int) -> bool:
    """Whether a cycle tracks an event; by turns with each face."""
    return number % 32 in (2, 13)


def checks(number: int) -> bool:
    return number % 64 in (5, 34)


def is_dropped(number: int) -> bool:
    """Whether a client is left to the garbage collector."""
    return number % 3 == 0


def cycle(url: str, number: int, **options: Any) -> None:
    """Make a client, use it or not, and close it or drop it.

    One in sixteen tracks and half as many check: either costs a connection and a TLS context, which is slow and not ours.
    """
    kind = AsyncSchematic if number & 1 else Schematic
    client: Any = kind("dev", base_url=url, event_buffer_period=60.0, **options)
    plain = client.sync if number & 1 else client
    if tracks(number):
        plain.track("used", COMPANY, traits={"number": number})
    if checks(number) and not options:
        plain.check_flag("exports", {"id": str(number)})
    if options:
        plain.initialize(0.0)
    if is_dropped(number):
        del client, plain
    else:
        assert plain.close(10.0 if not options else 2.0) == 0


@dataclass(frozen=True)
class Result:
    before: Figures
    after: Figures
    count: int
    seconds: float
    events: int
    expected: int

    def __str__(self) -> str:
        rows = [f"{self.count} cycles in {self.seconds:.1f} s; {self.events} of {self.expected} events"]
        names = ("threads", "descriptors", "memory", "objects", "parts")
        rows += [f"  {name:12} {getattr(self.before, name):>12,} -> {getattr(self.after, name):>12,}" for name in names]
        return "\n".join(rows)

    def faults(self) -> list[str]:
        """Name what grew. A tenth of an object a cycle would be a leak; fewer are caches of others filling up.

        Memory is the coarser measure: TLS contexts that come and go leave holes of a kilobyte or two. A client is forty.
        """
        before, after = self.before, self.after
        grown = [name for name in ("threads", "descriptors", "parts") if getattr(after, name) > getattr(before, name)]
        if after.objects - before.objects > 200 + self.count // 10:
            grown.append("objects")
        if after.memory - before.memory > 12_000_000 + 1_000 * self.count:
            grown.append("memory")
        return [*grown, *(["events"] if self.events != self.expected else [])]


def run(count: int, make: Callable[[str, int], None], warm_up: int = 200) -> Result:
    """Go through ``count`` cycles after some that fill caches; events are counted over all of them."""
    keys: set[str] = set()

    def respond(asked: Asked) -> Answer:
        return Answer(200, {"data": {"flag": "exports", "value": True, "reason": "r"}, "params": {}})

    with running() as upstream:
        upstream.respond = respond
        for number in range(warm_up):
            make(upstream.url, number)
        before = figures()
        begun = time.monotonic()
        for number in range(warm_up, warm_up + count):
            make(upstream.url, number)
            if len(upstream.events) > 500:
                _note(upstream, keys)
        seconds = time.monotonic() - begun
        figures()
        _note(upstream, keys)
        after = figures()
    expected = sum(1 for number in range(warm_up + count) if tracks(number))
    return Result(before, after, count, seconds, len(keys), expected)


def _note(upstream: Upstream, keys: set[str]) -> None:
    """Keep the keys of events alone, so that the test's own memory does not grow much."""
    with upstream.arrived:
        keys.update(event["idempotency_key"] for event in upstream.events if event["event_type"] == "track")
        upstream.events.clear()
        upstream.asked.clear()


def over_http(url: str, number: int) -> None:
    cycle(url, number)


def over_a_dead_stream(url: str, number: int) -> None:
    """The events have their service; the stream dials a port where nobody is."""
    cycle("http://127.0.0.1:9", number, use_datastream=True, event_capture_url=url, event_endpoint="rest")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=10_000)
    parser.add_argument("--stream-cycles", type=int, default=500)
    given = parser.parse_args()
    faults: list[str] = []
    for title, count, make in (
        ("over HTTP", given.cycles, over_http),
        ("with a stream that nobody serves", given.stream_cycles, over_a_dead_stream),
    ):
        result = run(count, make, min(200, count))
        print(f"{title}: {result}", flush=True)
        faults += [f"{title}: {fault} grew" for fault in result.faults()]
    sys.exit("\n".join(faults) or 0)


if __name__ == "__main__":
    main()
