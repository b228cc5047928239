"""Write the models, their index and their view for type checkers."""

from __future__ import annotations

import re

from schematic_core.api.endpoints import ENDPOINTS
from tools.api_document import (
    HEADER,
    SCALARS,
    STUB_HEADER,
    Document,
    Schema,
    literal,
    module_name,
    python_name,
    references,
    target,
)

PICKED = {
    "EventBody": (
        "event_type",
        {
            "flag_check": "EventBodyFlagCheck",
            "identify": "EventBodyIdentify",
            "inference": "EventBodyInference",
            "track": "EventBodyTrack",
        },
    )
}
"""Unions that a sibling member decides: the union's name, the sibling, and the model by the sibling's value."""


class Models:
    """The files under ``types/``: a module per model, one of enums, the index, and the view for type checkers."""

    def __init__(self, document: Document, *, every: bool) -> None:
        self._document = document
        self._schemas = document.schemas
        sent, received = self._roots()
        sent, received = document.closure(sent), document.closure(received)
        chosen = (
            {name for name in self._schemas if not self._schemas[name].get("x-removed-in")}
            if every
            else sent | received
        )
        self._names = sorted(name for name in chosen if not self._schemas[name].get("x-inline-request"))
        self._lenient = received - sent

    def files(self) -> dict[str, str]:
        """Give every file's text by its path below ``types/``."""
        models = [name for name in self._names if not self._is_alias(name)]
        files = {f"_generated/{module_name(name)}.py": self._model(name) for name in models}
        files["_generated/__init__.py"] = HEADER + '"""The models of the API, a module each."""\n'
        files["_generated/enums.py"] = self._enums()
        files["_generated/index.py"] = self._index()
        files["__init__.pyi"] = self._view()
        return files

    def _roots(self) -> tuple[set[str], set[str]]:
        """Give what is sent and what is received."""
        sent = {name for name in self._schemas if name.startswith("EventBody")}
        received = references(self._document.webhooks)
        for endpoint in ENDPOINTS:
            sent |= references(self._document.operation(endpoint).get("requestBody")) | references(
                list(self._document.query(endpoint).values())
            )
            received |= {endpoint.response} if endpoint.response else set()
        return sent, received

    def _is_enum(self, name: str) -> bool:
        return "enum" in self._schemas[name]

    def _is_alias(self, name: str) -> bool:
        return "properties" not in self._schemas[name] and self._schemas[name].get("type") != "object"

    def _model(self, name: str) -> str:
        schema = self._schemas[name]
        required = set(schema.get("required", ()))
        properties = sorted(schema.get("properties", {}).items(), key=lambda item: item[0] not in required)
        members = [self._member(name, wire, member, is_required=wire in required) for wire, member in properties]
        body = "\n".join(members)
        title = f"``{name}`` of the API"
        text = f'class {name}(Model):\n    """{title}."""\n' + (f"\n{body}\n" if members else "")
        return HEADER + "from __future__ import annotations\n\n" + self._imports(name, body) + f"\n\n{text}"

    def _member(self, owner: str, wire: str, schema: Schema, *, is_required: bool) -> str:
        python = python_name(wire, schema)
        annotation = self._annotation(schema)
        union = next((name for name in references(schema) if name in PICKED), None)
        if union:
            tag, models = PICKED[union]
            annotation = (
                f"Annotated[{annotation.replace(union, f'{union} | dict[str, Any]')}, picked_by({tag!r}, {models!r})]"
            )
            annotation = annotation.replace("'", '"')
        is_required = is_required and not schema.get("x-required-in") and wire != "credit_spend_policies"
        default = "..." if is_required else "None"
        if (
            owner in self._lenient
            and re.match(r"(list|dict)\[", annotation)
            and "None" not in annotation.rsplit("]", 1)[1]
        ):
            factory, annotation = annotation[:4], annotation.replace("list[", "Items[", 1)
            annotation = re.sub(r"^dict\[str, ", "Table[", annotation)
            return (
                f"    {python}: {annotation} = Field(default_factory={factory})"
                if python == wire
                else self._fail(owner, wire)
            )
        if default == "None" and not annotation.endswith("None") and not union:
            annotation += " | None"
        if python == wire:
            return f"    {python}: {annotation}" + ("" if is_required else " = None")
        alias = f'validation_alias=AliasChoices("{wire}", "{python}"), serialization_alias="{wire}"'
        return f"    {python}: {annotation} = Field({alias}{'' if is_required else ', default=None'})"

    @staticmethod
    def _fail(owner: str, wire: str) -> str:
        raise ValueError(f"{owner}.{wire}: a renamed list in an answer is something the models cannot express")

    def _annotation(self, schema: Schema) -> str:
        """Give the annotation of a member; members of answers and requests read alike."""
        if "$ref" in schema:
            return target(schema)
        for key in ("anyOf", "oneOf"):
            if key in schema:
                return " | ".join(dict.fromkeys(self._annotation(option) for option in schema[key]))
        if "const" in schema:
            return f"{literal([schema['const']])} | str"
        if "enum" in schema:
            return f"{literal(schema['enum'])} | str"
        kinds = schema.get("type")
        if isinstance(kinds, list):
            return " | ".join(self._annotation({**schema, "type": kind}) for kind in kinds)
        return self._of_kind(kinds, schema)

    def _of_kind(self, kind: str | None, schema: Schema) -> str:
        if kind == "array":
            return f"list[{self._annotation(schema['items'])}]"
        if kind == "object":
            values = schema.get("additionalProperties")
            return f"dict[str, {self._annotation(values)}]" if isinstance(values, dict) else "dict[str, Any]"
        if kind == "string" and schema.get("format") == "date-time":
            return "Instant"
        if kind == "string" and schema.get("format") == "date":
            return "date"
        return SCALARS[kind] if kind else "Any"

    def _imports(self, name: str, body: str) -> str:
        words = set(re.findall(r"\w+", re.sub(r'"[^"]*"', "", body)))
        lines = ["from datetime import date"] if "date" in words else []
        typing = sorted(words & {"Annotated", "Any", "Literal"})
        models = sorted(self._needed(name) - {name})
        typing += ["TYPE_CHECKING"] if models else []
        lines += [f"from typing import {', '.join(sorted(typing))}"] if typing else []
        pydantic = sorted(words & {"AliasChoices", "Field"})
        lines += ["", f"from pydantic import {', '.join(pydantic)}"] if pydantic else []
        base = [*sorted(words & {"Instant", "Items", "Table", "picked_by"}), "Model"]
        lines += ["", f"from schematic_core.types._base import {', '.join(sorted(base))}"]
        enums = sorted(found for found in words if found in self._schemas and self._is_alias(found))
        lines += [f"from schematic_core.types._generated.enums import {', '.join(enums)}"] if enums else []
        if models:
            lines += ["", "if TYPE_CHECKING:"]
            lines += [f"    from schematic_core.types._generated.{module_name(m)} import {m}" for m in models]
        return "\n".join(lines).strip("\n") + "\n"

    def _needed(self, name: str) -> set[str]:
        """Give the models whose classes must stand in the module of ``name``."""
        found = references(self._schemas[name])
        unions = {name for name in found if self._is_alias(name) and not self._is_enum(name)}
        found = found.union(*(references(self._schemas[union]) for union in unions))
        return {name for name in found if not self._is_alias(name)}

    def _enums(self) -> str:
        aliases = [name for name in self._names if self._is_alias(name)]
        unions = [name for name in aliases if not self._is_enum(name)]
        lines = [
            f"{name} = Union[{literal(self._schemas[name]['enum'])}, str]" for name in aliases if self._is_enum(name)
        ]
        models = sorted(set[str]().union(*(references(self._schemas[name]) for name in unions)))
        imports = [f"    from schematic_core.types._generated.{module_name(model)} import {model}" for model in models]
        for name in unions:
            options = ", ".join(f'"{self._annotation(option)}"' for option in self._options(name))
            lines.append(f"{name} = Union[{options}]")
        doc = '"""Values of the API that are one of several; other text may occur and survives."""\n'
        return (
            f"{HEADER}{doc}\nfrom typing import TYPE_CHECKING, Literal, Union\n\n"
            "if TYPE_CHECKING:\n" + "\n".join(imports) + "\n\n" + "\n".join(lines) + "\n"
        )

    def _options(self, name: str) -> list[Schema]:
        schema = self._schemas[name]
        found: list[Schema] = schema.get("anyOf") or schema.get("oneOf") or [schema]
        return found

    def _index(self) -> str:
        lines = [
            f'    "{name}": ("{"enums" if self._is_alias(name) else module_name(name)}", {tuple(sorted(self._needed(name)))!r}),'
            for name in self._names
        ]
        doc = '"""Where each model is, and which others its annotations name."""\n'
        return (
            f"{HEADER}{doc}\nINDEX: dict[str, tuple[str, tuple[str, ...]]] = {{\n"
            + "\n".join(lines).replace("'", '"')
            + "\n}\n"
        )

    def _view(self) -> str:
        lines = []
        for name in self._names:
            module = "enums" if self._is_alias(name) else module_name(name)
            lines.append(f"from schematic_core.types._generated.{module} import {name} as {name}")
        listed = "".join(f'    "{name}",\n' for name in self._names)
        return (
            f"{STUB_HEADER.format('I001')}from collections.abc import Mapping\nfrom typing import Any\n\n"
            f"{chr(10).join(lines)}\n\n__all__ = [\n{listed}]\n\ndef is_loaded(name: str) -> bool: ...\n"
            "def load(name: str) -> Any: ...\n"
            "def parse_leniently(name: str, data: Mapping[str, Any]) -> Any: ...\n"
        )
