"""From nodes to an environment: every section checked, every mistake collected."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from schematic_core.environment.document import Node
from schematic_core.environment.fields import Mistakes, Section
from schematic_core.environment.grants import Catalogue, read_grants
from schematic_core.environment.model import (
    CompanySeed,
    Comparable,
    Credit,
    EntityKind,
    Environment,
    Feature,
    FeatureKind,
    Flag,
    Plan,
    UserSeed,
    WebhookSeed,
)
from schematic_core.environment.periods import Subscription
from schematic_core.environment.rules import read_rules
from schematic_core.environment.webhook_types import chosen_types

__all__ = ["read_environment"]

_TOP = ("version", "features", "flags", "plans", "credits", "companies", "users", "webhooks", "api_keys")
_FEATURE_KINDS: tuple[FeatureKind, ...] = ("boolean", "event", "trait")
_COMPANY = ("name", "keys", "plan", "traits", "overrides", "metrics", "credits", "subscription")
_USER = ("name", "keys", "traits", "company", "companies")


def read_environment(root: Node, name: str) -> Environment:
    """Check a file's content.

    Raises:
        ConfigurationError: with one line per mistake: file, line, place and what was expected.
    """
    mistakes = Mistakes(name)
    top = Section(mistakes, root, "", _TOP)
    version = top.get("version")
    if version is None or version.value != 1 or isinstance(version.value, bool):
        top.wrong("version", "1")
    environment = _Reader(top).environment()
    mistakes.raise_any()
    return environment


@dataclass(slots=True)
class _Reader:
    top: Section

    def environment(self) -> Environment:
        catalogue = Catalogue(
            features={
                key: _feature(key, at) for key, at in self._sections("features", ("type", "name", "event", "trait"))
            },
            credits={
                key: Credit(key=key, name=at.text("name", key)) for key, at in self._sections("credits", ("name",))
            },
        )
        plans = {
            key: Plan(key=key, name=at.text("name", key), grants=read_grants(at, "entitlements", catalogue))
            for key, at in self._sections("plans", ("name", "entitlements"))
        }
        companies = {key: self._company(key, at, catalogue, plans) for key, at in self._sections("companies", _COMPANY)}
        users = {key: self._user(key, at, companies) for key, at in self._sections("users", _USER)}
        names = {
            "plan": tuple(plans),
            "company": tuple(companies),
            "user": tuple(users),
            "credit": tuple(catalogue.credits),
        }
        flags = {
            key: Flag(key=key, name=at.text("name", key), default=at.boolean("default"), rules=read_rules(at, names))
            for key, at in self._sections("flags", ("name", "default", "rules"))
        }
        for key, feature in catalogue.features.items():
            flags.setdefault(key, Flag(key=key, name=feature.name))
        self._check_unique_keys()
        return Environment(
            features=catalogue.features,
            flags=flags,
            plans=plans,
            credits=catalogue.credits,
            companies=companies,
            users=users,
            webhooks=self._webhooks(),
            api_keys=self._api_keys(),
            trait_types=_trait_types(catalogue, flags),
        )

    def _sections(self, name: str, known: tuple[str, ...]) -> list[tuple[str, Section]]:
        return list(self.top.sections(name, known).items())

    def _company(self, key: str, at: Section, catalogue: Catalogue, plans: dict[str, Plan]) -> CompanySeed:
        plan = at.text("plan") or None
        if plan is not None and plan not in plans:
            at.wrong("plan", f"one of the plans {', '.join(plans) or '(none are declared)'}")
        metrics = Section(at.mistakes, at.get("metrics") or Node({}, at.node.line), at.at("metrics"))
        credits_at = Section(at.mistakes, at.get("credits") or Node({}, at.node.line), at.at("credits"))
        for credit, node in at.nodes("credits"):
            if credit not in catalogue.credits:
                at.mistakes.add(node.line, credits_at.at(credit), "unknown credit; declare it under credits")
        return CompanySeed(
            key=key,
            name=at.text("name", key),
            keys=_keys(at, key),
            traits=_traits(at),
            plan=plan,
            overrides=read_grants(at, "overrides", catalogue),
            metrics={event: metrics.count(event) for event, _ in at.nodes("metrics")},
            credits={credit: credits_at.number(credit, 0.0) for credit, _ in at.nodes("credits")},
            subscription=_subscription(at),
        )

    def _user(self, key: str, at: Section, companies: dict[str, CompanySeed]) -> UserSeed:
        single = at.get("company")
        named = [("company", single)] if single is not None else []
        named += [("companies", node) for node in at.items("companies")]
        for member, node in named:
            if not isinstance(node.value, str) or node.value not in companies:
                at.mistakes.add(node.line, at.at(member), f"unknown company {node.plain()!r}")
        return UserSeed(
            key=key,
            name=at.text("name", key),
            keys=_keys(at, key),
            traits=_traits(at),
            companies=tuple(dict.fromkeys(str(node.value) for _, node in named)),
        )

    def _webhooks(self) -> tuple[WebhookSeed, ...]:
        found: list[WebhookSeed] = []
        for number, node in enumerate(self.top.items("webhooks")):
            at = Section(self.top.mistakes, node, f"webhooks[{number}]", ("url", "secret", "events"))
            url = at.text("url", required=True)
            if url and not _is_http(url):
                at.wrong("url", "an http or https URL")
            secret = at.secret("secret")
            for event in at.items("events"):
                if not chosen_types((str(event.value),)):
                    at.mistakes.add(event.line, at.at("events"), f"unknown event type {event.plain()!r}")
            events = tuple(str(event.value) for event in at.items("events")) or ("*",)
            found.append(WebhookSeed(url=url, secret=secret, events=events))
        return tuple(found)

    def _api_keys(self) -> frozenset[str] | None:
        if "api_keys" not in self.top:
            return None
        nodes = self.top.items("api_keys")
        if not nodes or not all(isinstance(node.value, str) and node.value.strip() for node in nodes):
            line = nodes[0].line if nodes else self.top.node.key_lines["api_keys"]
            self.top.mistakes.add(
                line, "api_keys", "expected a list of texts, at least one; leave it out to accept any"
            )
        return frozenset(str(node.value) for node in nodes)

    def _check_unique_keys(self) -> None:
        for kind, known in (("companies", _COMPANY), ("users", _USER)):
            owners: dict[tuple[str, str], str] = {}
            for name, section in self.top.sections(kind, known).items():
                for key, node in section.nodes("keys"):
                    owner = owners.setdefault((key, str(node.value)), name)
                    if owner != name:
                        self.top.mistakes.add(node.line, f"{section.path}.keys.{key}", f"{owner!r} has the same key")


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port  # ValueError: beyond 65535
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and port != 0


def _feature(key: str, at: Section) -> Feature:
    kind = at.choice("type", _FEATURE_KINDS, "boolean")
    if kind != "event" and "event" in at:
        at.wrong("event", "no event, as the type is not event")
    if kind != "trait" and "trait" in at:
        at.wrong("trait", "no trait, as the type is not trait")
    event = at.text("event", required=True) if kind == "event" else None
    trait = at.text("trait", required=True) if kind == "trait" else None
    return Feature(key=key, name=at.text("name", key), kind=kind, event=event, trait=trait)


def _keys(at: Section, name: str) -> dict[str, str]:
    keys: dict[str, str] = {}
    for key, node in at.nodes("keys"):
        if isinstance(node.value, (str, int)) and not isinstance(node.value, bool) and str(node.value).strip():
            keys[key] = str(node.value)
        else:
            at.mistakes.add(node.line, f"{at.path}.keys.{key}", "expected a text or a whole number")
    return keys or {"id": name}


def _traits(at: Section) -> dict[str, object]:
    return {key: node.plain() for key, node in at.nodes("traits") if node.value is not None}


def _subscription(at: Section) -> Subscription | None:
    node = at.get("subscription")
    if node is None:
        return None
    inner = Section(at.mistakes, node, at.at("subscription"), ("start", "end"))
    start, end = inner.instant("start"), inner.instant("end")
    if start is None or end is None:
        for name in ("start", "end"):
            if name not in inner:
                inner.wrong(name, "an instant such as 2026-01-31T10:00:00Z")
        return None
    if end <= start:
        inner.wrong("end", "an instant after start")
    return Subscription(start, end)


def _trait_types(catalogue: Catalogue, flags: dict[str, Flag]) -> dict[tuple[EntityKind, str], Comparable]:
    types: dict[tuple[EntityKind, str], Comparable] = {}
    for flag in flags.values():
        for rule in flag.rules:
            for condition in (*rule.conditions, *(item for group in rule.groups for item in group)):
                if condition.kind == "trait":
                    types.setdefault((condition.entity, condition.names[0]), condition.comparable)
    for feature in catalogue.features.values():
        if feature.trait is not None:
            types["company", feature.trait] = "int"
    return types
