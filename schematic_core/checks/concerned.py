"""Whom a purge concerns: which remembered answers go, and which entities of the replica are asked for again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from schematic_core.checks.answers import Token
from schematic_core.keys import InvalidKeys, Pairs, normalise, pairs
from schematic_core.values import Keys

if TYPE_CHECKING:
    from schematic_core.datastream.replica import Replica

__all__ = ["Concerned", "company_tokens"]


@dataclass(frozen=True, slots=True)
class Concerned:
    """A company, a user, a flag, or what concerns all that are given; everybody when nothing is."""

    company_id: str | None = None
    user_id: str | None = None
    flag_key: str | None = None
    company: Keys | None = None
    user: Keys | None = None

    def groups(self) -> list[list[Token]]:
        """Give the tokens of the answers to drop: those with one token of every group, all when there is no group."""
        groups: list[list[Token]] = []
        if self.company is not None or self.company_id is not None:
            groups.append(company_tokens(self.company, self.company_id))
        if self.user is not None or self.user_id is not None:
            tokens: list[Token] = [("user", name, value) for name, value in _pairs(self.user)]
            groups.append([*tokens, ("user_id", self.user_id, "")] if self.user_id else tokens)
        if self.flag_key is not None:
            groups.append([("flag", self.flag_key, "")])
        return groups

    def doubt(self, replica: Replica) -> None:
        """Let the entities be asked for again. Flags are not: the stream says by itself what becomes of them."""
        if self.company is not None or self.company_id is not None:
            replica.doubt("company", self.company_id, _pairs(self.company))
        if self.user is not None or self.user_id is not None:
            replica.doubt("user", self.user_id, _pairs(self.user))
        if self == Concerned():
            replica.doubt_all()


def company_tokens(keys: Keys | None, id_: str | None = None) -> list[Token]:
    """Give the tokens of a company's answers; keys that are none give none."""
    tokens: list[Token] = [("company", name, value) for name, value in _pairs(keys)]
    return [*tokens, ("company_id", id_, "")] if id_ else tokens


def _pairs(keys: Keys | None) -> Pairs:
    try:
        return pairs(normalise(keys))
    except InvalidKeys:
        return ()
