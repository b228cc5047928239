"""Who a request is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from schematic_core.values import Keys, KeyValue

__all__ = ["Identity"]


@dataclass(frozen=True, slots=True)
class Identity:
    """The company and user keys found in a request; hashable, and never changed afterwards.

    Args:
        company: keys of the company that pays, e.g. ``{"id": "acme"}``; None or empty when unknown.
        user: keys of the user who acts, e.g. ``{"email": "ada@acme.test"}``; None or empty when unknown.

    Example:
        >>> Identity(company={"id": "acme"}) == Identity(company={"id": "acme"}, user=None)
        True
    """

    company: Keys | None = None
    user: Keys | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "company", _given(self.company))
        object.__setattr__(self, "user", _given(self.user))

    def __hash__(self) -> int:
        return hash((frozenset((self.company or {}).items()), frozenset((self.user or {}).items())))

    @property
    def is_anonymous(self) -> bool:
        """Whether nobody was identified."""
        return self.company is None and self.user is None


def _given(keys: Keys | None) -> Keys | None:
    # A plain dict is by far the most frequent and the fastest to recognise. What is no mapping is refused by the check
    # itself, which answers the default and says so.
    if not keys or not isinstance(keys, (dict, Mapping)):
        return keys or None
    given: dict[str, KeyValue] = {name: value for name, value in keys.items() if value is not None}
    return given or None
