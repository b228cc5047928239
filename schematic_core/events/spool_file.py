"""Shell: the spool's SQLite file, opened for one process: made, recognised, set aside when corrupt, opened anew when moved.

Forks. SQLite's connections do not survive one. A child closes what it inherited before it opens its own, because SQLite
would otherwise take the parent's locks for the child's.

The long part of SQLite's work, moving its log into the file, waits for the disk. No commit does it by the way; the
sender's thread asks for it, through a connection of its own, so that no caller is held up.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from schematic_core.events.spool_rows import APPLICATION_ID, SCHEMA, VERSION

if TYPE_CHECKING:
    import sqlite3

    from schematic_core.events.report import Log

__all__ = ["SpoolFile", "Unusable", "transaction"]

_BUSY_TIMEOUT = 1.0
_MAX_LOG_BYTES = 4 * 1024 * 1024

_Identity = tuple[int, int]


class Unusable(Exception):
    """The file is not one that a spool may write to; the text says why."""


class SpoolFile:
    """The file, and the one connection to it.

    Args:
        path: absolute; made when it is first needed, readable by its owner only.
        log: hears of corruption.
        wall: epoch seconds.
    """

    def __init__(self, path: str, log: Log, wall: Callable[[], float]) -> None:
        self.path: str = path
        self.set_aside: int = 0
        """How many corrupt files were renamed."""
        self.is_moving_log: bool = False
        self._log = log
        self._wall = wall
        self._inherited: list[sqlite3.Connection] = []
        self._connection: sqlite3.Connection | None = None
        self._identity: _Identity | None = None

    def __del__(self) -> None:
        self.close()
        self._close_inherited()

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._connection is not None

    def connection(self) -> sqlite3.Connection:
        """Give the connection, made if there is none.

        Raises:
            sqlite3.Error, OSError: it cannot be opened.
            Unusable: it is something else than a spool.
        """
        if self._connection is None:
            self._connection = self._open()
        return self._connection

    def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                connection.close()

    def after_fork_in_child(self) -> None:
        """Leave the parent's connection alone until this process opens its own; most children never do."""
        if self._connection is not None:
            self._inherited.append(self._connection)
        self._connection = None
        self.is_moving_log = False

    def leave_if_moved(self) -> None:
        """Close it when the path leads elsewhere by now: another process set it aside, or somebody removed it."""
        if self._connection is not None and _identity(self.path) != self._identity:
            self.close()

    def put_aside(self, fault: Exception) -> bool:
        """Rename the file, which is corrupt, unless another process did so; whether there is room for a new one."""
        if self._identity is not None and self._identity != _identity(self.path):
            return True
        aside = f"{self.path}.corrupt-{int(self._wall())}-{os.getpid()}"
        try:
            os.replace(self.path, aside)  # noqa: PTH105 - pathlib takes 10 ms to import
        except OSError:
            return False
        for suffix in ("-wal", "-shm"):
            with suppress(OSError):
                os.replace(self.path + suffix, aside + suffix)  # noqa: PTH105
        self.set_aside += 1
        self._log.error("the event spool was corrupt (%s) and is set aside as %s", fault, aside)
        return True

    def move_log(self) -> None:
        """Move SQLite's log into the file, once it is long."""
        import sqlite3

        try:
            if not self.is_open or os.stat(self.path + "-wal").st_size < _MAX_LOG_BYTES:  # noqa: PTH116
                return
            self.is_moving_log = True
            mover = sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT)
            try:
                mover.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            finally:
                mover.close()
        except (sqlite3.Error, OSError):
            self._log.debug("the log of the event spool could not be moved", exc_info=True)
        finally:
            self.is_moving_log = False

    def _open(self) -> sqlite3.Connection:
        import sqlite3

        self._close_inherited()
        self._identity = None
        with suppress(FileExistsError):  # opened here only where no connection of this process can have it open
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        connection = sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
        try:
            self._identity = _identity(self.path)
            connection.execute("PRAGMA page_size = 1024")  # a commit writes whole pages, and an event is small
            _use_log(connection)
            _prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _close_inherited(self) -> None:
        while self._inherited:
            with suppress(Exception):
                self._inherited.pop().close()


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Do all or nothing of a block."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        with suppress(Exception):
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _use_log(connection: sqlite3.Connection) -> None:
    import sqlite3

    latest = time.monotonic() + _BUSY_TIMEOUT
    while True:
        try:
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        except sqlite3.OperationalError as fault:  # SQLite does not wait here by itself
            if "locked" not in str(fault) or time.monotonic() >= latest:
                raise
            time.sleep(0.01)
            continue
        if mode != "wal":
            raise Unusable("its file system does not support SQLite's log (WAL)")
        return


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute(f"PRAGMA journal_size_limit = {_MAX_LOG_BYTES}")
    with transaction(connection):
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if application == APPLICATION_ID and version == VERSION:
            return
        if application or version or connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
            raise Unusable("it is not an event spool, or that of another version")
        for statement in SCHEMA:
            connection.execute(statement)


def _identity(path: str) -> _Identity | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - pathlib takes 10 ms to import
    except OSError:
        return None
    return found.st_dev, found.st_ino
