"""Companies and users by id and by keys: one table for each kind, and creating or changing what keys address."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Generic, TypeVar

from schematic_core.environment.compile import trait_text
from schematic_core.environment.model import Company, User
from schematic_core.server.faults import Refused

__all__ = ["EntityTable", "Upsert", "upsert"]

E = TypeVar("E", Company, User)

_MAX_TRAITS_BYTES = 1024 * 1024


class EntityTable(Generic[E]):
    """Every entity of one kind, by id and by each pair of its keys.

    A pair belongs to one entity at most: whoever puts an entity that has it takes it from the former owner.
    ``revision`` moves on with every change.
    """

    def __init__(self, kind: str, entities: Iterable[E]) -> None:
        self.kind = kind
        self.revision: int = 0
        self._by_id: dict[str, E] = {}
        self._ids: dict[tuple[str, str], str] = {}
        for entity in entities:
            self.put(entity)

    def __iter__(self) -> Iterator[E]:
        return iter(self._by_id.values())

    def find(self, own_id: str) -> E | None:
        """Give the entity with an id, if there is one."""
        return self._by_id.get(own_id)

    def get(self, own_id: str) -> E:
        """Give the entity with an id.

        Raises:
            Refused: 404, there is none.
        """
        entity = self._by_id.get(own_id)
        if entity is None:
            raise Refused(404, f"{self.kind} not found")
        return entity

    def lookup(self, keys: Mapping[str, str]) -> E | None:
        """Give the entity that keys address; None when no pair is known, or pairs belong to different entities."""
        ids = {self._ids[pair] for pair in keys.items() if pair in self._ids}
        return self._by_id[ids.pop()] if len(ids) == 1 else None

    def owners(self, keys: Mapping[str, str]) -> list[E]:
        """Give the entities that own any of the pairs, in the order of the pairs."""
        ids = dict.fromkeys(self._ids[pair] for pair in keys.items() if pair in self._ids)
        return [self._by_id[own_id] for own_id in ids]

    def put(self, entity: E) -> None:
        """Keep an entity, new or changed."""
        self.revision += 1
        former = self._by_id.get(entity.id)
        for pair in former.keys.items() if former is not None else ():
            self._ids.pop(pair, None)
        for other in self.owners(entity.keys):
            kept = {key: value for key, value in other.keys.items() if entity.keys.get(key) != value}
            self._by_id[other.id] = replace(other, keys=kept)
        self._by_id[entity.id] = entity
        self._ids.update(dict.fromkeys(entity.keys.items(), entity.id))

    def drop(self, own_id: str) -> None:
        """Forget an entity."""
        entity = self._by_id.pop(own_id)
        self.revision += 1
        for pair in entity.keys.items():
            self._ids.pop(pair, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upsert:
    """What an entity should be: keys and traits are merged into what is known, a null trait is removed."""

    keys: Mapping[str, str]
    id: str | None = None
    name: str | None = None
    traits: Mapping[str, object] = field(default_factory=dict)
    remove_keys: tuple[str, ...] = ()
    update_only: bool = False
    prevent_key_remap: bool = False
    last_seen_at: datetime | None = None


def upsert(table: EntityTable[E], wanted: Upsert, now: datetime, make: Callable[[], E]) -> tuple[E | None, E, bool]:
    """Create or change the entity that ``wanted`` addresses, by id, else by the first of its pairs that is known.

    Args:
        table: the entities of the kind.
        wanted: what it should be.
        now: the present, aware.
        make: gives a new, blank entity with its id.

    Returns:
        The entity before (None: it is new) and after, and whether anything that anyone cares about changed: having been
        seen again is no change.

    Raises:
        Refused: 400 or 404, it cannot be done; nothing changed then.
    """
    before = _addressed(table, wanted)
    entity = before if before is not None else make()
    keys = {key: value for key, value in {**entity.keys, **wanted.keys}.items() if key not in wanted.remove_keys}
    if not keys:
        raise Refused(400, f"a {table.kind} must have at least one key")
    traits = {key: value for key, value in {**entity.traits, **wanted.traits}.items() if value is not None}
    if sum(len(key) + len(trait_text(value)) for key, value in traits.items()) > _MAX_TRAITS_BYTES:
        raise Refused(400, "the traits are too large")
    name = wanted.name or entity.name or next(iter(keys.values()))
    seen = wanted.last_seen_at or entity.last_seen_at
    after = replace(entity, keys=keys, traits=traits, name=name)
    changed = after != before
    after = replace(after, last_seen_at=seen, updated_at=now if changed else entity.updated_at)
    table.put(after)
    return before, after, changed


def _addressed(table: EntityTable[E], wanted: Upsert) -> E | None:
    if wanted.id is not None:
        found = [table.get(wanted.id)]
    else:
        if not wanted.keys:
            raise Refused(400, "keys must have at least one pair")
        found = table.owners(wanted.keys)
    entity = found[0] if found else None
    if entity is None and wanted.update_only:
        raise Refused(404, f"{table.kind} not found")
    if wanted.prevent_key_remap and any(
        owner.id != (entity.id if entity else "") for owner in table.owners(wanted.keys)
    ):
        raise Refused(400, f"one of the keys belongs to another {table.kind}")
    return entity
