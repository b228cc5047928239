"""The stream of a benchmark: flags at once, companies and users as asked, and updates at a steady rate if wanted.

What a connection gets is in its API key, a `Scene`, since that is all that both packages hand on unchanged.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from tests.benchmarks.fixtures import FIXTURES, frame
from tests.benchmarks.scene import Scene

__all__ = ["streaming"]


@contextmanager
def streaming() -> Iterator[str]:
    """Run the stream on a free port; gives its base URL. Whatever is asked over HTTP there gets an error."""
    quiet = logging.Logger("tests.benchmarks.stream", logging.CRITICAL)
    server = serve(_play, "127.0.0.1", 0, logger=quiet, compression=None, ping_interval=None, close_timeout=0.2)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.socket.getsockname()[1]}"
    finally:
        server.shutdown()
        thread.join(5)


def _play(connection: ServerConnection) -> None:
    assert connection.request is not None
    scene = Scene.read(connection.request.headers["X-Schematic-Api-Key"])
    try:
        is_first = True
        for request in connection:
            asked = json.loads(request)["data"]
            connection.send(_answer(scene, asked["entity_type"], asked.get("keys")), text=True)
            if scene.updates and is_first and asked["entity_type"] == "rulesengine.Company":
                is_first = False
                threading.Thread(target=_update, args=(connection, scene), daemon=True).start()
    except ConnectionClosed:
        pass


def _update(connection: ServerConnection, scene: Scene) -> None:
    """Let the company change; the pace makes up for waits that took too long."""
    fixture = FIXTURES[scene.fixture]
    started = time.monotonic()
    try:
        for number in count(1):
            time.sleep(max(0.0, started + number / scene.updates - time.monotonic()))
            connection.send(frame("Company", "partial", fixture.change(number), fixture.company["id"]))
    except ConnectionClosed:
        pass


@cache
def _flags(fixture: str, number: int) -> bytes:
    return frame("Flags", "full", FIXTURES[fixture].flags(number)).encode()


def _answer(scene: Scene, entity_type: str, keys: dict[str, str] | None) -> bytes:
    if entity_type == "rulesengine.Flags":
        return _flags(scene.fixture, scene.flags)
    fixture, entity = FIXTURES[scene.fixture], entity_type.rpartition(".")[2]
    found = fixture.user if entity == "User" else fixture.asked(keys or {})
    if found is None:
        return frame(entity, "error", {"error": "not found", "keys": keys, "entity_type": entity_type}).encode()
    return frame(entity, "full", found, found["id"]).encode()
