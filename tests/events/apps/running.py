"""Programs and servers in processes of their own, with nothing left over when the test ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.events.conftest import Capture

ROOT = Path(__file__).parents[3]
BIN = Path(sys.executable).parent
PROMPTLY = 15.0
"""Seconds that a server may take to end; its parts have 2 each, and the machine may be busy."""


def is_thorough() -> bool:
    """Whether every combination is wanted; the normal suite takes one of each kind."""
    return os.environ.get("SERVERS") == "all"


thorough = pytest.mark.skipif(not is_thorough(), reason="run by `make test-servers`")


class Program:
    """A process, and what it prints apart from its own log."""

    def __init__(self, command: list[str], environment: dict[str, str], folder: Path) -> None:
        self._printed = folder / "printed"
        given = {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore::DeprecationWarning", **environment}
        with self._printed.open("wb") as printed:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **given},
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=printed,
                start_new_session=True,
            )

    @property
    def printed(self) -> str:
        return self._printed.read_text(encoding="utf-8", errors="replace")

    def wait_until(self, holds: Callable[[], object], timeout: float = 20.0) -> None:
        """Wait for what the process brings about; it tells nobody."""
        end = time.monotonic() + timeout
        while not holds():
            assert self.process.poll() is None, self.printed
            assert time.monotonic() < end, self.printed
            time.sleep(0.02)

    def stop(self) -> int:
        """End it as a supervisor does; gives its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PROMPTLY)

    def kill(self) -> None:
        """End it with all its children, whatever they are doing."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Server(Program):
    """A web server, and what it was asked."""

    def __init__(self, command: list[str], environment: dict[str, str], folder: Path, port: int) -> None:
        super().__init__(command, environment, folder)
        self._url = f"http://127.0.0.1:{port}"
        self._numbers = count()
        self.asked: list[str] = []
        self.sources: list[tuple[int, str]] = []
        self.wait_until(lambda: self._listens(port))

    def _listens(self, port: int) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return True
        return False

    def ask(self, _: object = None) -> None:
        """Make one request, which tracks an event of its own name."""
        name = f"request-{next(self._numbers)}"
        self.asked.append(name)
        with urlopen(f"{self._url}/{name}", timeout=20.0) as response:
            answer = json.load(response)
        self.sources.append((answer["pid"], answer.get("source", "")))

    @property
    def pids(self) -> set[int]:
        """Who has answered so far."""
        return {pid for pid, _ in self.sources}

    def ask_all(self, workers: int, source: str = "") -> bool:
        """Ask until so many workers have answered, the latest time from ``source``; whether they have."""
        with ThreadPoolExecutor(4) as pool:
            for _ in range(50):
                list(pool.map(self.ask, range(10)))
                latest = dict(self.sources)
                if len(latest) == workers and set(latest.values()) == {source}:
                    return True
        return False


@contextmanager
def running(capture: Capture, folder: Path) -> Iterator[Callable[..., Any]]:
    """Give what starts programs (with ``port``: servers) that report to the capture host."""
    started: list[Program] = []

    def start(*command: str, port: int | None = None, **environment: str) -> Program:
        given = {"CAPTURE_URL": capture.url, **environment}
        if port is None:
            started.append(Program([*command], given, folder))
        else:
            started.append(Server([*command], given, folder, port))
        return started[-1]

    try:
        yield start
    finally:
        for program in started:
            program.kill()


def tracked(capture: Capture) -> list[dict[str, Any]]:
    """Give the bodies of the `track` events taken in."""
    return [event["body"] for event in list(capture.taken) if event["type"] == "track"]


def have_arrived(capture: Capture, pids: set[int]) -> bool:
    """Wait until each of these processes has been heard of."""
    return capture.wait_for(lambda: pids <= {body["traits"]["pid"] for body in tracked(capture)})


def is_each_once(capture: Capture) -> bool:
    """Whether no two `track` events taken in are the same one."""
    keys = [event["idempotency_key"] for event in capture.taken if event["type"] == "track"]
    return len(set(keys)) == len(keys)
