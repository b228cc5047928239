"""The spool's file: its tables, what a row says, and whose rows may be taken. Pure; `spool.py` does the work.

Each client of each process is an *owner*, with a lease that it renews. Its events are rows under its number, so that a
row is named by owner and event and no two processes ever mean the same one. Who finds a dead owner takes its rows over,
under its own number. A row holds neither the API key nor any address: the key's fingerprint, at the owner, says whose
events they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from schematic_core.events.codec import plain_event
from schematic_core.events.values import SpooledRecord

__all__ = ["APPLICATION_ID", "LEASE", "SCHEMA", "VERSION", "Here", "Owner", "Row", "fingerprint", "records", "takable"]

APPLICATION_ID = 0x53636870
VERSION = 1
LEASE = 60.0
"""Seconds for which an owner counts as alive after it last said so."""

SCHEMA = (
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {VERSION}",
    """CREATE TABLE owners (
        id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL, host TEXT NOT NULL, pid INTEGER NOT NULL, until REAL NOT NULL
    )""",
    """CREATE TABLE events (
        owner INTEGER NOT NULL, number INTEGER NOT NULL, kind TEXT NOT NULL, at REAL NOT NULL, tail TEXT NOT NULL,
        attempted REAL, PRIMARY KEY (owner, number)
    ) WITHOUT ROWID""",
)


class Row(NamedTuple):
    """One event as the file keeps it.

    Attributes:
        number: of the event, within its owner.
        kind: ``"track"`` or ``"identify"``.
        at: when it was recorded, epoch seconds.
        tail: `Codec.tail`.
        attempted: when it was first sent, epoch seconds; None when it never was.
    """

    number: int
    kind: str
    at: float
    tail: str
    attempted: float | None = None


class Owner(NamedTuple):
    """Who keeps rows in the file; ``until`` is the end of the lease, epoch seconds, 0 once it has closed."""

    id: int
    host: str
    pid: int
    until: float


class Here(NamedTuple):
    """Where this process runs."""

    host: str
    pid: int


def fingerprint(api_key: str) -> str:
    """Give what tells the events of one key from those of another, and does not tell the key."""
    return hashlib.sha256(b"schematic-suite event spool\n" + api_key.encode()).hexdigest()[:32]


def takable(owners: Iterable[Owner], here: Here, now: float, is_running: Callable[[int], bool]) -> list[Owner]:
    """Give the owners that are gone, so that their rows may be taken.

    A process of this host is asked for by its number, so that the next process need not wait for the lease of one that
    was killed. A number that is in use again, or this process's own (a container's is always 1), leaves it to the lease.

    Args:
        owners: others than oneself.
        here: this process.
        now: epoch seconds.
        is_running: tells whether a process of this host, by its number, exists.
    """
    return [
        owner
        for owner in owners
        if owner.until <= now or (owner.host == here.host and owner.pid != here.pid and not is_running(owner.pid))
    ]


def records(rows: Iterable[Row]) -> Iterator[SpooledRecord]:
    """Give rows as the event queue takes them; one that cannot be read is left to the service to judge."""
    for row in rows:
        yield "spooled", row.number, row.at, row.kind, row.tail, _company(row), row.attempted, None


def _company(row: Row) -> dict[str, str] | None:
    if row.kind != "track":
        return None
    try:
        company: Any = plain_event(row.kind, row.tail)["body"].get("company")
    except (ValueError, KeyError, AttributeError, json.JSONDecodeError):
        return None
    return company if isinstance(company, dict) else None
