"""What takes an interpreter of its own: ``python -m tests.benchmarks.processes NAME PACKAGE URL STREAM_URL [NUMBER]``.

Prints one line of JSON, as soon as it is known, and ends.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks.fixtures import REALISTIC
from tests.benchmarks.scene import Scene
from tests.benchmarks.subject import Package

_ACME, _ADA = REALISTIC.company_keys, REALISTIC.user_keys


def first_answer(package: Package, flags: int) -> None:
    """Start a client on a stream of so many flags, and print the first answer; all flags are there by then."""
    from tests.benchmarks.follower import connected

    async def answer() -> None:
        client = await connected(package, Scene(package.root, "realistic", flags))
        _tell(_verdict(await client.check_flag_with_entitlement(REALISTIC.flag_key(0), _ACME, _ADA)))
        await client.shutdown()

    asyncio.run(answer())


def held(package: Package, count: int) -> None:
    """Print how many bytes each of ``count`` companies takes, and the answer about the last one."""
    from tests.benchmarks.follower import Follower

    follower = Follower(package, "realistic")
    follower.loop.run(follower.hold(range(200)))  # what is made once is there by now
    before = _resident()
    for first in range(200, 200 + count, 100):
        follower.loop.run(follower.hold(range(first, first + 100)))
    taken = (_resident() - before) / count
    _tell({"bytes": taken, "verdict": follower.loop.run(follower.verdict(199 + count))})
    follower.close()


def stall(package: Package, flags: int) -> None:
    """Print for how long a loop stood still, milliseconds, while a client started and while updates came."""
    from tests.benchmarks.follower import connect, unconnected

    scene = Scene(package.root, "realistic", flags, updates=500)
    package.module("client")
    made = unconnected(package, scene) if package.is_ours else None  # as applications do, beside the app

    async def watch() -> None:
        ticker = _Ticker()
        watching = asyncio.create_task(ticker.run())
        await asyncio.sleep(0.1)
        idle = ticker.take()
        client = made or unconnected(package, scene)
        await connect(package, scene, client)
        verdict = _verdict(await client.check_flag_with_entitlement(REALISTIC.flag_key(0), _ACME, _ADA))
        start = ticker.take()
        await asyncio.sleep(1.0)
        _tell({"idle": idle, "start": start, "updates": ticker.take(), "verdict": [*verdict[:2], verdict[3]]})
        watching.cancel()
        await client.shutdown()

    asyncio.run(watch())


def contended(package: Package, flags: int) -> None:
    """Print how long checks take, microseconds, on 16 threads and one loop while updates come; and the wrong answers."""
    from tests.benchmarks.follower import connected

    async def run() -> None:
        client = await connected(package, Scene(package.root, "realistic", flags, updates=500))
        key = REALISTIC.flag_key(0)
        until = time.monotonic() + 1.0
        await client.check_flag(key, _ACME, _ADA)
        timings: list[list[float]] = [[] for _ in range(17)]
        wrong: list[bool] = []

        def check_on_thread(spent: list[float]) -> None:
            check, clock = client.sync.check_flag, time.perf_counter
            while time.monotonic() < until:
                started = clock()
                value = check(key, _ACME, _ADA)
                spent.append(clock() - started)
                if value is not True:
                    wrong.append(value)
                time.sleep(0.001)  # a server under load, not one that does nothing but check

        threads = [threading.Thread(target=check_on_thread, args=(one,)) for one in timings[1:]]
        for thread in threads:
            thread.start()
        while time.monotonic() < until:
            started = time.perf_counter()
            value = await client.check_flag(key, _ACME, _ADA)
            timings[0].append(time.perf_counter() - started)
            if value is not True:
                wrong.append(value)
            await asyncio.sleep(0.001)
        for thread in threads:
            thread.join()
        spent = sorted(one for timed in timings for one in timed)
        _tell({"p99": spent[len(spent) * 99 // 100] * 1e6, "checks": len(spent), "wrong": len(wrong)})
        await client.shutdown()

    asyncio.run(run())


class _Ticker:
    """Wakes every millisecond on its loop, and keeps the longest delay."""

    def __init__(self) -> None:
        self._longest = 0.0

    async def run(self) -> None:
        while True:
            due = time.perf_counter() + 0.001
            await asyncio.sleep(0.001)
            self._longest = max(self._longest, time.perf_counter() - due)

    def take(self) -> float:
        """Give the longest delay since the last call, milliseconds."""
        longest, self._longest = self._longest, 0.0
        return longest * 1e3


def _verdict(result: Any) -> list[object]:
    return [result.value, result.rule_type, result.entitlement.usage, result.entitlement.allocation]


def _resident() -> int:
    import resource

    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _tell(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _name, _root, _url, _stream_url, *_number = sys.argv[1:]
    _run: Callable[[Package, int], None] = globals()[_name]
    _run(Package(_root, _url, _stream_url), int(_number[0]) if _number else 1)
