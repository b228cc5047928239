"""Real servers for the stream's tests, the local one and one that plays a script, and clients that lose no time between dials."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

import httpx
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection
from websockets.sync.server import serve as serve_websocket

from schematic_core.client import AsyncSchematic, Schematic
from schematic_core.datastream.limits import ConnectionLimits
from schematic_core.datastream.pump import Pump
from schematic_core.datastream.thread import Stream
from schematic_core.environment import Environment, parse_environment
from schematic_core.server import serve
from tests.server.conftest import ENVIRONMENT
from tests.support.faces import Driver, driving

Json = dict[str, Any]

ACME = {"id": "acme"}
TINY = {"id": "tiny"}
ADA = {"id": "ada"}

QUICK = ConnectionLimits(
    dial_timeout=5.0,
    load_timeout=5.0,
    ping_after=5.0,
    dead_after=10.0,
    first_backoff=0.02,
    max_backoff=0.1,
    reload_interval=0.05,
    refresh_delay=0.02,
    refresh_interval=0.002,
)
"""The machine's numbers, so that nothing waits longer than a test likes to."""


def until(holds: Callable[[], object], timeout: float = 40.0) -> bool:
    """Wait until something that other threads bring about holds; there is nothing else to wait for."""
    end = time.monotonic() + timeout
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


async def until_on_loop(holds: Callable[[], object], timeout: float = 40.0) -> bool:
    """Wait as `until` does, while other tasks go on."""
    end = time.monotonic() + timeout
    while not holds() and time.monotonic() < end:  # noqa: ASYNC110 - other threads bring it about, and tell no event
        await asyncio.sleep(0.005)
    return bool(holds())


class Service:
    """The local server, changed over its own API and disturbed over its private one."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, headers={"X-Schematic-Api-Key": "dev"}, timeout=20.0)

    def close(self) -> None:
        self._http.close()

    def call(self, method: str, path: str, body: object = None) -> Any:
        response = self._http.request(method, path, json=body) if body is not None else self._http.request(method, path)
        assert response.is_success, f"{method} {path}: {response.status_code} {response.text}"
        return response.json()["data"]

    def check(self, flag: str, company: Mapping[str, str] | None = None, user: Mapping[str, str] | None = None) -> Any:
        about = {name: dict(keys) for name, keys in (("company", company), ("user", user)) if keys}
        return self.call("POST", f"/flags/{flag}/check", about)

    def track(self, event: str, company: str = "acme", quantity: int = 1) -> None:
        body = {"event": event, "company": {"id": company}, "quantity": quantity}
        self.call("POST", "/events", {"event_type": "track", "body": body})

    def plan(self, company: str, plan: str | None) -> None:
        base = None if plan is None else f"plan_{plan}"
        self.call("PUT", f"/company-plans/comp_{company}", {"base_plan_id": base, "add_on_ids": []})

    def override(self, company: str, feature: str, limit: int) -> str:
        body = {"feature_id": f"feat_{feature}", "value_type": "numeric", "value_numeric": limit}
        return str(self.call("POST", "/company-overrides", {"company_id": f"comp_{company}", **body})["id"])

    def take_back(self, override: str) -> None:
        self.call("DELETE", f"/company-overrides/{override}")

    def trait(self, company: str, **traits: object) -> None:
        self.call("POST", "/companies", {"keys": {"id": company}, "traits": traits})

    def dev(self, name: str, **body: Any) -> Any:
        """Ask for a fault of the stream, e.g. ``dev("drop")``."""
        return self.call("POST", f"/_dev/stream/{name}", body)

    def habits(self, **habits: Any) -> None:
        self.call("PUT", "/_dev/stream/habits", habits)

    def fault(self, **fault: Any) -> None:
        self.call("POST", "/_dev/faults", fault)

    def forget(self) -> None:
        """Count connections and requests anew."""
        self.call("DELETE", "/_dev/stream")

    @property
    def connections(self) -> list[Json]:
        connections: list[Json] = self.call("GET", "/_dev/stream")["connections"]
        return connections

    @property
    def open(self) -> list[Json]:
        return [one for one in self.connections if one["is_open"]]

    def asked(self, entity_type: str) -> list[Json]:
        """Give the requests for this type on all connections, in order, as their keys."""
        every = [one["data"] for connection in self.connections for one in connection["requests"]]
        return [one.get("keys", {}) for one in every if one["entity_type"] == f"rulesengine.{entity_type}"]

    def events(self, event_type: str) -> list[Json]:
        """Give the bodies of the events of a type that have arrived."""
        events = self.call("GET", "/_dev/events?limit=1000")
        return [one["body"] for one in events if one["type"] == event_type]


@contextmanager
def serving(text: str | Environment = ENVIRONMENT, **options: Any) -> Iterator[Service]:
    """Run the local server."""
    environment = parse_environment(text) if isinstance(text, str) else text
    with serve(environment, **options) as served:
        service = Service(served.url)
        try:
            yield service
        finally:
            service.close()


def free_port() -> int:
    """Give a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# -- a server that does as the test says


def flag(key: str = "exports", *, default: bool = False, **members: Any) -> Json:
    owners = {"account_id": "acc", "environment_id": "env"}
    return {"id": f"flag_{key}", **owners, "key": key, "rules": [], "default_value": default, **members}


def plan_flag(key: str = "exports", plan: str = "plan_pro") -> Json:
    """Give a flag that is on for whoever has the plan."""
    owners = {"account_id": "acc", "environment_id": "env"}
    condition = {"id": "c", **owners, "condition_type": "plan", "operator": "eq", "resource_ids": [plan]}
    rule = {"id": f"rule_{key}", **owners, "name": "Pro", "rule_type": "standard", "priority": 1, "value": True}
    return flag(key, rules=[{**rule, "conditions": [{**condition, "trait_value": ""}], "condition_groups": []}])


def company(id_: str = "comp_1", keys: Mapping[str, str] | None = None, *plans: str, **members: Any) -> Json:
    owners = {"account_id": "acc", "environment_id": "env"}
    return {"id": id_, **owners, "keys": keys if keys is not None else ACME, "plan_ids": list(plans), **members}


def frame(entity_type: str, message_type: str, data: Any = None, entity_id: str | None = None, **more: Any) -> str:
    members = {"entity_type": f"rulesengine.{entity_type}", "message_type": message_type}
    return json.dumps({**members, "entity_id": entity_id, "data": data, **more})


def full(entity: Json, entity_type: str = "Company") -> str:
    return frame(entity_type, "full", entity, entity["id"])


class Line:
    """One connection of the scripted server."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self.asked: list[Json] = []
        self.is_open = True
        self.code: int | None = None

    def send(self, *frames: str | bytes) -> None:
        with suppress(ConnectionClosed):
            for one in frames:
                self.socket.send(one)

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.socket.close(code, reason)

    def cut(self) -> None:
        """End it as a broken network does."""
        with suppress(OSError):
            self.socket.socket.shutdown(socket.SHUT_RDWR)


class Script:
    """A stream that plays what the test says.

    ``flags`` answer the request for flags (None: no answer); ``answer`` is given a company's or user's request and says
    what frames go back; by default ``entities`` by the id key, and an error for everybody else.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.flags: list[str] | None = [frame("Flags", "full", [plan_flag()])]
        self.entities: dict[str, Json] = {"acme": company("comp_1", ACME, "plan_pro")}
        self.answer: Callable[[str, Json], Sequence[str]] = self.by_id
        self.greet: Callable[[Line], None] = lambda _line: None
        self.lines: list[Line] = []
        self.headers: list[Mapping[str, str]] = []
        self.refusals: list[int] = []
        self.changed = threading.Condition()

    def by_id(self, entity_type: str, keys: Json) -> Sequence[str]:
        entity = self.entities.get(keys.get("id", ""))
        if entity is None:
            return [frame(entity_type, "error", {"error": "not found", "keys": keys})]
        return [full(entity, entity_type)]

    @property
    def line(self) -> Line:
        """The latest connection."""
        return self.lines[-1]

    def asked(self, entity_type: str) -> list[Json]:
        """Give the keys of all requests for this type, on whatever connection."""
        every = [one for line in self.lines for one in line.asked]
        return [one.get("keys", {}) for one in every if one["entity_type"] == f"rulesengine.{entity_type}"]

    def handle(self, socket: ServerConnection) -> None:
        line = Line(socket)
        self.lines.append(line)
        try:
            self.greet(line)
            for raw in socket:
                data = json.loads(raw)["data"]
                line.asked.append(data)
                entity_type = data["entity_type"].partition(".")[2]
                answers = self.flags or [] if entity_type == "Flags" else self.answer(entity_type, data["keys"])
                line.send(*answers)
        except ConnectionClosed:
            pass
        finally:
            line.is_open = False
            line.code = socket.protocol.close_code

    def refuse(self, connection: ServerConnection, request: Any) -> Any:
        self.headers.append(request.headers)
        return connection.respond(self.refusals.pop(0), "") if self.refusals else None


@contextmanager
def playing() -> Iterator[Script]:
    """Run a scripted server."""
    script = Script("")
    quiet = logging.Logger("tests.script", logging.CRITICAL)
    server = serve_websocket(
        script.handle,
        "127.0.0.1",
        0,
        process_request=script.refuse,
        logger=quiet,
        ping_interval=None,
        close_timeout=0.5,
    )
    script.url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}/datastream"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield script
    finally:
        for line in script.lines:
            line.cut()
        server.shutdown()
        thread.join(5.0)


# -- clients


def stream_of(client: Schematic | AsyncSchematic | Any) -> Stream:
    """Give the client's stream."""
    source = client._runtime.source
    assert isinstance(source, Stream)
    return source


def hasten(client: Any, *, url: str | None = None, **limits: Any) -> None:
    """Give a stream that has not begun other limits, or another server; clients have no setting for either."""
    stream = stream_of(client)
    options, *rest = stream._make_pump.args
    changed = replace(options, url=url or options.url, limits=replace(QUICK, **limits))
    stream._make_pump = partial(Pump, changed, *rest, **stream._make_pump.keywords)
    stream._pump = stream._make_pump()


@contextmanager
def following(
    face: str,
    url: str,
    *,
    stream_url: str | None = None,
    limits: Mapping[str, Any] | None = None,
    initialize: bool = True,
    close_timeout: float = 2.0,
    **options: Any,
) -> Iterator[Driver]:
    """Give a driver of a client with ``use_datastream``, ready unless ``initialize`` is False."""
    options = {"base_url": url, "use_datastream": True, "event_buffer_period": 60.0, **options}
    with making(face, *options.pop("arguments", ("dev",)), close_timeout=close_timeout, **options) as driver:
        hasten(driver.client, url=stream_url, **(limits or {}))
        if initialize:
            driver.initialize()
            assert driver.datastream.status == "ready"
        yield driver


@contextmanager
def making(face: str, *arguments: Any, close_timeout: float = 2.0, **options: Any) -> Iterator[Driver]:
    """Give a driver of a client on which nothing was called yet."""
    if face == "async":
        with driving(face, *arguments, **options) as driver:
            yield driver
            driver.close(close_timeout)
        return
    client = Schematic(*arguments, **options)
    try:
        yield Driver(client, lambda value: value)
    finally:
        client.close(close_timeout)


def ask(driver: Driver, flag_key: str = "exports", company: Any = ACME, user: Any = None, options: Any = None) -> Any:
    """Give the whole answer."""
    return driver.check_flag_with_entitlement(flag_key, company, user, options)


# -- threads and processes


def stream_threads() -> list[threading.Thread]:
    """List the threads of all streams in this process."""
    gc.collect()
    return [thread for thread in threading.enumerate() if thread.name.startswith("schematic-stream")]


def in_child(work: Callable[[], object], timeout: float = 20.0) -> bool:
    """Run ``work`` in a forked child; whether it came to its end there and was true."""
    child = os.fork()
    if child == 0:
        code = 2
        try:
            code = 0 if work() else 1
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.01)  # there is no wait with an end
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False
