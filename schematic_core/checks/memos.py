"""What local answers are remembered with: on which versions they rest, since when nobody stands by them, their bounds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from schematic_core.checks.question import Subject
from schematic_core.datastream.versions import EntityVersion, FlagVersion, Stamp
from schematic_core.values import CheckResult, Standing

__all__ = ["Bounds", "Found", "Life", "Memo"]

_NOBODY = Stamp()


@dataclass(frozen=True, slots=True)
class Bounds:
    """How old local answers may be, seconds; and whether the source knows every entity there is (an environment file)."""

    stale_after: float
    serve_stale: float
    ttl: float | None = None
    is_complete: bool = False


class Memo:
    """An answer, until when (monotonic) and on which versions it holds, and whom it was asked for."""

    __slots__ = ("company", "company_keys", "result", "until", "user", "user_keys")

    def __init__(
        self,
        result: CheckResult,
        until: float,
        found: Found,
        company_keys: dict[str, str],
        user_keys: dict[str, str],
    ) -> None:
        self.result: CheckResult = result
        self.until: float = until
        self.company: Stamp = _NOBODY if found.company is None else found.company.stamp
        self.user: Stamp = _NOBODY if found.user is None else found.user.stamp
        self.company_keys: dict[str, str] = company_keys
        self.user_keys: dict[str, str] = user_keys

    @property
    def subject(self) -> Subject:
        """What was asked."""
        return self.result.flag_key, tuple(self.company_keys.items()), tuple(self.user_keys.items())


@dataclass(slots=True, eq=False)
class Life:
    """One connection from the moment everything was here; ``ended_at`` is monotonic."""

    generation: int
    standing: Standing = field(default_factory=Standing)
    ended_at: float | None = None


class Found(NamedTuple):
    """What to evaluate, and the life of its oldest part."""

    flag: FlagVersion
    company: EntityVersion | None
    user: EntityVersion | None
    life: Life
