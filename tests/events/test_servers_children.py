"""Children of Celery's pool and of `multiprocessing`: every event of theirs and of their parent arrives exactly once."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.datastream.support import Service, serving
from tests.events.apps.running import Program, is_each_once, is_thorough, running, thorough, tracked
from tests.events.conftest import Capture

Start = Callable[..., Program]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
needs_celery = pytest.mark.skipif(find_spec("celery") is None, reason="not installed: celery")


@pytest.fixture
def start(capture: Capture, tmp_path: Path) -> Iterator[Start]:
    with running(capture, tmp_path) as start:
        yield start


@pytest.fixture
def service() -> Iterator[Service]:
    with serving() as service:
        yield service


# -- Celery


def celery(start: Start, folder: Path, *options: str, **environment: str) -> Program:
    """Start a worker; its own log goes to a file."""
    (folder / "broker").mkdir()
    command = [sys.executable, "-m", "celery", "--quiet", "-A", "tests.events.apps.tasks", "worker", "--pool=prefork"]
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", f"--logfile={folder / 'log'}"]
    return start(*command, *quiet, *options, BROKER=str(folder / "broker"), PYTHONWARNINGS="ignore", **environment)


def send(start: Start, folder: Path, names: list[str]) -> None:
    """Ask for a task for each name, from a process that loads the application too."""
    sender = start(
        sys.executable, "-m", "tests.events.apps.tasks", *names, BROKER=str(folder / "broker"), PYTHONWARNINGS="ignore"
    )
    assert sender.process.wait(30.0) == 0, sender.printed


def names_of(capture: Capture) -> Counter[str]:
    return Counter(body["event"] for body in tracked(capture))


@needs_celery
def test_celery_delivers(start: Start, capture: Capture, tmp_path: Path) -> None:
    """What children track while they work, when they are replaced, and when SIGTERM ends them all.

    They end without an interpreter's exit, long before a second round is due.
    """
    worker = celery(start, tmp_path, "--concurrency=2", "--max-tasks-per-child=12")
    names = [f"task-{n}" for n in range(30)]

    send(start, tmp_path, names)
    worker.wait_until(lambda: not [*(tmp_path / "broker").glob("*.msg")])
    ended = worker.stop()

    assert ended == 0, worker.printed
    assert names_of(capture) == Counter([*names, "loaded", "loaded"])  # by the worker, and by who asked
    assert len({body["traits"]["pid"] for body in tracked(capture)}) > 4
    assert is_each_once(capture)
    assert worker.printed.strip() == "worker: Warm shutdown (MainProcess)"


@needs_celery
@thorough
def test_celery_s_children_answer_from_their_own_streams(
    start: Start, capture: Capture, service: Service, tmp_path: Path
) -> None:
    """The parent's goes on."""
    worker = celery(start, tmp_path, "--concurrency=2", SERVICE_URL=service.url)
    names = [str(n) for n in range(20)]

    send(start, tmp_path, names)
    worker.wait_until(lambda: len(service.open) == 3)
    worker.wait_until(lambda: not [*(tmp_path / "broker").glob("*.msg")])
    ended = worker.stop()

    assert ended == 0, worker.printed
    arrived = names_of(capture)
    sources = Counter({name: arrived.pop(name) for name in [*arrived] if name.startswith("from ")})
    assert sources["from stream"] > 0
    assert sources.keys() <= {"from stream", "from api"}
    assert sources.total() == 20
    assert arrived == Counter([*names, "loaded", "loaded"])


# -- multiprocessing

CHILDREN = """
import multiprocessing, os, sys
import schematic_core.api.over_httpx  # an exit has two seconds; on a busy machine importing this in each child takes them all
from schematic_core import Schematic
from schematic_core.lifecycle import flush_on_sigterm
from tests.events.apps.settings import COMPANY, options, traits

client = Schematic("dev", **options())

def use(name):
    client.track(name, COMPANY, traits=traits())
    return os.getpid()

def main(method, way):
    context = multiprocessing.get_context(method)
    client.track("parent", COMPANY, traits=traits())
    if way == "process":
        children = [context.Process(target=use, args=(f"{n}",)) for n in range(4)]
        for child in children: child.start()
        for child in children: child.join()
        assert [child.exitcode for child in children] == [0] * 4
    else:
        with context.Pool(2, flush_on_sigterm if way == "terminated pool" else None) as pool:
            pool.map(use, [f"{n}" for n in range(4)], chunksize=1)
            if way == "pool":
                pool.close()
                pool.join()

if __name__ == "__main__":
    main(*sys.argv[1:])
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("way", ["process", "pool", "terminated pool"])
def test_children_of_multiprocessing_deliver(
    start: Start, capture: Capture, tmp_path: Path, method: str, way: str
) -> None:
    """Whichever way they are started and ended; a pool that is left is terminated by SIGTERM, hence the handler."""
    if way != "process" and method != "fork" and not is_thorough():
        pytest.skip("run by `make test-servers`")
    script = tmp_path / "program.py"
    script.write_text(CHILDREN, encoding="utf-8")

    program = start(sys.executable, str(script), method, way)

    assert program.process.wait(40.0) == 0, program.printed
    assert names_of(capture) == Counter(["parent", "0", "1", "2", "3"])
    assert is_each_once(capture)
    assert program.printed == ""
