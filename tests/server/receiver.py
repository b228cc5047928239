"""A webhook endpoint on a real socket that keeps what it gets and answers as told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from threading import Event, Thread
from typing import Any

_WAIT = 10.0


@dataclass
class Receiver:
    """What arrived, in order; ``answers`` are used up first, then 200."""

    url: str = ""
    arrived: Queue[tuple[dict[str, str], bytes]] = field(default_factory=Queue)
    answers: Queue[int] = field(default_factory=Queue)
    gate: Event = field(default_factory=Event)

    def next(self) -> tuple[dict[str, str], bytes]:
        """Wait for the next request: its headers (lower-case names) and raw body."""
        return self.arrived.get(timeout=_WAIT)


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    receiver.gate.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.arrived.put(({name.lower(): value for name, value in self.headers.items()}, body))
            receiver.gate.wait(_WAIT)
            self.send_response(receiver.answers.get_nowait() if not receiver.answers.empty() else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.gate.set()
        server.shutdown()
        thread.join(_WAIT)
        server.server_close()
