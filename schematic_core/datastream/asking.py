"""Companies and users asked for on one connection: by callers, and in the background after a reconnect."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

from schematic_core.datastream.limits import ConnectionLimits
from schematic_core.datastream.messages import entity_request
from schematic_core.datastream.refreshing import Refreshing
from schematic_core.datastream.requests import Callback, Request, Requests, callbacks_of, fold
from schematic_core.datastream.versions import Kind
from schematic_core.keys import Pairs

__all__ = ["Asking"]


class Asking:
    """The requests under way and those that shall follow by themselves.

    Args:
        limits: timeouts, pauses and bounds.
        random: gives floats in [0, 1), for jitter.
        send: takes the text of a request that is to be written.
    """

    __slots__ = ("_limits", "_refreshing", "_requests", "_send", "_vain")

    def __init__(self, limits: ConnectionLimits, random: Callable[[], float], send: Callable[[str], None]) -> None:
        self._limits = limits
        self._send = send
        self._requests = Requests()
        self._vain: dict[tuple[Kind, Pairs], float] = {}  # asked in vain a moment ago: until when not to ask again
        self._refreshing = Refreshing(limits, random)

    def ask(self, kind: Kind, pairs: Pairs, now: float) -> Request | None:
        """Give the request with exactly these keys, a new one when there is none; None when that was in vain just now."""
        pairs = tuple(sorted(pairs))
        self._refreshing.discard(kind, pairs)
        request = self._requests.find(kind, pairs)
        if request is None and now < self._vain.get((kind, pairs), now):
            return None
        return request or self._request(kind, pairs, now, is_refresh=False)

    def refresh(self, wanted: Iterable[tuple[Kind, Pairs]], now: float) -> None:
        """Ask for these by and by; what is under way is not asked for twice."""
        self._refreshing.add([(kind, tuple(sorted(pairs))) for kind, pairs in wanted if pairs], now)

    def forget_refreshes(self) -> None:
        """Ask for nothing more by itself."""
        self._refreshing.clear()

    def answered_by(self, kind: Kind, entity: Any) -> tuple[Request, ...]:
        """Give the requests that an entity answers: those that share a pair with it, lower case.

        Where another request has the very pair, one in another case may mean another entity, and waits for its own frame.
        """
        own = _keys(entity)
        sharing = self._requests.sharing(kind, own)
        exact = {pair for request in sharing for pair in request.pairs if pair in own}
        open_pairs = fold(own) - fold(exact)
        return tuple(one for one in sharing if not exact.isdisjoint(one.pairs) or one.folded & open_pairs)

    def named_by(self, kind: Kind, error: Any) -> tuple[Request, ...]:
        """Give the requests whose keys the data of an error names."""
        return self._requests.named(kind, _keys(error))

    def land(
        self, requests: Iterable[Request], outcome: Literal["answered", "missing", "failed"], now: float
    ) -> list[Callback]:
        """Give requests their outcome, once; gives the callbacks."""
        landed = [request for request in requests if self._requests.land(request, outcome)]
        for request in landed:
            self._vain.pop((request.kind, request.pairs), None)
        if outcome == "failed":
            self._note_vain(landed, now)
        return callbacks_of(landed)

    def fail_overdue(self, now: float) -> list[Request]:
        """Land what has waited too long, and give it."""
        overdue = self._requests.fail_overdue(now)
        self._note_vain(overdue, now)
        return overdue

    def fail_all(self) -> list[Request]:
        """Land everything and ask for nothing more: the connection is over."""
        self._vain.clear()
        self._refreshing.clear()
        return self._requests.fail_all()

    def go_on(self, now: float) -> None:
        """Ask for what is due, as far as the bound on refreshes under way allows."""
        while self._requests.refreshes < self._limits.max_refreshes:
            wanted = self._refreshing.take(now)
            if wanted is None:
                return
            if self._requests.find(*wanted) is None:
                self._request(*wanted, now, is_refresh=True)

    def deadlines(self, *, is_live: bool) -> list[float]:
        """Give when something is due: `fail_overdue`, and while live `go_on`."""
        first = self._requests.first()
        times = [] if first is None else [first.deadline]
        next_at = self._refreshing.next_at
        if is_live and next_at is not None and self._requests.refreshes < self._limits.max_refreshes:
            times.append(next_at)
        return times

    def _note_vain(self, requests: Iterable[Request], now: float) -> None:
        """Spare the next checks the same wait: a service that is silent or cannot answer is not asked at every check."""
        while self._vain and next(iter(self._vain.values())) <= now:
            del self._vain[next(iter(self._vain))]
        for request in requests:
            self._vain.pop((request.kind, request.pairs), None)
            self._vain[request.kind, request.pairs] = now + self._limits.vain_pause

    def _request(self, kind: Kind, pairs: Pairs, now: float, *, is_refresh: bool) -> Request:
        request = Request(kind, pairs, now + self._limits.resource_timeout, is_refresh=is_refresh)
        self._requests.add(request)
        self._send(entity_request(kind, pairs))
        return request


def _keys(data: Any) -> Pairs:
    """Give the keys that an entity or an error carries; what is not text counts as not given."""
    keys = data.get("keys") if isinstance(data, dict) else None
    if not isinstance(keys, dict):
        return ()
    return tuple(sorted((name, value) for name, value in keys.items() if isinstance(value, str)))
