"""A WSGI application whose client is made, and used, where it is imported: in the master, if the server preloads it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any

from schematic_core import Schematic
from tests.events.apps.settings import COMPANY, IS_STREAMING, options, traits

client = Schematic("dev", **options())
client.initialize()
client.track("loaded", traits=traits())


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    client.track(environ["PATH_INFO"].lstrip("/"), COMPANY, traits=traits())
    answer: dict[str, Any] = {"pid": os.getpid()}
    if IS_STREAMING:
        answer["source"] = client.check_flag_with_entitlement("exports", COMPANY).source
    body = json.dumps(answer).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
