"""What an environment holds, as frozen values: the catalogue of the file, and the records that live on from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from schematic_core.environment.periods import Period, Reset, Subscription

__all__ = [
    "Balance",
    "Company",
    "CompanySeed",
    "Comparable",
    "Condition",
    "Counter",
    "Credit",
    "EntityKind",
    "Environment",
    "Feature",
    "FeatureKind",
    "Flag",
    "Grant",
    "Override",
    "Plan",
    "Rule",
    "User",
    "UserSeed",
    "ValueType",
    "WebhookSeed",
    "entity_id",
]

EntityKind = Literal["company", "user"]
FeatureKind = Literal["boolean", "event", "trait"]
ValueType = Literal["boolean", "numeric", "unlimited", "trait", "credit"]
Comparable = Literal["string", "int", "bool", "date"]

Counter = Mapping[tuple[Period, Reset], tuple[datetime, int]]
"""Counts of one event: per window, the start of the window they belong to and the count."""

_PREFIXES: dict[EntityKind, str] = {"company": "comp", "user": "user"}


def entity_id(kind: EntityKind, name: str) -> str:
    """Give the id of a company or user of the file from its name there, e.g. ``"comp_acme"``."""
    return f"{_PREFIXES[kind]}_{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """A thing that plans sell; it guards the flag of its own key.

    ``event`` names the event that counts as usage, ``trait`` the company trait that is the usage.
    """

    key: str
    name: str
    kind: FeatureKind = "boolean"
    event: str | None = None
    trait: str | None = None

    @property
    def id(self) -> str:
        """The service's id, e.g. ``"feat_exports"``."""
        return f"feat_{self.key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a plan or an override gives of one feature.

    ``limit`` is the allocation of a ``numeric`` grant, ``trait`` names the company trait that holds that of a ``trait``
    grant; ``credit`` and ``rate`` (credits a unit) belong to a ``credit`` grant. An absent ``period`` is inherited: an
    override takes its plan's, everything else counts for all time.
    """

    value_type: ValueType
    value: bool = True
    limit: int | None = None
    trait: str | None = None
    period: Period | None = None
    reset: Reset | None = None
    credit: str | None = None
    rate: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One thing a rule asks; ``names`` are map names of plans, companies or users, or the one trait, event or credit."""

    kind: Literal["plan", "company", "user", "trait", "event", "credit"]
    names: tuple[str, ...]
    op: str = "eq"
    value: str = ""
    entity: EntityKind = "company"
    comparable: Comparable = "string"
    count: int = 0
    period: Period = "all_time"
    reset: Reset = "first_of_month"
    rate: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A flag's own rule: holds when every condition does and every group has one that does."""

    name: str
    value: bool
    conditions: tuple[Condition, ...] = ()
    groups: tuple[tuple[Condition, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """A named switch with its default and its own rules, in order."""

    key: str
    name: str
    default: bool = False
    rules: tuple[Rule, ...] = ()

    @property
    def id(self) -> str:
        """The service's id, e.g. ``"flag_exports"``."""
        return f"flag_{self.key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one plan sells: grants by feature key."""

    key: str
    name: str
    grants: Mapping[str, Grant]

    @property
    def id(self) -> str:
        """The service's id, e.g. ``"plan_pro"``."""
        return f"plan_{self.key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """A unit that some features consume."""

    key: str
    name: str

    @property
    def id(self) -> str:
        """The service's id, e.g. ``"bcrd_ai"``."""
        return f"bcrd_{self.key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanySeed:
    """A company as the file states it; ``plan``, features and credits by map name."""

    key: str
    name: str
    keys: Mapping[str, str]
    traits: Mapping[str, object]
    plan: str | None
    overrides: Mapping[str, Grant]
    metrics: Mapping[str, int]
    credits: Mapping[str, float]
    subscription: Subscription | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UserSeed:
    """A user as the file states it; ``companies`` by map name."""

    key: str
    name: str
    keys: Mapping[str, str]
    traits: Mapping[str, object]
    companies: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSeed:
    """A webhook endpoint as the file states it; ``events`` are types, prefixes such as ``company.*``, or ``*``."""

    url: str
    secret: str = field(repr=False)
    events: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Everything an environment file says, by map name; ``flags`` holds one for every feature.

    ``trait_types`` says how a trait compares, for those that features and rules use; others go by their value.
    ``api_keys`` is None when any key is accepted.
    """

    features: Mapping[str, Feature]
    flags: Mapping[str, Flag]
    plans: Mapping[str, Plan]
    credits: Mapping[str, Credit]
    companies: Mapping[str, CompanySeed]
    users: Mapping[str, UserSeed]
    webhooks: tuple[WebhookSeed, ...]
    api_keys: frozenset[str] | None = field(default=None, repr=False)
    trait_types: Mapping[tuple[EntityKind, str], Comparable] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """A grant to one company alone, before what its plan says, until ``expires_at`` (None: for good)."""

    id: str
    company_id: str
    feature: str
    grant: Grant
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Balance:
    """Credits of one kind: ever granted, and left."""

    total: float
    remaining: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    """A company's whole state at one moment; a change makes a new one.

    ``plan`` and ``add_ons`` are map names of plans, ``overrides`` are by feature key, ``counters`` by event,
    ``credits`` by the credit's map name.
    """

    id: str
    name: str
    keys: Mapping[str, str]
    created_at: datetime
    updated_at: datetime
    traits: Mapping[str, object] = field(default_factory=dict)
    plan: str | None = None
    add_ons: tuple[str, ...] = ()
    overrides: Mapping[str, Override] = field(default_factory=dict)
    counters: Mapping[str, Counter] = field(default_factory=dict)
    credits: Mapping[str, Balance] = field(default_factory=dict)
    subscription: Subscription | None = None
    last_seen_at: datetime | None = None

    @property
    def plans(self) -> tuple[str, ...]:
        """Map names of all plans the company is on, the base plan first."""
        return ((self.plan,) if self.plan is not None else ()) + self.add_ons


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user's whole state at one moment; ``company_ids`` in the order of joining."""

    id: str
    name: str
    keys: Mapping[str, str]
    created_at: datetime
    updated_at: datetime
    traits: Mapping[str, object] = field(default_factory=dict)
    company_ids: tuple[str, ...] = ()
    last_seen_at: datetime | None = None
