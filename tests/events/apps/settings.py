"""What the tests tell the applications of this folder, by the environment, which every server hands on."""

from __future__ import annotations

import os
from typing import Any

IS_STREAMING = "SERVICE_URL" in os.environ
COMPANY = {"id": "acme"}


def options() -> dict[str, Any]:
    """Give a client's options: whatever comes after the first events waits for a minute, or for the end."""
    given: dict[str, Any] = {"event_capture_url": os.environ["CAPTURE_URL"], "event_buffer_period": 60.0}
    if IS_STREAMING:
        given |= {"base_url": os.environ["SERVICE_URL"], "use_datastream": True}
    return given


def traits() -> dict[str, int]:
    """Say which process tracked an event."""
    return {"pid": os.getpid()}
