"""What listeners of the stream are told, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["StreamChange", "StreamStatus"]

StreamStatus = Literal["idle", "connecting", "ready", "reconnecting", "refused", "failed", "closed"]
"""How the stream is: not started; on the way to its first snapshot; local answers are confirmed; on the way back after a
disturbance; the API key was refused (tried again slowly); the engine cannot run here; over."""


@dataclass(frozen=True, slots=True)
class StreamChange:
    """Something that answers rest on has changed.

    Attributes:
        kind: of what.
        ids: the service's ids of companies or users, e.g. ``("comp_9",)``; keys of flags.
    """

    kind: Literal["flag", "company", "user"]
    ids: tuple[str, ...]
