"""One request: the status counts whatever follows it, and no answer holds the sender for longer than it may."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from schematic_core.events.delivery import Delivery


@contextmanager
def service(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """Run a service that reads each request and then lets ``answer`` write what it likes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                try:
                    answer(connection)
                except OSError:
                    continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/batch"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10.0)


def delivery(url: str) -> Delivery:
    return Delivery(url=url, api_key="k", factory=None, log=logging.getLogger("tests"), wall=lambda: 0.0)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 200_000,
    ],
)
def test_a_broken_body_does_not_undo_an_acknowledgement(answer: bytes) -> None:
    """The service has the events; sending them again could only duplicate them."""
    with service(lambda connection: connection.sendall(answer)) as url:
        sending = delivery(url)
        outcome = sending.post([b"{}"], 5.0)
        sending.close()

    assert outcome.kind == "acknowledged"


@pytest.mark.parametrize(
    ("beginning", "kind"), [(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", "acknowledged"), (b"H", "retry")]
)
def test_an_answer_in_drops_ends_with_the_time_allowed(beginning: bytes, kind: str) -> None:
    """A peer that sends a byte now and then would otherwise hold up every later event."""
    ended = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.sendall(beginning)
        while not ended.wait(0.02):  # a drop now and then is what this is about
            connection.sendall(b"T")

    with service(drip) as url:
        sending = delivery(url)
        posting = threading.Thread(target=lambda: outcomes.append(sending.post([b"{}"], 0.3)), daemon=True)
        outcomes: list[object] = []
        posting.start()
        posting.join(8.0)
        ended.set()
        sending.close()

    assert [getattr(outcome, "kind", None) for outcome in outcomes] == [kind]
