"""The two sides of a benchmark: each package in its own interpreter, one process running batches per side."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import IO, Any

__all__ = ["OURS", "VENDOR", "Running", "Side", "running"]

_TREE = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Side:
    """A package and the interpreter it is installed for."""

    root: str
    python: Path

    def run(self, code: str) -> str:
        """Run code in a new interpreter that knows no ``SCHEMATIC_`` variable; gives what it printed."""
        done = subprocess.run(
            [self.python, "-c", code],
            env=_environment(),
            cwd=_TREE,
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.stdout

    def told(self, what: str, *arguments: str, **environment: str) -> tuple[Any, float]:
        """Run one of ``processes`` in a new interpreter.

        Returns:
            The first line it printed, read as JSON, and after how many seconds that came.
        """
        command = [str(self.python), "-m", "tests.benchmarks.processes", what, self.root, *arguments]
        started = perf_counter()
        with subprocess.Popen(
            command, env={**_environment(), **environment}, cwd=_TREE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            seconds = perf_counter() - started
        if process.returncode or not line:
            raise RuntimeError(f"{what} of {self.root} ended with status {process.returncode}")
        return json.loads(line), seconds


VENDOR = Side("schematic", _TREE / ".peer" / "venv" / "bin" / "python")
OURS = Side("schematic_core", Path(sys.executable))


def _environment() -> dict[str, str]:
    """Both sides keep compiled modules, as installed packages do, whatever the caller's environment says."""
    left_out = ("SCHEMATIC_", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")
    return {name: value for name, value in os.environ.items() if not name.startswith(left_out)}


class Running:
    """A worker process of one side; one call at a time."""

    def __init__(self, process: subprocess.Popen[str], told: IO[str], heard: IO[str]) -> None:
        self._process, self._told, self._heard = process, told, heard

    def open(self, subject: str) -> None:
        """Prepare a subject (see ``subjects``)."""
        self._order({"open": subject})

    def batch(self, seconds: float) -> float:
        """Run a batch of about so many seconds; gives the seconds of one call."""
        return float(str(self._order({"batch": seconds})["each"]))

    def once(self) -> None:
        """Run the smallest batch there is."""
        self._order({"once": True})

    def answer(self) -> object:
        """What the subject answers now."""
        return self._order({"answer": True})["answer"]

    def close(self) -> None:
        """End the subject; what it had queued is delivered."""
        self._order({"close": True})

    def _order(self, order: Mapping[str, object]) -> dict[str, object]:
        self._told.write(json.dumps(order) + "\n")
        self._told.flush()
        line = self._heard.readline()
        if not line:
            raise RuntimeError(f"the worker ended with status {self._process.wait(10)} at {order}")
        answered: dict[str, object] = json.loads(line)
        return answered


@contextmanager
def running(*where: str) -> Iterator[tuple[Running, Running]]:
    """Run one worker per side, vendor first, with these arguments after the package (see ``worker``)."""
    with ExitStack() as stack:
        yield stack.enter_context(_worker(VENDOR, where)), stack.enter_context(_worker(OURS, where))


@contextmanager
def _worker(side: Side, where: tuple[str, ...]) -> Iterator[Running]:
    command = [str(side.python), "-m", "tests.benchmarks.worker", side.root, *where]
    with subprocess.Popen(
        command, env=_environment(), cwd=_TREE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Running(process, process.stdin, process.stdout)
        except BaseException:
            process.kill()
            raise
