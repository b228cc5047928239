"""Reading a flag's own rules and their conditions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from schematic_core.environment.document import Node
from schematic_core.environment.fields import Section
from schematic_core.environment.model import Comparable, Condition, Rule
from schematic_core.environment.periods import PERIODS, RESETS

__all__ = ["read_rules"]

_COMPARISONS = ("eq", "ne", "gt", "lt", "gte", "lte", "is_empty", "not_empty")
_COMPARABLES: tuple[Comparable, ...] = ("string", "int", "bool", "date")
_MEMBERS: dict[str, tuple[str, ...]] = {
    "plan": ("plan", "op"),
    "company": ("company", "op"),
    "user": ("user", "op"),
    "trait": ("trait", "op", "value", "of", "type"),
    "event": ("event", "op", "value", "period", "reset"),
    "credit": ("credit", "op", "rate"),
    "any": ("any",),
}


def read_rules(flag: Section, names: Mapping[str, tuple[str, ...]]) -> tuple[Rule, ...]:
    """Read the rules of one flag, in order; ``names`` are the declared plans, companies, users and credits."""
    return tuple(_rule(flag, number, node, names) for number, node in enumerate(flag.items("rules")))


def _rule(flag: Section, number: int, node: Node, names: Mapping[str, tuple[str, ...]]) -> Rule:
    at = Section(flag.mistakes, node, f"{flag.at('rules')}[{number}]", ("name", "value", "when"))
    conditions: list[Condition] = []
    groups: list[tuple[Condition, ...]] = []
    for index, item in enumerate(at.items("when")):
        path = f"{at.at('when')}[{index}]"
        if isinstance(item.value, dict) and "any" in item.value:
            inner = Section(at.mistakes, item, path, _MEMBERS["any"])
            found = [_condition(inner, f"{path}.any[{n}]", one, names) for n, one in enumerate(inner.items("any"))]
            groups.append(tuple(one for one in found if one is not None))
        elif (condition := _condition(at, path, item, names)) is not None:
            conditions.append(condition)
    return Rule(
        name=at.text("name", f"rule {number + 1}"),
        value=at.boolean("value", default=True),
        conditions=tuple(conditions),
        groups=tuple(groups),
    )


def _condition(above: Section, path: str, node: Node, names: Mapping[str, tuple[str, ...]]) -> Condition | None:
    kinds = [kind for kind in _MEMBERS if isinstance(node.value, dict) and kind in node.value and kind != "any"]
    if len(kinds) != 1:
        wanted = ", ".join(kind for kind in _MEMBERS)
        above.mistakes.add(node.line, path, f"expected a mapping with exactly one of {wanted}")
        return None
    at = Section(above.mistakes, node, path, _MEMBERS[kinds[0]])
    if kinds[0] == "trait":
        return _trait(at)
    if kinds[0] == "event":
        return _event(at)
    if kinds[0] == "credit":
        credit = _named(at, "credit", names)
        op = at.choice("op", ("lte", "gt"), "lte")
        return Condition(kind="credit", names=credit, op=op, rate=at.number("rate", 1.0))
    members: tuple[Literal["plan", "company", "user"], ...] = ("plan", "company", "user")
    kind = next(one for one in members if one == kinds[0])
    return Condition(kind=kind, names=_named(at, kind, names), op=at.choice("op", ("eq", "ne"), "eq"))


def _named(at: Section, kind: str, names: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    node = at.get(kind)
    items = (node.value if isinstance(node.value, list) else [node]) if node is not None else []
    for item in items:
        if item.value not in names[kind]:
            at.mistakes.add(item.line, at.at(kind), f"unknown {kind} {item.plain()!r}")
    return tuple(str(item.value) for item in items)


def _trait(at: Section) -> Condition:
    op = at.choice("op", _COMPARISONS, "eq")
    value = at.get("value")
    if op not in {"is_empty", "not_empty"} and (value is None or isinstance(value.value, (dict, list))):
        at.wrong("value", "a text, number, true or false")
    plain = value.plain() if value is not None else ""
    inferred: Comparable = "bool" if isinstance(plain, bool) else "int" if isinstance(plain, (int, float)) else "string"
    return Condition(
        kind="trait",
        names=(at.text("trait", required=True),),
        op=op,
        value=str(plain).lower() if isinstance(plain, bool) else str(plain),
        entity=at.choice("of", ("company", "user"), "company"),
        comparable=at.choice("type", _COMPARABLES, inferred),
    )


def _event(at: Section) -> Condition:
    return Condition(
        kind="event",
        names=(at.text("event", required=True),),
        op=at.choice("op", _COMPARISONS, "gte"),
        count=at.count("value", default=1),
        period=at.choice("period", PERIODS, "all_time"),
        reset=at.choice("reset", RESETS, "first_of_month"),
    )
