"""What has changed in the documents that clients hold, since they were last told.

Machines. A document follows from a record, which is replaced and never changed, and from the window that is open: so the
record and the instant of the last telling are kept, and a document is made only when one of the two has moved on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Generic, TypeVar

from schematic_core.environment.compile import flag_document
from schematic_core.environment.model import Company, User
from schematic_core.environment.periods import WINDOWS, window_end
from schematic_core.server.entities import EntityTable
from schematic_core.server.frames import Document, text
from schematic_core.server.state import State

__all__ = ["EntityWatch", "FlagWatch", "Move", "usage_lasts"]

E = TypeVar("E", Company, User)

_NEVER = datetime.max.replace(tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class Move:
    """An entity that changed; ``before`` is None when it is new, ``after`` when it is gone."""

    id: str
    before: Document | None
    after: Document | None


@dataclass(frozen=True, slots=True)
class _Told(Generic[E]):
    entity: E
    at: datetime
    until: datetime


class EntityWatch(Generic[E]):
    """The entities of one kind that someone follows.

    Args:
        table: all entities of the kind.
        document: gives an entity's document at an instant.
        lasts: says until when that stays as it is while the entity does.
    """

    def __init__(
        self,
        table: EntityTable[E],
        document: Callable[[E, datetime], Document],
        lasts: Callable[[E, datetime], datetime] = lambda _entity, _now: _NEVER,
    ) -> None:
        self._table: EntityTable[E] = table
        self._document: Callable[[E, datetime], Document] = document
        self._lasts: Callable[[E, datetime], datetime] = lasts
        self._told: dict[str, _Told[E]] = {}
        self._is_all = False
        self._seen: tuple[int, datetime] | None = None
        self._due = _NEVER

    def find(self, keys: Mapping[str, str]) -> str | None:
        """Give the id of the entity that keys address."""
        entity = self._table.lookup(keys)
        return entity.id if entity is not None else None

    def document(self, own_id: str, now: datetime) -> Document:
        """Give an entity's document."""
        return self._document(self._table.get(own_id), now)

    def follow(self, own_id: str, now: datetime) -> None:
        """Tell from now on how an entity changes."""
        if own_id not in self._told:
            self._tell(self._table.get(own_id), now)

    def follow_all(self, now: datetime) -> None:
        """Tell from now on of every entity, those to come as well."""
        if self._is_all:
            return
        self._is_all = True
        for entity in self._table:
            self.follow(entity.id, now)

    def leave(self, own_id: str) -> None:
        """Nobody follows an entity any more."""
        if not self._is_all:
            self._told.pop(own_id, None)

    def deadline(self) -> datetime | None:
        """Give when the clock changes the next document; None when it changes none."""
        return self._due if self._due < _NEVER else None

    def moves(self, now: datetime) -> list[Move]:
        """Give what changed since the last call; gone entities are followed no longer."""
        if self._seen is not None and self._seen[0] == self._table.revision and self._seen[1] <= now < self._due:
            return []
        found = [move for own_id, told in list(self._told.items()) if (move := self._move(own_id, told, now))]
        if self._is_all:
            for entity in self._table:
                if entity.id not in self._told:
                    self._tell(entity, now)
                    found.append(Move(entity.id, None, self._document(entity, now)))
        self._seen = (self._table.revision, now)
        self._due = min((told.until for told in self._told.values()), default=_NEVER)
        return found

    def _move(self, own_id: str, told: _Told[E], now: datetime) -> Move | None:
        entity = self._table.find(own_id)
        if entity is told.entity and told.at <= now < told.until:
            return None
        before = self._document(told.entity, told.at)
        if entity is None:
            del self._told[own_id]
            return Move(own_id, before, None)
        self._tell(entity, now)
        after = self._document(entity, now)
        return Move(own_id, before, after) if before != after else None

    def _tell(self, entity: E, now: datetime) -> None:
        told = self._told[entity.id] = _Told(entity, now, self._lasts(entity, now))
        self._due = min(self._due, told.until)


def usage_lasts(company: Company, now: datetime) -> datetime:
    """Say until when a company's document stays as it is while the company does: to the end of its first window."""
    subscription = company.subscription
    if subscription is not None:  # usage starts anew with each cycle, those after the end as well
        subscription = replace(subscription, end=_NEVER)
    return min(window_end(*window, now, subscription) or _NEVER for window in WINDOWS)


class FlagWatch:
    """All flags. The catalogue stands still, so a flag changes only by the companies that have overrides."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._texts: dict[str, str] = {}
        self._revision = state.companies.revision
        self._overridden = self._overrides()

    def texts(self, *, nulls: bool) -> list[str]:
        """Give every flag as JSON, as `moves` last told it."""
        for key in self._state.environment.flags:
            if key not in self._texts:
                self._texts[key] = text(self._document(key, self._overridden), nulls=nulls)
        return [self._texts[key] for key in self._state.environment.flags]

    def forget_texts(self) -> None:
        """Write all flags anew the next time: it is to be done in another way."""
        self._texts.clear()

    def moves(self) -> tuple[list[Document], list[Document]]:
        """Give the flags that changed since the last call: those to tell before the companies, and those after.

        A flag's plan rules leave out the companies with an override. So that no company is for a moment without either,
        it is let in again before it loses its override, and left out once it has one.
        """
        if self._revision == self._state.companies.revision:
            return [], []
        self._revision = self._state.companies.revision
        former, present = self._overridden, self._overrides()
        moved = [key for key in self._state.environment.flags if former.get(key) != present.get(key)]
        between = {key: former.get(key, frozenset()) & present.get(key, frozenset()) for key in moved}
        self._overridden = present
        for key in moved:
            self._texts.pop(key, None)
        return self._changed(moved, former, between), self._changed(moved, between, present)

    def _changed(
        self, keys: list[str], before: Mapping[str, frozenset[str]], after: Mapping[str, frozenset[str]]
    ) -> list[Document]:
        documents = ((self._document(key, before), self._document(key, after)) for key in keys)
        return [changed for former, changed in documents if former != changed]

    def _document(self, key: str, overridden: Mapping[str, frozenset[str]]) -> Document:
        return flag_document(self._state.environment, key, overridden.get(key, ()))

    def _overrides(self) -> dict[str, frozenset[str]]:
        found: dict[str, set[str]] = {}
        for company in self._state.companies:
            for key in company.overrides:  # one that has expired is gone: the state takes it back
                found.setdefault(key, set()).add(company.id)
        return {key: frozenset(ids) for key, ids in found.items()}
