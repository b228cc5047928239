"""Frames as a server sends them, read, and a holder that keeps count of what it holds."""

from __future__ import annotations

import json
from typing import Any, Literal

from schematic_core.datastream.messages import Message, decode
from schematic_core.datastream.replica import Applied, Change, Replica
from schematic_core.datastream.versions import EntityVersion
from schematic_core.errors import EngineError
from schematic_core.keys import Pairs, pairs

Json = dict[str, Any]
OWNERS = {"account_id": "acc", "environment_id": "env"}


def company(id_: str, keys: object = None, **members: Any) -> Json:
    return {"id": id_, **OWNERS, "keys": keys, **members}


def flag(key: str, id_: str | None = None, **members: Any) -> Json:
    return {"id": id_ or f"flag_{key}", **OWNERS, "key": key, "rules": [], "default_value": False, **members}


def metric(event: str = "export", value: int = 1, **members: Any) -> Json:
    fixed = {"company_id": "comp_1", "period": "all_time", "month_reset": "first_of_month", "created_at": ""}
    return {**OWNERS, **fixed, "event_subtype": event, "value": value, **members}


def entitlement(**members: Any) -> Json:
    return {"feature_id": "feat_1", "feature_key": "exports", "value_type": "numeric", **members}


def message(entity_type: str, message_type: str, data: object = None, entity_id: str | None = None) -> Message:
    frame = {"entity_type": f"rulesengine.{entity_type}", "message_type": message_type, "entity_id": entity_id}
    return decode(json.dumps({**frame, "data": data}))


def asked(**keys: str) -> Pairs:
    return pairs(keys)


class CountingHolder:
    """Refuses documents that name no owner or have a member ``"refused"``; knows which handles are out."""

    def __init__(self) -> None:
        self.held: dict[object, tuple[str, Json]] = {}
        self.given = 0

    def hold(self, kind: Literal["flag", "company", "user"], text: bytes) -> object:
        document = json.loads(text)
        if "refused" in document or not isinstance(document.get("id"), str):
            raise EngineError("no")
        self.given += 1
        self.held[self.given] = (kind, document)
        return self.given

    def release(self, handle: object) -> None:
        del self.held[handle]  # a KeyError in a finaliser is a warning, and warnings are errors


def make(holder: CountingHolder | None = None, *, max_entities: int = 100, ttl: float | None = None) -> Replica:
    replica = Replica(holder or CountingHolder(), max_entities=max_entities, ttl=ttl, not_found_ttl=10.0)
    replica.begin()
    return replica


def receive(
    replica: Replica, entity_type: str, message_type: str, data: object = None, entity_id: str | None = None
) -> Applied | None:
    """Prepare and apply one message, at 0."""
    change = replica.prepare(message(entity_type, message_type, data, entity_id), 0.0)
    return None if change is None else replica.apply(change)


def receive_flags(replica: Replica, *pages: object) -> Applied:
    return replica.apply(replica.prepare_flags([message("Flags", "full", page) for page in pages]))


def found(replica: Replica, **keys: str) -> EntityVersion:
    version = replica.find("company", pairs(keys))
    assert isinstance(version, EntityVersion), version
    return version


def document(version: EntityVersion) -> Json:
    read: Json = json.loads(version.text)
    return read


def prepared(replica: Replica, *arguments: Any) -> Change:
    change = replica.prepare(message(*arguments), 0.0)
    assert change is not None
    return change
