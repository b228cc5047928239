"""Reading what a connection asks for (``datastream.md`` section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from schematic_core.environment.model import EntityKind
from schematic_core.server.faults import Refused
from schematic_core.server.frames import BULK, ENTITY, FLAGS
from schematic_core.server.requests import Body
from schematic_core.wire import loads

__all__ = ["Asked", "read_asked"]

_KINDS: dict[str, EntityKind] = {
    **{entity_type: kind for kind, entity_type in ENTITY.items()},
    **{entity_type: kind for kind, entity_type in BULK.items()},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request: for all flags (``kind`` None), for one entity by its keys, or for a whole kind (``keys`` None)."""

    entity_type: str
    kind: EntityKind | None
    keys: Mapping[str, str] | None
    is_stop: bool
    replay_from: str | None
    page_size: int | None


def read_asked(raw: str | bytes) -> Asked:
    """Read ``{"data": {"action": "start", "entity_type": "rulesengine.Company", "keys": {"id": "acme"}}}``.

    Raises:
        Refused: it is no such thing; the error says what was expected.
    """
    try:
        value = loads(raw)
    except ValueError as error:
        raise Refused(400, "the request is not JSON") from error
    body = Body(value).need_object("data")
    entity_type = body.one_of("entity_type", (FLAGS, *_KINDS), required=True) or ""
    keys = body.keys("keys") if entity_type in ENTITY.values() else None
    if keys is not None and not keys:
        raise body.refusal("keys", "an object with at least one pair")
    page_size = body.whole("page_size")
    if page_size is not None and page_size < 1:
        raise body.refusal("page_size", "at least 1")
    return Asked(
        entity_type=entity_type,
        kind=_KINDS.get(entity_type),
        keys=keys,
        is_stop=body.one_of("action", ("start", "", "stop")) == "stop",
        replay_from=body.text("replay_from"),
        page_size=page_size,
    )
