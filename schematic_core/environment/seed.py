"""The records that an environment file starts from."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from schematic_core.environment.model import (
    Balance,
    Company,
    CompanySeed,
    Counter,
    Environment,
    Override,
    User,
    entity_id,
)
from schematic_core.environment.periods import WINDOWS, window_start

__all__ = ["companies", "users"]


def companies(environment: Environment, now: datetime) -> Iterator[Company]:
    """Give the file's companies as they stand at ``now`` (aware); a metric counts in every window open then."""
    for seed in environment.companies.values():
        own_id = entity_id("company", seed.key)
        yield Company(
            id=own_id,
            name=seed.name,
            keys=seed.keys,
            created_at=now,
            updated_at=now,
            traits=seed.traits,
            plan=seed.plan,
            overrides={
                key: Override(
                    id=f"cmov_{seed.key}_{key}",
                    company_id=own_id,
                    feature=key,
                    grant=grant,
                    created_at=now,
                    updated_at=now,
                )
                for key, grant in seed.overrides.items()
            },
            counters={event: _counter(seed, count, now) for event, count in seed.metrics.items()},
            credits={key: Balance(amount, amount) for key, amount in seed.credits.items()},
            subscription=seed.subscription,
        )


def users(environment: Environment, now: datetime) -> Iterator[User]:
    """Give the file's users as they stand at ``now`` (aware)."""
    for seed in environment.users.values():
        yield User(
            id=entity_id("user", seed.key),
            name=seed.name,
            keys=seed.keys,
            created_at=now,
            updated_at=now,
            traits=seed.traits,
            company_ids=tuple(entity_id("company", key) for key in seed.companies),
        )


def _counter(seed: CompanySeed, count: int, now: datetime) -> Counter:
    return {window: (window_start(*window, now, seed.subscription), count) for window in WINDOWS}
