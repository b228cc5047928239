"""Looking host names up: bounded by the caller's time, although the system's look-up is not."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import httpx
import pytest

from schematic_core.api.call import Call, Request
from schematic_core.api.deadline import Until
from schematic_core.api.exchange import Send
from schematic_core.api.lookup import addresses
from schematic_core.api.over_httpx import CONNECT_TIMEOUT, build_request
from schematic_core.client import Schematic
from schematic_core.errors import ConnectionFailed
from tests.api.conftest import Runner
from tests.support.upstream import Upstream

GET = Call(method="GET", path="/x")
Make = Callable[..., Runner]
Names = Callable[..., str]


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> Names:
    """Let ``host.test`` have these addresses; gives the URL of it at a port."""

    def name(port: int, *places: str) -> str:
        system = socket.getaddrinfo

        def lookup(host: Any, *arguments: Any, **more: Any) -> list[Any]:
            if host not in ("host.test", b"host.test"):
                return system(host, *arguments, **more)
            return [found for place in places for found in system(place, *arguments, **more)]

        monkeypatch.setattr(socket, "getaddrinfo", lookup)
        return f"http://host.test:{port}"

    return name


@pytest.fixture
def swallowing(upstream: Upstream) -> Iterator[str]:
    """An address where the port of the upstream neither takes nor refuses connections: its backlog is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.2", port_of(upstream)))
        listener.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with suppress(BlockingIOError):
                filler.connect(listener.getsockname())
        yield "127.0.0.2"


def port_of(upstream: Upstream) -> int:
    return int(upstream.url.rpartition(":")[2])


def entry(address: str) -> Any:
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80))


def test_addresses_come_in_the_system_s_order_each_once() -> None:
    found = [entry("127.0.0.2"), entry("127.0.0.1"), entry("127.0.0.2")]

    assert addresses("host.test", 80, 5.0, lambda *_, **__: found) == ["127.0.0.2", "127.0.0.1"]


def test_a_slow_look_up_is_left_behind() -> None:
    gate = threading.Event()

    def slow(*_: Any, **__: Any) -> list[Any]:
        gate.wait(10)
        return [entry("127.0.0.1")]

    with pytest.raises(TimeoutError, match=r"host\.test"):
        addresses("host.test", 80, 0.01, slow)

    assert not gate.is_set()
    gate.set()


@pytest.mark.parametrize(
    "fault", [socket.gaierror(-2, "unknown"), UnicodeError("label empty"), ValueError("a look-up of the program's own")]
)
def test_an_unknown_host_is_an_os_error(fault: Exception) -> None:
    """Whatever the look-up raises is heard of at once, on the thread that asked."""

    def unknown(*_: Any, **__: Any) -> list[Any]:
        raise fault

    with pytest.raises(OSError, match="there is no host"):
        addresses("host..test", 80, 5.0, unknown)


def test_a_host_without_addresses_is_an_os_error() -> None:
    with pytest.raises(OSError, match="there is no host"):
        addresses("host.test", 80, 5.0, lambda *_, **__: [])


def test_an_address_of_one_link_keeps_its_scope() -> None:
    """Without it, the system cannot tell which link is meant."""
    found = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 80, 0, 2)), entry("127.0.0.1")]

    assert addresses("host.test", 80, 5.0, lambda *_, **__: found) == ["fe80::1%2", "127.0.0.1"]


def test_a_look_up_that_the_program_put_in_place_of_the_system_s_is_asked(
    upstream: Upstream, runner: Make, named: Names
) -> None:
    """Programs with a resolver of their own replace ``socket.getaddrinfo``, whenever they like."""
    url = named(port_of(upstream), "127.0.0.1")

    assert runner(url).run(GET).status == 200
    assert upstream.asked[0].headers["host"].startswith("host.test:")


def test_a_name_that_has_several_addresses_is_reached_at_the_one_that_listens(upstream: Upstream) -> None:
    """``localhost`` may mean an address nobody listens at first; the next one is tried."""
    with Schematic("key", base_url=upstream.url.replace("127.0.0.1", "localhost")) as client:
        assert client.check_flag("exports", {"id": "acme"}) is True


def test_an_address_that_refuses_is_followed_by_the_next(upstream: Upstream, runner: Make, named: Names) -> None:
    url = named(port_of(upstream), "127.0.0.3", "127.0.0.1")

    assert runner(url).run(GET).status == 200


def test_a_host_all_of_whose_addresses_refuse_is_refused(runner: Make, named: Names) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with pytest.raises(ConnectionFailed):
        runner(named(port, "127.0.0.3", "127.0.0.1"), max_retries=0).run(GET)


@pytest.mark.skipif(sys.platform != "linux", reason="only there is 127.0.0.2 an address, and a full backlog silent")
def test_an_address_that_swallows_leaves_time_for_the_next(
    upstream: Upstream, runner: Make, named: Names, swallowing: str
) -> None:
    """A dead first address must not eat the whole budget of a check, each time anew."""
    url = named(port_of(upstream), swallowing, "127.0.0.1")

    assert runner(url, max_retries=0).run(GET, deadline=time.monotonic() + 3.0).status == 200


def test_attempts_at_connecting_end_with_the_call() -> None:
    """A host may have many addresses; each takes ten seconds at most, and all together no more than the call."""
    with httpx.Client() as client:
        deadline = time.monotonic() + 60.0
        step = Send(Request(method="GET", url="http://host.test/", headers=(), body=None), deadline, is_explicit=False)

        connect = build_request(client, step, is_own=True).extensions["timeout"]["connect"]

    assert isinstance(connect, Until)
    assert (float(connect), connect.deadline) == (CONNECT_TIMEOUT, deadline)
