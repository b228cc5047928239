"""What the server sends on the stream, as JSON text (``datastream.md`` section 4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

from schematic_core.environment.model import EntityKind
from schematic_core.wire import dumps

__all__ = [
    "BULK",
    "ENTITY",
    "FLAG",
    "FLAGS",
    "DeleteForm",
    "Document",
    "changed_members",
    "confirmation",
    "deletion",
    "error",
    "frame",
    "pages",
    "text",
]

Document = dict[str, Any]
DeleteForm = Literal["entity", "keys", "id", "null"]

FLAG = "rulesengine.Flag"
FLAGS = "rulesengine.Flags"
ENTITY: dict[EntityKind, str] = {"company": "rulesengine.Company", "user": "rulesengine.User"}
BULK: dict[EntityKind, str] = {"company": "rulesengine.Companies", "user": "rulesengine.Users"}


def frame(
    entity_type: str,
    message_type: str,
    *,
    entity_id: str | None = None,
    data: str = "null",
    stream_id: str | None = None,
    pagination: Mapping[str, object] | None = None,
) -> str:
    """Write one frame around ``data``, which is JSON text already: flags are written once and sent many times."""
    head = _dumped({"entity_type": entity_type, "message_type": message_type, "entity_id": entity_id})
    tail = {"stream_id": stream_id, "pagination": pagination}
    members = "".join(f',"{name}":{_dumped(value)}' for name, value in tail.items() if value is not None)
    return f'{head[:-1]},"data":{data}{members}}}'


def text(document: object, *, nulls: bool) -> str:
    """Write a document; with ``nulls`` its empty lists and maps are null at every depth, as Go sends nil ones."""
    return _dumped(_nulled(document) if nulls else document)


def error(message: str, entity_type: str = "", keys: Mapping[str, str] | None = None) -> str:
    """Write the answer to a request that failed; the keys that it named come back with it."""
    named = {"keys": keys, "entity_type": entity_type} if keys is not None else {}
    return frame(entity_type, "error", data=_dumped({"error": message, **named}))


def confirmation(kind: EntityKind) -> str:
    """Write the answer to a bulk subscription: an object that says so, and no entity."""
    return frame(BULK[kind], "full", data='{"status":"subscribed"}')


def pages(flags: Sequence[str], size: int | None) -> Iterator[str]:
    """Write all flags, each JSON text, as one frame (``size`` None) or as pages of ``size`` flags, at least one."""
    if size is None:
        yield frame(FLAGS, "full", data=f"[{','.join(flags)}]")
        return
    for number, start in enumerate(range(0, max(len(flags), 1), size), 1):
        end = start + size
        pagination = {"has_more": end < len(flags), "page": number, "total": len(flags)}
        yield frame(FLAGS, "full", data=f"[{','.join(flags[start:end])}]", pagination=pagination)


def deletion(document: Document, form: DeleteForm) -> object:
    """Give the data of a ``delete``: the entity as it last was, its id and keys, its id alone, or nothing."""
    if form == "null":
        return None
    if form == "entity":
        return document
    return {name: document[name] for name in (("id", "keys") if form == "keys" else ("id",))}


def changed_members(before: Document, after: Document) -> Document | None:
    """Give the data of a ``partial`` that turns one document into the other.

    Returns:
        The members that changed, empty when none did; a member that is gone is null. Keys, balances and metrics are
        merged entry by entry, so only the entries that moved are in it. None when an entry is gone: no partial can
        take one away, a ``full`` must be sent.
    """
    changed: Document = {}
    for name in dict.fromkeys((*before, *after)):
        former, present = before.get(name), after.get(name)
        if former == present:
            continue
        merged = _MERGED.get(name)
        changed[name] = present if merged is None else merged(former, present)
        if merged is not None and changed[name] is None:
            return None
    return changed


def _moved_entries(before: Mapping[str, object], after: Mapping[str, object]) -> dict[str, object] | None:
    if not before.keys() <= after.keys():
        return None
    return {name: value for name, value in after.items() if name not in before or before[name] != value}


def _moved_metrics(before: Sequence[Document], after: Sequence[Document]) -> list[object] | None:
    moved = _moved_entries(*({_window(row): row for row in rows} for rows in (before, after)))
    return list(moved.values()) if moved is not None else None


def _window(row: Document) -> str:
    return f"{row['period']} {row['month_reset']} {row['event_subtype']}"


_MERGED: dict[str, Callable[[Any, Any], object]] = {
    "keys": _moved_entries,
    "credit_balances": _moved_entries,
    "metrics": _moved_metrics,
}


def _nulled(value: object) -> object:
    if isinstance(value, dict):
        return {name: _nulled(item) for name, item in value.items()} or None
    if isinstance(value, list):
        return [_nulled(item) for item in value] or None
    return value


def _dumped(value: object) -> str:
    return dumps(value).decode()
