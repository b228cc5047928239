"""Shell: the source of jitter, which brings the ``random`` module only once it is asked."""

from __future__ import annotations

__all__ = ["chance"]


def chance() -> float:
    """Give a float in [0, 1)."""
    from random import random

    return random()  # noqa: S311 - jitter, not a secret
