"""What is held of one flag or entity at one moment: its text, its handle in the engine, and the stamp that answers keep.

A version never changes in what it says. A change gives a new version; the former's stamp stops being current, and when
nobody uses the former any more its document is released from the engine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

from schematic_core.datastream.document import Layout
from schematic_core.keys import Pairs

__all__ = ["EntityVersion", "FlagVersion", "Holder", "Kind", "Stamp"]

Kind = Literal["company", "user"]
"""The two kinds of entity."""


class Holder(Protocol):
    """Keeps documents ready for evaluation. Called from any thread, without a lock of the caller's."""

    def hold(self, kind: Literal["flag", "company", "user"], text: bytes) -> object:
        """Take a document in and give its handle; raises ``EngineError`` for one that the engine refuses."""
        ...

    def release(self, handle: object) -> None:
        """Let go of a document. Called once for each handle, by finalisers too: never waits and never raises."""
        ...


class Stamp:
    """Shared by a version and the answers that were evaluated on it, which thus keep no version alive.

    Attributes:
        is_current: False once the version was replaced or removed, or has effects of ``track`` pending. Never goes back.
        is_used: set by whoever gives an answer that rests on the version; bounds and refreshes look at it.
    """

    __slots__ = ("is_current", "is_used")

    def __init__(self) -> None:
        self.is_current: bool = True
        self.is_used: bool = False


class FlagVersion:
    """One flag as the server sent it.

    Attributes:
        id: the service's id, e.g. ``"flag_1"``; may be empty.
        key: the flag's key.
        default_value: the value when no rule matches.
        text: the JSON document.
        handle: what the holder gave for it.
        stamp: see `Stamp`.
        release: takes ``handle`` back when this object is garbage.
    """

    __slots__ = ("default_value", "handle", "id", "key", "release", "stamp", "text")

    def __init__(
        self,
        id_: str,
        key: str,
        text: bytes,
        handle: object,
        release: Callable[[object], None],
        *,
        default_value: bool,
    ) -> None:
        self.id: str = id_
        self.key: str = key
        self.default_value: bool = default_value
        self.text: bytes = text
        self.handle: object = handle
        self.stamp: Stamp = Stamp()
        self.release: Callable[[object], None] = release

    def __del__(self) -> None:
        self.release(self.handle)


class EntityVersion:
    """One company or user as the server described it last, local effects of ``track`` included.

    Attributes:
        kind: ``"company"`` or ``"user"``.
        id: the service's id, e.g. ``"comp_9"``.
        pairs: its own keys, exactly as sent; may be empty.
        text: the JSON document.
        layout: where its members stand, if we wrote it.
        handle: what the holder gave for it.
        stamp: see `Stamp`.
        release: takes ``handle`` back when this object is garbage.
        generation: the connection that confirmed it last.
        confirmed_at: when, monotonic seconds.
        events: names of the events that its metrics count; empty for users.
        bumps: pending effects of ``track``, e.g. ``[("export", 2)]``, oldest first. The versions of one entity share the
            list, so that an effect noted on a version just being replaced is not lost. Whoever finds the list filled
            evaluates on the version that ``Replica.prepare_bumps`` makes, not on this one.
        asked_as: the keys it was last asked with, its own ones at first.
    """

    __slots__ = (
        "asked_as",
        "bumps",
        "confirmed_at",
        "events",
        "generation",
        "handle",
        "id",
        "kind",
        "layout",
        "pairs",
        "release",
        "stamp",
        "text",
    )

    def __init__(
        self,
        kind: Kind,
        id_: str,
        pairs: Pairs,
        text: bytes,
        handle: object,
        release: Callable[[object], None],
        *,
        generation: int,
        confirmed_at: float,
        events: frozenset[str],
        layout: Layout | None = None,
    ) -> None:
        self.kind: Kind = kind
        self.id: str = id_
        self.pairs: Pairs = pairs
        self.text: bytes = text
        self.layout: Layout | None = layout
        self.handle: object = handle
        self.stamp: Stamp = Stamp()
        self.release: Callable[[object], None] = release
        self.generation: int = generation
        self.confirmed_at: float = confirmed_at
        self.events: frozenset[str] = events
        self.bumps: list[tuple[str, int]] = []
        self.asked_as: Pairs = pairs

    def __del__(self) -> None:
        self.release(self.handle)
