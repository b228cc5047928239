"""Write the typed view of the resources."""

from __future__ import annotations

from schematic_core.api.call import Endpoint
from schematic_core.api.endpoints import RESOURCES
from tools.api_document import SCALARS, STUB_HEADER, Document, Schema, python_name, target


class Resources:
    """The typed view of the resources: a class for each, blocking and awaitable, plain and raw."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._used: set[str] = set()

    def text(self) -> str:
        """Give the text of ``resources.pyi``."""
        classes = [
            self._resource(name, tuple(endpoints.values()), is_async=is_async, raw=raw)
            for name, endpoints in RESOURCES.items()
            for is_async in (False, True)
            for raw in (False, True)
        ]
        body = "\n".join(classes)
        imports = "".join(f"    {name},\n" for name in sorted(self._used))
        return (
            f"{STUB_HEADER.format('A002')}from collections.abc import Mapping, Sequence\nfrom datetime import datetime\nfrom typing import Any\n\n"
            "from schematic_core.api.methods import AsyncResource as AsyncResource\n"
            "from schematic_core.api.methods import RawResponse as RawResponse\n"
            "from schematic_core.api.methods import Resource as Resource\n"
            "from schematic_core.api.prepare import RequestOptions as RequestOptions\n"
            f"from schematic_core.types import (\n{imports})\n\nRESOURCE_NAMES: tuple[str, ...]\n\n{body}"
        )

    def _resource(self, name: str, endpoints: tuple[Endpoint, ...], *, is_async: bool, raw: bool) -> str:
        title = ("Async" if is_async else "") + ("Raw" if raw else "") + _camel(name)
        base = "AsyncResource" if is_async else "Resource"
        lines = [f"class {title}Resource({base}):"]
        if not raw:
            raw_title = title.replace("Async", "AsyncRaw") if is_async else "Raw" + title
            lines += ["    @property", f"    def with_raw_response(self) -> {raw_title}Resource: ..."]
        lines += [self._method(endpoint, is_async=is_async, raw=raw) for endpoint in endpoints]
        return "\n".join(lines) + "\n"

    def _method(self, endpoint: Endpoint, *, is_async: bool, raw: bool) -> str:
        positional = ["self", *(f"{name}: str" for name in endpoint.path_parameters)]
        schemas = {name: parameter["schema"] for name, parameter in self._document.query(endpoint).items()}
        properties = self._document.body(endpoint).get("properties", {})
        schemas |= {python_name(name, schema): schema for name, schema in properties.items()}
        needed = [f"{name}: {self._argument(schemas[name])}" for name in endpoint.required]
        optional = [
            f"{name}: {_optional(self._argument(schema))} = ..."
            for name, schema in schemas.items()
            if name not in endpoint.required
        ]
        arguments = [*positional, "*", *needed, *optional, "request_options: RequestOptions | None = ..."]
        result = endpoint.response or "None"
        self._used |= {endpoint.response} if endpoint.response else set()
        result = f"RawResponse[{result}]" if raw else result
        start = f"    {'async ' if is_async else ''}def {endpoint.name}("
        lines = "".join(f"        {argument},\n" for argument in arguments)
        return f"{start}\n{lines}    ) -> {result}: ..."

    def _argument(self, schema: Schema) -> str:
        """Give what a caller may hand in: mappings for models, sequences for lists."""
        if "$ref" in schema:
            name = target(schema)
            self._used.add(name)
            is_plain = "enum" in self._document.schemas[name]
            return name if is_plain else f"{name} | Mapping[str, Any]"
        if "anyOf" in schema:
            return " | ".join(dict.fromkeys(self._argument(option) for option in schema["anyOf"]))
        kinds = schema.get("type")
        if isinstance(kinds, list):
            return " | ".join(self._argument({**schema, "type": kind}) for kind in kinds)
        return self._of_kind(str(kinds), schema)

    def _of_kind(self, kind: str, schema: Schema) -> str:
        if kind == "array":
            return f"Sequence[{self._argument(schema['items'])}]"
        if kind == "object":
            values = schema.get("additionalProperties")
            return f"Mapping[str, {self._argument(values)}]" if isinstance(values, dict) else "Mapping[str, Any]"
        if kind == "string" and schema.get("format") == "date-time":
            return "datetime"
        return SCALARS[kind]


def _optional(annotation: str) -> str:
    return annotation if annotation.endswith("None") else annotation + " | None"


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))
