"""Events through forks, exits and signals, with real processes (events specification, section 4, rows 9 to 14 and 16)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx  # noqa: F401 - imported before any fork: a child that inherits a half-imported module could not finish it
import pytest

from schematic_core.events.thread import EventSender
from tests.events.conftest import Capture
from tests.support.upstream import Answer

Make = Callable[..., EventSender]

ROOT = Path(__file__).parents[2]
PRELUDE = """
import sys, os, signal, time, asyncio, atexit, logging
from schematic_core.config import resolve
from schematic_core.events.thread import EventSender
logging.basicConfig()
settings = resolve("k", {"event_capture_url": sys.argv[1], "event_buffer_period": 60}, environment={})
"""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
forks_with_threads = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture
def start(capture: Capture) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Start a program that reports to the capture host; nothing of it outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def start(program: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PRELUDE + program, capture.url]
        started.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> str:
    """Wait for the end and give what was written to stderr."""
    _, errors = process.communicate(timeout=20.0)
    return errors


def in_child(work: Callable[[], bool]) -> bool:
    """Run ``work`` in a forked child; whether it came to its end there and was true."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if work() else 1)
        except BaseException:
            os._exit(2)
    end = time.monotonic() + 15.0
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.01)  # there is no wait with an end
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def test_a_normal_exit_delivers(start: Callable[[str], subprocess.Popen[str]], capture: Capture) -> None:
    """Row 9: nobody closed the client, five of five arrive."""
    errors = ended(start("s = EventSender(settings)\nfor n in range(5): s.track(str(n))"))

    assert errors == ""
    assert capture.names == ["0", "1", "2", "3", "4"]


def test_an_exit_delivers_what_a_collected_client_left(
    start: Callable[[str], subprocess.Popen[str]], capture: Capture
) -> None:
    """A client dropped just before the exit still delivers."""
    ended(start("EventSender(settings).track('used')"))

    assert capture.names == ["used"]


def test_an_exit_with_a_failing_service_tries_once(
    start: Callable[[str], subprocess.Popen[str]], capture: Capture
) -> None:
    """Row 10: no retry wait holds up the exit, and the loss is reported."""
    capture.script += [Answer(500)] * 50

    errors = ended(start("s = EventSender(settings)\ns.track('used')"))

    assert capture.requests == 1
    assert "events are lost" in errors


def test_an_exit_with_a_hanging_service_ends(start: Callable[[str], subprocess.Popen[str]], capture: Capture) -> None:
    """Row 10: twenty clients share one deadline."""
    gate = threading.Event()
    capture.script += [Answer(200, {}, gate=gate)] * 20

    process = start("all = [EventSender(settings) for _ in range(20)]\nfor s in all: s.track('used')")
    ended(process)
    gate.set()

    assert process.returncode == 0


def test_an_exit_cuts_a_retry_wait_short(start: Callable[[str], subprocess.Popen[str]], capture: Capture) -> None:
    """Row 11: the service recovered meanwhile, so the last try delivers."""
    capture.script += [Answer(503, {}, {"retry-after": "60"})]

    ended(start("s = EventSender(settings)\ns.track('used')\nassert s.flush(1) == 1"))

    assert capture.names == ["used"]


def test_a_handled_sigterm_delivers(start: Callable[[str], subprocess.Popen[str]], capture: Capture) -> None:
    """Row 12: with the handler that the documentation advises, five of five arrive."""
    program = """
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
s = EventSender(settings)
s.track("first"); s.flush(10)
for n in range(4): s.track(str(n))
print("ready", flush=True)
while True: time.sleep(60)
"""
    process = start(program)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"

    process.send_signal(signal.SIGTERM)

    assert ended(process) == ""
    assert len(capture.taken) == 5


def test_close_in_a_signal_handler_delivers(start: Callable[[str], subprocess.Popen[str]], capture: Capture) -> None:
    """Row 12: the other advice; the handler may interrupt `track` anywhere."""
    program = """
def stop(*_):
    left = s.close()
    os._exit(left)
signal.signal(signal.SIGTERM, stop)
s = EventSender(settings)
print("ready", flush=True)
while True:
    for _ in range(20): s.track("used")
    time.sleep(0.002)
"""
    process = start(program)
    assert process.stdout is not None
    process.stdout.readline()
    assert capture.wait_for(lambda: len(capture.taken) > 200)

    process.send_signal(signal.SIGTERM)
    ended(process)

    assert process.returncode in (0, 1)  # 1: the event whose call was interrupted
    assert len({event["idempotency_key"] for event in capture.taken}) == len(capture.taken)


def test_asyncio_run_delivers_at_exit(start: Callable[[str], subprocess.Popen[str]], capture: Capture) -> None:
    """Row 16: the loop is gone, the events are not."""
    program = """
async def main():
    s = EventSender(settings)
    for n in range(5): s.track(str(n))
    return s
s = asyncio.run(main())
"""
    assert ended(start(program)) == ""

    assert len(capture.taken) == 5


def test_events_of_exit_handlers_are_delivered(start: Callable[[str], subprocess.Popen[str]], capture: Capture) -> None:
    """An exit handler that runs before ours may still report usage."""
    program = "s = EventSender(settings)\ns.track('first')\natexit.register(s.track, 'last')"

    ended(start(program))

    assert sorted(capture.names) == ["first", "last"]


@needs_fork
def test_a_fork_delivers_buffered_events_once(start: Callable[[str], subprocess.Popen[str]], capture: Capture) -> None:
    """Row 13: five buffered in the parent, the child exits normally, five arrive; and the child's own."""
    program = """
s = EventSender(settings)
for n in range(5): s.track(str(n))
if os.fork() == 0:
    s.track("child")
    sys.exit()
os.wait()
"""
    ended(start(program))

    assert sorted(capture.names) == ["0", "1", "2", "3", "4", "child"]
    assert len({event["idempotency_key"] for event in capture.taken}) == 6


@needs_fork
@forks_with_threads
def test_a_preforked_worker_delivers(make: Make, capture: Capture) -> None:
    """Row 14: the master used the client before the fork; the worker's events go out without an exit."""
    sender = make()
    sender.track("master")
    assert sender.flush(10.0) == 0

    def work() -> bool:
        for _ in range(50):
            sender.track("worker")
        return sender.flush(10.0) == 0 and sender.counts.queued == 50

    assert in_child(work)
    assert capture.names == ["master"] + ["worker"] * 50
    sender.track("master")
    assert sender.flush(10.0) == 0
    assert len({event["idempotency_key"] for event in capture.taken}) == 52


@needs_fork
@forks_with_threads
def test_a_fork_while_a_lock_is_held_harms_nobody(make: Make, capture: Capture) -> None:
    """Row 14b: whatever another thread was doing with the queue, the child starts afresh."""
    sender = make()
    sender.track("master")
    assert sender.flush(10.0) == 0

    with sender._worker._lock:
        delivered = in_child(lambda: sender.track("worker") and sender.flush(10.0) == 0)

    assert delivered
    assert capture.names == ["master", "worker"]


@needs_fork
@forks_with_threads
@pytest.mark.parametrize("call", ["track", "flush", "close"])
def test_a_fork_that_runs_no_hooks_is_noticed(make: Make, capture: Capture, call: str) -> None:
    """Servers such as uWSGI fork without Python's hooks; the process id tells, at the first look into the queue."""
    sender = make()
    sender.track("master")
    assert sender.flush(10.0) == 0
    worker = sender._worker
    end = time.monotonic() + 10.0
    while worker.notice != 1 and time.monotonic() < end:  # the thread has not gone to rest yet
        time.sleep(0.01)
    inherited = {name: getattr(worker, name) for name in vars(worker)}

    def work() -> bool:
        vars(worker).update(inherited)  # undoes what our hook did
        if call == "flush":
            return sender.flush(5.0) == 0 and sender.counts.queued == 0
        if call == "close":
            return sender.close(5.0) == 0
        return sender.track("worker") and sender.flush(10.0) == 0 and sender.counts.queued == 1

    assert in_child(work)
    assert capture.names == ["master"] + ["worker"] * (call == "track")


@needs_fork
@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_a_child_of_multiprocessing_delivers_at_its_end(capture: Capture, tmp_path: Path, method: str) -> None:
    """Such a child ends without the interpreter's exit, and long before the first round is due."""
    program = PRELUDE + (
        "import multiprocessing\n"
        "def work(): EventSender(settings).track('child')\n"
        "if __name__ == '__main__':\n"
        "    sender = EventSender(settings); sender.track('parent'); sender.flush(10)\n"
        f"    child = multiprocessing.get_context({method!r}).Process(target=work)\n"
        "    child.start(); child.join()\n"
    )
    script = tmp_path / "program.py"
    script.write_text(program, encoding="utf-8")

    subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", str(script), capture.url],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=30.0,
        check=True,
    )

    assert sorted(capture.names) == ["child", "parent"]
