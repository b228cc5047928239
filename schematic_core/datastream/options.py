"""Where the stream is and how it is followed, as values."""

from __future__ import annotations

from dataclasses import dataclass, field

from schematic_core.datastream.limits import ConnectionLimits

__all__ = ["StreamOptions"]


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """Options of one stream. ``url`` is a ws or wss URL; the key is not shown; ``max_message_size`` is bytes."""

    url: str
    api_key: str = field(repr=False)
    max_message_size: int
    limits: ConnectionLimits = field(default_factory=ConnectionLimits)
