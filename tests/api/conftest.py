"""Both executors behind one function, and a server that speaks raw bytes."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest

from schematic_core.api.aio import AsyncExecutor
from schematic_core.api.call import Call, Response
from schematic_core.api.sync import SyncExecutor
from schematic_core.config import Settings

Run = Callable[..., Response]


class Runner:
    """One executor of either kind: ``run`` and ``close`` block."""

    def __init__(self, face: str, settings: Settings) -> None:
        self.executor: Any = SyncExecutor(settings) if face == "sync" else AsyncExecutor(settings)
        self._supplied = settings.http_client
        self._loop = None if face == "sync" else asyncio.new_event_loop()

    def _drive(self, value: Any) -> Any:
        return value if self._loop is None else self._loop.run_until_complete(value)

    def run(self, call: Call, deadline: float | None = None) -> Response:
        response = self._drive(self.executor.run(call, deadline=deadline))
        assert isinstance(response, Response)
        return response

    def close(self) -> None:
        self._drive(self.executor.close())

    def forked(self) -> None:
        """What a child process does first: forget the parent's connections and loop."""
        self.executor.after_fork_in_child()
        if self._loop is not None:
            self._loop = asyncio.new_event_loop()

    def dispose(self) -> None:
        self.close()
        if isinstance(self._supplied, httpx.Client):
            self._supplied.close()
        if isinstance(self._supplied, httpx.AsyncClient) and self._loop is not None:
            self._drive(self._supplied.aclose())
        if self._loop is not None:
            self._drive(self._loop.shutdown_asyncgens())
            self._drive(self._loop.shutdown_default_executor())
            self._loop.close()


@pytest.fixture
def runner(face: str) -> Iterator[Callable[..., Runner]]:
    """Make executors of the face under test, each closed after the test."""
    with ExitStack() as stack:

        def make(url: str, **options: Any) -> Runner:
            made = Runner(face, settings_for(url, **options))
            stack.callback(made.dispose)
            return made

        yield make


def settings_for(url: str, **options: Any) -> Settings:
    given: dict[str, Any] = {"api_key": "key", "flag_defaults": {}, "headers": {}, "timeout": 10.0, **options}
    return Settings(base_url=url, **given)


@contextmanager
def _serving(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stop = threading.Event()

        def accept() -> None:
            while not stop.is_set():
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=_talk, args=(talk, peer), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        stop.set()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5.0)


def _talk(talk: Callable[[socket.socket], None], peer: socket.socket) -> None:
    with peer:
        try:
            talk(peer)
        except OSError:
            return  # the client went away; that is what these tests are about


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[socket.socket], None]], str]]:
    """Start servers that talk raw bytes on each connection; gives their URL."""
    with ExitStack() as stack:
        yield lambda talk: stack.enter_context(_serving(talk))
