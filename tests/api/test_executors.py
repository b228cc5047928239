"""Both executors over real sockets: answers, repeats, deadlines, redirects, life cycle."""

from __future__ import annotations

import os
import pickle
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from schematic_core.api.call import Call
from schematic_core.errors import (
    ApiError,
    ConnectionFailed,
    InternalServerError,
    NotFoundError,
    ParsingError,
    RateLimitError,
    TimedOut,
    TransportError,
)
from tests.api.conftest import Runner
from tests.support.upstream import Answer, Asked, Upstream, running

GET = Call(method="GET", path="/x")
POST = Call(method="POST", path="/x", body=b'{"a":1}', repeatable=False)
Make = Callable[..., Runner]
Serve = Callable[[Callable[[socket.socket], None]], str]


def scripted(upstream: Upstream, *answers: Answer) -> Iterator[Answer]:
    """Answer with these, one after the other; gives the ones that were not asked for."""
    script = iter(answers)
    upstream.respond = lambda _: next(script)
    return script


def count_peers(upstream: Upstream) -> list[int]:
    """Note the connection of each request; the server has one thread for each."""
    peers: list[int] = []

    def respond(_: Asked) -> Answer:
        peers.append(threading.get_ident())
        return Answer(200, 1)

    upstream.respond = respond
    return peers


def soon(status: int, **headers: str) -> Answer:
    return Answer(status, {"error": "later"}, {"retry-after": "0", **headers})


def test_an_answer_arrives_whole(upstream: Upstream, runner: Make) -> None:
    """Status, headers with lower-case names and body come back; path, query and body went out."""
    upstream.respond = lambda _: Answer(201, {"data": 1}, {"X-Odd": "v"})
    call = Call(method="POST", path="/flags/a%2Fb%3F/check", query=(("k[id]", "é"),), body=b"{}")

    response = runner(upstream.url + "/prefix").run(call)

    assert (response.status, response.body, response.headers["x-odd"]) == (201, b'{"data": 1}', "v")
    asked = upstream.asked[0]
    assert asked.path == "/prefix/flags/a%2Fb%3F/check?k%5Bid%5D=%C3%A9"
    assert (asked.method, asked.body, asked.headers["content-type"]) == ("POST", b"{}", "application/json")
    assert asked.headers["x-schematic-api-key"] == "key"
    assert asked.headers["user-agent"].startswith("schematic-suite/")


def test_trouble_is_repeated_until_it_ends(upstream: Upstream, runner: Make) -> None:
    """503, 429 and 500 are asked again, as often as the settings allow."""
    left = scripted(upstream, soon(503), soon(429), soon(500), Answer(200, 1))

    assert runner(upstream.url, max_retries=3).run(GET).body == b"1"
    assert next(left, None) is None


def test_repeats_end(upstream: Upstream, runner: Make) -> None:
    """Then the typed error of the last try is raised, and it pickles."""
    upstream.respond = lambda _: soon(503)

    with pytest.raises(InternalServerError) as caught:
        runner(upstream.url).run(GET)

    assert len(upstream.asked) == 3
    assert caught.value.body == {"error": "later"}
    assert pickle.loads(pickle.dumps(caught.value)).status_code == 503


@pytest.mark.parametrize("status", [409, 500, 501, 503])
def test_an_unprotected_post_runs_once(status: int, upstream: Upstream, runner: Make) -> None:
    """Nobody knows whether it was executed, so it is not repeated."""
    upstream.respond = lambda _: soon(status)

    with pytest.raises(ApiError):
        runner(upstream.url).run(POST)

    assert len(upstream.asked) == 1


def test_a_call_may_ask_for_no_repeats(upstream: Upstream, runner: Make) -> None:
    """The call's ``max_retries`` goes before the client's."""
    upstream.respond = lambda _: soon(503)

    with pytest.raises(InternalServerError):
        runner(upstream.url).run(Call(method="GET", path="/x", max_retries=0))

    assert len(upstream.asked) == 1


def test_a_wait_beyond_the_deadline_is_not_begun(upstream: Upstream, runner: Make) -> None:
    """The error comes at once, with what the service asked for."""
    upstream.respond = lambda _: Answer(429, {"error": "slow"}, {"retry-after": "30"})
    started = threading.Event()

    with pytest.raises(RateLimitError) as caught:
        runner(upstream.url, timeout=5.0).run(GET)

    assert caught.value.retry_after == 30.0
    assert not started.is_set()
    assert len(upstream.asked) == 1


def test_a_missing_answer_times_out(serve: Serve, runner: Make) -> None:
    """The whole call ends at its timeout; the httpx exception is at most the cause."""
    gate = threading.Event()
    url = serve(lambda peer: void(gate.wait(20.0)))

    with pytest.raises(TimedOut) as caught:
        runner(url, timeout=0.2).run(GET)

    gate.set()
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.status_code is None


def void(_: object) -> None:
    """Drop a value where only the effect is wanted."""


def test_a_dripping_body_times_out(serve: Serve, runner: Make) -> None:
    """Bytes that keep coming do not extend the time: the last byte counts, not the next."""
    gate = threading.Event()

    def drip(peer: socket.socket) -> None:
        peer.recv(65536)
        peer.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
        while not gate.wait(0.02):
            peer.sendall(b"x")

    url = serve(drip)

    with pytest.raises(TimedOut):
        runner(url, timeout=0.3).run(GET)

    gate.set()


def test_dripping_headers_time_out(serve: Serve, runner: Make) -> None:
    """The same holds before the body begins."""
    gate = threading.Event()

    def drip(peer: socket.socket) -> None:
        peer.recv(65536)
        peer.sendall(b"HTTP/1.1 200 OK\r\nx: ")
        while not gate.wait(0.02):
            peer.sendall(b"x")

    url = serve(drip)
    ended = threading.Timer(10.0, gate.set)  # lets a wrong executor fail instead of hang
    ended.start()

    with pytest.raises(TimedOut):
        runner(url, timeout=0.3).run(GET)

    assert not gate.is_set()
    gate.set()
    ended.cancel()


def test_a_deadline_cuts_the_timeout_short(serve: Serve, runner: Make) -> None:
    """A check's budget ends the call although its timeout would allow more."""
    gate = threading.Event()
    url = serve(lambda peer: void(gate.wait(20.0)))

    with pytest.raises(TimedOut):
        runner(url, timeout=60.0).run(GET, time.monotonic() + 0.2)

    gate.set()


def test_a_deadline_in_the_past_asks_nobody(upstream: Upstream, runner: Make) -> None:
    """There is no time to send anything."""
    with pytest.raises(TimedOut):
        runner(upstream.url).run(GET, time.monotonic() - 1.0)

    assert upstream.asked == []


def test_a_broken_connection_is_typed_and_repeated(serve: Serve, runner: Make) -> None:
    """A harmless call survives a reset, an unprotected one fails with the cause kept."""
    talks = iter(range(100))

    def break_first(peer: socket.socket) -> None:
        peer.recv(65536)
        if next(talks) != 0:
            peer.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    with pytest.raises(ConnectionFailed) as caught:
        runner(serve(lambda peer: void(peer.recv(65536)))).run(POST)

    assert isinstance(caught.value.__cause__, httpx.HTTPError)
    call = Call(method="GET", path="/x", max_retries=1)
    assert runner(serve(break_first)).run(call).body == b"ok"


def test_a_refused_connection_is_typed(runner: Make) -> None:
    """Nobody listens there."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    with pytest.raises(ConnectionFailed) as caught:
        runner(url, max_retries=0).run(POST)

    assert isinstance(caught.value, ConnectionError)
    assert isinstance(caught.value.__cause__, httpx.ConnectError)


@pytest.mark.parametrize(
    "bytes_sent",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
    ],
)
def test_no_exception_of_httpx_escapes(bytes_sent: bytes, serve: Serve, runner: Make) -> None:
    """Whatever a peer sends, the error is of our tree."""

    def talk(peer: socket.socket) -> None:
        peer.recv(65536)
        peer.sendall(bytes_sent)

    with pytest.raises(TransportError):
        runner(serve(talk), max_retries=0).run(GET)


def test_redirects_are_followed_without_the_key_abroad(upstream: Upstream, runner: Make) -> None:
    """The other host is asked, and gets neither the key nor the client's own headers."""
    with running() as other:
        other.respond = lambda _: Answer(200, "there")
        upstream.respond = lambda _: Answer(302, None, {"location": other.url + "/y"})

        response = runner(upstream.url, headers={"X-Secret": "s", "Authorization": "s"}).run(GET)

        assert response.body == b'"there"'
        arrived = other.asked[0].headers
    assert not {"x-schematic-api-key", "x-secret", "authorization"} & arrived.keys()
    assert upstream.asked[0].headers["x-secret"] == "s"


def test_a_supplied_client_gives_no_secret_to_another_host(face: str, upstream: Upstream, runner: Make) -> None:
    """Its own headers, cookies and credentials stay with the first host too."""
    kind: Any = httpx.Client if face == "sync" else httpx.AsyncClient
    client = kind(headers={"X-Mine": "s"}, cookies={"c": "s"}, auth=("u", "p"))
    with running() as other:
        upstream.respond = lambda _: Answer(307, None, {"location": other.url + "/y"})

        runner(upstream.url, http_client=client).run(POST)

        arrived = other.asked[0]
    assert not {"x-mine", "cookie", "authorization", "x-schematic-api-key"} & arrived.headers.keys()
    assert upstream.asked[0].headers["x-mine"] == "s"
    assert arrived.body == POST.body


def test_a_redirected_post_does_not_become_a_get(upstream: Upstream, runner: Make) -> None:
    """It is an error that names the redirect, not a page that counts as success."""
    upstream.respond = lambda _: Answer(301, None, {"location": "/y"})

    with pytest.raises(ApiError, match="redirect") as caught:
        runner(upstream.url).run(POST)

    assert caught.value.status_code == 301
    assert len(upstream.asked) == 1


def test_redirects_can_be_switched_off(upstream: Upstream, runner: Make) -> None:
    """``follow_redirects=False`` gives the redirect as the error it is."""
    upstream.respond = lambda _: Answer(302, None, {"location": "/y"})

    with pytest.raises(ApiError) as caught:
        runner(upstream.url, follow_redirects=False).run(GET)

    assert (caught.value.status_code, len(upstream.asked)) == (302, 1)


def test_redirects_end(upstream: Upstream, runner: Make) -> None:
    """A circle is left after ten hops."""
    upstream.respond = lambda _: Answer(302, None, {"location": "/y"})

    with pytest.raises(ApiError, match="redirects"):
        runner(upstream.url).run(GET)

    assert len(upstream.asked) == 11


def test_a_supplied_client_is_used_and_stays_open(face: str, runner: Make) -> None:
    """Its transport makes the calls, and closing leaves it to its owner."""
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        return httpx.Response(200, json=1)

    kind: Any = httpx.Client if face == "sync" else httpx.AsyncClient
    client = kind(transport=httpx.MockTransport(answer))
    made = runner("https://host", http_client=client)

    made.run(GET)
    made.close()

    assert seen == ["https://host/x"]
    assert not client.is_closed


def test_a_supplied_client_of_the_other_kind_is_ignored(face: str, upstream: Upstream, runner: Make) -> None:
    """Both faces share one setting; each uses only what it can run."""
    kind: Any = httpx.AsyncClient if face == "sync" else httpx.Client
    client = kind(transport=httpx.MockTransport(lambda _: httpx.Response(500)))
    upstream.respond = lambda _: Answer(200, "own")

    assert runner(upstream.url, http_client=client).run(GET).body == b'"own"'


def test_a_supplied_clients_limits_hold_unless_the_call_says_otherwise(face: str, serve: Serve, runner: Make) -> None:
    """Its own short timeout ends a call; one that asks for more time gets it."""

    def late(peer: socket.socket) -> None:
        peer.recv(65536)
        time.sleep(0.3)  # longer than the client's own limit, shorter than the call's
        peer.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    kind: Any = httpx.Client if face == "sync" else httpx.AsyncClient
    made = runner(serve(late), http_client=kind(timeout=0.1), max_retries=0)

    with pytest.raises(TimedOut):
        made.run(GET)
    assert made.run(Call(method="GET", path="/x", timeout=5.0)).body == b"ok"


def test_a_supplied_client_that_was_closed_fails_typed(face: str, runner: Make) -> None:
    """The owner closed it; the call says so without httpx's RuntimeError."""
    client = httpx.Client() if face == "sync" else httpx.AsyncClient()
    made = runner("http://127.0.0.1:9", http_client=client)
    client.close() if isinstance(client, httpx.Client) else made._drive(client.aclose())

    with pytest.raises(ConnectionFailed):
        made.run(GET)


def test_closing_is_final_and_may_be_repeated(upstream: Upstream, runner: Make) -> None:
    """What was made is closed, nothing new is made."""
    made = runner(upstream.url)
    made.run(GET)

    made.close()
    made.close()

    with pytest.raises(ConnectionFailed, match="closed"):
        made.run(GET)
    assert len(upstream.asked) == 1


def test_an_offline_client_asks_nobody(upstream: Upstream, runner: Make) -> None:
    """A call says plainly that the client is offline."""
    with pytest.raises(ConnectionFailed, match="offline"):
        runner(upstream.url, offline=True).run(GET)

    assert upstream.asked == []


def test_connections_are_kept(upstream: Upstream, runner: Make) -> None:
    """Two calls share one connection."""
    peers = count_peers(upstream)
    made = runner(upstream.url)

    made.run(GET)
    made.run(GET)

    assert len(set(peers)) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_child_makes_its_own_connection(upstream: Upstream, runner: Make) -> None:
    """The child forgets what it inherited, and the parent's connection goes on working."""
    peers = count_peers(upstream)
    made = runner(upstream.url)
    made.run(GET)

    child = os.fork()
    if child == 0:
        status = 1
        try:
            made.forked()
            status = 0 if made.run(GET).status == 200 else 2
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    made.run(GET)

    assert status == 0
    assert len(peers) == 3
    assert peers[0] == peers[2] != peers[1]


def test_errors_carry_the_answer(upstream: Upstream, runner: Make) -> None:
    """Status, body and class are those of the answer."""
    upstream.respond = lambda _: Answer(404, {"error": "no such company"})

    with pytest.raises(NotFoundError, match="no such company") as caught:
        runner(upstream.url).run(GET)

    assert not isinstance(caught.value, ParsingError)
    assert caught.value.body == {"error": "no such company"}


def test_asked_is_json(upstream: Upstream, runner: Make) -> None:
    """The body arrives unchanged."""
    runner(upstream.url).run(POST)

    asked: Asked = upstream.asked[0]
    assert asked.json == {"a": 1}


@pytest.mark.parametrize("host", ["a..b", "...", "a" * 300])
def test_a_redirect_to_an_impossible_host_is_a_typed_error(upstream: Upstream, runner: Make, host: str) -> None:
    """Python refuses such a name with an error of its own, neither the socket's nor httpx's."""
    upstream.respond = lambda _: Answer(302, {}, {"Location": f"http://{host}/"})

    with pytest.raises(ApiError):
        runner(upstream.url).run(GET)
