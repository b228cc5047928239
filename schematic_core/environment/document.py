"""Reading YAML or JSON text into plain nodes that remember their lines."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from schematic_core.errors import ConfigurationError

if TYPE_CHECKING:
    import yaml

__all__ = ["Node", "read_json", "read_yaml"]

_BLANK = re.compile(r"[ \t\r\n]*")
_MAX_DEPTH = 64


@dataclass(frozen=True, slots=True)
class Node:
    """One value and where it stands.

    Attributes:
        value: ``dict[str, Node]``, ``list[Node]``, text, number, bool or None.
        line: line of the value, from 1.
        key_lines: for a mapping, the line of each key.
    """

    value: Any
    line: int
    key_lines: dict[str, int] = field(default_factory=dict)

    def plain(self) -> object:
        """Give the value without lines, as ``json.loads`` would."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


def read_yaml(text: str, name: str) -> Node:
    """Read one YAML document.

    Args:
        text: the document; empty is an empty mapping.
        name: what the file is called in messages.

    Raises:
        ConfigurationError: PyYAML is missing, or the text is not one YAML document; the message gives name and line.
    """
    try:
        import yaml
    except ImportError as missing:
        raise ConfigurationError(
            f"{name}: YAML environment files need PyYAML; install schematic-suite[server], or write the file as JSON"
        ) from missing
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        said = getattr(error, "problem", None) or str(error)
        raise _mistake(name, mark.line + 1 if mark else 1, f"not valid YAML: {said}") from error
    return _YamlReader(loader, name).node(root, 0) if root is not None else Node({}, 1)


class _YamlReader:
    """Turns composed YAML nodes into ours; keys are always text, dates stay text."""

    def __init__(self, loader: yaml.SafeLoader, name: str) -> None:
        self._loader = loader
        self._name = name
        self._known: dict[int, Node] = {}  # an alias is its anchor's node: reading each once keeps nested aliases cheap

    def node(self, source: yaml.Node, depth: int) -> Node:
        known = self._known.get(id(source))
        if known is None:
            known = self._known[id(source)] = self._read(source, depth)
        return known

    def _read(self, source: yaml.Node, depth: int) -> Node:
        import yaml

        line = source.start_mark.line + 1
        if depth > _MAX_DEPTH:
            raise _mistake(self._name, line, "nested too deeply")
        if isinstance(source, yaml.MappingNode):
            return self._mapping(source, line, depth)
        if isinstance(source, yaml.SequenceNode):
            return Node([self.node(item, depth + 1) for item in source.value], line)
        return Node(self._scalar(source), line)

    def _mapping(self, source: yaml.MappingNode, line: int, depth: int) -> Node:
        values: dict[str, Node] = {}
        lines: dict[str, int] = {}
        for key, value in source.value:
            at = key.start_mark.line + 1
            if not isinstance(key.value, str):
                raise _mistake(self._name, at, "expected a name as key, found a list or mapping")
            if key.value in values:
                raise _mistake(self._name, at, f"{key.value!r} is given twice, first on line {lines[key.value]}")
            values[key.value] = self.node(value, depth + 1)
            lines[key.value] = at
        return Node(values, line, lines)

    def _scalar(self, source: yaml.Node) -> Hashable:
        kind = source.tag.rpartition(":")[2]
        if kind not in {"int", "float", "bool", "null"}:
            return str(source.value)
        try:
            value: Hashable = self._loader.construct_object(source)
        except ValueError as error:
            raise _mistake(self._name, source.start_mark.line + 1, f"not a value: {source.value!r}") from error
        return value


def read_json(text: str, name: str) -> Node:
    """Read one JSON document.

    Raises:
        ConfigurationError: the text is not JSON; the message gives name and line.
    """
    reader = _JsonReader(text, name)
    return reader.document()


class _JsonReader:
    """Walks objects and arrays itself, to know their lines, and leaves strings and numbers to ``json``."""

    def __init__(self, text: str, name: str) -> None:
        self._text = text
        self._name = name
        self._decoder = json.JSONDecoder(parse_constant=self._refuse_constant)
        self._at = 0

    def document(self) -> Node:
        node = self._node(0)
        if self._peek():
            raise self._error("expected the end of the file")
        return node

    def _node(self, depth: int) -> Node:
        if depth > _MAX_DEPTH:
            raise self._error("nested too deeply")
        head = self._peek()
        if head == "{":
            return self._mapping(depth)
        if head == "[":
            return self._sequence(depth)
        line = self._line()
        return Node(self._scalar(), line)

    def _mapping(self, depth: int) -> Node:
        values: dict[str, Node] = {}
        lines: dict[str, int] = {}
        node = Node(values, self._line(), lines)
        self._at += 1
        while self._peek() != "}" or values:
            if self._peek() != '"':
                raise self._error("expected a name in double quotes")
            line = self._line()
            key = str(self._scalar())
            if key in values:
                raise self._error(f"{key!r} is given twice, first on line {lines[key]}")
            self._expect(":")
            values[key] = self._node(depth + 1)
            lines[key] = line
            if self._peek() == "}":
                break
            self._expect(",")
        self._expect("}")
        return node

    def _sequence(self, depth: int) -> Node:
        items: list[Node] = []
        node = Node(items, self._line())
        self._at += 1
        while self._peek() != "]" or items:
            items.append(self._node(depth + 1))
            if self._peek() == "]":
                break
            self._expect(",")
        self._expect("]")
        return node

    def _scalar(self) -> object:
        try:
            value, self._at = self._decoder.raw_decode(self._text, self._at)
        except ValueError as error:
            raise self._error("expected a JSON value") from error
        return value

    def _peek(self) -> str:
        blank = _BLANK.match(self._text, self._at)
        self._at = blank.end() if blank else self._at
        return self._text[self._at : self._at + 1]

    def _expect(self, sign: str) -> None:
        if self._peek() != sign:
            raise self._error(f"expected {sign!r}")
        self._at += 1

    def _line(self) -> int:
        return self._text.count("\n", 0, self._at) + 1

    def _error(self, text: str) -> ConfigurationError:
        return _mistake(self._name, self._line(), f"not valid JSON: {text}")

    def _refuse_constant(self, constant: str) -> None:
        raise ValueError(constant)


def _mistake(name: str, line: int, text: str) -> ConfigurationError:
    return ConfigurationError(f"{name}:{line}: {text}")
