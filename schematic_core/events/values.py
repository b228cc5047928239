"""Values of the event queue: records of events, batches, outcomes of requests, and what the queue asks its shell to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Union

from schematic_core.values import CheckResult, IdentifyOptions, TrackOptions

__all__ = [
    "Batch",
    "Done",
    "Encode",
    "Entities",
    "Entry",
    "EventCounts",
    "FlagCheckRecord",
    "IdentifyRecord",
    "Limits",
    "Notice",
    "NoticeKind",
    "Outcome",
    "Record",
    "Send",
    "SpooledRecord",
    "Step",
    "TrackRecord",
    "Wait",
]

Entities = tuple[tuple[Literal["company", "user"], dict[str, str]], ...]
"""Entities by their keys, e.g. ``(("user", {"id": "ada"}),)``."""

TrackRecord = tuple[
    Literal["track"],
    int,  # number, counted up per process
    float,  # when it happened, epoch seconds
    str,  # event
    Union[dict[str, str], None],  # company keys
    Union[dict[str, str], None],  # user keys
    Union[dict[str, object], None],  # traits, ready for JSON
    Union[int, None],  # quantity
    Union[TrackOptions, None],
]
"""One `track`, as the caller's thread leaves it: a plain tuple, because a class costs three times as much to make."""

IdentifyRecord = tuple[
    Literal["identify"],
    int,
    float,
    dict[str, str],  # user keys
    Union[dict[str, object], None],  # company: {"keys": {...}, "name": ..., "traits": {...}}, the last two optional
    Union[str, None],  # name
    Union[dict[str, object], None],  # traits
    Union[IdentifyOptions, None],
]
"""One `identify`."""

FlagCheckRecord = tuple[
    Literal["flag_check"],
    int,
    float,
    CheckResult,
    Mapping[str, str],  # company keys asked with
    Mapping[str, str],  # user keys asked with
    bool,  # whether it was a preflight
]
"""One answered check."""

SpooledRecord = tuple[
    Literal["spooled"],
    int,
    float,
    str,  # kind: "track" or "identify"
    str,  # the event as JSON from its body on, as `Codec.tail` gives it
    Union[dict[str, str], None],  # company keys of a `track`
    Union[float, None],  # when it was first sent, epoch seconds; None when it never was
    Union[Entities, None],
]
"""One event that the spool keeps as well, under the same number."""

Record = Union[TrackRecord, IdentifyRecord, FlagCheckRecord, SpooledRecord]


class Entry(NamedTuple):
    """One event, serialised.

    Attributes:
        number: of its record.
        kind: of its record.
        since: when it was serialised, monotonic seconds; its age counts from here, so that a stepped wall clock cannot
            expire it. Of a spooled event: when it was first sent, infinity while it never was, for only then can it
            have been received.
        data: its JSON.
        company: keys of the company whose usage it reports; None for all but `track`.
        is_spooled: whether the spool keeps it until it is settled.
        prewarm: entities wanted from the stream once it is acknowledged.
    """

    number: int
    kind: str
    since: float
    data: bytes
    company: dict[str, str] | None
    is_spooled: bool = False
    prewarm: Entities | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the queue.

    Args:
        period: seconds between rounds of sending.
        max_events: events held at most.
        max_bytes: bytes of serialised events held at most.
        max_age: seconds after which an undelivered event is given up.
    """

    period: float
    max_events: int
    max_bytes: int
    max_age: float


@dataclass(frozen=True, slots=True)
class Batch:
    """Events of one request, at least one.

    Attributes:
        entries: in the order of their numbers.
        part: whether it is half of a batch that was refused as a whole.
        last: whether the queue was closing when it was taken; such a request is not repeated.
        untried: numbers of its spooled events that were never sent before.
        size: bytes of its events.
    """

    entries: tuple[Entry, ...]
    part: bool = False
    last: bool = False
    untried: tuple[int, ...] = ()
    size: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", sum(len(entry.data) for entry in self.entries))


OutcomeKind = Literal["acknowledged", "retry", "too_many", "too_large", "rejected", "refused"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request.

    Attributes:
        kind: ``acknowledged``; ``retry`` (later, unchanged); ``too_many`` and ``too_large`` (smaller batches);
            ``rejected`` (something in it is wrong); ``refused`` (the sender itself is not welcome).
        status: HTTP status; None when no answer arrived.
        detail: short text for the log, e.g. ``"ConnectError"``; no secrets.
        retry_after: seconds the service asked to wait; None when it did not.
    """

    kind: OutcomeKind
    status: int | None = None
    detail: str = ""
    retry_after: float | None = None


NoticeKind = Literal["trouble", "refused", "recovered", "kept", "overflow", "expired", "rejected", "undelivered"]


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a human may want to know, once per change of state.

    Attributes:
        kind: ``trouble``, ``refused``, ``recovered`` speak of delivery, ``kept`` of events that the spool keeps for the
            next process, the others of events that are lost.
        events: how many are kept or lost; 0 for the first three.
        outcome: the request's, where one was the cause.
    """

    kind: NoticeKind
    events: int = 0
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Encode:
    """Serialise these, then call `EventQueue.store`."""

    records: list[Record]


@dataclass(frozen=True, slots=True)
class Send:
    """Send this batch, then call `EventQueue.settle`."""

    batch: Batch


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until then (monotonic seconds), or until something is pushed; None: no time limit."""

    until: float | None


@dataclass(frozen=True, slots=True)
class Done:
    """The queue was closed and will not ask for anything any more."""


Step = Union[Encode, Send, Wait, Done]


@dataclass(frozen=True, slots=True)
class EventCounts:
    """What became of this client's events since this process began to use it.

    Attributes:
        queued: accepted.
        waiting: accepted and neither delivered nor lost so far.
        sent: acknowledged by the service.
        retried: sent again; an event counts each time.
        dropped: events lost, by reason, reasons without events left out: ``invalid`` (wrong arguments), ``offline``,
            ``closed`` (after ``close``), ``overflow``, ``overflow_flag_check``, ``expired`` (too old), ``rejected`` (by
            the service), ``unserialisable``, ``before_send`` (the hook gave None), ``undelivered`` (when the client
            closed).
        repeats: flag checks not recorded because they said what another of the same period had said.
        kept: left in the spool for the next process when the client closed.
        set_aside: files of the spool that were corrupt, and renamed.
    """

    queued: int
    waiting: int
    sent: int
    retried: int
    dropped: Mapping[str, int]
    repeats: int = 0
    kept: int = 0
    set_aside: int = 0
