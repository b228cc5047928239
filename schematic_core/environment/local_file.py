"""Shell: an environment file as the source of local answers: read, compiled, counted on, and read again when it changes."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import ReferenceType, finalize, ref

from schematic_core import lifecycle
from schematic_core.datastream.messages import Message, decode
from schematic_core.datastream.replica import Applied, Conflict
from schematic_core.datastream.versions import Kind
from schematic_core.environment import (
    Company,
    Environment,
    companies,
    company_document,
    flag_document,
    load_environment,
    user_document,
    users,
)
from schematic_core.environment.model import entity_id
from schematic_core.environment.periods import WINDOWS, window_end
from schematic_core.environment.usage import count_event, draw_credits
from schematic_core.errors import ConfigurationError, EngineError
from schematic_core.keys import Pairs, pairs
from schematic_core.wire import dumps

if TYPE_CHECKING:
    from schematic_core.checks.local import Local
    from schematic_core.checks.local_flow import Landing

__all__ = ["EnvironmentFile"]

_LOOK_PERIOD = 1.0
_log = logging.getLogger("schematic.environment")


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)


class EnvironmentFile:
    """Fills ``local`` from a file. Made, it has read the file; started, it watches it once a second on a thread.

    A change is taken over as a whole: usage begins again with what the file says. A file that is broken, or gone, changes
    nothing; that is logged once.

    Args:
        path: of the environment file.
        local: what answers from it.
        log: the client's log.
        now: the present, aware.
        period: seconds between looks at the file.

    Raises:
        ConfigurationError: the file cannot be read or something in it is wrong; one line per mistake.
    """

    def __init__(
        self,
        path: str,
        local: Local,
        log: logging.Logger | logging.LoggerAdapter[logging.Logger],
        *,
        now: Callable[[], datetime] = _utc_now,
        period: float = _LOOK_PERIOD,
    ) -> None:
        self._path = path
        self._local = local
        self._log = log
        self._now = now
        self._period = period
        self._seen = _look(path)
        self._environment = load_environment(path)
        self._companies: dict[str, Company] = {}
        self._windows_end: datetime | None = None
        self._told: str | None = None
        self._is_closed = False
        self.after_fork_in_child()
        lifecycle.register(self)

    def after_fork_in_child(self) -> None:
        """Start anew: no thread of the parent is here, and its lock may be held."""
        self._lock = threading.RLock()
        self._made_in = os.getpid()
        self._started_in: int | None = None
        self._ended = threading.Event()

    # -- as the flow sees it

    def start(self) -> None:
        """Take the file over and begin to watch it; nothing when that has happened in this process."""
        if self._started_in == os.getpid() or self._is_closed:
            return
        if self._made_in != os.getpid():  # a fork of which no hook told: the lock may be held by a thread of the parent
            self._local.after_fork_in_child()
            self.after_fork_in_child()
        with self._lock:
            if self._started_in == os.getpid():
                return
            self._started_in = os.getpid()
            try:
                self._take_over(self._environment)
            except (ConfigurationError, EngineError) as error:  # in the midst of a check, which never raises
                self._log.error("flags cannot be evaluated here and answer their defaults: %s", error)
        finalize(self, self._ended.set).atexit = False
        watching = threading.Thread(
            target=_watch, args=(ref(self), self._ended, self._period), name="schematic-file", daemon=True
        )
        with suppress(RuntimeError):  # the interpreter is ending
            watching.start()

    def wait_ready(self, timeout: float) -> bool:  # noqa: ARG002 - of the protocol
        """Give whether flags can be answered here; there is nothing to wait for."""
        return not self._is_closed

    def request(self, entities: Iterable[tuple[Kind, Pairs]]) -> list[Landing]:  # noqa: ARG002 - of the protocol
        """Give nothing: the file says all there is."""
        return []

    def on_landing(self, landing: Landing, callback: Callable[[], None]) -> None:  # noqa: ARG002 - of the protocol
        """Call back at once."""
        callback()

    def on_tracked(self, company: Mapping[str, str] | None, event: str, quantity: int | None) -> None:
        """Count usage and draw credits as the service would."""
        self.start()
        keys = pairs(company or {})
        with self._lock, self._local.changing() as replica:
            found = replica.find("company", keys) if keys else None
            known = None if found is None or isinstance(found, Conflict) else self._companies.get(found.id)
            if known is None:
                return
            now, count = self._now(), 1 if quantity is None else quantity
            counted = count_event(known, event, count, now, now)
            try:
                self._put(draw_credits(self._environment, counted, event, count, now), now)
            except EngineError:  # e.g. a signal handler that interrupted an evaluation: the next look does it
                self._windows_end = now

    def close(self) -> None:
        """Stop watching."""
        self._is_closed = True
        self._ended.set()

    # -- the file

    def look(self) -> None:
        """Take the file over if it has changed, and let windows of usage end."""
        seen = _look(self._path)
        if seen != self._seen:
            self._seen = seen
            self._read_again()
        with self._lock:
            now = self._now()
            if self._windows_end is not None and self._windows_end <= now:
                for company in self._companies.values():
                    self._put(company, now)
                self._windows_end = _next_end(self._companies.values(), now)

    def _read_again(self) -> None:
        try:
            environment = load_environment(self._path)
            with self._lock:
                self._take_over(environment)
        except ConfigurationError as error:
            if str(error) != self._told:
                self._told = str(error)
                self._log.warning("the environment file is broken; answers go on as before it changed:\n%s", error)
            return
        self._told = None
        self._log.info("the environment file has changed and was read again")

    def _take_over(self, environment: Environment) -> None:
        """Put everything into a replica of its own, and answer from that once it is whole.

        Raises:
            ConfigurationError: the engine refuses something of it, or there is no engine; nothing has changed.
        """
        now, replica = self._now(), self._local.fresh()
        flags = [flag_document(environment, key, _overridden(environment, key)) for key in environment.flags]
        frame = {"entity_type": "rulesengine.Flags", "message_type": "full", "data": flags}
        _accepted(self._path, replica.apply(replica.prepare_flags([decode(dumps(frame))])))
        taken = {company.id: company for company in companies(environment, now)}
        documents = [("Company", one.id, company_document(environment, one, now)) for one in taken.values()]
        documents += [("User", user.id, user_document(environment, user)) for user in users(environment, now)]
        for kind, own_id, document in documents:
            change = replica.prepare(_message(kind, own_id, document), 0.0)
            if change is not None:
                _accepted(self._path, replica.apply(change))
        self._environment, self._companies = environment, taken
        self._windows_end = _next_end(taken.values(), now)
        self._local.replace(replica)

    def _put(self, company: Company, now: datetime) -> None:
        self._companies[company.id] = company
        document = company_document(self._environment, company, now)
        change = self._local.replica.prepare(_message("Company", company.id, document), 0.0)
        if change is not None:
            self._local.apply(change)


def _message(kind: str, own_id: str, document: object) -> Message:
    frame = {"entity_type": f"rulesengine.{kind}", "message_type": "full", "entity_id": own_id, "data": document}
    return decode(dumps(frame))


def _accepted(path: str, applied: Applied) -> None:
    if applied.rejected is not None:
        raise ConfigurationError(f"{path}: the engine refuses a {applied.kind}: {applied.rejected}")


def _next_end(all_companies: Iterable[Company], now: datetime) -> datetime | None:
    """Give when the next window of usage ends, of any company."""
    ends = (window_end(*window, now, company.subscription) for company in all_companies for window in WINDOWS)
    return min((end for end in ends if end is not None and end > now), default=None)


def _overridden(environment: Environment, key: str) -> list[str]:
    return [entity_id("company", seed.key) for seed in environment.companies.values() if key in seed.overrides]


def _look(path: str) -> tuple[int, int, int] | None:
    """Tell one state of the file from another; None when there is no file."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _watch(source: ReferenceType[EnvironmentFile], ended: threading.Event, period: float) -> None:
    while not ended.wait(period):
        watched = source()
        if watched is None:
            return
        try:
            watched.look()
        except Exception:  # noqa: BLE001 - the top of a background thread
            _log.exception("looking after an environment file failed")
        del watched
