"""Fork and exit reach every part that still exists, and keep none alive."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from schematic_core import lifecycle

ROOT = Path(__file__).parents[1]


class Plain:
    """Hears of forks only."""

    def __init__(self) -> None:
        self.forks = 0

    def after_fork_in_child(self) -> None:
        self.forks += 1


class Failing(Plain):
    """Fails when it hears of anything."""

    def after_fork_in_child(self) -> None:
        raise RuntimeError("mine")


def test_registering_keeps_nothing_alive() -> None:
    """A part can be collected as if it had never been registered."""
    part = Plain()
    lifecycle.register(part)
    gone = weakref.ref(part)

    del part
    gc.collect()

    assert gone() is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_tells_every_part_once(caplog: pytest.LogCaptureFixture) -> None:
    """Also when another part fails, and when one was registered twice; not the unregistered, and not in the parent."""
    parts = [Failing(), Plain(), Plain()]
    for part in (*parts, *parts):
        lifecycle.register(part)
    lifecycle.unregister(parts[2])
    lifecycle.unregister(parts[2])

    child = os.fork()
    if child == 0:
        os._exit(10 * parts[1].forks + parts[2].forks)
    _, status = os.waitpid(child, 0)
    for part in parts:
        lifecycle.unregister(part)

    assert os.waitstatus_to_exitcode(status) == 10
    assert parts[1].forks == 0


def test_an_exit_begins_all_parts_before_it_finishes_any() -> None:
    """All share one deadline; a fault in one costs no other its end; plain parts are left alone."""
    program = """
import logging
from schematic_core import lifecycle
logging.basicConfig()
class Part:
    def after_fork_in_child(self): pass
class Exiting(Part):
    def begin_exit(self, deadline): print("begin", flush=True); self.deadline = deadline
    def finish_exit(self, deadline): print("finish", deadline == self.deadline, flush=True)
class Failing(Exiting):
    def begin_exit(self, deadline): raise RuntimeError("mine")
parts = [Part(), Exiting(), Failing(), Exiting()]
for part in parts: lifecycle.register(part)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=20.0, check=True
    )

    assert done.stdout.split("\n")[:2] == ["begin", "begin"]
    assert done.stdout.count("finish True") == 2
    assert done.stderr.count("a part failed at a fork or at the exit") == 2


def test_subprocesses_trigger_no_hook() -> None:
    """There is nothing before a fork and nothing in the parent, so spawning costs what it did."""
    part = Plain()
    lifecycle.register(part)

    subprocess.run([sys.executable, "-c", ""], timeout=20.0, check=True)

    assert part.forks == 0
    lifecycle.unregister(part)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_a_forked_child_can_import_what_a_thread_of_the_parent_was_importing(tmp_path: Path) -> None:
    """Python leaves such a module locked in the child, by a thread that exists no more."""
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "__init__.py").write_text(
        "import gate, slow.part\ngate.started.set()\nassert gate.go.wait(20)\nvalue = slow.part.value\n"
    )
    (tmp_path / "slow" / "part.py").write_text("value = 7\n")
    program = f"""
import os, signal, sys, threading, types
sys.path.insert(0, {str(tmp_path)!r})
sys.modules["gate"] = gate = types.ModuleType("gate")
gate.started, gate.go = threading.Event(), threading.Event()
from schematic_core import lifecycle

class Part:
    def after_fork_in_child(self): pass

part = Part()
lifecycle.register(part)
threading.Thread(target=lambda: __import__("slow"), daemon=True).start()
assert gate.started.wait(20)
child = os.fork()
if child == 0:
    signal.alarm(10)
    gate.go = threading.Event()
    gate.go.set()
    import slow
    os._exit(slow.value)
gate.go.set()
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""

    run = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60.0,
        check=True,
    )

    assert run.stdout == "7\n", run.stderr
