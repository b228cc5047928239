"""Reading YAML or JSON text into plain nodes that remember their lines."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from schematic_core.errors import ConfigurationError

if TYPE_CHECKING:
    import yaml

__all__ = ["Node", "read_json", "read_yaml"]

_BLANK = re.compile(r"[ \t\r\n]*")
_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
_SURROGATE = re.compile("[\ud800-\udfff]")
_MAX_DEPTH = 64
_MAX_REPEATED = 100_000
_MAX_SHOWN = 60


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
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _mistake(name, line, f"not valid YAML: {error.reason}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        said = getattr(error, "problem", None) or str(error)
        raise _mistake(name, mark.line + 1 if mark else 1, f"not valid YAML: {said}") from error
    except RecursionError as error:
        raise _mistake(name, loader.get_mark().line + 1, "nested too deeply") from error
    return _YamlReader(loader, name).node(root, 0) if root is not None else Node({}, 1)


class _YamlReader:
    """Turns composed YAML nodes into ours; keys are always text, dates stay text."""

    def __init__(self, loader: yaml.SafeLoader, name: str) -> None:
        self._loader = loader
        self._name = name
        self._seen: set[int] = set()
        self._repeated = 0

    def node(self, source: yaml.Node, depth: int) -> Node:
        if id(source) in self._seen:  # an alias: its anchor's values once more
            self._repeated += 1
            if self._repeated > _MAX_REPEATED:
                line = source.start_mark.line + 1
                raise _mistake(self._name, line, f"aliases repeat more than {_MAX_REPEATED} values")
        self._seen.add(id(source))
        return self._read(source, depth)

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
            self._check(key.value, at)
            if key.value in values:
                raise _mistake(self._name, at, f"{key.value!r} is given twice, first on line {lines[key.value]}")
            values[key.value] = self.node(value, depth + 1)
            lines[key.value] = at
        return Node(values, line, lines)

    def _scalar(self, source: yaml.Node) -> Hashable:
        kind, text, line = source.tag.rpartition(":")[2], str(source.value), source.start_mark.line + 1
        if kind not in {"int", "float", "bool", "null"} or _is_surprising(kind, text):
            return self._check(text, line)
        try:
            value: Hashable = self._loader.construct_object(source)
        except (ValueError, LookupError) as error:  # LookupError: an explicit tag such as `!!bool maybe`
            raise _mistake(self._name, line, f"not a value: {text[:_MAX_SHOWN]!r}") from error
        return self._check(value, line)

    def _check(self, value: Hashable, line: int) -> Hashable:
        if objection := _objection(value):
            raise _mistake(self._name, line, objection)
        return value


def _is_surprising(kind: str, text: str) -> bool:
    """Whether YAML 1.1 would read another number than people do: 010 is 8 there, and 1:30 is 90."""
    return (kind == "int" and not _DECIMAL.fullmatch(text)) or (kind == "float" and ":" in text)


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
        self._counted, self._lines = 0, 1

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
        if objection := _objection(value):
            raise self._error(objection)
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
        self._lines += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._lines

    def _error(self, text: str) -> ConfigurationError:
        return _mistake(self._name, self._line(), f"not valid JSON: {text}")

    def _refuse_constant(self, constant: str) -> None:
        raise ValueError(constant)


def _objection(value: object) -> str | None:
    """Say why a scalar has no JSON form, without showing it: it may be a secret."""
    if isinstance(value, str) and not value.isascii() and _SURROGATE.search(value):
        return "a text holds half of a surrogate pair"
    if isinstance(value, float) and not math.isfinite(value):
        return "a number is not finite"
    return None


def _mistake(name: str, line: int, text: str) -> ConfigurationError:
    return ConfigurationError(f"{name}:{line}: {text}")
