"""An ASGI application whose client is made, and used, where it is imported; see `wsgi`.

It closes its client in its lifespan, as the adapters do; or, told to, leaves that to SIGTERM. uvicorn's exit alone is none
to Python: it ends its process by the signal that it was ended by.
"""

from __future__ import annotations

import json
import os
from typing import Any

from schematic_core import AsyncSchematic
from schematic_core.lifecycle import flush_on_sigterm
from tests.events.apps.settings import COMPANY, IS_STREAMING, options, traits

client = AsyncSchematic("dev", **options())
client.sync.initialize()
client.track("loaded", traits=traits())


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        if "FLUSH_ON_SIGTERM" in os.environ:
            flush_on_sigterm()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if "FLUSH_ON_SIGTERM" not in os.environ:
            await client.close()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await client.track(scope["path"].lstrip("/"), COMPANY, traits=traits())
    answer: dict[str, Any] = {"pid": os.getpid()}
    if IS_STREAMING:
        answer["source"] = (await client.check_flag_with_entitlement("exports", COMPANY)).source
    body = json.dumps(answer).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
