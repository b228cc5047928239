"""Texts that belong to an answer, asked of the engine once and kept while the document they are of is held.

A number never comes to mean another document while an instance lives, and an instance has texts of its own: what is kept
under a number can only be of the document that had it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import lru_cache, partial
from json import JSONDecoder
from typing import Any, NamedTuple

from schematic_core.errors import EngineError
from schematic_core.rules.quick import quick
from schematic_core.values import Entitlement
from schematic_core.wire import parse_instant

__all__ = ["RuleTexts", "TextKind", "Texts"]

MAX_ENTITLEMENTS = 1024
"""Entitlements remembered by their text: a company that changed elsewhere states them as before."""

MAX_ASKED = 10_000
"""Companies of which it is remembered what their checks told."""

MAX_PREPARED = 8
"""Entitlements of a company made ready when it is taken in."""

MAX_INSTANTS = 256
"""Instants remembered: the resets of all companies fall on a few."""

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_LEAP_SECOND = 1_000_000_000
_MEMBERS = frozenset(Entitlement.__dataclass_fields__)
_make_entitlement = quick(Entitlement)
_decode = JSONDecoder().raw_decode


class TextKind:
    """Texts that the engine writes on demand, numbered as in ``texts.zig`` (plain numbers: they go into its slots)."""

    RULE_REASON = 0
    RULE_ID = 1
    RULE_EVENT = 2
    ENTITLEMENT = 3
    POLICY = 4
    POLICY_REASON = 5
    ENTITY_ID = 6
    FLAG_KEY = 7
    RESET_AT = 8
    ERROR_PATH = 9


class RuleTexts(NamedTuple):
    """What a rule that held tells: the reason, its id, and the event that its usage counts if it was asked."""

    reason: str
    id: str
    event: str | None


class _Ids(dict[int, "str | None"]):
    """Ids of companies and users by number; None for 0, which stands for nobody."""

    def __init__(self, write: Callable[[int, int, int], str]) -> None:
        super().__init__({0: None})
        self._write = write

    def __missing__(self, number: int) -> str:
        found = self[number] = self._write(TextKind.ENTITY_ID, number, 0)
        return found


class Texts:
    """The texts of one instance.

    Args:
        write: asks the engine for a text by kind, number of the document, and slot.

    Attributes:
        ids: of companies and users, by number; asked for when they are missing.
        instant: makes an aware instant of seconds and nanoseconds since 1970.
    """

    def __init__(self, write: Callable[[int, int, int], str]) -> None:
        self._write = write
        self._flags: dict[int, tuple[str, str]] = {}
        self.ids: _Ids = _Ids(write)
        self._rules: dict[int, dict[tuple[int, bool], RuleTexts]] = {}
        self._entitlements: dict[int, dict[int, Entitlement]] = {}
        self._asked: dict[str | None, set[int]] = {}
        # Pure functions remembered, for as long as this object lives.
        self.instant: Callable[[int, int], datetime | None] = lru_cache(MAX_INSTANTS)(_instant)
        read_instant = lru_cache(MAX_INSTANTS)(parse_instant)
        self._read_entitlement = lru_cache(MAX_ENTITLEMENTS)(partial(_entitlement, read_instant))

    def prepare(self, number: int) -> None:
        """Have ready what the first check of a company just taken in will tell, as far as its former versions show."""
        asked = self._asked.get(self.ids[number], set())
        for slot in tuple(asked):
            try:
                self.entitlement(number, slot)
            except EngineError:  # it has fewer than before
                asked.discard(slot)

    def forget(self, number: int) -> None:
        """Drop the texts of a document."""
        for kept in (self._flags, self.ids, self._rules, self._entitlements):
            kept.pop(number, None)

    def flag(self, number: int) -> tuple[str, str]:
        """Give a flag's key and id."""
        found = self._flags.get(number)
        if found is None:
            key, id_ = self._write(TextKind.FLAG_KEY, number, 0), self._write(TextKind.ENTITY_ID, number, 0)
            found = self._flags[number] = (key, id_)
        return found

    def rule(self, owner: int, slot: int, *, has_event: bool) -> RuleTexts:
        """Give what a rule tells; its event only when the answer says that there is one."""
        rules = self._rules.get(owner)
        if rules is None:
            rules = self._rules[owner] = {}
        found = rules.get((slot, has_event))
        if found is None:
            found = rules[slot, has_event] = RuleTexts(
                self._write(TextKind.RULE_REASON, owner, slot),
                self._write(TextKind.RULE_ID, owner, slot),
                self._write(TextKind.RULE_EVENT, owner, slot) if has_event else None,
            )
        return found

    def entitlement(self, company: int, slot: int) -> Entitlement:
        """Give an entitlement of a company as it is told to callers."""
        entitlements = self._entitlements.get(company)
        if entitlements is None:
            entitlements = self._entitlements[company] = {}
        found = entitlements.get(slot)
        if found is None:
            found = entitlements[slot] = self._read_entitlement(self._write(TextKind.ENTITLEMENT, company, slot))
            self._note(company, slot)
        return found

    def _note(self, company: int, slot: int) -> None:
        id_ = self.ids[company]
        slots = self._asked.get(id_)
        if slots is None:
            if len(self._asked) >= MAX_ASKED:
                self._asked.clear()
            slots = self._asked[id_] = set()
        if len(slots) < MAX_PREPARED:
            slots.add(slot)

    def echo(self, company: int, slot: int) -> dict[str, Any]:
        """Give an entitlement of a company with all its members, the caller's own."""
        return _object(self._write(TextKind.ENTITLEMENT, company, slot))

    def policy(self, owner: int, slot: int) -> dict[str, Any]:
        """Give a credit spend policy, the caller's own."""
        return _object(self._write(TextKind.POLICY, owner, slot))

    def policy_reason(self, owner: int, slot: int) -> str:
        """Tell how the policy denied the draw of the last answer."""
        return self._write(TextKind.POLICY_REASON, owner, slot)

    def reset_at(self) -> str:
        """Give the instant of the next reset in the last answer, with all digits there are."""
        return self._write(TextKind.RESET_AT, 0, 0)

    def error_path(self) -> str:
        """Give the place of the last refusal inside its document."""
        return self._write(TextKind.ERROR_PATH, 0, 0)


def _instant(seconds: int, nanos: int) -> datetime | None:
    """Cut to microseconds; None when no ``datetime`` can hold it: a leap second, a year beyond 9999."""
    if nanos >= _LEAP_SECOND:
        return None
    try:
        return _EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1000)
    except OverflowError:
        return None


def _entitlement(instant: Callable[[object], datetime | None], text: str) -> Entitlement:
    members = _object(text)
    if not members.keys() <= _MEMBERS:
        members = {name: value for name, value in members.items() if name in _MEMBERS}
    if "metric_reset_at" in members:
        members["metric_reset_at"] = instant(members["metric_reset_at"])
    return _make_entitlement(**members)


def _object(text: str) -> dict[str, Any]:
    parsed: dict[str, Any] = _decode(text)[0]
    return parsed
