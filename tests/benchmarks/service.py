"""A service on loopback that answers checks and takes events, as fast as a benchmark needs it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.benchmarks.stream import streaming

__all__ = ["Service", "serving"]


class Service:
    """What was asked and sent, by the API key of who did. Flag ``exports`` is on for company ``acme`` alone."""

    def __init__(self, url: str, stream_url: str) -> None:
        self.url = url
        self.stream_url = stream_url
        self._lock = threading.Lock()
        self._batches: dict[str, list[bytes]] = {}

    def events(self, api_key: str) -> int:
        """How many different events came; a repeated idempotency key counts once, and a `track` has to say when it was."""
        with self._lock:
            batches = list(self._batches.get(api_key, ()))
        events = [event for batch in batches for event in json.loads(batch)["events"]]
        keys = [event.get("idempotency_key") for event in events if event.get("sent_at") or "flag_key" in event["body"]]
        return len({key for key in keys if key}) + sum(not key for key in keys)

    def forget(self) -> None:
        """Drop the events taken so far."""
        with self._lock:
            self._batches.clear()

    def take(self, api_key: str, batch: bytes) -> None:
        """Record a batch. It is read when somebody asks, so that a sender waits no longer than it must."""
        with self._lock:
            self._batches.setdefault(api_key, []).append(batch)

    def check(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Answer a check in the shape of the API."""
        allowed = asked["company"] == {"id": "acme"}
        return {"flag": "exports", "value": allowed, "reason": "matched rule", "company_id": "comp_1"}


@contextmanager
def serving() -> Iterator[Service]:
    """Run the service on a free port, and the stream beside it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        with streaming() as stream_url:
            service = _Handler.service = Service(f"http://127.0.0.1:{server.server_port}", stream_url)
            yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    service: Service

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("/check"):
            self._answer(200, self.service.check(json.loads(sent)))
        else:
            self.service.take(self.headers["X-Schematic-Api-Key"], sent)
            self._answer(201, {"events": []})

    def _answer(self, status: int, data: object) -> None:
        body = json.dumps({"data": data, "params": {}}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Say nothing: the benchmark prints its table."""
