"""Requests for companies and users that are under way on one connection, found by what an answer says."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Literal, TypeVar

from schematic_core.datastream.versions import Kind
from schematic_core.keys import Pairs

__all__ = ["Callback", "Outcome", "Request", "Requests", "callbacks_of", "fold"]

Callback = Callable[[], None]

Outcome = Literal["waiting", "answered", "missing", "failed"]

_Folded = frozenset[tuple[str, str]]
_Place = TypeVar("_Place")


class Request:
    """One question to the service for an entity; identical questions share it.

    Attributes:
        kind: of the entity.
        pairs: the keys, sorted, exactly as asked.
        outcome: ``"waiting"`` until it lands; then it never changes again.
        callbacks: to be called once, without the shell's lock, when it has landed; none is added afterwards.
        deadline: when it fails for want of an answer, monotonic seconds.
        is_refresh: asked for by nobody in particular, counted against the bound on such requests.
    """

    __slots__ = ("callbacks", "deadline", "folded", "is_refresh", "kind", "outcome", "pairs")

    def __init__(self, kind: Kind, pairs: Pairs, deadline: float, *, is_refresh: bool) -> None:
        self.kind: Kind = kind
        self.pairs: Pairs = pairs
        self.outcome: Outcome = "waiting"
        self.callbacks: list[Callback] = []
        self.deadline: float = deadline
        self.is_refresh: bool = is_refresh
        self.folded: _Folded = fold(pairs)


class Requests:
    """The requests under way, oldest first. Each is found by its exact keys, by one folded pair, by all folded keys.

    Folded means lower case, names and values: the form in which the service compares.
    """

    __slots__ = ("_by_keys", "_by_pair", "_exact", "refreshes")

    def __init__(self) -> None:
        self.refreshes: int = 0
        self._exact: OrderedDict[tuple[Kind, Pairs], Request] = OrderedDict()  # a dict's first item is slow to find
        self._by_pair: dict[tuple[Kind, tuple[str, str]], dict[Request, None]] = {}
        self._by_keys: dict[tuple[Kind, _Folded], dict[Request, None]] = {}

    def add(self, request: Request) -> None:
        """Take in a request whose keys no other has."""
        self._exact[request.kind, request.pairs] = request
        self._by_keys.setdefault((request.kind, request.folded), {})[request] = None
        for pair in request.folded:
            self._by_pair.setdefault((request.kind, pair), {})[request] = None
        self.refreshes += request.is_refresh

    def find(self, kind: Kind, pairs: Pairs) -> Request | None:
        """Find the request with exactly these keys."""
        return self._exact.get((kind, pairs))

    def sharing(self, kind: Kind, pairs: Iterable[tuple[str, str]]) -> tuple[Request, ...]:
        """Give those that share a pair with an entity, each once."""
        found: dict[Request, None] = {}
        for pair in fold(pairs):
            found.update(self._by_pair.get((kind, pair), {}))
        return tuple(found)

    def named(self, kind: Kind, pairs: Pairs) -> tuple[Request, ...]:
        """Give the one with exactly these keys; when there is none, those that have them in another case."""
        exact = self._exact.get((kind, pairs))
        if exact is not None:
            return (exact,)
        return tuple(self._by_keys.get((kind, fold(pairs)), ()))

    def land(self, request: Request, outcome: Outcome) -> bool:
        """Take a request out with its outcome; False when it had landed before."""
        if request.outcome != "waiting":
            return False
        request.outcome = outcome
        del self._exact[request.kind, request.pairs]
        _drop(self._by_keys, (request.kind, request.folded), request)
        for pair in request.folded:
            _drop(self._by_pair, (request.kind, pair), request)
        self.refreshes -= request.is_refresh
        return True

    def first(self) -> Request | None:
        """Give the one whose time is over first."""
        return next(iter(self._exact.values()), None)

    def fail_overdue(self, now: float) -> list[Request]:
        """Land those whose time is over as failed, and give them."""
        overdue: list[Request] = []
        while (request := self.first()) is not None and request.deadline <= now:
            self.land(request, "failed")
            overdue.append(request)
        return overdue

    def fail_all(self) -> list[Request]:
        """Land all as failed, and give them."""
        requests = list(self._exact.values())
        for request in requests:
            self.land(request, "failed")
        return requests


def callbacks_of(requests: Iterable[Request]) -> list[Callback]:
    """Give the callbacks of requests that have landed."""
    return [callback for request in requests for callback in request.callbacks]


def fold(pairs: Iterable[tuple[str, str]]) -> _Folded:
    """Give pairs in lower case."""
    return frozenset((name.lower(), value.lower()) for name, value in pairs)


def _drop(index: dict[_Place, dict[Request, None]], place: _Place, request: Request) -> None:
    there = index[place]
    del there[request]
    if not there:
        del index[place]
