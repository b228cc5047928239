"""A service on a real loopback socket that answers as the test says and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Answer:
    """What to answer: any JSON body, or bytes as they are; ``gate`` holds the answer back until it is set."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    gate: threading.Event | None = None


def verdict(value: bool = True, flag: str = "exports", **more: Any) -> Answer:
    """The service's answer to one flag check."""
    data = {"flag": flag, "flag_id": f"flag_{flag}", "value": value, "reason": "Matched standard rule", **more}
    return Answer(200, {"data": data, "params": {}})


def verdicts(**values: bool) -> Answer:
    """The service's answer to a check of all flags."""
    flags = [{"flag": f, "flag_id": f"flag_{f}", "value": v, "reason": "r"} for f, v in values.items()]
    return Answer(200, {"data": {"flags": flags, "credit_spend_policies": []}, "params": {}})


class Upstream:
    """The running service: ``respond`` decides, ``asked`` remembers (events apart, in ``events``)."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.respond: Callable[[Asked], Answer] = lambda _: verdict()
        self.asked: list[Asked] = []
        self.events: list[dict[str, Any]] = []
        self.arrived = threading.Condition()

    def receive(self, asked: Asked) -> Answer:
        with self.arrived:
            if asked.path.endswith("/event-batch"):
                self.events.extend(asked.json["events"])
                self.arrived.notify_all()
                return Answer(200, {"data": {"events": []}, "params": {}})
            self.asked.append(asked)
            self.arrived.notify_all()
        return self.respond(asked)

    def wait_for(self, condition: Callable[[], bool], timeout: float = 10.0) -> bool:
        """Wait until something that arrived makes ``condition`` true."""
        with self.arrived:
            return self.arrived.wait_for(condition, timeout)


@contextmanager
def running() -> Iterator[Upstream]:
    """Run a service on a free port until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = upstream.receive(Asked(self.command, self.path, headers, body))
            if answer.gate is not None:
                answer.gate.wait(10.0)
            content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            try:
                self.send_response(answer.status)
                for name, value in {"content-type": "application/json", **answer.headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except ConnectionError:
                self.close_connection = True  # the client gave up; that is what some tests are about

        do_GET = do_POST = do_PUT = do_DELETE = answer

        def log_message(self, *_arguments: Any) -> None:
            """Tests read `asked`, not a log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    upstream = Upstream(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield upstream
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5.0)
