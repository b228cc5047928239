"""The replica against a naive model, over random messages, questions, races and connections."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from schematic_core.datastream.changes import Counted, Merged, Removed
from schematic_core.datastream.lookups import fold
from schematic_core.datastream.replica import Applied, Conflict, Replica
from schematic_core.datastream.versions import EntityVersion, FlagVersion, Kind, Stamp
from schematic_core.keys import Pairs, pairs
from tests.datastream.frames import CountingHolder, Json, company, flag, make, message, metric, receive, receive_flags

NOW = datetime(2024, 5, 1, tzinfo=timezone.utc)
BOUND = 2
NAMES, VALUES, EVENTS = ("id", "slug"), ("a", "A"), ("export", "import")
KEYS = [{name: value} for name in NAMES for value in VALUES]
KEYS += [{"id": one, "slug": other} for one in VALUES for other in VALUES]
ALL_PAIRS = [pairs(keys) for keys in KEYS]

FLAG_MESSAGES = ("all", "full", "partial", "delete")

kinds = st.sampled_from(["company", "company", "company", "user"])
ids = st.sampled_from([f"id_{number}" for number in range(3)])
keys = st.sampled_from([{}, *KEYS])
asked = st.sampled_from(ALL_PAIRS)
places = st.integers(0, BOUND)
unique_rows = st.sampled_from([[], [metric("export", 3)], [metric("export", 1), metric("import", 2)]])
plans = st.lists(st.sampled_from(["p", "q"]), max_size=2)


_serials = itertools.count()


@dataclass
class Entity:
    """What the model knows of one entity."""

    document: Json
    generation: int
    text: str | None  # of the full message, until something is merged in
    serial: int = 0
    is_used: bool = False
    pending: list[tuple[str, int]] = field(default_factory=list)

    @property
    def pairs(self) -> Pairs:
        return pairs(self.document["keys"])


@dataclass
class Side:
    """What the model knows of one kind; entities in the order in which they go."""

    entities: dict[str, Entity] = field(default_factory=dict)
    claims: dict[tuple[str, str], str] = field(default_factory=dict)  # by whom a pair was claimed last, ever
    bound: dict[Pairs, tuple[str, Pairs]] = field(default_factory=dict)
    missing: dict[Pairs, float] = field(default_factory=dict)

    def find(self, wanted: Pairs) -> str | tuple[str, ...] | None:
        claimed = [self.claims.get(pair) for pair in wanted]
        hits = [
            id_
            for pair, id_ in zip(wanted, claimed, strict=True)
            if id_ in self.entities and pair in self.entities[id_].pairs
        ]
        if len(set(hits)) > 1:
            return tuple(id_ for id_ in dict.fromkeys(hits) if id_ is not None)
        if hits:
            return hits[0]
        id_, own = self.bound.get(wanted, ("", ()))
        return id_ if id_ in self.entities and self.entities[id_].pairs == own else None

    def put(self, id_: str, entity: Entity, *, is_full: bool) -> None:
        former = self.entities.get(id_)
        if former is None:
            self.make_room()
            self.entities[id_] = entity
        else:
            entity.is_used = former.is_used
            self.entities[id_] = entity
        entity.serial = next(_serials)
        if former is None or former.pairs != entity.pairs:
            self.forget(self.bound, entity.pairs)
        self.forget(self.missing, entity.pairs)
        for pair in entity.pairs:
            if is_full or former is None or pair not in former.pairs:
                self.claims[pair] = id_

    def make_room(self) -> None:
        while len(self.entities) >= BOUND:
            id_, entity = next(iter(self.entities.items()))
            del self.entities[id_]
            if not entity.is_used:
                return
            entity.is_used = False
            self.entities[id_] = entity

    def forget(self, remembered: dict[Pairs, Any], own: Pairs) -> None:
        for wanted in list(remembered):
            if {fold(pair) for pair in wanted} & {fold(pair) for pair in own}:
                del remembered[wanted]

    def note(self, remembered: dict[Pairs, Any], wanted: Pairs, value: object) -> None:
        remembered.pop(wanted, None)
        remembered[wanted] = value
        if len(remembered) > BOUND:
            del remembered[next(iter(remembered))]


class Model(RuleBasedStateMachine):
    """Every rule does the same to the replica and to the model; the invariants compare them."""

    def __init__(self) -> None:
        super().__init__()
        self.holder = CountingHolder()
        self.replica: Replica = make(self.holder, max_entities=BOUND)
        self.sides: dict[Kind, Side] = {"company": Side(), "user": Side()}
        self.flags: dict[str, Json] = {}
        self.generation = 1
        self.stamps: list[Stamp] = []
        self.late: tuple[Merged | Counted | Removed, int] | None = None

    @initialize(own=st.lists(keys, min_size=BOUND, max_size=BOUND), rows=unique_rows)
    def hold_some(self, own: list[Json], rows: list[Json]) -> None:
        """Begin with entities, so that most of what follows finds something."""
        for number, one in enumerate(own):
            self._full("company", company(f"id_{number}", one, plan_ids=[], metrics=rows))

    def send(self, kind: Kind, message_type: str, data: object, id_: str | None) -> Applied | None:
        return receive(self.replica, kind.capitalize(), message_type, data, id_)

    @rule(kind=kinds, id_=ids, keys=keys, plans=plans, rows=unique_rows)
    def full(self, kind: Kind, id_: str, keys: Json, plans: list[str], rows: list[Json]) -> None:
        self._full(kind, company(id_, keys, plan_ids=plans, metrics=rows))

    @rule(kind=kinds, place=st.integers(0, BOUND - 1))
    def the_same_again(self, kind: Kind, place: int) -> None:
        entities = list(self.sides[kind].entities.values())
        if place < len(entities):
            self._full(kind, json.loads(json.dumps(entities[place].document)))

    def _full(self, kind: Kind, document: Json) -> None:
        side, id_, text = self.sides[kind], document["id"], json.dumps(document)
        held = side.entities.get(id_)
        self.send(kind, "full", document, id_)
        if held is not None and held.text == text and not held.pending:
            held.generation = self.generation
            side.forget(side.missing, held.pairs)
            for pair in held.pairs:
                side.claims[pair] = id_
        else:
            side.put(id_, Entity(document, self.generation, text), is_full=True)

    def at(self, kind: Kind, place: int) -> str:
        """Give the id of an entity held, or one that nobody has."""
        return [*self.sides[kind].entities, *["ghost"] * (BOUND + 1)][place]

    @rule(kind=kinds, place=places, keys=keys, plans=st.none() | plans, rows=st.none() | unique_rows)
    def partial(self, kind: Kind, place: int, keys: Json, plans: list[str] | None, rows: list[Json] | None) -> None:
        self._partial(kind, self.at(kind, place), keys, plans, rows, is_late=False)

    @rule(kind=kinds, place=places, keys=keys, rows=st.none() | unique_rows)
    def late_partial(self, kind: Kind, place: int, keys: Json, rows: list[Json] | None) -> None:
        self._partial(kind, self.at(kind, place), keys, [], rows, is_late=True)

    def _partial(
        self, kind: Kind, id_: str, keys: Json, plans: list[str] | None, rows: list[Json] | None, *, is_late: bool
    ) -> None:
        data: Json = {"keys": keys, "plan_ids": plans, **({"metrics": rows} if kind == "company" else {})}
        change = self.replica.prepare(message(kind.capitalize(), "partial", data, id_), 0.0)
        held = self.sides[kind].entities.get(id_)
        if held is None or held.generation != self.generation:
            assert change is None
            return
        assert isinstance(change, Merged)
        if is_late:
            self.late = change, held.serial
        else:
            assert self.replica.apply(change).is_applied
            self._merge(kind, id_, json.loads(change.version.text), change.overridden)
            self._agrees_with_naive_merge(held.document, data, json.loads(change.version.text))

    def _merge(self, kind: Kind, id_: str, document: Json, overridden: frozenset[str]) -> None:
        held = self.sides[kind].entities[id_]
        pending = [bump for bump in held.pending if bump[0] not in overridden]
        self.sides[kind].put(id_, Entity(document, held.generation, None, pending=pending), is_full=False)

    def _agrees_with_naive_merge(self, held: Json, data: Json, merged: Json) -> None:
        by_event = {row["event_subtype"]: row for row in [*held["metrics"], *(data.get("metrics") or [])]}
        expected = {**held, "keys": {**(held["keys"] or {}), **data["keys"]}, "plan_ids": data["plan_ids"] or []}
        assert merged == {**expected, "metrics": list(by_event.values())}

    @precondition(lambda self: self.late is not None)
    @rule()
    def late_change_arrives(self) -> None:
        assert self.late is not None
        (change, serial), self.late = self.late, None
        assert not isinstance(change, Removed)
        kind, id_ = change.base.kind, change.base.id
        held = self.sides[kind].entities.get(id_)
        applied = self.replica.apply(change)
        is_same = held is not None and (held.serial, held.generation) == (serial, change.version.generation)
        assert applied.is_applied == is_same
        if not applied.is_applied or held is None:
            return
        if isinstance(change, Merged):
            self._merge(kind, id_, json.loads(change.version.text), change.overridden)
        else:
            pending = held.pending[change.taken :]
            document = json.loads(change.version.text)
            self.sides[kind].put(id_, Entity(document, held.generation, None, pending=pending), is_full=False)

    @rule(kind=kinds, place=places, how=st.sampled_from(["reduced", "null", "refused"]))
    def remove(self, kind: Kind, place: int, how: str) -> None:
        id_ = self.at(kind, place)
        if how == "refused":
            self.send(kind, "full", {"id": id_, "refused": True}, id_)
        else:
            self.send(kind, "delete", {"id": id_} if how == "reduced" else None, None if how == "reduced" else id_)
        self.sides[kind].entities.pop(id_, None)

    @rule(kind=kinds, wanted=asked)
    def find(self, kind: Kind, wanted: Pairs) -> None:
        found = self.replica.find(kind, wanted)
        side = self.sides[kind]
        if isinstance(found, EntityVersion):
            entity = side.entities.pop(found.id)
            side.entities[found.id] = entity
            entity.is_used = True
            assert found.asked_as == wanted

    @rule(kind=kinds, wanted=asked, place=places)
    def bind(self, kind: Kind, wanted: Pairs, place: int) -> None:
        id_ = self.at(kind, place)
        self.replica.bind(kind, wanted, id_)
        side = self.sides[kind]
        side.missing.pop(wanted, None)
        if id_ in side.entities and side.find(wanted) != id_:
            side.note(side.bound, wanted, (id_, side.entities[id_].pairs))

    @rule(kind=kinds, wanted=asked)
    def missing(self, kind: Kind, wanted: Pairs) -> None:
        self.replica.note_missing(kind, wanted, 0.0)
        side = self.sides[kind]
        found = side.find(wanted)
        side.bound.pop(wanted, None)
        for id_ in (found,) if isinstance(found, str) else found or ():
            del side.entities[id_]
        side.note(side.missing, wanted, 10.0)

    @rule(
        place=places,
        event=st.sampled_from(EVENTS),
        quantity=st.integers(0, 3),
        then=st.sampled_from(["nothing", "count", "count late"]),
    )
    def bump(self, place: int, event: str, quantity: int, then: str) -> None:
        held = self.sides["company"].entities.get(self.at("company", place))
        wanted = held.pairs if held is not None else pairs({"id": "ghost"})
        self.replica.bump(wanted, event, quantity)
        side = self.sides["company"]
        found = side.find(wanted)
        if isinstance(found, str) and quantity:
            entity = side.entities[found]
            if any(row["event_subtype"] == event for row in entity.document["metrics"]):
                entity.pending.append((event, quantity))
                version = self.replica._entities["company"].get(found)
                assert version is not None
                assert not version.stamp.is_current
        if then != "nothing":
            self._count(place, is_late=then == "count late")

    @rule(place=places)
    def count(self, place: int) -> None:
        self._count(place, is_late=False)

    def _count(self, place: int, *, is_late: bool) -> None:
        id_ = self.at("company", place)
        version = self.replica._entities["company"].get(id_)
        if version is None:
            return
        side, held = self.sides["company"], self.sides["company"].entities[id_]
        change = self.replica.prepare_bumps(version, NOW)
        if not held.pending:
            assert change is None
            return
        assert isinstance(change, Counted)
        if is_late:
            self.late = change, held.serial
            return
        assert self.replica.apply(change).is_applied
        document = json.loads(json.dumps(held.document))
        for event, quantity in held.pending:
            for row in document["metrics"]:
                row["value"] += quantity if row["event_subtype"] == event else 0
        side.put(id_, Entity(document, held.generation, None), is_full=False)

    @rule(is_new_connection=st.booleans())
    def begin_or_list(self, is_new_connection: bool) -> None:
        if not is_new_connection:
            self._list()
            return
        self.generation += 1
        assert self.replica.begin() == self.generation
        for side in self.sides.values():
            side.bound.clear()
            side.missing.clear()

    def _list(self) -> None:
        used = [entity for side in self.sides.values() for entity in side.entities.values() if entity.is_used]
        listed = self.replica.recent()
        assert len(listed) <= len(used)
        assert all(not entity.pairs for entity in used) or listed
        for entity in used:
            entity.is_used = False

    @rule(keys=st.lists(st.sampled_from("abc"), unique=True), default=st.booleans(), how=st.sampled_from(FLAG_MESSAGES))
    def flag_message(self, keys: list[str], default: bool, how: str) -> None:
        sent = {key: flag(key, default_value=default) for key in keys}
        if how == "all":
            receive_flags(self.replica, [{"key": "bad"}, *sent.values()])
            self.flags = sent
            return
        for key, one in sent.items():
            receive(self.replica, "Flag", how, {"key": key} if how == "delete" else one)
            self.flags.pop(key, None)
            self.flags.update({} if how == "delete" else {key: one})

    @invariant()
    def documents_agree(self) -> None:
        for kind, side in self.sides.items():
            held = list(self.replica._entities[kind]._held.items())
            assert [id_ for id_, _ in held] == list(side.entities)
            for id_, version in held:
                entity = side.entities[id_]
                assert json.loads(version.text) == entity.document
                assert (version.pairs, version.bumps) == (entity.pairs, entity.pending)
                assert self.replica.is_confirmed(version, 0.0) == (entity.generation == self.generation)
                assert version.stamp.is_current or entity.pending
                assert version.stamp.is_used == entity.is_used
        assert {held.key: json.loads(held.text) for held in self.replica.flags()} == self.flags

    @invariant()
    def only_what_is_held_is_current(self) -> None:
        held: list[EntityVersion | FlagVersion] = [*self.replica.flags()]
        for entities in self.replica._entities.values():
            held += entities._held.values()
        current = {id(version.stamp) for version in held}
        assert not [stamp for stamp in self.stamps if stamp.is_current and id(stamp) not in current]
        self.stamps = [version.stamp for version in held]

    @invariant()
    def lookups_agree(self) -> None:
        for kind, side in self.sides.items():
            for wanted in ALL_PAIRS:
                found = self.replica._entities[kind].peek(wanted)
                if isinstance(found, Conflict):
                    assert found.ids == side.find(wanted)
                else:
                    assert (found.id if found else None) == side.find(wanted)
                assert self.replica.is_missing(kind, wanted, 0.0) == (wanted in side.missing)

    @invariant()
    def handles_held_are_those_of_live_versions(self) -> None:
        live: list[Any] = [*self.replica.flags()]
        for entities in self.replica._entities.values():
            live += entities._held.values()
        if self.late is not None and not isinstance(self.late[0], Removed):
            live += [self.late[0].base, self.late[0].version]
        assert {version.handle for version in live} == set(self.holder.held)

    def teardown(self) -> None:
        self.late = None
        del self.replica
        assert not self.holder.held


TestModel = Model.TestCase
TestModel.settings = settings(
    max_examples=90, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
