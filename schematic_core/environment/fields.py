"""Taking typed values out of nodes, and collecting what was wrong with where it stands."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

from schematic_core.environment.document import Node
from schematic_core.errors import ConfigurationError
from schematic_core.wire import parse_instant

__all__ = ["Mistakes", "Section"]

T = TypeVar("T", bound=str)

_MAX_MISTAKES = 20
_MAX_COUNT = 2**53
_MAX_SHOWN = 60


class Mistakes:
    """What is wrong with one file, line by line."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._found: set[tuple[int, str]] = set()

    def add(self, line: int, path: str, expected: str) -> None:
        """Note a mistake at ``path``, e.g. ``"plans.pro"``, saying what was expected there."""
        text = f"{path}: {expected}" if path else expected
        self._found.add((line, "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)))

    def raise_any(self) -> None:
        """Raise all of them as one error, in the order of the file; nothing when there are none.

        Raises:
            ConfigurationError: one line of text for each mistake: file, line, place and what was expected.
        """
        if not self._found:
            return
        shown = [f"{self._name}:{line}: {text}" for line, text in sorted(self._found)[:_MAX_MISTAKES]]
        if len(self._found) > _MAX_MISTAKES:
            shown.append(f"{self._name}: and {len(self._found) - _MAX_MISTAKES} more")
        raise ConfigurationError("\n".join(shown))


class Section:
    """One mapping of the file. Each method takes one member and gives its default after noting a mistake."""

    def __init__(self, mistakes: Mistakes, node: Node, path: str, known: Sequence[str] | None = None) -> None:
        self.mistakes = mistakes
        self.node = node
        self.path = path
        self._members: dict[str, Node] = {}
        if node.value is None:
            return
        if not isinstance(node.value, dict):
            mistakes.add(node.line, path, f"expected a mapping, found {_shown(node)}")
            return
        self._members = node.value
        for name in self._members if known is not None else ():
            if name not in (known or ()):
                mistakes.add(
                    node.key_lines[name], self.at(name), f"unknown name; expected one of {', '.join(known or ())}"
                )

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def at(self, name: str) -> str:
        """Give the path of a member, e.g. ``"plans.pro"``."""
        return f"{self.path}.{name}" if self.path else name

    def sections(self, name: str, known: Sequence[str]) -> dict[str, Section]:
        """Give the member's own members, each a mapping with the ``known`` names."""
        return {key: Section(self.mistakes, node, f"{self.at(name)}.{key}", known) for key, node in self.nodes(name)}

    def nodes(self, name: str) -> list[tuple[str, Node]]:
        """Give the names and nodes of a member that is a mapping; none when it is absent."""
        node = self._members.get(name)
        if node is None:
            return []
        inner = Section(self.mistakes, node, self.at(name))
        for key in inner._members:
            if not key.strip():
                self.mistakes.add(node.key_lines[key], self.at(name), "expected a name that is not blank")
        return list(inner._members.items())

    def items(self, name: str) -> list[Node]:
        """Give the items of a member that is a list; none when it is absent."""
        node = self._members.get(name)
        if node is None or node.value is None:
            return []
        if not isinstance(node.value, list):
            self.wrong(name, "a list")
            return []
        return list(node.value)

    def get(self, name: str) -> Node | None:
        """Give a member's node; None when it is absent."""
        return self._members.get(name)

    def wrong(self, name: str, expected: str) -> None:
        """Note that member ``name`` is not ``expected``, or is missing."""
        node = self._members.get(name)
        if node is None:
            self.mistakes.add(self.node.line, self.at(name), f"missing; expected {expected}")
        else:
            self.mistakes.add(node.line, self.at(name), f"expected {expected}, found {_shown(node)}")

    def text(self, name: str, default: str = "", *, required: bool = False) -> str:
        """Give a text that is not blank."""
        node = self._members.get(name)
        if node is None and not required:
            return default
        if node is None or not isinstance(node.value, str) or not node.value.strip():
            self.wrong(name, "a text")
            return default
        return node.value

    def secret(self, name: str) -> str:
        """Give a text that must be there and is never shown, not even in a mistake."""
        node = self._members.get(name)
        if node is None:
            self.wrong(name, "a text")
        elif isinstance(node.value, str) and node.value.strip():
            return node.value
        else:
            self.mistakes.add(node.line, self.at(name), "expected a text that is not blank")
        return ""

    def choice(self, name: str, among: Sequence[T], default: T) -> T:
        """Give one of some words."""
        node = self._members.get(name)
        if node is None:
            return default
        for word in among:
            if node.value == word:
                return word
        self.wrong(name, f"one of {', '.join(among)}")
        return default

    def boolean(self, name: str, *, default: bool = False, required: bool = False) -> bool:
        """Give ``true`` or ``false``."""
        node = self._members.get(name)
        if node is None and not required:
            return default
        if node is None or not isinstance(node.value, bool):
            self.wrong(name, "true or false")
            return default
        return node.value

    def count(self, name: str, *, default: int = 0, required: bool = False) -> int:
        """Give a whole number of at least 0."""
        node = self._members.get(name)
        if node is None and not required:
            return default
        value = node.value if node is not None else None
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MAX_COUNT:
            self.wrong(name, "a whole number of at least 0")
            return default
        return value

    def number(self, name: str, default: float) -> float:
        """Give a finite number of at least 0."""
        node = self._members.get(name)
        if node is None:
            return default
        value = node.value
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= _MAX_COUNT:
            self.wrong(name, "a number of at least 0")
            return default
        return float(value) if math.isfinite(value) else default

    def instant(self, name: str) -> datetime | None:
        """Give an RFC 3339 instant, or midnight UTC of a date; None when it is absent."""
        node = self._members.get(name)
        if node is None:
            return None
        text = str(node.value)
        found = parse_instant(text if len(text) > len("2026-01-31") else f"{text}T00:00:00Z")
        if found is None:
            self.wrong(name, "an instant such as 2026-01-31T10:00:00Z")
        return found


def _shown(node: Node) -> str:
    if isinstance(node.value, dict):
        return "a mapping"
    if isinstance(node.value, list):
        return "a list"
    if isinstance(node.value, str):
        return repr(node.value if len(node.value) <= _MAX_SHOWN else node.value[:_MAX_SHOWN] + "…")
    return str(node.plain()).lower() if isinstance(node.value, (bool, type(None))) else str(node.value)
