"""The companies, or the users, that are held: by id, found by keys, and bounded.

Keys are compared exactly. A pair belongs to the entity whose full message came last; an entity that loses a pair to
another one says so later, if ever, and must then not take the other's lookup along. What the server answered to keys of
other case, or to keys that no entity carries, is bound for the time of one connection and for as long as the entity
keeps its keys.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from schematic_core.datastream.lookups import AskedKeys, fold
from schematic_core.datastream.versions import EntityVersion
from schematic_core.keys import Pairs

__all__ = ["Conflict", "Entities", "Put"]

_SECOND_CHANCES = 64  # so that one entity more never means a walk over all
_MAX_LOOSE = 10_000


class Conflict(NamedTuple):
    """The pairs of one question belong to different entities; their ids, in the order of the pairs."""

    ids: tuple[str, ...]


class Put(NamedTuple):
    """What holding a version did besides: which entity had to go for it, and whether keys may mean another one now."""

    evicted: str | None
    is_moved: bool


class Entities:
    """Versions of one kind, at most ``max_entities`` (1 or more). No lock: see `Replica` for who may call what when."""

    def __init__(self, max_entities: int) -> None:
        self._max_entities = max_entities
        self._held: OrderedDict[str, EntityVersion] = OrderedDict()  # the one found longest ago first
        self._ids: dict[tuple[str, str], str] = {}
        self._bound: AskedKeys[tuple[str, Pairs]] = AskedKeys(max_entities)
        # Pairs, folded, of questions that found an entity which does not have them: who shows up with one may be meant.
        self._loose: set[tuple[str, str]] = set()

    def get(self, id_: str) -> EntityVersion | None:
        """Give what is held under an id."""
        return self._held.get(id_)

    def versions(self) -> list[EntityVersion]:
        """List all that is held."""
        return list(self._held.values())

    def is_held(self, version: EntityVersion) -> bool:
        """Whether this very version is the one held."""
        return self._held.get(version.id) is version

    def peek(self, pairs: Pairs) -> EntityVersion | Conflict | None:
        """Find without a trace, e.g. for `Replica.bump`, which holds no lock."""
        id_: str | None = None
        for pair in pairs:
            hit = self._ids.get(pair)
            if hit is not None and hit != id_:
                if id_ is not None:
                    hits = (self._ids.get(pair) for pair in pairs)
                    return Conflict(tuple(dict.fromkeys(hit for hit in hits if hit is not None)))
                id_ = hit
        if id_ is not None:
            return self._held.get(id_)
        bound = self._bound.get(pairs)
        if bound is None:
            return None
        version = self._held.get(bound[0])
        return version if version is not None and version.pairs == bound[1] else None

    def find(self, pairs: Pairs) -> EntityVersion | Conflict | None:
        """Find the entity that the pairs mean, and note that and how it was asked."""
        found = self.peek(pairs)
        if type(found) is EntityVersion:
            found.stamp.is_used = True
            if found.asked_as != pairs:
                found.asked_as = pairs
            self._held.move_to_end(found.id)
            for pair in pairs:
                if self._ids.get(pair) != found.id and len(self._loose) < _MAX_LOOSE:
                    self._loose.add(fold(pair))
        return found

    def put(self, version: EntityVersion, *, claims: bool) -> Put:
        """Hold a version in place of the former one.

        Args:
            version: a new one, or again the one held.
            claims: whether all its pairs become its own, as after a full message, or only those that it lacked before.

        """
        former = self._held.get(version.id)
        evicted = self._make_room() if former is None else None
        known = former.pairs if former is not None else ()
        if former is not None and former is not version:
            version.stamp.is_used = former.stamp.is_used
            if known == version.pairs:
                version.asked_as = former.asked_as
            former.stamp.is_current = False
        self._held[version.id] = version
        if former is None or known != version.pairs:
            self._bound.forget_sharing(version.pairs)
            self._forget_pairs(known, version.id, but=version.pairs)
        is_moved = False
        for pair in version.pairs:
            if claims or pair not in known:
                is_moved = is_moved or self._ids.get(pair, version.id) != version.id
                self._ids[pair] = version.id
        if self._loose and not is_moved:
            is_full = len(self._loose) >= _MAX_LOOSE
            is_moved = any(is_full or fold(pair) in self._loose for pair in version.pairs if pair not in known)
        if is_moved:
            self._loose.clear()
        return Put(evicted, is_moved)

    def remove(self, id_: str) -> bool:
        """Let an entity go with its lookups; False when it was not held."""
        version = self._held.get(id_)
        if version is None:
            return False
        version.stamp.is_current = False
        del self._held[id_]
        self._forget_pairs(version.pairs, id_)
        return True

    def remove_asked(self, pairs: Pairs) -> tuple[str, ...]:
        """Let go whatever these pairs mean, all of them in a conflict. Gives the ids."""
        found = self.peek(pairs)
        self._bound.forget(pairs)
        if found is None:
            return ()
        ids = found.ids if isinstance(found, Conflict) else (found.id,)
        return tuple(id_ for id_ in ids if self.remove(id_))

    def bind(self, pairs: Pairs, id_: str) -> None:
        """Remember that the server answered these pairs with this entity, unless its own keys say so already."""
        version = self._held.get(id_)
        if version is not None and self.peek(pairs) is not version:
            self._bound.note(pairs, (id_, version.pairs))

    def unbind_all(self) -> None:
        """Forget what the server answered: a new connection knows nothing of it."""
        self._bound.clear()

    def recent(self) -> list[Pairs]:
        """List how the entities used since the last call were asked, the one found last first; resets the marks."""
        asked: list[Pairs] = []
        for version in reversed(self._held.values()):
            if version.stamp.is_used:
                version.stamp.is_used = False
                if version.asked_as:
                    asked.append(version.asked_as)
        return asked

    def _make_room(self) -> str | None:
        if len(self._held) < self._max_entities:
            return None
        for _ in range(_SECOND_CHANCES):
            id_, version = next(iter(self._held.items()))
            if not version.stamp.is_used:
                break
            version.stamp.is_used = False
            self._held.move_to_end(id_)
        evicted = next(iter(self._held))
        self.remove(evicted)
        return evicted

    def _forget_pairs(self, pairs: Pairs, id_: str, *, but: Pairs = ()) -> None:
        for pair in pairs:
            if pair not in but and self._ids.get(pair) == id_:
                del self._ids[pair]
