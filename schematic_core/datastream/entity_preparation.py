"""The heavy half of a message about a company or user: parsed, merged and handed to the engine."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from schematic_core.datastream.changes import Change, Confirmed, Counted, Merged, Removed, Stored, refusal
from schematic_core.datastream.document import Writer, members_of, write_value
from schematic_core.datastream.entities import Entities
from schematic_core.datastream.merge import count_usage, members_read, merge_company, merge_user
from schematic_core.datastream.messages import Element, Message
from schematic_core.datastream.versions import EntityVersion, Holder, Kind
from schematic_core.errors import EngineError
from schematic_core.keys import Pairs, pairs
from schematic_core.wire import loads

__all__ = ["EntityPreparation"]

Json = dict[str, Any]

_MAX_EVENT_SETS = 1024
_NO_EVENTS: frozenset[str] = frozenset()


class EntityPreparation:
    """Makes changes of entities. It reads what is held and changes none of it, so it needs no lock.

    Args:
        holder: takes the documents.
        entities: what is held of each kind.
        counts: where what cannot be used is counted.
    """

    def __init__(self, holder: Holder, entities: Mapping[Kind, Entities], counts: Counter[str]) -> None:
        self._holder = holder
        self._release = holder.release  # one bound method for all versions
        self._entities = entities
        self._counts = counts
        self._writer = Writer()
        self._event_sets: dict[frozenset[str], frozenset[str]] = {}

    def message(self, kind: Kind, message: Message, now: float, generation: int) -> Change | None:
        """Prepare a ``full``, ``partial`` or ``delete`` of the connection ``generation``; None: nothing to do."""
        data = message.data
        if message.message_type == "delete":
            return self._delete(kind, message.entity_id, data.value if data is not None else None)
        if data is None or not isinstance(data.value, dict):
            return self._nothing("bad_entity")
        if message.message_type == "full":
            return self._full(kind, message.entity_id, data, now, generation)
        return self._partial(kind, message.entity_id, data.value, now, generation)

    def bumps(self, version: EntityVersion, now_utc: datetime) -> Change | None:
        """Prepare what ``track`` did to a version; None when nothing is pending."""
        pending = version.bumps[:]
        if not pending:
            return None
        total: dict[str, int] = {}
        for event, quantity in pending:
            total[event] = total.get(event, 0) + quantity

        def count(company: Json) -> Json:
            for event, quantity in total.items():
                company = count_usage(company, event, quantity, now_utc)
            return company

        changed = self._changed(version, ("metrics", "entitlements"), count, version.confirmed_at, version.events)
        return changed if isinstance(changed, Removed) else Counted(version, changed, len(pending))

    def _delete(self, kind: Kind, entity_id: str | None, data: object) -> Change | None:
        id_ = entity_id or _text(data, "id")
        if id_ is None:
            found = self._entities[kind].peek(_pairs(data))
            if not isinstance(found, EntityVersion):
                return self._nothing("bad_entity")
            id_ = found.id
        return Removed(kind, (id_,))

    def _full(self, kind: Kind, entity_id: str | None, data: Element, now: float, generation: int) -> Change | None:
        id_ = _text(data.value, "id") or entity_id
        if id_ is None:
            return self._nothing("bad_entity")
        held = self._entities[kind].get(id_)
        if held is not None and held.text == data.text and not held.bumps:
            return Confirmed(held, generation, now)
        try:
            handle = self._holder.hold(kind, data.text)
        except EngineError as error:
            refused = refusal(error)
            self._counts["bad_entity"] += 1
            return Removed(kind, (id_,), rejected=refused)
        own = _pairs(data.value)
        return Stored(
            EntityVersion(
                kind,
                held.id if held is not None else id_,  # equal texts are kept once
                held.pairs if held is not None and held.pairs == own else own,
                data.text,
                handle,
                self._release,
                generation=generation,
                confirmed_at=now,
                events=self._events(kind, data.value),
            )
        )

    def _partial(self, kind: Kind, id_: str | None, data: Json, now: float, generation: int) -> Change | None:
        if id_ is None:
            return self._nothing("partial_without_id")
        held = self._entities[kind].get(id_)
        if held is None:
            return self._nothing("partial_of_unknown")
        if held.generation != generation:
            return self._nothing("partial_of_unconfirmed")
        merge = merge_company if kind == "company" else merge_user
        named = self._events(kind, data)
        events = held.events if named <= held.events else self._shared(held.events | named)
        changed = self._changed(held, members_read(data), lambda entity: merge(entity, data), now, events)
        return (
            changed if isinstance(changed, Removed) else Merged(held, changed, _texts(data, "metrics", "event_subtype"))
        )

    def _changed(
        self,
        base: EntityVersion,
        names: Iterable[str],
        change: Callable[[Json], Json],
        confirmed_at: float,
        events: frozenset[str],
    ) -> EntityVersion | Removed:
        """Give the version that ``change`` makes of the named members, or what it means that the engine refuses it."""
        try:
            members, made = _members(base, names, change)
            text, layout = self._writer.write(members)
            handle = self._holder.hold(base.kind, text)
        except EngineError as error:
            refused = refusal(error)
            self._counts["bad_entity"] += 1
            return Removed(base.kind, (base.id,), base, refused)
        own = _pairs(made) if "keys" in made else base.pairs
        return EntityVersion(
            base.kind,
            _text(made, "id") or base.id,
            base.pairs if base.pairs == own else own,
            text,
            handle,
            self._release,
            generation=base.generation,
            confirmed_at=confirmed_at,
            events=events,
            layout=layout,
        )

    def _events(self, kind: Kind, document: Json) -> frozenset[str]:
        """Give the names of the events that metrics or entitlements count; equal sets are kept once."""
        if kind == "user":
            return _NO_EVENTS
        counted = _texts(document, "metrics", "event_subtype") | _texts(document, "entitlements", "event_name")
        return self._shared(counted)

    def _shared(self, events: frozenset[str]) -> frozenset[str]:
        if len(self._event_sets) >= _MAX_EVENT_SETS:
            self._event_sets.clear()
        return self._event_sets.setdefault(events, events)

    def _nothing(self, why: str) -> Change | None:
        self._counts[why] += 1
        return None


def _members(
    base: EntityVersion, names: Iterable[str], change: Callable[[Json], Json]
) -> tuple[dict[str, bytes], Json]:
    """Give all members of what has become of ``base`` as text, and those that were looked at or changed as values."""
    try:
        members = members_of(base.text, base.layout)
        read = {name: loads(members[name]) for name in names if name in members}
        made = change(read)
        for name, value in made.items():
            if name not in read or read[name] is not value:
                members[name] = write_value(value)
    except (ValueError, RecursionError) as error:
        # What JSON cannot say, such as a number beyond all bounds, the engine would not take either.
        raise EngineError(f"the merged document cannot be written: {error}", code="unwritable") from error
    return members, made


def _pairs(document: object) -> Pairs:
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, dict):
        return ()
    return pairs({sys.intern(name): value for name, value in keys.items() if isinstance(value, str)})


def _text(document: object, name: str) -> str | None:
    value = document.get(name) if isinstance(document, dict) else None
    return value if isinstance(value, str) else None


def _texts(document: Json, rows: str, name: str) -> frozenset[str]:
    """Give the texts that the rows of a list have under a name."""
    listed = document.get(rows)
    if not isinstance(listed, list):
        return _NO_EVENTS
    return frozenset(text for row in listed if (text := _text(row, name)) is not None)
