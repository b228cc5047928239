"""Pre-forking web servers: every event arrives exactly once, while they serve and when they end.

A preloaded application has used its client before the fork: there is a thread, a connection, perhaps unsent events. The
workers' first events go out while they serve (their thread lives); later ones wait for the end of the process (it counts).
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.datastream.support import Service, free_port, serving
from tests.events.apps.running import BIN, Server, have_arrived, is_each_once, running, thorough, tracked
from tests.events.conftest import Capture

Start = Callable[..., Server]

WORKERS = 2

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")


def needs(*packages: str) -> pytest.MarkDecorator:
    missing = [package for package in packages if find_spec(package) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


@pytest.fixture
def start(capture: Capture, tmp_path: Path) -> Iterator[Start]:
    with running(capture, tmp_path) as start:
        yield start


def gunicorn(start: Start, folder: Path, app: str, *options: str, **environment: str) -> Server:
    """Start gunicorn; its own log goes to a file, so that what is printed was printed by others."""
    port = free_port()
    own = [
        f"--bind=127.0.0.1:{port}",
        f"--workers={WORKERS}",
        f"--error-logfile={folder / 'log'}",
        "--no-control-socket",
    ]
    command = [
        str(BIN / "gunicorn"),
        *own,
        f"--worker-tmp-dir={folder}",
        *options,
        f"tests.events.apps.{app}:application",
    ]
    return start(*command, port=port, **environment)


def serve_and_stop(server: Server, capture: Capture, source: str = "") -> Counter[str]:
    """Ask every worker, see that it delivers, ask more, and end the server; gives the events that must have arrived."""
    assert server.ask_all(WORKERS, source), server.sources
    assert have_arrived(capture, server.pids), server.printed
    for _ in range(10):
        server.ask()
    time.sleep(
        0.2
    )  # uWSGI runs no exit hooks in a worker that is not quite done with its request, and nobody can ask it
    assert server.stop() == 0, server.printed
    return Counter(server.asked)


KINDS = [
    pytest.param("wsgi", ("--worker-class=sync",), marks=needs("gunicorn"), id="sync"),
    pytest.param("wsgi", ("--worker-class=gthread", "--threads=4"), marks=needs("gunicorn"), id="gthread"),
    pytest.param("wsgi", ("--worker-class=gevent",), marks=needs("gunicorn", "gevent"), id="gevent"),
    pytest.param("asgi", ("--worker-class=asgi",), marks=[needs("gunicorn"), thorough], id="asgi"),
    pytest.param(
        "asgi",
        ("--worker-class=uvicorn_worker.UvicornWorker",),
        marks=needs("gunicorn", "uvicorn_worker"),
        id="uvicorn",
    ),
]


@pytest.mark.parametrize(("app", "options"), KINDS)
def test_workers_of_a_preloaded_application_deliver(
    start: Start, capture: Capture, tmp_path: Path, app: str, options: tuple[str, ...]
) -> None:
    """The master's event once, although every worker inherited it; each worker's own; nothing is printed."""
    server = gunicorn(start, tmp_path, app, "--preload", *options)

    expected = serve_and_stop(server, capture)

    assert Counter(body["event"] for body in tracked(capture)) == expected + Counter({"loaded": 1})
    assert is_each_once(capture)
    assert server.printed == ""


@pytest.mark.parametrize(("app", "options"), [kind for kind in KINDS if kind.id == "sync"])
def test_workers_that_load_the_application_deliver(
    start: Start, capture: Capture, tmp_path: Path, app: str, options: tuple[str, ...]
) -> None:
    """Each worker makes a client of its own."""
    server = gunicorn(start, tmp_path, app, *options)

    expected = serve_and_stop(server, capture)

    assert Counter(body["event"] for body in tracked(capture)) == expected + Counter({"loaded": WORKERS})
    assert is_each_once(capture)
    assert server.printed == ""


@pytest.fixture
def service() -> Iterator[Service]:
    with serving() as service:
        yield service


STREAMING = [
    pytest.param(*kind.values, marks=[*kind.marks, *([thorough] if kind.id != "sync" else [])], id=kind.id)
    for kind in KINDS
    if kind.id != "asgi"
]


@pytest.mark.parametrize(("app", "options"), STREAMING)
def test_workers_of_a_preloaded_application_answer_from_their_own_stream(
    start: Start, capture: Capture, service: Service, tmp_path: Path, app: str, options: tuple[str, ...]
) -> None:
    """The master's connection goes on, each worker opens its own, and the checks' events arrive as often as was asked."""
    server = gunicorn(start, tmp_path, app, "--preload", *options, SERVICE_URL=service.url)
    assert server.ask_all(WORKERS, "stream"), server.sources
    connections = len(service.open)
    asked = len(server.sources)

    expected = serve_and_stop(server, capture, "stream")

    sources = [source for _, source in server.sources]
    assert set(sources[asked:]) == {"stream"}
    assert connections == WORKERS + 1
    assert Counter(body["event"] for body in tracked(capture)) == expected + Counter({"loaded": 1})
    assert is_each_once(capture)
    checks = sum(event["type"] == "flag_check" for event in capture.taken)
    assert checks == sources.count("stream")  # what the service answered is recorded there
    assert server.printed == ""


not_on_313 = pytest.mark.skipif(sys.version_info >= (3, 13), reason="uWSGI 2.0.30 hangs with this, without us as well")


@pytest.mark.skipif(not (BIN / "uwsgi").exists(), reason="not installed: uwsgi, e.g. as pyuwsgi")
@pytest.mark.parametrize(
    ("options", "loads"),
    [
        pytest.param((), 1, id="no fork hooks"),
        pytest.param(("--threads=4", "--py-call-uwsgi-fork-hooks"), 1, id="fork hooks", marks=thorough),
        pytest.param(
            ("--enable-threads", "--py-call-osafterfork"), 1, id="after-fork hook", marks=[thorough, not_on_313]
        ),
        pytest.param(("--lazy-apps",), WORKERS, id="lazy apps", marks=thorough),
    ],
)
def test_workers_of_uwsgi_deliver(
    start: Start, capture: Capture, tmp_path: Path, options: tuple[str, ...], loads: int
) -> None:
    """Whether it runs Python's fork hooks or not."""
    port = free_port()
    own = [f"--http-socket=127.0.0.1:{port}", "--module=tests.events.apps.wsgi:application", f"--processes={WORKERS}"]
    quiet = ["--disable-logging", f"--pidfile={tmp_path / 'pid'}", "--die-on-term", "--master", "--need-app"]
    server = start(str(BIN / "uwsgi"), *own, *quiet, *options, port=port)

    expected = serve_and_stop(server, capture)

    assert Counter(body["event"] for body in tracked(capture)) == expected + Counter({"loaded": loads})
    assert is_each_once(capture)
    assert not {"Traceback", "Exception", "schematic", "!!! uWSGI process"} & set(server.printed.split())
