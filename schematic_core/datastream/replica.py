"""Machine: the flags and entities of one environment, as the stream describes them. No clock, no lock, no I/O.

Who may call what, when::

    prepare, prepare_flags      one thread at a time, without the lock: they read what is held and change nothing
    prepare_bumps               any thread, without the lock
    bump                        any thread, without the lock
    everything else             with the lock

A change is prepared from what is held and applied later; one that rests on a version that was replaced meanwhile says
so and must be prepared again. Connections are numbered: what an older one said is still an answer, but no base for
partial messages, and whoever needs certainty asks `Replica.is_confirmed`.

Pending effects of ``track`` are a list that all versions of one entity share. `Replica.bump` appends first and marks
stamps after; it goes on to the version that is held now, should that have changed in between. Hence an effect may be
overridden by the server, but is neither lost nor overlooked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from schematic_core.datastream.changes import (
    Applied,
    Change,
    Confirmed,
    Counted,
    FlagRemoved,
    FlagsStored,
    FlagStored,
    Merged,
    Removed,
    Stored,
)
from schematic_core.datastream.entities import Conflict, Entities
from schematic_core.datastream.entity_preparation import EntityPreparation
from schematic_core.datastream.flag_preparation import FlagPreparation
from schematic_core.datastream.lookups import AskedKeys
from schematic_core.datastream.messages import Message
from schematic_core.datastream.versions import EntityVersion, FlagVersion, Holder, Kind, Stamp
from schematic_core.keys import Pairs

__all__ = ["Applied", "Change", "Conflict", "Replica"]

_KINDS: dict[str, Kind] = {"rulesengine.Company": "company", "rulesengine.User": "user"}
_TYPES = frozenset({"full", "partial", "delete"})


class Replica:
    """Holds what the stream said.

    Args:
        holder: keeps documents ready for evaluation.
        max_entities: companies, and likewise users, held at most, at least 1; flags are not bounded.
        ttl: seconds for which a message confirms an entity within its connection; None: as long as it lasts.
        not_found_ttl: seconds for which "not found" is remembered.

    Attributes:
        generation: the number of the connection now, or last; 0 before the first.
        has_flags: a complete set of flags was applied at least once.
        counts: what could not be used, e.g. ``{"bad_flag": 1}``: ``bad_flag``, ``bad_flags``, ``bad_entity``,
            ``unknown_type``, ``partial_flag``, ``partial_of_unknown``, ``partial_of_unconfirmed``,
            ``partial_without_id``.
    """

    def __init__(self, holder: Holder, *, max_entities: int, ttl: float | None, not_found_ttl: float) -> None:
        self.generation: int = 0
        self.has_flags: bool = False
        self.counts: Counter[str] = Counter()
        self._ttl = ttl
        self._not_found_ttl = not_found_ttl
        size = max(1, max_entities)
        self._entities: dict[Kind, Entities] = {"company": Entities(size), "user": Entities(size)}
        self._missing: dict[Kind, AskedKeys[float]] = {"company": AskedKeys(size), "user": AskedKeys(size)}
        self._doubted: set[tuple[Kind, str]] = set()
        self._flags: dict[str, FlagVersion] = {}
        self._of_entities = EntityPreparation(holder, self._entities, self.counts)
        self._of_flags = FlagPreparation(holder, self.counts)

    def begin(self) -> int:
        """Start a connection: entities are unconfirmed, and what was answered to our questions is forgotten."""
        self.generation += 1
        for entities in self._entities.values():
            entities.unbind_all()
        for missing in self._missing.values():
            missing.clear()
        return self.generation

    def prepare(self, message: Message, now: float) -> Change | None:
        """Do the heavy part of a message about one entity or one flag.

        Returns:
            The change to apply; None when there is nothing to do, which ``counts`` explains.

        Raises:
            ConfigurationError: there is no engine to hold documents. The replica is as it was.
        """
        kind = _KINDS.get(message.entity_type)
        if message.message_type in _TYPES:
            if kind is not None:
                return self._of_entities.message(kind, message, now, self.generation)
            if message.entity_type == "rulesengine.Flag":
                return self._of_flags.message(message)
        self.counts["unknown_type"] += 1
        return None

    def prepare_flags(self, pages: Iterable[Message]) -> FlagsStored:
        """Do the heavy part of a whole set of flags, in one message or in all pages of it.

        A flag that cannot be used is left out and counted. Pages without a list say nothing.

        Raises:
            Garbled: a list breaks off. The replica is as it was.
            ConfigurationError: as for `prepare`.
        """
        return self._of_flags.set(pages, self._flags)

    def prepare_bumps(self, version: EntityVersion, now_utc: datetime) -> Change | None:
        """Do the heavy part of the pending effects of ``track`` on a version; None when there are none.

        Args:
            version: as found; should it have been replaced meanwhile, the change will not be applied: find again.
            now_utc: aware; metrics whose period is over are left alone.
        """
        return self._of_entities.bumps(version, now_utc)

    def apply(self, change: Change) -> Applied:
        """Make a change take effect. A replaced version's stamp stops being current before its successor is found."""
        if isinstance(change, Stored):
            held = self._entities[change.version.kind].get(change.version.id)
            if held is not None:
                change.version.bumps = held.bumps
                del held.bumps[:]
            return self._put(change.version, claims=True)
        if isinstance(change, (Merged, Counted)):
            return self._apply_based(change)
        if isinstance(change, Confirmed):
            return self._confirm(change)
        if isinstance(change, Removed):
            return self._remove(change)
        if isinstance(change, FlagsStored):
            return self._put_flags(change)
        return self._put_flag(change)

    def find_flag(self, key: str) -> FlagVersion | None:
        """Give the flag with this key."""
        return self._flags.get(key)

    def flags(self) -> list[FlagVersion]:
        """List all flags, in no particular order."""
        return list(self._flags.values())

    def find(self, kind: Kind, pairs: Pairs) -> EntityVersion | Conflict | None:
        """Give the entity that the pairs mean, exactly or as the server answered them; pairs nobody has do not matter.

        The entity counts as used, and as asked with these pairs. If it has ``bumps``, see `prepare_bumps`.
        """
        return self._entities[kind].find(pairs)

    def is_confirmed(self, version: EntityVersion, now: float) -> bool:
        """Whether the connection of now said so, not longer ago than ``ttl``, and nobody has doubted it since."""
        if version.generation != self.generation or self.is_doubted(version):
            return False
        return self._ttl is None or now - version.confirmed_at <= self._ttl

    def doubt(self, kind: Kind, id_: str | None, pairs: Pairs) -> None:
        """Somebody else knows of a change: let the entity with this id, or with any of the pairs, be asked for again.

        What is held stays the last known state. Whoever was said not to exist may be asked for again, too.
        """
        entities = self._entities[kind]
        found = [entities.get(id_)] if id_ else []
        self._doubt(found + [entities.peek((pair,)) for pair in pairs])
        self._missing[kind].forget_sharing(pairs)

    def doubt_all(self) -> None:
        """Let every entity be asked for again; see `doubt`."""
        for kind, entities in self._entities.items():
            self._doubt(entities.versions())
            self._missing[kind].clear()

    def is_doubted(self, *versions: EntityVersion | None) -> bool:
        """Whether nothing was said about the whole of one of these entities since `doubt`."""
        return bool(self._doubted) and any(one and (one.kind, one.id) in self._doubted for one in versions)

    def bind(self, kind: Kind, pairs: Pairs, id_: str) -> None:
        """Remember that the server answered these pairs with this entity, which has been applied.

        Holds for this connection, until the entity's keys change or another entity shows up with one of the pairs.
        """
        self._missing[kind].forget(pairs)
        self._entities[kind].bind(pairs, id_)

    def note_missing(self, kind: Kind, pairs: Pairs, now: float) -> None:
        """The server knows nobody with these pairs: what they find is removed, and that is remembered for a while."""
        self._believe(kind, self._entities[kind].remove_asked(pairs))
        self._missing[kind].note(pairs, now + self._not_found_ttl)

    def is_missing(self, kind: Kind, pairs: Pairs, now: float) -> bool:
        """Whether the server said a moment ago that there is nobody with exactly these pairs."""
        until = self._missing[kind].get(pairs)
        return until is not None and now < until

    def bump(self, pairs: Pairs, event: str, quantity: int) -> None:
        """Note that ``event`` happened ``quantity`` times to a company, if it is held and counts that event."""
        version: EntityVersion | Conflict | None = self._entities["company"].peek(pairs)
        if not isinstance(version, EntityVersion) or event not in version.events or not quantity:
            return
        version.bumps.append((event, quantity))
        while version.bumps:
            version.stamp.is_current = False
            held = self._entities["company"].get(version.id)
            if held is None or held is version:
                return
            version = held

    def recent(self) -> list[tuple[Kind, Pairs]]:
        """List how the entities used since the last call were asked, the latest found first; resets the marks."""
        return [(kind, pairs) for kind, entities in self._entities.items() for pairs in entities.recent()]

    def _put(self, version: EntityVersion, *, claims: bool) -> Applied:
        self._missing[version.kind].forget_sharing(version.pairs)
        put = self._entities[version.kind].put(version, claims=claims)
        self._believe(version.kind, (version.id if claims else None, put.evicted))
        return Applied(version.kind, ids=(version.id,), evicted=put.evicted, is_moved=put.is_moved)

    def _apply_based(self, change: Merged | Counted) -> Applied:
        base, version = change.base, change.version
        entities = self._entities[base.kind]
        if not entities.is_held(base) or base.generation != version.generation:  # a newer connection confirmed it
            return Applied(base.kind, is_applied=False)
        version.bumps = base.bumps
        pending = len(base.bumps)
        if isinstance(change, Counted):
            del base.bumps[: change.taken]
        elif pending:
            base.bumps[:pending] = [bump for bump in base.bumps[:pending] if bump[0] not in change.overridden]
        applied = self._put(version, claims=False)
        if version.id != base.id:  # the server gave it another id
            entities.remove(base.id)
            self._believe(base.kind, (base.id,))
        return applied

    def _confirm(self, change: Confirmed) -> Applied:
        base = change.base
        if base.bumps or not self._entities[base.kind].is_held(base):
            return Applied(base.kind, is_applied=False)
        base.generation = change.generation
        base.confirmed_at = change.confirmed_at
        if not base.stamp.is_current:  # it was doubted
            former, base.stamp = base.stamp, Stamp()
            base.stamp.is_used = former.is_used
            base.stamp.is_current = not base.bumps  # a bump just now may have marked the former one
        return self._put(base, claims=True)

    def _remove(self, change: Removed) -> Applied:
        entities = self._entities[change.kind]
        if change.base is not None and not entities.is_held(change.base):
            return Applied(change.kind, is_applied=False)
        ids = tuple(id_ for id_ in change.ids if entities.remove(id_))
        self._believe(change.kind, ids)
        return Applied(change.kind, ids=ids, rejected=change.rejected)

    def _doubt(self, found: Iterable[EntityVersion | Conflict | None]) -> None:
        for version in found:
            if isinstance(version, EntityVersion):
                self._doubted.add((version.kind, version.id))
                version.stamp.is_current = False

    def _believe(self, kind: Kind, ids: Iterable[str | None]) -> None:
        if self._doubted:
            self._doubted.difference_update([(kind, id_) for id_ in ids if id_ is not None])

    def _put_flags(self, change: FlagsStored) -> Applied:
        if change.flags is None:
            return Applied("flag")
        former, flags = self._flags, change.flags
        changed = [key for key in {**former, **flags} if former.get(key) is not flags.get(key)]
        for key in changed:
            if key in former:
                former[key].stamp.is_current = False
        self._flags = flags
        self.has_flags = True
        return Applied("flag", ids=tuple(changed), is_flags=bool(changed), rejected=change.rejected)

    def _put_flag(self, change: FlagStored | FlagRemoved) -> Applied:
        if isinstance(change, FlagStored):
            version = change.version
            gone = {version.key: None, self._key_of(version.id): None}  # a flag may have been given another key
            self._drop_flags(gone)
            self._flags[version.key] = version
            return Applied("flag", ids=tuple(key for key in gone if key is not None), is_flags=True)
        key = change.key if change.key in self._flags else self._key_of(change.id)
        self._drop_flags((key,))
        return Applied(
            "flag", ids=(key,) if key is not None else (), is_flags=key is not None, rejected=change.rejected
        )

    def _drop_flags(self, keys: Iterable[str | None]) -> None:
        for key in keys:
            if key is not None and key in self._flags:
                self._flags[key].stamp.is_current = False
                del self._flags[key]

    def _key_of(self, id_: str | None) -> str | None:
        return next((flag.key for flag in self._flags.values() if id_ and flag.id == id_), None)
