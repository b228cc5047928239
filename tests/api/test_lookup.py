"""Looking host names up: bounded by the caller's time, although the system's look-up is not."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from schematic_core.api.lookup import addresses
from schematic_core.client import Schematic
from tests.support.upstream import Upstream


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


@pytest.mark.parametrize("fault", [socket.gaierror(-2, "unknown"), UnicodeError("label empty")])
def test_an_unknown_host_is_an_os_error(fault: Exception) -> None:
    def unknown(*_: Any, **__: Any) -> list[Any]:
        raise fault

    with pytest.raises(OSError, match="there is no host"):
        addresses("host..test", 80, 5.0, unknown)


def test_a_name_that_has_several_addresses_is_reached_at_the_one_that_listens(upstream: Upstream) -> None:
    """``localhost`` may mean an address nobody listens at first; the next one is tried."""
    with Schematic("key", base_url=upstream.url.replace("127.0.0.1", "localhost")) as client:
        assert client.check_flag("exports", {"id": "acme"}) is True
