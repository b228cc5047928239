"""The spool with real files and real processes: what survives, who sends it, and what a broken file costs."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx  # noqa: F401 - imported before any fork: a child that inherits a half-imported module could not finish it
import pytest

from schematic_core.events.recording import record_check
from schematic_core.events.spool import Spool
from schematic_core.events.spool_file import SpoolFile
from schematic_core.events.spool_rows import APPLICATION_ID, Row, fingerprint
from schematic_core.events.thread import EventSender
from schematic_core.values import IdentifyOptions, TrackOptions
from tests.events.conftest import Capture, event_threads
from tests.events.support import VERDICT, options
from tests.events.test_processes import PRELUDE, ROOT, ended, forks_with_threads, in_child, needs_fork
from tests.support.upstream import Answer

Make = Callable[..., EventSender]
Start = Callable[[str], "subprocess.Popen[str]"]

NOWHERE = "http://127.0.0.1:9"
SPOOLING = PRELUDE.replace('"event_buffer_period": 60}', '"event_buffer_period": 60, "event_spool": sys.argv[2]}')


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "events.spool")


@pytest.fixture
def start(capture: Capture, path: str) -> Iterator[Start]:
    """Start a program whose settings have the spool; nothing of it outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def start(program: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", SPOOLING + program, capture.url, path]
        started.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def rows(path: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT kind, tail, attempted FROM events ORDER BY owner, number").fetchall()


def leave(path: str, *left: Row, key: str = "sk_test", until: float = 0.0, host: str = "elsewhere") -> None:
    """Leave rows in the file as a process that is gone would."""
    spool = Spool(path, fingerprint(key), log=logging.getLogger("tests"))
    for row in left:
        spool.insert(row)
    spool.release()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE owners SET until = ?, host = ?", (until, host))
        connection.commit()


def left_track(number: int, key: str = "left", attempted: float | None = None) -> Row:
    tail = f'{{"event":"left-{number}","company":{{"id":"acme"}}}},"idempotency_key":"{key}-{number}"}}'
    return Row(number, "track", time.time(), tail, attempted)


def keys(capture: Capture) -> list[str]:
    return [event["idempotency_key"] for event in capture.taken]


# -- what is on file


def test_an_accepted_event_is_on_file_before_track_returns(make: Make, capture: Capture, path: str) -> None:
    """With its idempotency key and without the API key, readable by nobody else, and gone once it is acknowledged."""
    gate = threading.Event()
    capture.script += [Answer(200, {}, gate=gate)]
    sender = make(event_spool=path)

    assert sender.track("used", {"id": "acme"}, None, {"region": "eu"}, 2)
    assert sender.identify({"id": "ada"}, options=IdentifyOptions("k2"))
    on_file = rows(path)

    assert [row[0] for row in on_file] == ["track", "identify"]
    assert '"event":"used"' in on_file[0][1]
    assert '"idempotency_key":"k2"' in on_file[1][1]
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    assert all(b"sk_test" not in Path(path + suffix).read_bytes() for suffix in ("", "-wal"))
    gate.set()
    assert sender.flush(10.0) == 0
    assert sender.close(10.0) == 0
    assert rows(path) == []
    assert [event["type"] for event in capture.taken] == ["track", "identify"]


def test_an_event_is_marked_before_it_is_sent(make: Make, capture: Capture, path: str) -> None:
    """Whoever finds it later knows that the service may have it."""
    gate = threading.Event()
    capture.script += [Answer(200, {}, gate=gate)]
    sender = make(event_spool=path)
    sender.track("used")
    assert capture.wait_for(lambda: capture.requests == 1)

    marked = rows(path)
    gate.set()

    assert marked[0][2] == pytest.approx(time.time(), abs=30.0)


def test_flag_checks_stay_in_memory(make: Make, capture: Capture, path: str) -> None:
    """They are no money, and there are many."""
    sender = make(event_spool=path)
    assert record_check(sender.worker, VERDICT, {"id": "acme"}, {}, is_preflight=False)

    assert sender.flush(10.0) == 0

    assert [event["type"] for event in capture.taken] == ["flag_check"]
    assert not Path(path).exists() or rows(path) == []


def test_an_event_that_cannot_be_written_is_lost_alone(
    make: Make, capture: Capture, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told with its place; a trait alone is left out."""
    sender = make(event_spool=path)
    sender.track("bad", quantity=10**5000)
    sender.track("used", None, None, {"ratio": float("nan"), "n": 1})

    assert sender.flush(10.0) == 0

    assert [event["body"] for event in capture.taken] == [{"event": "used", "traits": {"n": 1}}]
    assert dict(sender.counts.dropped) == {"unserialisable": 1}
    assert len([m for m in caplog.messages if "test_spool.py:" in m]) == 2


def test_what_is_not_delivered_at_the_end_stays_on_file(make: Make, capture: Capture, path: str) -> None:
    """It counts as remaining and as kept, not as lost, and the next sender has it at once."""
    capture.script += [Answer(503)] * 2
    lost: list[Exception] = []
    sender = make(event_spool=path, on_error=lost.append)
    sender.track("used", options=TrackOptions("once"))

    assert sender.close(10.0) == 1
    assert (sender.counts.kept, dict(sender.counts.dropped), lost) == (1, {}, [])
    capture.script.clear()
    make(event_spool=path).start()

    assert capture.wait_for(lambda: keys(capture) == ["once"])


def test_a_rejected_event_leaves_the_file(make: Make, capture: Capture, path: str) -> None:
    """It would be rejected for ever."""
    capture.script += [Answer(400)]
    sender = make(event_spool=path)
    sender.track("bad")

    assert sender.flush(10.0) == 0
    sender.close(10.0)

    assert rows(path) == []


# -- what others left


def test_events_of_a_killed_process_are_sent_by_the_next_exactly_once(
    start: Start, make: Make, capture: Capture, path: str
) -> None:
    """Killed between `track` and any request: all five arrive, under the keys that they were given."""
    program = (
        "for name, value in {'event_capture_url': 'http://127.0.0.1:9'}.items():\n"
        "    settings = resolve('sk_test', {name: value, 'event_spool': sys.argv[2]}, environment={})\n"
        "s = EventSender(settings)\n"
        "for n in range(5): assert s.track(str(n))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = start(program)
    ended(killed)
    assert killed.returncode == -signal.SIGKILL
    on_file = rows(path)

    sender = make(event_spool=path)
    sender.start()

    assert capture.wait_for(lambda: len(capture.taken) == 5)
    assert sender.close(10.0) == 0
    assert sorted(capture.names) == ["0", "1", "2", "3", "4"]
    assert all(any(f'"{key}"' in tail for _, tail, _ in on_file) for key in keys(capture))
    assert rows(path) == []


def test_a_process_killed_after_the_service_took_its_events_bills_nobody_twice(
    start: Start, make: Make, capture: Capture, path: str
) -> None:
    """The service has them, the answer is lost: the next process repeats them under the same keys."""
    gate = threading.Event()
    capture.script += [Answer(200, {}, gate=gate)]
    killed = start(
        "settings = resolve('sk_test', {'event_capture_url': sys.argv[1], 'event_spool': sys.argv[2]}, environment={})\n"
        "s = EventSender(settings)\nfor n in range(5): s.track(str(n))\ntime.sleep(60)"
    )
    assert capture.wait_for(lambda: capture.requests == 1)
    killed.kill()
    ended(killed)
    gate.set()
    capture.wait_for(lambda: len(capture.taken) >= 1)

    sender = make(event_spool=path)
    sender.start()
    assert capture.wait_for(lambda: len(set(keys(capture))) == 5)
    assert sender.close(10.0) == 0

    assert sorted({event["body"]["event"] for event in capture.taken}) == ["0", "1", "2", "3", "4"]
    assert len({(event["body"]["event"], event["idempotency_key"]) for event in capture.taken}) == 5


def test_an_event_attempted_too_long_ago_is_reported_and_not_sent(make: Make, capture: Capture, path: str) -> None:
    """After 23 hours the service may soon forget its key; one that was never sent is sent, however old."""
    day = 86_400.0
    old = left_track(1)._replace(at=time.time() - 30 * day)
    leave(path, old, left_track(2, attempted=time.time() - day), left_track(3, attempted=time.time() - 3600.0))
    lost: list[Exception] = []
    sender = make(event_spool=path, on_error=lost.append)

    sender.start()

    assert capture.wait_for(lambda: len(capture.taken) == 2)
    assert sender.close(10.0) == 0
    assert sorted(capture.names) == ["left-1", "left-3"]
    assert [str(error) for error in lost] == ["events are lost: too old after a long time without delivery"]
    assert dict(sender.counts.dropped) == {"expired": 1}
    assert rows(path) == []


def test_events_of_another_key_are_left_alone(make: Make, capture: Capture, path: str) -> None:
    """They belong to another environment; its own sender finds them."""
    leave(path, left_track(1), key="sk_other")
    sender = make(event_spool=path)
    sender.track("mine")

    assert sender.flush(10.0) == 0
    assert sender.close(10.0) == 0

    assert capture.names == ["mine"]
    assert len(rows(path)) == 1


def test_events_of_a_living_process_are_left_to_it(make: Make, capture: Capture, path: str) -> None:
    """Until its lease has ended: then it may be paused, or its host gone."""
    leave(path, left_track(1), until=time.time() + 60.0)
    sender = make(event_spool=path)
    sender.track("mine")
    assert sender.flush(10.0) == 0
    sender.close(10.0)
    assert capture.names == ["mine"]
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE owners SET until = ?", (time.time() - 1.0,))
        connection.commit()

    make(event_spool=path).start()

    assert capture.wait_for(lambda: capture.names == ["mine", "left-1"])


def test_what_is_taken_over_tells_of_its_company(make: Make, capture: Capture, path: str) -> None:
    """Answers about it are asked again, as after usage of one's own."""
    told: list[Any] = []
    leave(path, left_track(1))
    sender = make(event_spool=path, on_acknowledged=told.append)

    sender.start()
    assert capture.wait_for(lambda: capture.names == ["left-1"])
    sender.close(10.0)

    assert told == [({"id": "acme"},)]


def test_more_than_one_look_can_take_is_taken_in_several(make: Make, capture: Capture, path: str) -> None:
    """Each look takes what the queue has room for."""
    leave(path, *(left_track(number) for number in range(120)))
    sender = make(event_spool=path, event_queue_max=50, event_buffer_period=0.05)

    sender.start()

    assert capture.wait_for(lambda: len(capture.taken) >= 120)
    assert sender.close(10.0) == 0
    assert len(set(keys(capture))) == 120
    assert dict(sender.counts.dropped) == {}


def test_nothing_is_opened_before_it_is_needed(make: Make, path: str) -> None:
    """A client that is neither started nor used costs nothing; one that is started has the file open ahead of `track`."""
    before = event_threads()
    sender = make(event_spool=path)
    assert (event_threads(), Path(path).exists()) == (before, False)

    sender.start()

    end = time.monotonic() + 10.0
    while not Path(path).exists() and time.monotonic() < end:
        time.sleep(0.01)  # nothing tells of it
    assert sender.close(10.0) == 0
    assert Path(path).exists()


@pytest.mark.parametrize("kills", [0, 2])
def test_processes_share_one_spool(start: Start, make: Make, capture: Capture, path: str, kills: int) -> None:
    """Three at once, some of them killed meanwhile: every accepted event arrives, and none under two keys."""
    program = (
        "settings = resolve('sk_test', {'event_capture_url': sys.argv[1], 'event_spool': sys.argv[2],"
        " 'event_buffer_period': 0.05}, environment={})\n"
        "s = EventSender(settings)\n"
        "for n in range(150):\n"
        "    print(f'{os.getpid()}-{n}' if s.track(f'{os.getpid()}-{n}') else '', flush=True)\n"
        "    time.sleep(0.002)\n"
        "print('done', s.counts.kept, flush=True)\n"
        "sys.exit(s.close(10))\n"
    )
    processes = [start(program) for _ in range(3)]
    accepted: list[list[str]] = [[] for _ in processes]

    def follow(number: int) -> None:
        out = processes[number].stdout
        assert out is not None
        for line in out:
            accepted[number].append(line.strip())
            if number < kills and len(accepted[number]) == 40:
                processes[number].kill()

    followers = [threading.Thread(target=follow, args=(number,)) for number in range(3)]
    for follower in followers:
        follower.start()
    for follower in followers:
        follower.join(60.0)
    for process in processes:
        process.wait(30.0)
    sender = make(event_spool=path)
    sender.start()
    names = {name for lines in accepted for name in lines if "-" in name}

    assert capture.wait_for(lambda: names <= set(capture.names))
    assert sender.close(10.0) == 0
    assert len(names) >= 150 * (3 - kills) + 40 * kills
    assert all(processes[number].returncode == 0 for number in range(kills, 3))
    assert len({(event["body"]["event"], event["idempotency_key"]) for event in capture.taken}) == len(
        set(capture.names)
    )
    assert rows(path) == []


# -- forks


@needs_fork
@forks_with_threads
def test_a_forked_child_has_a_connection_and_rows_of_its_own(make: Make, capture: Capture, path: str) -> None:
    """What the parent keeps is the parent's; both deliver, and the file stays sound while both use it."""
    sender = make(event_spool=path)
    sender.track("parent")
    assert sender.flush(10.0) == 0

    def work() -> bool:
        return sender.track("child") and len(rows(path)) == 1 and sender.close(10.0) == 0

    assert in_child(work)
    sender.track("parent again")
    assert sender.close(10.0) == 0
    assert capture.names == ["parent", "child", "parent again"]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@needs_fork
@forks_with_threads
def test_a_child_forked_in_the_middle_of_a_write_goes_without(make: Make, capture: Capture, path: str) -> None:
    """SQLite's own locks may be held in it for ever; its events are sent all the same."""
    sender = make(event_spool=path)
    sender.track("parent")
    assert sender.flush(10.0) == 0
    spool = sender.worker._spool
    assert spool is not None

    with spool._lock:
        delivered = in_child(lambda: sender.track("child") and sender.close(10.0) == 0 and rows(path) == [])

    assert delivered
    assert capture.names == ["parent", "child"]


@needs_fork
@forks_with_threads
def test_a_fork_that_runs_no_hooks_is_noticed_before_the_file_is_touched(
    make: Make, capture: Capture, path: str
) -> None:
    """As under uWSGI: the first event of the child finds the process id changed."""
    sender = make(event_spool=path)
    sender.track("parent")
    assert sender.flush(10.0) == 0
    worker = sender.worker
    spool = worker._spool
    assert spool is not None
    inherited = {name: getattr(worker, name) for name in vars(worker)}
    of_spool, of_file = dict(vars(spool)), dict(vars(spool._file))

    def work() -> bool:
        vars(worker).update(inherited)  # undoes what our hook did
        vars(spool).update(of_spool)
        vars(spool._file).update(of_file)
        return sender.track("child") and sender.flush(10.0) == 0 and sender.counts.queued == 1

    assert in_child(work)
    assert capture.names == ["parent", "child"]


# -- trouble with the file


@pytest.mark.parametrize("garbage", [b"this is no database" * 100, "pages"])
def test_a_corrupt_file_is_set_aside(
    make: Make, capture: Capture, path: str, caplog: pytest.LogCaptureFixture, garbage: bytes | str
) -> None:
    """It is renamed, told of and counted; a new one takes its place, and the event is on it."""
    if isinstance(garbage, bytes):
        Path(path).write_bytes(garbage)
    else:
        leave(path, *(left_track(number) for number in range(50)))
        with Path(path).open("r+b") as file:
            file.seek(1024)
            file.write(b"\xff" * 20_000)
    sender = make(event_spool=path)
    gate = threading.Event()
    capture.script += [Answer(200, {}, gate=gate)]

    assert sender.track("used")
    assert [row[1] for row in rows(path) if "used" in row[1]] != []
    gate.set()
    assert sender.flush(10.0) == 0
    sender.close(10.0)

    assert "used" in capture.names
    assert sender.counts.set_aside == 1
    aside = [file.name for file in Path(path).parent.iterdir() if ".corrupt-" in file.name]
    assert any(not name.endswith(("-wal", "-shm")) for name in aside)
    assert len([m for m in caplog.messages if "is set aside as" in m]) == 1


def test_only_one_process_sets_a_corrupt_file_aside(path: str) -> None:
    """The other finds that the path leads elsewhere by now, and keeps the new file."""
    Path(path).write_bytes(b"")
    first, second = (SpoolFile(path, logging.getLogger("tests"), time.time) for _ in range(2))
    first.connection()
    second.connection()

    assert first.put_aside(ValueError("corrupt"))
    first.close()
    first.connection()
    assert second.put_aside(ValueError("corrupt"))

    assert (first.set_aside, second.set_aside) == (1, 0)
    second.close()
    second.connection()
    assert not SpoolFile(path + "-none", logging.getLogger("tests"), time.time).put_aside(ValueError("corrupt"))


@pytest.mark.parametrize("trouble", ["a folder", "no folder", "another database", "another version"])
def test_a_spool_that_cannot_be_used_costs_one_line(
    make: Make, capture: Capture, tmp_path: Path, caplog: pytest.LogCaptureFixture, trouble: str
) -> None:
    """Events go on in memory; a file that is not ours stays as it is."""
    path = tmp_path / "events.spool"
    if trouble == "a folder":
        path.mkdir()
    elif trouble == "no folder":
        path = tmp_path / "nowhere" / "events.spool"
    else:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE theirs (id)")
            if trouble == "another version":
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute("PRAGMA user_version = 99")
            connection.commit()
    sender = make(event_spool=path)

    for number in range(3):
        assert sender.track(str(number))

    assert sender.flush(10.0) == 0
    sender.close(10.0)
    assert capture.names == ["0", "1", "2"]
    assert len([m for m in caplog.messages if "events are kept in memory only" in m]) == 1
    if trouble.startswith("another"):
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (1,)


def test_a_full_disk_degrades_to_memory(start: Start, capture: Capture) -> None:
    """Here a process may not write files of more than 64 KiB; every event arrives, and one line says so."""
    program = (
        "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"
        "s = EventSender(settings)\n"
        "for n in range(200): assert s.track(str(n), None, None, {'text': 'x' * 1000})\n"
        "assert s.flush(20) == 0\n"
        "assert s.close(10) == 0, s.counts\n"
    )
    process = start(program)
    errors = ended(process)

    assert process.returncode == 0, errors
    assert len(set(keys(capture))) == 200
    assert errors.count("events are kept in memory only") == 1


def test_a_spool_that_works_again_is_used_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is tried again after half a minute, and the recovery is told."""
    caplog.set_level(logging.INFO)
    now = [1000.0]
    folder = tmp_path / "later"
    log = logging.getLogger("tests")
    spool = Spool(str(folder / "spool"), "f", log=log, clock=lambda: now[0])
    spool.insert(left_track(1))
    folder.mkdir()
    spool.insert(left_track(2))
    now[0] += 30.0
    spool.insert(left_track(3))

    assert [row[1] for row in rows(str(folder / "spool"))] == [left_track(3).tail]
    spool.release()
    assert [m for m in caplog.messages if "works again" in m] != []


def test_a_writer_that_hangs_costs_a_second_once(
    make: Make, capture: Capture, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Another process holds the file: `track` waits a second at most, and then not again for a while."""
    sender = make(event_spool=path)
    sender.track("first")
    assert sender.flush(10.0) == 0
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        for number in range(50):
            assert sender.track(str(number))
        took = time.monotonic() - began
        holder.execute("ROLLBACK")

    assert took < 5.0
    assert sender.flush(10.0) == 0
    assert len(set(keys(capture))) == 51
    assert "events are kept in memory only" in caplog.text


def test_a_file_that_was_moved_is_left(path: str) -> None:
    """Somebody cleaned up, or set it aside: the next look opens what is at the path now."""
    spool = Spool(path, "f", log=logging.getLogger("tests"))
    spool.insert(left_track(1))
    Path(path).unlink()

    spool.tend(10, iter(range(100)).__next__)
    spool.insert(left_track(2))

    assert [row[1] for row in rows(path)] == [left_track(2).tail]
    spool.release()


def test_a_long_log_is_moved_into_the_file(path: str) -> None:
    """By the sender's thread: no caller's commit does it by the way."""
    spool = Spool(path, "f", log=logging.getLogger("tests"))
    for number in range(40):
        spool.insert(left_track(number)._replace(tail="x" * 200_000))
    before = Path(path).stat().st_size

    spool.forget([0])

    assert before < 100_000 < Path(path).stat().st_size
    spool.release()


def test_a_log_that_cannot_be_moved_harms_nothing(path: str, caplog: pytest.LogCaptureFixture) -> None:
    """The file was removed meanwhile; the log of SQLite stays where it is."""
    caplog.set_level(logging.DEBUG)
    spool = Spool(path, "f", log=logging.getLogger("tests"))
    spool.insert(left_track(1))
    Path(path + "-wal").unlink()

    spool.forget([])

    assert "could not be moved" in caplog.text
    spool.release()


def test_an_event_that_comes_while_the_client_closes_is_still_on_file(path: str) -> None:
    """A caller was on its way; the next process finds its event at once."""
    spool = Spool(path, "f", log=logging.getLogger("tests"))
    spool.release()

    spool.insert(left_track(1))

    later = Spool(path, "f", log=logging.getLogger("tests"))
    assert [row.tail for row in later.tend(10, iter(range(100)).__next__)] == [left_track(1).tail]
    later.release()


def test_a_signal_handler_that_interrupts_a_write_waits_for_nothing(path: str) -> None:
    """It runs on the thread that holds the lock: memory must do."""
    spool = Spool(path, "f", log=logging.getLogger("tests"))

    with spool._held():
        began = time.monotonic()
        spool.insert(left_track(1))
        spool.mark([1])
        spool.forget([1])
        assert spool.tend(10, iter(range(100)).__next__) == []

    assert time.monotonic() - began < 1.0
    spool.release()


def test_threads_share_transactions(path: str) -> None:
    """Eight threads with fifty events each: all on file, whoever wrote them."""
    spool = Spool(path, "f", log=logging.getLogger("tests"))
    numbers = iter(range(10_000))

    def work() -> None:
        for _ in range(50):
            spool.insert(left_track(next(numbers)))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30.0)

    assert len(rows(path)) == 400
    spool.release()


def test_a_dropped_sender_leaves_its_file_in_order(capture: Capture, path: str) -> None:
    """Collected without `close`: it sends once more and gives its rows up."""
    sender = EventSender(options(event_capture_url=capture.url, event_buffer_period=60.0, event_spool=path))
    sender.track("used")
    thread = sender.worker._thread
    assert thread is not None

    del sender
    thread.join(10.0)

    assert capture.names == ["used"]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM owners").fetchone() == (0,)


def test_a_host_is_named_in_the_lease(path: str) -> None:
    """Process numbers mean something on one host only."""
    spool = Spool(path, "f", log=logging.getLogger("tests"))
    spool.insert(left_track(1))

    with closing(sqlite3.connect(path)) as connection:
        (owner,) = connection.execute("SELECT fingerprint, host, pid FROM owners").fetchall()

    assert owner == ("f", socket.gethostname(), os.getpid())
    spool.release()
