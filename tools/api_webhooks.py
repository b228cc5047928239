"""Write which model the body of each type of webhook event is."""

from __future__ import annotations

from typing import Any

from tools.api_document import HEADER, Document, target

__all__ = ["Payloads"]


class Payloads:
    """The table of payloads: every published event type, and the name of its body's model."""

    def __init__(self, document: Document) -> None:
        self._webhooks = document.webhooks

    def text(self) -> str:
        """Give the text of ``payloads.py``."""
        lines = "".join(f'    "{action}": {_quoted(_body(entry))},\n' for action, entry in self._webhooks.items())
        doc = '"""The model of each published webhook event\'s body; None where the body is not published."""\n'
        return f"{HEADER}{doc}\nfrom __future__ import annotations\n\nPAYLOADS: dict[str, str | None] = {{\n{lines}}}\n"


def _body(entry: Any) -> str | None:
    """Give the model that the entry's second part narrows ``body`` to."""
    schema = entry["post"]["requestBody"]["content"]["application/json"]["schema"]
    narrowed = next(part["properties"] for part in schema["allOf"] if "properties" in part)
    return target(narrowed["body"]) if "body" in narrowed else None


def _quoted(name: str | None) -> str:
    return f'"{name}"' if name else "None"
