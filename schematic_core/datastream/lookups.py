"""What the server said about keys exactly as they were asked: which entity they mean, or that there is none."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

from schematic_core.keys import Pairs

__all__ = ["AskedKeys", "fold"]

V = TypeVar("V")


def fold(pair: tuple[str, str]) -> tuple[str, str]:
    """Give the form in which the server compares a pair: it does not tell case apart."""
    name, value = pair
    return name.lower(), value.lower()


class AskedKeys(Generic[V]):
    """Remembers one value for each set of pairs, at most ``max_size`` of them; the one noted longest ago goes first.

    An entity that shows up with one of the pairs, in whatever case, may be what was meant: `forget_sharing`.
    """

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._values: OrderedDict[Pairs, V] = OrderedDict()
        self._sharing: dict[tuple[str, str], set[Pairs]] = {}

    def __len__(self) -> int:
        return len(self._values)

    def get(self, pairs: Pairs) -> V | None:
        """Give what was noted for exactly these pairs."""
        return self._values.get(pairs)

    def note(self, pairs: Pairs, value: V) -> None:
        """Remember ``value`` in place of what was known about these pairs."""
        self.forget(pairs)
        self._values[pairs] = value
        for pair in pairs:
            self._sharing.setdefault(fold(pair), set()).add(pairs)
        if len(self._values) > self._max_size:
            self.forget(next(iter(self._values)))

    def forget(self, pairs: Pairs) -> None:
        """Drop what is known about exactly these pairs, if anything is."""
        if self._values.pop(pairs, None) is None:
            return
        for pair in {fold(pair) for pair in pairs}:
            sharing = self._sharing[pair]
            sharing.discard(pairs)
            if not sharing:
                del self._sharing[pair]

    def forget_sharing(self, pairs: Pairs) -> None:
        """Drop what is known about any pairs that have one of these among them, folded."""
        if not self._sharing:
            return
        for pair in pairs:
            for asked in tuple(self._sharing.get(fold(pair), ())):
                self.forget(asked)

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()
        self._sharing.clear()
