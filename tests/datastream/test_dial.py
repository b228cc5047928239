"""Sockets over loopback: what a service can do to them, and what becomes of it."""

from __future__ import annotations

import contextlib
import http
import logging
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from schematic_core._version import __version__
from schematic_core.datastream import dial as dialling
from schematic_core.datastream.dial import Lost, Socket, check_installed, dial
from schematic_core.datastream.signals import Loss
from schematic_core.errors import ConfigurationError

KEY = "sch_secret_0123456789"


@dataclass
class Service:
    """A server on a real socket; ``behave`` is what it does with each connection."""

    behave: Callable[[ServerConnection], object] = list  # reads until the end
    refuse: Callable[[ServerConnection, Request], Response | None] = lambda *_: None
    port: int = 0
    requests: list[Request] = field(default_factory=list)
    frames: list[str | bytes] = field(default_factory=list)
    sockets: list[socket.socket] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/datastream"

    def handle(self, connection: ServerConnection) -> None:
        self.sockets.append(connection.socket)
        self.behave(connection)

    def process(self, connection: ServerConnection, request: Request) -> Response | None:
        self.requests.append(request)
        return self.refuse(connection, request)

    def echo(self, connection: ServerConnection) -> None:
        for frame in connection:
            self.frames.append(frame)
            connection.send(frame)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    for name in ("http_proxy", "https_proxy", "ws_proxy", "wss_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    one = Service()
    log = logging.getLogger("tests.datastream.service")
    log.setLevel(logging.CRITICAL)
    with serve(
        one.handle, "127.0.0.1", 0, process_request=one.process, logger=log, max_size=None, compression=None
    ) as server:
        one.port = server.socket.getsockname()[1]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield one
        server.shutdown()
        thread.join()


@pytest.fixture
def opened() -> Iterator[Callable[..., Socket]]:
    """Dial, and close after the test."""
    with contextlib.ExitStack() as stack:

        def make(url: str, **options: Any) -> Socket:
            opened = dial(url, KEY, max_message_size=options.pop("max_message_size", 1_000_000), **options)
            stack.callback(opened.close)
            return opened

        yield make


@contextlib.contextmanager
def raw_peer(serve_one: Callable[[socket.socket], None]) -> Iterator[str]:
    """A TCP server that speaks no protocol of its own; it hangs up at the end."""
    listener = socket.create_server(("127.0.0.1", 0))
    accepted: list[socket.socket] = []

    def run() -> None:
        with contextlib.suppress(OSError):
            accepted.append(listener.accept()[0])
            serve_one(accepted[0])

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for one in accepted:
            one.close()
        thread.join()


def accept_handshake(peer: socket.socket) -> None:
    """Answer a handshake by hand, so that what follows can be anything."""
    from websockets.utils import accept_key

    request = b""
    while b"\r\n\r\n" not in request:
        request += peer.recv(65536)
    lines = request.decode().split("\r\n")
    key = next(line.split(": ")[1] for line in lines if line.lower().startswith("sec-websocket-key:"))
    peer.sendall(
        f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept_key(key)}\r\n\r\n".encode()
    )


def lost_by(act: Callable[[], object]) -> Loss:
    """Do what must fail, and give the loss; nothing of it shows the key."""
    with pytest.raises(Lost) as caught:
        act()
    error: BaseException | None = caught.value
    while error is not None:
        assert KEY not in repr(error) + str(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return caught.value.loss


def within(seconds: float, act: Callable[[], object]) -> float:
    """Do it, and give how long it took, which must be less."""
    started = time.monotonic()
    act()
    took = time.monotonic() - started
    assert took < seconds
    return took


def test_the_handshake_says_who_calls(service: Service, opened: Callable[..., Socket]) -> None:
    """The four headers, no compression, no subprotocol."""
    opened(service.url)

    (request,) = service.requests
    assert request.path == "/datastream"
    assert request.headers["X-Schematic-Api-Key"] == KEY
    assert request.headers["X-Schematic-Datastream-Mode"] == "direct"
    assert request.headers["X-Schematic-Client"] == "schematic-suite"
    assert request.headers["X-Schematic-Client-Version"] == __version__
    assert request.headers["User-Agent"] == f"schematic-suite/{__version__}"
    assert "Sec-WebSocket-Extensions" not in request.headers
    assert "Sec-WebSocket-Protocol" not in request.headers


def test_frames_go_both_ways(service: Service, opened: Callable[..., Socket]) -> None:
    """Text and binary, in order, and a pong for each ping."""

    def behave(connection: ServerConnection) -> None:
        connection.send(b"\x00\xff")
        service.echo(connection)

    service.behave = behave
    one = opened(service.url)

    pong = one.ping()
    for number in range(100):
        one.send(f"é{number}")

    assert one.receive() == b"\x00\xff"
    assert [one.receive() for _ in range(100)] == [f"é{number}" for number in range(100)]
    assert pong()


def test_a_ping_without_a_pong_is_told_apart(opened: Callable[..., Socket]) -> None:
    """A peer that is silent gives no pong."""
    with raw_peer(accept_handshake) as url:
        pong = opened(url).ping()
        time.sleep(0.1)  # a pong would have come by now

        assert not pong()


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
def test_a_status_is_told(service: Service, status: int) -> None:
    """Whatever the service answers but 101."""
    service.refuse = lambda connection, _: connection.respond(http.HTTPStatus(status), f"no, {KEY}")

    loss = lost_by(lambda: dial(service.url, KEY, max_message_size=None))

    assert (loss.code, loss.status) == (None, status)
    assert loss.is_refusal == (status in {401, 403})
    assert str(status) in loss.text


def test_redirects_are_not_followed(service: Service) -> None:
    """The API key is for the configured host alone, and no connection is made to another."""
    with raw_peer(lambda peer: service.frames.append(peer.recv(1000))) as elsewhere:
        headers = Headers({"Location": elsewhere})
        service.refuse = lambda *_: Response(302, "Found", headers, b"")

        loss = lost_by(lambda: dial(service.url, KEY, max_message_size=None))

        assert loss.status == 302
        assert len(service.requests) == 1
    assert service.frames == []


def test_a_closed_port_is_a_loss() -> None:
    """Nothing listens there."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    loss = lost_by(lambda: dial(f"ws://127.0.0.1:{port}", KEY, max_message_size=None))

    assert (loss.code, loss.status) == (None, None)
    assert "refused" in loss.text


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"220 smtp ready\r\n", b"\x00" * 99]
)
def test_a_peer_that_is_no_websocket_server_is_a_loss(answer: bytes) -> None:
    """It hangs up, or answers with something else."""

    def behave(peer: socket.socket) -> None:
        peer.recv(65536)
        peer.sendall(answer)
        peer.shutdown(socket.SHUT_RDWR)

    with raw_peer(behave) as url:
        loss = lost_by(lambda: dial(url, KEY, max_message_size=None))

    assert loss.status == (200 if b"200" in answer else None)


def test_a_peer_that_says_nothing_is_a_loss_in_time() -> None:
    """It accepts the connection and leaves the handshake unanswered."""
    with raw_peer(lambda _: None) as url:
        started = time.monotonic()
        loss = lost_by(lambda: dial(url, KEY, max_message_size=None, timeout=0.3))

    assert "too long" in loss.text
    assert time.monotonic() - started < 3.0


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "ws://", "ws://exa mple", f"ws://{'a' * 70}.example", "nonsense"]
)
def test_an_impossible_url_is_a_loss(url: str) -> None:
    """No other error escapes: whoever configured it is told by the loss."""
    lost_by(lambda: dial(url, KEY, max_message_size=None, timeout=5.0))


def test_tls_faults_are_losses(service: Service) -> None:
    """TLS to a peer that speaks none."""
    loss = lost_by(lambda: dial(service.url.replace("ws:", "wss:"), KEY, max_message_size=None, timeout=5.0))

    assert loss.status is None


def test_an_untrusted_certificate_is_named() -> None:
    """The reason is the verifier's own."""
    error = ssl.SSLCertVerificationError(1, "x")
    error.verify_message = "self-signed certificate"

    assert dialling._describe(error) == "the service's certificate is not trusted: self-signed certificate"


@pytest.mark.parametrize(
    ("code", "reason"), [(1000, ""), (1001, "deploy"), (1012, "restart"), (4001, f"bad key {KEY}")]
)
def test_a_close_code_is_told(service: Service, opened: Callable[..., Socket], code: int, reason: str) -> None:
    """After what was sent before it; to whoever receives, and to whoever sends or pings later."""

    def behave(connection: ServerConnection) -> None:
        connection.send("last")
        connection.close(code, reason)

    service.behave = behave
    one = opened(service.url)
    assert one.receive() == "last"

    losses = [lost_by(act) for act in (one.receive, one.receive, lambda: one.send("x"), one.ping)]

    assert {(loss.code, loss.status) for loss in losses} == {(code, None)}
    assert losses[0].is_refusal == (code == 4001)
    assert reason.replace(KEY, "…") in losses[0].text


def test_a_peer_that_says_goodbye_and_stays_is_left(opened: Callable[..., Socket]) -> None:
    """After a close frame the connection is over, though the peer never hangs up."""

    def behave(peer: socket.socket) -> None:
        accept_handshake(peer)
        peer.sendall(b"\x88\x02" + (1012).to_bytes(2, "big"))

    with raw_peer(behave) as url:
        one = opened(url)

        within(3.0, lambda: lost_by(one.receive))
        assert lost_by(one.receive).code == 1012


def test_an_abrupt_end_is_a_loss_without_a_code(service: Service, opened: Callable[..., Socket]) -> None:
    """As when a load balancer drops the connection."""
    service.behave = lambda connection: connection.socket.shutdown(socket.SHUT_RDWR)
    one = opened(service.url)

    loss = lost_by(one.receive)

    assert (loss.code, loss.status, loss.text) == (None, None, "the connection broke")
    assert lost_by(lambda: one.send("x")).code is None


@pytest.mark.parametrize("is_in_parts", [False, True])
def test_a_message_over_the_limit_closes(service: Service, opened: Callable[..., Socket], is_in_parts: bool) -> None:
    """With the code that says so, on both sides, in one frame or in many."""
    codes: list[int | None] = []

    def behave(connection: ServerConnection) -> None:
        with contextlib.suppress(Exception):
            connection.send(["x" * 600, "x" * 600] if is_in_parts else "x" * 1001)
        with contextlib.suppress(ConnectionClosed):
            list(connection)
        codes.append(connection.protocol.close_code)

    service.behave = behave
    one = opened(service.url, max_message_size=1000)

    assert lost_by(one.receive).code == 1009
    one.close()
    deadline = time.monotonic() + 5.0
    while not codes and time.monotonic() < deadline:
        time.sleep(0.01)  # the server's side closes in a thread of its own
    assert codes == [1009]


@pytest.mark.parametrize("limit", [0, None, 3_000_000])
def test_a_large_message_is_taken_within_the_limit(
    service: Service, opened: Callable[..., Socket], limit: int | None
) -> None:
    """A megabyte is nothing special; no limit is a setting."""
    service.behave = lambda connection: connection.send("x" * 3_000_000)

    assert len(opened(service.url, max_message_size=limit).receive()) == 3_000_000


def test_text_that_is_no_utf8_closes(opened: Callable[..., Socket]) -> None:
    """The library refuses it with the code for it."""

    def behave(peer: socket.socket) -> None:
        accept_handshake(peer)
        peer.sendall(b"\x81\x01\xff")

    with raw_peer(behave) as url:
        assert lost_by(opened(url).receive).code == 1007


def test_a_peer_that_reads_nothing_costs_a_bounded_time(
    monkeypatch: pytest.MonkeyPatch, opened: Callable[..., Socket]
) -> None:
    """Writes end after the write timeout, and the connection with them; whoever receives is told."""
    monkeypatch.setattr(dialling, "WRITE_TIMEOUT", 0.5)
    losses: list[Loss] = []
    with raw_peer(accept_handshake) as url:
        one = opened(url)
        reader = threading.Thread(target=lambda: losses.append(lost_by(one.receive)))
        reader.start()

        def send_for_ever() -> None:
            while True:
                one.send("x" * 1_000_000)

        started = time.monotonic()
        loss = lost_by(send_for_ever)
        reader.join(3.0)

        assert not reader.is_alive()
        assert 0.4 < time.monotonic() - started < 5.0
    assert loss.text == losses[0].text == "the service took no data in time"


def test_the_write_timeout_does_not_end_a_silent_connection(
    monkeypatch: pytest.MonkeyPatch, service: Service, opened: Callable[..., Socket]
) -> None:
    """To hear nothing for long is what a quiet stream is like."""
    monkeypatch.setattr(dialling, "WRITE_TIMEOUT", 0.1)

    def behave(connection: ServerConnection) -> None:
        time.sleep(0.5)  # longer than the timeout
        connection.send("late")
        service.echo(connection)

    service.behave = behave
    one = opened(service.url)

    assert one.receive() == "late"
    one.send("x")
    assert one.receive() == "x"


def test_a_read_that_is_interrupted_goes_on() -> None:
    """In the releases of the library that read without looking first; with a timeout of the library's own it ends."""
    here, there = socket.socketpair()
    with here, there:
        bounded = dialling._Bounded(here)
        here.settimeout(0.05)
        threading.Timer(0.2, there.send, [b"x"]).start()

        assert bounded.recv(10) == b"x"
        bounded.settimeout(0.05)
        with pytest.raises(TimeoutError):
            bounded.recv(10)
        bounded.settimeout(None)
        assert here.gettimeout() == dialling.WRITE_TIMEOUT


@pytest.mark.parametrize("is_polite", [True, False])
def test_closing_ends_a_blocked_receive(opened: Callable[..., Socket], service: Service, is_polite: bool) -> None:
    """Promptly, from another thread, whether or not the peer answers the close frame; again is nothing."""
    losses: list[Loss] = []
    with contextlib.ExitStack() as stack:
        one = opened(service.url if is_polite else stack.enter_context(raw_peer(accept_handshake)))
        reader = threading.Thread(target=lambda: losses.append(lost_by(one.receive)))
        reader.start()
        time.sleep(0.1)  # let it block

        within(0.3 if is_polite else 2.0, lambda: one.close(1000, "done" * 100))
        reader.join(1.0)

        assert not reader.is_alive()
        assert losses[0].code == 1000
        within(0.1, one.close)
        assert lost_by(lambda: one.send("x")).code == 1000


def test_closing_cuts_off_a_write_that_is_stuck(opened: Callable[..., Socket]) -> None:
    """Who closes does not wait until the write times out."""
    with raw_peer(accept_handshake) as url:
        one = opened(url)

        def send_for_ever() -> None:
            while True:
                one.send("x" * 1_000_000)

        writer = threading.Thread(target=lambda: lost_by(send_for_ever))
        writer.start()
        time.sleep(0.5)  # let it get stuck

        within(3.0, one.close)
        writer.join(1.0)

        assert not writer.is_alive()


def test_closing_works_when_no_thread_can_be_started(
    monkeypatch: pytest.MonkeyPatch, service: Service, opened: Callable[..., Socket]
) -> None:
    """At the end of the interpreter there are no new threads: then it is cut off at once."""
    one = opened(service.url)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Timer, "start", refuse)

    within(3.0, one.close)


def test_closing_leaves_messages_unread(service: Service, opened: Callable[..., Socket]) -> None:
    """A reader that fell far behind does not hold it up."""

    def flood(connection: ServerConnection) -> None:
        with contextlib.suppress(Exception):
            while True:
                connection.send("x" * 10_000)

    service.behave = flood
    one = opened(service.url)
    time.sleep(0.3)  # let the buffers fill

    within(3.0, one.close)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_lets_go_without_a_word(service: Service, opened: Callable[..., Socket]) -> None:
    """The child closes its descriptors; the parent's connection goes on, and the service hears nothing of it."""
    service.behave = service.echo
    one = opened(service.url)
    one.send("before")
    assert one.receive() == "before"
    descriptor = one._connection.socket.fileno()

    child = os.fork()
    if child == 0:
        try:
            one.abandon()
            one.abandon()
            os.fstat(descriptor)
        except OSError:
            os._exit(0)  # gone
        except BaseException:
            os._exit(2)
        os._exit(1)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    one.send("after")
    assert one.receive() == "after"
    assert service.frames == ["before", "after"]


def test_the_key_is_in_no_log(
    service: Service, caplog: pytest.LogCaptureFixture, opened: Callable[..., Socket]
) -> None:
    """Not even with everything at debug level, where the library writes headers."""
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "websockets.client"):
        one = opened(service.url)
        one.send("x")
        one.close()

    assert KEY not in caplog.text
    assert KEY not in repr(one)


@pytest.mark.parametrize("key", ["a\r\nX-Evil: 1", "clé", "a\x00"])
def test_a_key_that_no_header_carries_is_a_wrong_setting(service: Service, key: str) -> None:
    """It is refused before anything is sent, and not shown."""
    with pytest.raises(ConfigurationError, match="api_key") as caught:
        dial(service.url, key, max_message_size=None)

    assert key not in str(caught.value)
    assert service.requests == []


def test_without_websockets_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The core installs without it."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "websockets"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "websockets", None)

    for act in (check_installed, lambda: dial("ws://127.0.0.1:1", KEY, max_message_size=None)):
        with pytest.raises(ConfigurationError, match=r"schematic-suite\[datastream\]"):
            act()


def test_the_library_is_loaded_by_the_first_dial() -> None:
    """Whoever imports the module does not pay for it."""
    code = "import sys, schematic_core.datastream.dial; sys.exit('websockets' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for the loopback address that nobody trusts, with its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command")
    path = tmp_path / "certificate.pem"
    options = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -addext subjectAltName=IP:127.0.0.1"
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(path)]
    subprocess.run([openssl, *options.split(), *files], check=True, capture_output=True)
    return path


@contextlib.contextmanager
def tls_peer(certificate: Path, behave: Callable[[ssl.SSLSocket], object]) -> Iterator[str]:
    """A peer that speaks TLS and answers the handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    peers: list[ssl.SSLSocket] = []  # until the test is over: nothing but the test hangs up

    def run(peer: socket.socket) -> None:
        peers.append(context.wrap_socket(peer, server_side=True))
        accept_handshake(peers[0])
        behave(peers[0])

    with raw_peer(run) as url:
        yield url
        for peer in peers:
            peer.close()


def test_a_certificate_that_nobody_trusts_is_a_loss(service: Service, certificate: Path) -> None:
    """Nothing is sent to such a peer."""
    with tls_peer(certificate, lambda _: None) as url:
        loss = lost_by(lambda: dial(url.replace("ws:", "wss:"), KEY, max_message_size=None))

    assert "not trusted" in loss.text


def test_over_tls_writes_are_bounded_too(
    service: Service, certificate: Path, monkeypatch: pytest.MonkeyPatch, opened: Callable[..., Socket]
) -> None:
    """Messages go both ways; then a peer that reads nothing costs the write timeout, and receiving ends."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setattr(dialling, "WRITE_TIMEOUT", 0.5)
    losses: list[Loss] = []
    with tls_peer(certificate, lambda peer: peer.sendall(b"\x81\x02hi")) as url:
        one = opened(url.replace("ws:", "wss:"))
        assert one.receive() == "hi"
        reader = threading.Thread(target=lambda: losses.append(lost_by(one.receive)))
        reader.start()

        def send_for_ever() -> None:
            while True:
                one.send("x" * 1_000_000)

        within(5.0, lambda: losses.append(lost_by(send_for_ever)))
        reader.join(3.0)

        assert not reader.is_alive()
    assert {loss.text for loss in losses} == {"the service took no data in time"}
