"""What a message does to the replica, prepared but not yet applied, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from schematic_core.datastream.versions import EntityVersion, FlagVersion, Kind
from schematic_core.errors import EngineError

__all__ = [
    "Applied",
    "Change",
    "Confirmed",
    "Counted",
    "FlagRemoved",
    "FlagStored",
    "FlagsStored",
    "Merged",
    "Removed",
    "Stored",
    "refusal",
]


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """A full message: whatever was held is replaced, and pending effects of ``track`` are overridden."""

    version: EntityVersion


@dataclass(frozen=True, slots=True, eq=False)
class Confirmed:
    """A full message that says what is held already."""

    base: EntityVersion
    generation: int
    confirmed_at: float


@dataclass(frozen=True, slots=True, eq=False)
class Merged:
    """A partial message on top of ``base``; pending effects of the ``overridden`` events are dropped."""

    base: EntityVersion
    version: EntityVersion
    overridden: frozenset[str]


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """The first ``taken`` pending effects of ``track`` on ``base``, counted."""

    base: EntityVersion
    version: EntityVersion
    taken: int


@dataclass(frozen=True, slots=True, eq=False)
class Removed:
    """Entities go: the server deleted them, or the engine refused (``rejected``) what they have become.

    With ``base``, only while that version is held.
    """

    kind: Kind
    ids: tuple[str, ...]
    base: EntityVersion | None = None
    rejected: EngineError | None = None


@dataclass(frozen=True, slots=True, eq=False)
class FlagStored:
    """One flag is new or replaced."""

    version: FlagVersion


@dataclass(frozen=True, slots=True, eq=False)
class FlagRemoved:
    """One flag goes: by its key if that is known and held, else by its id."""

    key: str | None
    id: str | None
    rejected: EngineError | None = None


@dataclass(frozen=True, slots=True, eq=False)
class FlagsStored:
    """The whole set of flags by key; None when the message said nothing about it.

    ``rejected`` is the engine's reason for the first flag that was left out, if one was.
    """

    flags: dict[str, FlagVersion] | None
    rejected: EngineError | None = None


Change = Stored | Confirmed | Merged | Counted | Removed | FlagStored | FlagRemoved | FlagsStored


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a change.

    Attributes:
        kind: what it was about.
        is_applied: False when its base was replaced meanwhile; nothing happened then: prepare again.
        ids: ids of entities, or keys of flags, stored or removed; empty when everything was so already. A confirmed
            entity is among them.
        is_flags: some flag is not what it was.
        rejected: why the engine refused a document; what was held in its place is gone.
        evicted: id of the entity that had to go for a new one.
        is_moved: some keys may mean another entity than before, so that answers found by their keys are in doubt.
    """

    kind: Literal["flag", "company", "user"]
    is_applied: bool = True
    ids: tuple[str, ...] = ()
    is_flags: bool = False
    rejected: EngineError | None = None
    evicted: str | None = None
    is_moved: bool = False


def refusal(error: EngineError) -> EngineError:
    """Give the error without its traceback, whose frames would keep versions alive for as long as it is kept.

    Raises:
        EngineError: it says nothing about the document: the thread is in the middle of another call of the engine.
    """
    if error.code == "busy":
        raise error
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
