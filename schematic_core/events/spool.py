"""Shell: keeps events in a file, so that those of a killed process reach the service from the next one.

Promises. A row is committed before `Spool.insert` returns: it survives the end of the process, whatever ends it, but not
a power cut (the file is not synchronised at each event). Nothing here raises, and nothing waits for much more than a
second: what the disk or another process refuses stays in memory, as without a spool, and one line tells so.

Threads. One connection, under one lock; threads that insert at the same time share a transaction, written by whoever
gets the lock first.

Forks. A child begins anew. One that was forked in the middle of a write could not use SQLite without the risk of waiting
for ever: it goes on without a spool, and says so.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from schematic_core.events.spool_file import SpoolFile, Unusable, transaction
from schematic_core.events.spool_rows import LEASE, Here, Owner, Row, takable

if TYPE_CHECKING:
    import sqlite3

    from schematic_core.events.report import Log

__all__ = ["TEND_INTERVAL", "Spool"]

T = TypeVar("T")

TEND_INTERVAL = 15.0
"""Seconds between looks after the lease, after dead owners and after the file itself."""

_PATIENCE = 2.5
_RETRY_AFTER = 30.0
_RETRY_AFTER_BUSY = 1.0


class Spool:
    """One client's part of a spool file.

    Args:
        path: of the file, absolute.
        fingerprint: of the API key; rows of others are left alone.
        log: hears of every change for the worse and the better.
        clock: monotonic seconds.
        wall: epoch seconds.
    """

    def __init__(
        self,
        path: str,
        fingerprint: str,
        *,
        log: Log,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._file = SpoolFile(path, log, wall)
        self._fingerprint = fingerprint
        self._log = log
        self._clock = clock
        self._wall = wall
        self._is_unsafe = False
        self._renew()

    def _renew(self) -> None:
        self._lock = threading.Lock()
        self._holder: int | None = None
        self._pending: deque[Row] = deque()
        self._finished: list[int] = []
        self._owner = int.from_bytes(os.urandom(8), "big") >> 2
        self._renew_at = 0.0
        self._retry_at = 0.0
        self._is_failing = False
        self._is_released = False
        self.tend_at: float = 0.0
        """When `tend` has something to do, monotonic seconds."""
        self.has_more: bool = False
        """Whether the last `tend` may have left rows of the dead where they are."""

    def after_fork_in_child(self) -> None:
        """Begin anew; what the parent keeps is the parent's."""
        self._is_unsafe = self._is_unsafe or self._lock.locked() or self._file.is_moving_log
        self._file.after_fork_in_child()
        self._renew()

    @property
    def set_aside(self) -> int:
        """How many corrupt files were renamed."""
        return self._file.set_aside

    # -- callers

    def insert(self, row: Row) -> None:
        """Keep an event; when this returns it is on file, or the log says why events are not."""
        if self._holder == threading.get_ident():  # a signal handler interrupted this very thread: memory must do
            return
        self._pending.append(row)
        with self._held() as is_held:
            if is_held and self._pending and not self._perform(self._insert_pending, otherwise=False):
                self._pending.clear()

    # -- the sender

    def mark(self, numbers: Sequence[int]) -> None:
        """Note that these events are about to be sent."""
        rows = [(self._wall(), self._owner, number) for number in numbers]

        def mark(connection: sqlite3.Connection) -> bool:
            with transaction(connection):
                connection.executemany("UPDATE events SET attempted = ? WHERE owner = ? AND number = ?", rows)
            return True

        with self._held() as is_held:
            if is_held and rows:
                self._perform(mark, otherwise=False)

    def forget(self, numbers: Sequence[int]) -> None:
        """Let go of events whose story has ended."""
        with self._held() as is_held:
            self._finished += numbers
            if is_held and self._finished:
                self._perform(self._delete_finished, otherwise=False)
        self._file.move_log()

    def tend(self, most: int, next_number: Callable[[], int]) -> list[Row]:
        """Renew the lease and take over rows of the dead, ``most`` at once; each gets a new number."""
        self.tend_at = self._clock() + TEND_INTERVAL
        taken: list[Row] = []
        with self._held() as is_held:
            if is_held:
                self._file.leave_if_moved()
                taken = self._perform(lambda connection: self._take_over(connection, most, next_number), otherwise=[])
        self.has_more = len(taken) >= most
        self._file.move_log()
        return taken

    def release(self) -> None:
        """Give up the lease, so that the next process may take what is left, and close the file."""
        with self._held() as is_held:
            self._is_released = True
            if is_held and self._file.is_open:
                self._perform(self._end_lease, otherwise=False)
                self._file.close()

    # -- steps, each under the lock

    def _insert_pending(self, connection: sqlite3.Connection) -> bool:
        rows = list(self._pending)
        with transaction(connection):
            self._renew_lease(connection)
            events = [(self._owner, *row) for row in rows]
            connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", events)
        for _ in rows:
            self._pending.popleft()
        if self._is_released:  # a caller was on its way while the client closed
            self._file.close()
        return True

    def _delete_finished(self, connection: sqlite3.Connection) -> bool:
        with transaction(connection):
            rows = [(self._owner, number) for number in self._finished]
            connection.executemany("DELETE FROM events WHERE owner = ? AND number = ?", rows)
        self._finished.clear()
        return True

    def _renew_lease(self, connection: sqlite3.Connection) -> None:
        now = self._clock()
        if now < self._renew_at and not self._is_released:
            return
        until = 0.0 if self._is_released else self._wall() + LEASE
        here = _here()
        connection.execute(
            "INSERT OR REPLACE INTO owners VALUES (?, ?, ?, ?, ?)",
            (self._owner, self._fingerprint, here.host, here.pid, until),
        )
        self._renew_at = now + TEND_INTERVAL

    def _take_over(self, connection: sqlite3.Connection, most: int, next_number: Callable[[], int]) -> list[Row]:
        taken: list[Row] = []
        with transaction(connection):
            self._renew_at = 0.0
            self._renew_lease(connection)
            others = connection.execute(
                "SELECT id, host, pid, until FROM owners WHERE fingerprint = ? AND id != ?",
                (self._fingerprint, self._owner),
            )
            for owner in takable(map(Owner._make, others.fetchall()), _here(), self._wall(), _is_running):
                taken += self._take_rows_of(connection, owner.id, most - len(taken), next_number)
        return taken

    def _take_rows_of(
        self, connection: sqlite3.Connection, owner: int, most: int, next_number: Callable[[], int]
    ) -> list[Row]:
        found = connection.execute(
            "SELECT number, kind, at, tail, attempted FROM events WHERE owner = ? ORDER BY number LIMIT ?",
            (owner, most),
        )
        rows = [(row, row._replace(number=next_number())) for row in map(Row._make, found.fetchall())]
        connection.executemany(
            "UPDATE events SET owner = ?, number = ? WHERE owner = ? AND number = ?",
            [(self._owner, new.number, owner, old.number) for old, new in rows],
        )
        if len(rows) < most:
            connection.execute("DELETE FROM owners WHERE id = ?", (owner,))
        return [new for _, new in rows]

    def _end_lease(self, connection: sqlite3.Connection) -> bool:
        if self._finished:
            self._delete_finished(connection)
        with transaction(connection):
            left = connection.execute("SELECT 1 FROM events WHERE owner = ? LIMIT 1", (self._owner,)).fetchone()
            if left is None:
                connection.execute("DELETE FROM owners WHERE id = ?", (self._owner,))
            else:
                connection.execute("UPDATE owners SET until = 0 WHERE id = ?", (self._owner,))
        return True

    # -- the lock, and what goes wrong

    @contextmanager
    def _held(self) -> Iterator[bool]:
        """Hold the lock, if it comes in time and this thread does not hold it already."""
        thread = threading.get_ident()
        is_held = self._holder != thread and self._lock.acquire(timeout=_PATIENCE)
        try:
            if is_held:
                self._holder = thread
            yield is_held
        finally:
            if is_held:
                self._holder = None
                self._lock.release()

    def _perform(self, step: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """Do ``step`` with the file open; a corrupt file is set aside and the step done with a new one."""
        import sqlite3

        if self._is_unsafe:
            self._tell("this process was forked while its parent wrote to the event spool; it goes on without one")
            return otherwise
        if self._clock() < self._retry_at:
            return otherwise
        try:
            result = self._try(step)
        except (sqlite3.Error, OSError, Unusable) as fault:
            self._file.close()
            self._retry_at = self._clock() + (_RETRY_AFTER_BUSY if "locked" in str(fault) else _RETRY_AFTER)
            self._tell("the event spool %s fails (%s); events are kept in memory only", self._file.path, fault)
            return otherwise
        if self._is_failing:
            self._is_failing = False
            self._log.info("the event spool %s works again", self._file.path)
        return result

    def _try(self, step: Callable[[sqlite3.Connection], T]) -> T:
        import sqlite3

        try:
            return self._with_file(step)
        except sqlite3.DatabaseError as fault:
            # Exactly this class says "not a database" and "malformed"; locks, disks and permissions have their own.
            if type(fault) is not sqlite3.DatabaseError:
                raise
            self._file.close()
            if not self._file.put_aside(fault):
                raise
        return self._with_file(step)

    def _with_file(self, step: Callable[[sqlite3.Connection], T]) -> T:
        if not self._file.is_open:
            self._renew_at = 0.0
        return step(self._file.connection())

    def _tell(self, words: str, *details: object) -> None:
        if not self._is_failing:
            self._is_failing = True
            self._log.error(words, *details)


def _here() -> Here:
    import socket

    return Here(socket.gethostname(), os.getpid())


def _is_running(pid: int) -> bool:
    if os.name != "posix":  # elsewhere the question would end the process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
