"""Holds JSON to the API's published schemas, closely enough to find missing, misspelt and mistyped members."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from schematic_core.server.routing import Operation, Router, documented_operations

_DOCUMENT = Path(__file__).parents[2] / "tools" / "openapi.json"
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}
_ROUTER = Router(documented_operations())


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(_DOCUMENT.read_text(encoding="utf-8"))
    return loaded


def operation_of(method: str, raw_path: bytes) -> Operation | None:
    return _ROUTER.find(raw_path.partition(b"?")[0])[0].get(method)


def faults_of_answer(operation: Operation, status: int, body: object) -> list[str]:
    """List what an answer has that its documented schema does not allow."""
    responses = document()["paths"][operation.path][operation.method.lower()]["responses"]
    if status >= 400:
        return [] if isinstance(body, dict) and isinstance(body.get("error"), str) else ["an error without its text"]
    if operation.name == "capture_event_batch":
        return []
    if str(status) not in responses:
        return [f"status {status} is not documented"]
    return faults(responses[str(status)]["content"]["application/json"]["schema"], body, "body")


def faults_of_notice(notice: dict[str, Any]) -> list[str]:
    """List what a webhook's body has that the documented one of its action does not allow."""
    entry = document()["webhooks"][notice["action"]]["post"]["requestBody"]["content"]["application/json"]["schema"]
    found: list[str] = []
    for part in entry["allOf"]:
        if "$ref" in part:
            found += faults(part, {**notice, "body": {}}, "notice", closed=False)
        elif "$ref" in part["properties"].get("body", {}):
            found += faults(part["properties"]["body"], notice["body"], "notice.body")
    return found


def faults(schema: dict[str, Any], value: object, path: str, *, closed: bool = True) -> list[str]:
    if "$ref" in schema:
        return faults(
            document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]], value, path, closed=closed
        )
    if "anyOf" in schema:
        tries = [faults(option, value, path) for option in schema["anyOf"]]
        return [] if any(not one for one in tries) else min(tries, key=len)
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_is(kind, value) for kind in kinds):
        return [f"{path}: {value!r} is not {' or '.join(kinds)}"]
    found: list[str] = []
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{path}: {value!r} is not one of the documented words")
    if schema.get("format") == "date-time" and isinstance(value, str) and not _INSTANT.fullmatch(value):
        found.append(f"{path}: {value!r} is no instant")
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            found += faults(schema["items"], item, f"{path}[{index}]")
    if isinstance(value, dict):
        found += _member_faults(schema, value, path, closed=closed)
    return found


def _member_faults(schema: dict[str, Any], value: dict[str, Any], path: str, *, closed: bool) -> list[str]:
    properties, others = schema.get("properties", {}), schema.get("additionalProperties")
    found = [f"{path}.{name}: missing" for name in schema.get("required", []) if name not in value]
    for name, item in value.items():
        if name in properties:
            found += faults(properties[name], item, f"{path}.{name}")
        elif isinstance(others, dict):
            found += faults(others, item, f"{path}.{name}")
        elif closed and properties and others is not True:
            found.append(f"{path}.{name}: not documented")
    return found


def _is(kind: str, value: object) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES[kind])
