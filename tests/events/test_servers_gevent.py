"""gevent: its patches may come before the suite is imported, after that, after a client was made, or after it was used."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.datastream.support import Service, serving
from tests.events.apps.running import Program, is_each_once, running, thorough, tracked
from tests.events.conftest import Capture
from tests.support.upstream import Answer, Asked

Start = Callable[..., Program]

pytestmark = pytest.mark.skipif(find_spec("gevent") is None, reason="not installed: gevent")

PATCH = "monkey.patch_all()\n"
PRELUDE = """
import os, sys, warnings
from gevent import monkey
warnings.simplefilter("ignore")  # gevent's own, about patches that come late
"""
IMPORT = """
from schematic_core import Schematic
from tests.events.apps.settings import COMPANY, IS_STREAMING, options, traits
"""
MAKE = 'client = Schematic("dev", **options())\n'
USE = 'client.track("early", COMPANY, traits=traits())\nassert client.flush(20.0) == 0\n'
WORK = """
import gevent

ticks = 0
def tick():
    global ticks
    while True:
        gevent.sleep(0.01)
        ticks += 1

def use(number):
    client.track(f"{number}", COMPANY, traits=traits())
    gevent.sleep(0)
    if number % 10 == 0:
        assert client.flush(20.0) == 0

gevent.spawn(tick)
client.initialize()
gevent.joinall([gevent.spawn(use, number) for number in range(50)], raise_error=True)
gevent.sleep(0.1)
if IS_STREAMING:
    assert client.check_flag_with_entitlement("exports", COMPANY).source == "stream", client.datastream.status
assert ticks > 5, ticks
before = ticks
client.track("slow", COMPANY, traits=traits())  # its answer takes half a second, in which others run
assert client.flush(20.0) == 0
assert ticks - before > 10, ticks - before
client.track("late", COMPANY, traits=traits())
"""
ORDERS = {
    "before the import": PATCH + IMPORT + MAKE,
    "after the import": IMPORT + PATCH + MAKE,
    "after a client was made": IMPORT + MAKE + PATCH,
    "after a client was used": IMPORT + MAKE + USE + PATCH,
}


@pytest.fixture
def start(capture: Capture, tmp_path: Path) -> Iterator[Start]:
    with running(capture, tmp_path) as start:
        yield start


@pytest.fixture
def service() -> Iterator[Service]:
    with serving() as service:
        yield service


def check(start: Start, capture: Capture, order: str, **environment: str) -> None:
    answer = capture.upstream.respond

    def respond(asked: Asked) -> Answer:
        if any(event["body"].get("event") == "slow" for event in asked.json["events"]):
            time.sleep(0.5)  # the service's own slowness
        return answer(asked)

    capture.upstream.respond = respond
    program = start(sys.executable, "-c", PRELUDE + ORDERS[order] + WORK, **environment)

    assert program.process.wait(60.0) == 0, program.printed
    early = ["early"] if order == "after a client was used" else []
    names = Counter(body["event"] for body in tracked(capture))
    assert names == Counter([*map(str, range(50)), "slow", "late", *early])
    assert is_each_once(capture)
    if early:  # a thread that ran before stumbles over the patched `threading` when it ends; that is gevent's affair
        assert "schematic_core" not in program.printed
    else:
        assert program.printed == ""


def some(*orders: str) -> list[Any]:
    """Give every order, those that are not named for the thorough run only."""
    return [pytest.param(order, marks=() if order in orders else thorough) for order in ORDERS]


@pytest.mark.parametrize("order", some("after the import", "after a client was used"))
def test_greenlets_deliver_and_are_not_held_up(start: Start, capture: Capture, order: str) -> None:
    """While the sender waits for the service, others go on; and what was tracked last is delivered at the exit."""
    check(start, capture, order)


@pytest.mark.parametrize("order", some("before the import", "after a client was made")[:3])
def test_greenlets_answer_from_the_stream(start: Start, capture: Capture, service: Service, order: str) -> None:
    """Its threads are greenlets then; a stream that runs already would keep its real ones."""
    check(start, capture, order, SERVICE_URL=service.url)
