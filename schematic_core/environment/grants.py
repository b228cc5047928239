"""Reading what a plan or an override gives: ``true``, ``unlimited``, a limit, or credits."""

from __future__ import annotations

from dataclasses import dataclass

from schematic_core.environment.document import Node
from schematic_core.environment.fields import Mistakes, Section
from schematic_core.environment.model import Credit, Feature, Grant
from schematic_core.environment.periods import PERIODS, RESETS

__all__ = ["Catalogue", "read_grants"]

_FORMS = "true, false, unlimited, {limit, period, reset} or {credit, rate}"


@dataclass(slots=True)
class Catalogue:
    """Features and credits by map name; a credit grant of a feature that is not declared adds it."""

    features: dict[str, Feature]
    credits: dict[str, Credit]


def read_grants(at: Section, member: str, catalogue: Catalogue) -> dict[str, Grant]:
    """Read the mapping from feature keys to grants that is ``at``'s ``member``."""
    grants: dict[str, Grant] = {}
    for key, node in at.nodes(member):
        path = f"{at.at(member)}.{key}"
        grant = _grant(at.mistakes, path, node)
        if grant is None:
            continue
        if grant.credit is not None:
            catalogue.features.setdefault(key, Feature(key=key, name=key, kind="event", event=key))
        objection = _objection(grant, catalogue.features.get(key), catalogue)
        if objection is None:
            grants[key] = grant
        else:
            at.mistakes.add(node.line, path, objection)
    return grants


def _grant(mistakes: Mistakes, path: str, node: Node) -> Grant | None:
    if isinstance(node.value, bool):
        return Grant(value_type="boolean", value=node.value)
    if node.value == "unlimited":
        return Grant(value_type="unlimited")
    if not isinstance(node.value, dict):
        mistakes.add(node.line, path, f"expected {_FORMS}")
        return None
    if "credit" in node.value:
        inner = Section(mistakes, node, path, ("credit", "rate"))
        return Grant(value_type="credit", credit=inner.text("credit", required=True), rate=inner.number("rate", 1.0))
    inner = Section(mistakes, node, path, ("limit", "period", "reset"))
    return Grant(
        value_type="numeric",
        limit=inner.count("limit", required=True),
        period=inner.choice("period", PERIODS, "all_time") if "period" in inner else None,
        reset=inner.choice("reset", RESETS, "first_of_month") if "reset" in inner else None,
    )


def _objection(grant: Grant, feature: Feature | None, catalogue: Catalogue) -> str | None:
    if feature is None:
        return f"unknown feature; expected one of {', '.join(catalogue.features) or '(none are declared)'}"
    if grant.credit is not None and grant.credit not in catalogue.credits:
        return f"unknown credit {grant.credit!r}; declare it under credits"
    if grant.value_type == "numeric" and feature.kind == "boolean":
        return "expected true or false, as the feature is boolean"
    if grant.value_type == "numeric" and feature.kind == "trait" and (grant.period or grant.reset):
        return "expected no period or reset, as the usage is a trait"
    if grant.credit is not None and feature.kind != "event":
        return "expected no credit, as the feature has no event that could draw it"
    return None
