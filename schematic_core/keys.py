"""Keys of entities: which values are allowed, and the one form in which questions are compared and cached."""

from __future__ import annotations

from collections.abc import Mapping

from schematic_core.values import Keys

__all__ = ["InvalidKeys", "Pairs", "check_row", "normalise", "pairs"]

Pairs = tuple[tuple[str, str], ...]
"""Keys in canonical form, sorted by name, e.g. ``(("id", "acme"), ("slug", "a"))``."""


class InvalidKeys(Exception):
    """Keys hold something that cannot address an entity; clients answer the default instead of raising this."""


def normalise(keys: Keys | None) -> dict[str, str]:
    """Give keys as text.

    Args:
        keys: e.g. ``{"id": 7, "slug": None}``; None and pairs whose value is None count as not given.

    Returns:
        E.g. ``{"id": "7"}``, empty when nothing was given.

    Raises:
        InvalidKeys: a name is not text, or a value is neither text, ``int`` nor ``UUID``.
    """
    if keys is None:
        return {}
    if not isinstance(keys, Mapping):
        raise InvalidKeys(f"keys must be a mapping, not {type(keys).__name__}")
    return {_name(name): _value(name, value) for name, value in keys.items() if value is not None}


def pairs(keys: Mapping[str, str]) -> Pairs:
    """Give normalised keys in canonical order."""
    return tuple(sorted(keys.items()))


def check_row(namespace: str, flag_key: str, company: Pairs, user: Pairs) -> str:
    """Name the row of one answer in a cache provider: fixed length, no separators taken from the input.

    Args:
        namespace: keeps environments apart that share a cache.
        flag_key: the flag asked.
        company: the company's pairs.
        user: the user's pairs.
    """
    import hashlib  # brings OpenSSL, which only clients with caches of their own need for this
    import json

    question = json.dumps([namespace, flag_key, company, user], separators=(",", ":"))
    return "schematic:check:" + hashlib.sha256(question.encode()).hexdigest()


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise InvalidKeys(f"names of keys must be text, not {type(name).__name__}")
    return str.__str__(name)


def _digits(name: object, value: int) -> str:
    try:
        return str(int(value))
    except ValueError:  # Python writes no more than some thousands of digits
        raise InvalidKeys(f"key {name!r} is too large a number") from None


def _value(name: object, value: object) -> str:
    if isinstance(value, str):
        return str.__str__(value)  # plain text also of a subclass such as a text enum, whose str() may differ
    if isinstance(value, int) and not isinstance(value, bool):
        return _digits(name, value)
    from uuid import UUID

    if isinstance(value, UUID):
        return str(value)
    raise InvalidKeys(f"key {name!r} must be text, int or UUID, not {type(value).__name__}")
