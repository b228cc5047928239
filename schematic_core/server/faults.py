"""The one way to refuse a request."""

from __future__ import annotations

__all__ = ["Refused"]


class Refused(Exception):
    """A request that cannot be done; answered with ``status`` and ``{"error": ..., **extra}``."""

    def __init__(self, status: int, error: str, **extra: object) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.extra = extra
