"""Show in OpenAPI what gates answer: for every gated route, however the gate came there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, routing
from fastapi.dependencies.models import Dependant

from schematic_core.binding import PROBLEM_MEDIA_TYPE
from schematic_fastapi._gates import Gate

__all__ = ["document_denials"]

_SCHEMA_NAME = "FeatureDenied"
_DESCRIPTIONS: dict[int, str] = {
    HTTPStatus.SEE_OTHER: "Denied; see the location",
    HTTPStatus.UNAUTHORIZED: "Denied; nobody was identified",
    HTTPStatus.PAYMENT_REQUIRED: "Denied; not entitled, or the limit is reached",
    HTTPStatus.SERVICE_UNAVAILABLE: "Denied; nothing could answer",
}
_USUAL = (HTTPStatus.UNAUTHORIZED, HTTPStatus.PAYMENT_REQUIRED, HTTPStatus.SERVICE_UNAVAILABLE)
_SCHEMA: dict[str, Any] = {
    "title": _SCHEMA_NAME,
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "feature"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "enum": ["not_entitled", "limit_reached", "no_identity", "unavailable"]},
        "feature": {"type": "string"},
        "usage": {"type": "integer"},
        "allocation": {"type": "integer"},
        "resets_at": {"type": "string", "format": "date-time"},
    },
}


def document_denials(app: FastAPI) -> None:
    """Make ``app.openapi()`` add the denials of every gated route; an explicit ``responses`` entry wins."""
    describe = app.openapi
    described: dict[str, Any] | None = None

    def openapi() -> dict[str, Any]:
        nonlocal described
        schema = describe()
        if schema is not described:  # FastAPI keeps the schema it made, so this runs once for each
            _add_denials(schema, app)
            described = schema
        return schema

    app.openapi = openapi  # type: ignore[method-assign]  # the way FastAPI documents for extending the schema


def _add_denials(schema: dict[str, Any], app: FastAPI) -> None:
    is_gated = False
    for operation, gates in _gated_operations(schema, app):
        is_gated = True
        responses = operation.setdefault("responses", {})
        for gate in gates:
            for status in _statuses(gate):
                responses.setdefault(str(int(status)), _response(status))
    if is_gated:
        schema.setdefault("components", {}).setdefault("schemas", {}).setdefault(_SCHEMA_NAME, _SCHEMA)


def _gated_operations(schema: dict[str, Any], app: FastAPI) -> Iterator[tuple[dict[str, Any], list[Gate]]]:
    for route in _routes(app):
        dependant = getattr(route, "dependant", None)
        path = schema.get("paths", {}).get(getattr(route, "path_format", None))
        gates = list(_gates(dependant)) if isinstance(dependant, Dependant) and path else []
        for method in (getattr(route, "methods", None) or ()) if gates else ():
            if method.lower() in path:
                yield path[method.lower()], gates


def _routes(app: FastAPI) -> Iterator[Any]:
    # Newer versions keep included routers as they are and give their routes, with the dependencies of the include, here.
    contexts: Callable[[Any], Iterator[Any]] = getattr(routing, "iter_route_contexts", iter)
    return contexts(app.routes)


def _gates(dependant: Dependant) -> Iterator[Gate]:
    if isinstance(dependant.call, Gate):
        yield dependant.call
    for inner in dependant.dependencies:
        yield from _gates(inner)


def _statuses(gate: Gate) -> tuple[int, ...]:
    if gate.redirect_to is not None:
        return (HTTPStatus.SEE_OTHER,)
    return _USUAL if gate.status is None else (gate.status,)


def _response(status: int) -> dict[str, Any]:
    description = _DESCRIPTIONS.get(status, "Denied")
    if status == HTTPStatus.SEE_OTHER:
        return {"description": description}
    schema = {"$ref": f"#/components/schemas/{_SCHEMA_NAME}"}
    return {"description": description, "content": {PROBLEM_MEDIA_TYPE: {"schema": schema}}}
