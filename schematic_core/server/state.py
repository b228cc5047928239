"""Everything the server knows, and every way to change it.

A machine: it takes the present as an argument, answers what changed as values, and never waits. A method that raises
`Refused` has changed nothing. Records are replaced, never changed, so what a method gave stays as it was.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import uuid4

from schematic_core.environment.model import Company, Environment, Grant, Override, User
from schematic_core.environment.seed import companies, users
from schematic_core.environment.usage import limits_reached
from schematic_core.environment.webhook_types import chosen_types
from schematic_core.server.entities import EntityTable, Upsert, upsert
from schematic_core.server.faults import Refused
from schematic_core.server.records import CapturedEvent, Change, Webhook

__all__ = ["State"]

_EVENTS_KEPT = 10_000


def _random_id(prefix: str) -> str:
    return f"{prefix}_{uuid4().hex[:16]}"


class State:
    """One environment's state.

    Args:
        environment: what it starts from; its catalogue (features, flags, plans, credits) stays as it is.
        now: the present, aware.
        new_id: gives a new id with a prefix, e.g. ``"comp_5b1c..."``.
    """

    def __init__(self, environment: Environment, now: datetime, new_id: Callable[[str], str] = _random_id) -> None:
        self.environment = environment
        self.new_id = new_id
        self.started_at = now
        self.companies: EntityTable[Company] = EntityTable[Company]("company", companies(environment, now))
        self.users: EntityTable[User] = EntityTable[User]("user", users(environment, now))
        self.webhooks: dict[str, Webhook] = {hook.id: hook for hook in _seeded_webhooks(environment, now)}
        self.events: deque[CapturedEvent] = deque(maxlen=_EVENTS_KEPT)
        self.flag_checks: dict[str, int] = {}
        self.seen_keys: dict[tuple[str, str], datetime] = {}

    def upsert_company(self, wanted: Upsert, now: datetime, *, plan: str | None = None) -> tuple[Company, list[Change]]:
        """Create or change a company; ``plan`` (map name) becomes its base plan when given."""
        if plan is not None and plan not in self.environment.plans:
            raise Refused(400, "there is no such plan")
        before, company, changed = upsert(
            self.companies,
            wanted,
            now,
            lambda: Company(id=self.new_id("comp"), name="", keys={}, created_at=now, updated_at=now),
        )
        changes: list[Change] = []
        if before is None:
            changes.append(Change(action="company.created", company=company))
        elif changed:
            changes.append(Change(action="company.updated", company=company))
            changes += self._reached(before, company, now)
        if plan is not None and plan != company.plan:
            company, moved = self._change_plans(company, plan, company.add_ons, now, "company_upsert")
            changes += moved
        return company, changes

    def upsert_user(self, wanted: Upsert, now: datetime, company_ids: Sequence[str] = ()) -> tuple[User, list[Change]]:
        """Create or change a user; it joins the companies with ``company_ids`` (each of them known)."""
        before, user, changed = upsert(
            self.users,
            wanted,
            now,
            lambda: User(id=self.new_id("user"), name="", keys={}, created_at=now, updated_at=now),
        )
        joined = tuple(dict.fromkeys((*user.company_ids, *company_ids)))
        if joined != user.company_ids:
            user, changed = replace(user, company_ids=joined, updated_at=now), True
            self.users.put(user)
        if before is None:
            return user, [Change(action="user.created", user=user)]
        return user, [Change(action="user.updated", user=user)] if changed else []

    def delete_company(self, own_id: str) -> list[Change]:
        """Forget a company; its users stay and lose the membership."""
        company = self.companies.get(own_id)
        self.companies.drop(own_id)
        for user in [user for user in self.users if own_id in user.company_ids]:
            self.users.put(replace(user, company_ids=tuple(one for one in user.company_ids if one != own_id)))
        return [Change(action="company.deleted", company=company)]

    def delete_user(self, own_id: str) -> list[Change]:
        """Forget a user."""
        user = self.users.get(own_id)
        self.users.drop(own_id)
        return [Change(action="user.deleted", user=user)]

    def change_plans(
        self, company_id: str, plan: str | None, add_ons: Sequence[str], now: datetime
    ) -> tuple[Company, list[Change]]:
        """Put a company on a base plan (None: on none) and add-ons, all by map name."""
        for key in (*add_ons, *((plan,) if plan is not None else ())):
            if key not in self.environment.plans:
                raise Refused(400, "there is no such plan")
        company = self.companies.get(company_id)
        return self._change_plans(company, plan, tuple(dict.fromkeys(add_ons)), now, "manage_plan")

    def create_override(
        self,
        company_id: str,
        feature: str,
        grant: Grant,
        now: datetime,
        *,
        expires_at: datetime | None,
        note: str | None,
    ) -> tuple[Override, list[Change]]:
        """Give one company its own grant of a feature (map name)."""
        company = self.companies.get(company_id)
        if feature in company.overrides:
            raise Refused(400, "the company already has an override for this feature; update that one")
        override = Override(
            id=self.new_id("cmov"),
            company_id=company_id,
            feature=feature,
            grant=grant,
            created_at=now,
            updated_at=now,
            expires_at=expires_at,
            note=note,
        )
        return override, self._put_override(company, override, "company.override.created")

    def update_override(
        self, own_id: str, grant: Grant, now: datetime, *, expires_at: datetime | None, note: str | None
    ) -> tuple[Override, list[Change]]:
        """Replace what an override grants."""
        former = self.get_override(own_id)
        override = replace(former, grant=grant, updated_at=now, expires_at=expires_at, note=note or former.note)
        company = self.companies.get(former.company_id)
        return override, self._put_override(company, override, "company.override.updated")

    def delete_override(self, own_id: str) -> list[Change]:
        """Take an override back: the plan's grant counts again."""
        return [self._drop_override(self.get_override(own_id), "company.override.deleted")]

    def get_override(self, own_id: str) -> Override:
        """Give the override with an id.

        Raises:
            Refused: 404, there is none.
        """
        for company in self.companies:
            for override in company.overrides.values():
                if override.id == own_id:
                    return override
        raise Refused(404, "company override not found")

    def overridden(self, feature: str, now: datetime) -> list[str]:
        """Give the ids of the companies that have an override for a feature at ``now``."""
        overrides = [company.overrides[feature] for company in self.companies if feature in company.overrides]
        return [one.company_id for one in overrides if one.expires_at is None or one.expires_at > now]

    def wake(self, now: datetime) -> list[Change]:
        """Do what has become due: take back the overrides that have expired."""
        due = [
            override
            for company in self.companies
            for override in company.overrides.values()
            if override.expires_at is not None and override.expires_at <= now
        ]
        return [self._drop_override(override, "company.override.expired") for override in due]

    def deadline(self) -> datetime | None:
        """Give when `wake` has something to do next: the first expiry of an override."""
        times = [one.expires_at for company in self.companies for one in company.overrides.values() if one.expires_at]
        return min(times, default=None)

    def put_company(self, before: Company, company: Company, now: datetime) -> list[Change]:
        """Keep a company whose usage or credits moved, and tell which limits that reached."""
        self.companies.put(company)
        return self._reached(before, company, now)

    def _change_plans(
        self, company: Company, plan: str | None, add_ons: tuple[str, ...], now: datetime, cause: str
    ) -> tuple[Company, list[Change]]:
        if (plan, add_ons) == (company.plan, company.add_ons):
            return company, []
        changed = replace(company, plan=plan, add_ons=add_ons, updated_at=now)
        self.companies.put(changed)
        return changed, [Change(action="company.plan_changed", company=changed, before=company, cause=cause)]

    def _put_override(self, company: Company, override: Override, action: str) -> list[Change]:
        changed = replace(company, overrides={**company.overrides, override.feature: override})
        self.companies.put(changed)
        return [Change(action=action, company=changed, override=override)]

    def _drop_override(self, override: Override, action: str) -> Change:
        company = self.companies.get(override.company_id)
        kept = {key: one for key, one in company.overrides.items() if one.id != override.id}
        changed = replace(company, overrides=kept)
        self.companies.put(changed)
        return Change(action=action, company=changed, override=override)

    def _reached(self, before: Company, after: Company, now: datetime) -> list[Change]:
        features = limits_reached(self.environment, before, after, now)
        return [Change(action="entitlement.limit.reached", company=after, feature=feature) for feature in features]


def _seeded_webhooks(environment: Environment, now: datetime) -> list[Webhook]:
    return [
        Webhook(
            id=f"whk_{number + 1}",
            name=f"environment file {number + 1}",
            url=seed.url,
            secret=seed.secret,
            request_types=chosen_types(seed.events),
            created_at=now,
            updated_at=now,
            feature_ids=None,
        )
        for number, seed in enumerate(environment.webhooks)
    ]
