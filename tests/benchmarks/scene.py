"""What one connection gets of the stream, written as the API key that a client is made with. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Scene"]


@dataclass(frozen=True)
class Scene:
    """The flags, companies and users of a fixture.

    Attributes:
        root: of the package that connects; distinguishes whose events are whose.
        fixture: a name of `FIXTURES`.
        flags: how many.
        updates: partials of the company per second, once it was asked for; 0 for none.
    """

    root: str
    fixture: str
    flags: int = 1
    updates: int = 0

    @property
    def api_key(self) -> str:
        """The API key that stands for it."""
        return f"{self.root}:{self.fixture}:{self.flags}:{self.updates}"

    @classmethod
    def read(cls, api_key: str) -> Scene:
        """Give the scene that an API key stands for."""
        root, fixture, flags, updates = api_key.split(":")
        return cls(root, fixture, int(flags), int(updates))
