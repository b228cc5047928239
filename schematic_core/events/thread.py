"""The event sender as clients use it: cheap calls in front, one background thread behind.

Ending a process. A normal exit delivers what is queued, for two seconds at most. A signal's default handler kills the
process without an exit: turn SIGTERM into one (``signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))``; servers such
as uvicorn and gunicorn do it themselves) or call ``close()`` from the handler.
"""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol

from schematic_core.chance import chance
from schematic_core.config import Settings
from schematic_core.events.intake import Unfit, check_identify_options, copy_company, copy_text
from schematic_core.events.recording import track
from schematic_core.events.report import as_error
from schematic_core.events.sent import Sent
from schematic_core.events.values import Entities, EventCounts, Notice
from schematic_core.events.worker import Worker
from schematic_core.keys import Pairs, normalise, pairs
from schematic_core.values import IdentifyOptions, Keys

if TYPE_CHECKING:
    from schematic_core.events.report import Log

__all__ = ["EventSender"]

Kind = Literal["company", "user"]

Acknowledged = Callable[[tuple[dict[str, str], ...]], None]
"""Told the company keys, e.g. ``({"id": "acme"},)``, of each acknowledged `track` that named a company, in order."""


class Prewarming(Protocol):
    """What can be asked for entities, such as the stream; never raises and never waits."""

    def request(self, entities: Iterable[tuple[Kind, Pairs]], /) -> object:
        """Ask for these; those that are here already are not asked for again."""
        ...


class EventSender:
    """Records events and delivers them in the background.

    Thread-safe, usable in signal handlers, in any event loop or none. Nothing is started or opened before the first
    event. Survives a fork: the child begins with an empty queue and its own thread.

    Args:
        settings: of the client.
        on_acknowledged: called on the background thread when the service took in usage; whatever it raises is logged.
        log: where to log; the client's logger or ``schematic.events`` otherwise.
        clock: gives monotonic seconds.
        wall: gives epoch seconds.
        random: gives floats in [0, 1), for the jitter of waits.
    """

    __slots__ = ("__weakref__", "_log", "_on_acknowledged", "_on_error", "_prewarming", "_send_timeout", "_worker")

    def __init__(
        self,
        settings: Settings,
        *,
        on_acknowledged: Acknowledged | None = None,
        log: Log | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        random: Callable[[], float] = chance,
    ) -> None:
        self._log = log or settings.logger or logging.getLogger("schematic.events")
        self._worker = Worker(settings, weakref.ref(self), log=self._log, clock=clock, wall=wall, random=random)
        self._on_acknowledged = on_acknowledged
        self._prewarming: Prewarming | None = None
        self._on_error = settings.on_error
        self._send_timeout = settings.event_send_timeout if settings.event_delivery == "immediate" else None

    def __del__(self) -> None:
        self._worker.abandon()

    def __repr__(self) -> str:
        return f"<EventSender {self._worker.refusal or 'open'}, {self._worker.left} events waiting>"

    track = track

    @property
    def sent(self) -> Callable[[], Sent] | None:
        """Gives, with immediate delivery, what async callers await; None otherwise: then there is nothing to wait for."""
        return None if self._send_timeout is None else partial(Sent, partial(self._worker.flush, self._send_timeout))

    @property
    def worker(self) -> Worker:
        """What `track` needs of a sender: the clients have the same function."""
        return self._worker

    def identify(
        self,
        keys: Keys,
        company: object = None,
        name: str | None = None,
        traits: Mapping[str, object] | None = None,
        options: IdentifyOptions | None = None,
    ) -> bool:
        """Record who a user is. Never raises and never waits.

        Args:
            keys: of the user, e.g. ``{"id": "ada"}``.
            company: ``{"keys": {"id": "acme"}, "name": "Acme", "traits": {...}}``, the last two optional, or an object
                with these attributes such as ``EventBodyIdentifyCompany``.
            name: the user's.
            traits: the user's; a None inside clears the trait.
            options: idempotency key.

        Returns:
            As `track`.
        """
        worker = self._worker
        if worker.refusal is not None:
            return worker.refuse()
        try:
            user = normalise(keys)
            business, unfit = copy_company(company)
            if not user and business is None:
                raise Unfit("identify needs the keys of a user or a company")  # noqa: TRY301 - one handler for all
            name = copy_text("name", name)
            own = None if traits is None else worker.complaints.copy_traits(traits)
            options = check_identify_options(options)
        except Exception as fault:  # noqa: BLE001 - arguments run the caller's code and may do anything
            return worker.reject(fault)
        worker.complaints.tell_unfit(unfit)
        worker.inbox.append(("identify", next(worker.numbers), worker.wall(), user, business, name, own, options))
        if len(worker.inbox) >= worker.notice:
            worker.noticed()
        return True

    def prewarmed_by(self, source: Prewarming) -> None:
        """Let `identify` with ``prewarm`` ask this source, once the service has acknowledged it."""
        self._prewarming = source

    def start(self) -> None:
        """Open the spool in the background, and begin to send what other processes left there; without one, nothing."""
        self._worker.take_up()

    def flush(self, timeout: float | None = None) -> int:
        """Send now, and wait until everything queued before this call is delivered or lost.

        After trouble the next try is made at once, unless the service itself asked for a pause or refused the key.

        Args:
            timeout: seconds to wait at most; None waits as long as it takes.

        Returns:
            How many of these events remain, 0 when all are through.
        """
        return self._worker.flush(timeout)

    def close(self, timeout: float = 5.0) -> int:
        """Refuse further events and send what is queued, one request per batch; repeating it changes nothing.

        A pause after trouble is cut short for that last try. On return the thread and its connection are gone, except
        when the service hangs: then they end with that request.

        Args:
            timeout: seconds to wait at most.

        Returns:
            How many events were not delivered.
        """
        worker = self._worker
        deadline = worker.deadline_after(timeout)
        worker.begin_exit(deadline)
        worker.finish_exit(deadline)
        return worker.left

    @property
    def counts(self) -> EventCounts:
        """What became of the events so far."""
        return self._worker.counts()

    def acknowledged(self, companies: tuple[dict[str, str], ...]) -> None:
        """Pass on that usage of ``companies`` was taken in (called by the background thread)."""
        if self._on_acknowledged is None:
            return
        try:
            self._on_acknowledged(companies)
        except Exception:  # noqa: BLE001 - a user's callback
            self._log.exception("on_acknowledged raised")

    def identified(self, entities: Entities) -> None:
        """Ask the stream for entities that were taken in (called by whoever sends)."""
        if self._prewarming is not None:
            self._prewarming.request([(kind, pairs(keys)) for kind, keys in entities])

    def report(self, notice: Notice) -> None:
        """Pass on losses and refusals to ``on_error`` (called by the background thread)."""
        error = as_error(notice)
        if error is None or self._on_error is None:
            return
        try:
            self._on_error(error)
        except Exception:  # noqa: BLE001 - a user's callback
            self._log.exception("on_error raised")
