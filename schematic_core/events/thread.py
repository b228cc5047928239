"""The event sender as clients use it: cheap calls in front, one background thread behind.

Ending a process. A normal exit delivers what is queued, for two seconds at most. A signal's default handler kills the
process without an exit: turn SIGTERM into one (``signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))``; servers such
as uvicorn and gunicorn do it themselves) or call ``close()`` from the handler.
"""

from __future__ import annotations

import logging
import sys
import time
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from schematic_core.chance import chance
from schematic_core.config import Settings
from schematic_core.events.intake import (
    PLAIN,
    Unfit,
    check_identify_options,
    check_track,
    copy_company,
    copy_text,
    copy_traits,
)
from schematic_core.events.report import as_error
from schematic_core.events.values import EventCounts, Notice
from schematic_core.events.worker import Worker
from schematic_core.keys import InvalidKeys, normalise
from schematic_core.values import CheckResult, IdentifyOptions, Keys, TrackOptions

if TYPE_CHECKING:
    from schematic_core.events.report import Log

__all__ = ["EventSender"]

Acknowledged = Callable[[tuple[dict[str, str], ...]], None]
"""Told the company keys, e.g. ``({"id": "acme"},)``, of each acknowledged `track` that named a company, in order."""

_MAX_TOLD_PLACES = 100
_OWN = frozenset({"schematic_core", "schematic_fastapi", "schematic_flask", "schematic_django"})


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

    __slots__ = ("__weakref__", "_log", "_on_acknowledged", "_on_error", "_told_places", "_wall", "_worker")

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
        self._on_error = settings.on_error
        self._told_places: set[tuple[str, int]] = set()
        self._wall = wall

    def __del__(self) -> None:
        self._worker.abandon()

    def __repr__(self) -> str:
        return f"<EventSender {self._worker.refusing or 'open'}, {self._worker.left} events waiting>"

    def track(  # noqa: C901, PLR0912 - the contract's signature, and one flat path for speed
        self,
        event: str,
        company: Keys | None = None,
        user: Keys | None = None,
        traits: Mapping[str, object] | None = None,
        quantity: int | None = None,
        options: TrackOptions | None = None,
    ) -> bool:
        """Record usage. Never raises and never waits; costs a copy of the three mappings and an append.

        Arguments are those of `schematic_core.client.Schematic.track`. Traits that JSON cannot carry are left out.

        Returns:
            Whether it was queued; wrong arguments are logged once per place, all refusals counted (see `counts`).
        """
        worker = self._worker
        if worker.refusing is not None:
            worker.refuse()
            return False
        # Flat, since a call costs a tenth of the whole. What is not plain takes the long way, which says what is wrong.
        try:
            if company is not None:
                company = {**company}
                for name in company:
                    if type(name) is not str or type(company[name]) is not str:
                        company = normalise(company)
                        break
            if user is not None:
                user = {**user}
                for name in user:
                    if type(name) is not str or type(user[name]) is not str:
                        user = normalise(user)
                        break
            if traits is not None:
                traits = {**traits}
                for name in traits:
                    if type(name) is not str or type(traits[name]) not in PLAIN:
                        traits = self._copy_traits(traits)
                        break
            if type(event) is not str or not event or (quantity is not None and type(quantity) is not int):
                event, quantity, options = check_track(event, quantity, options)
            now = 0.0  # nobody reads it beside a time of the caller's own
            if options is None:
                now = self._wall()
            elif type(options) is not TrackOptions:
                now = self._wall()
                event, quantity, options = check_track(event, quantity, options)
            elif options.sent_at is None:
                now = self._wall()
        except Exception as fault:  # noqa: BLE001 - arguments run the caller's code and may do anything
            return self._reject(fault)
        inbox = worker.inbox
        inbox.append(("track", next(worker.numbers), now, event, company, user, traits, quantity, options))  # type: ignore[arg-type]  # the loops above narrowed the keys
        if len(inbox) >= worker.notice:
            worker.noticed()
        return True

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
        if worker.refusing is not None:
            worker.refuse()
            return False
        try:
            user = normalise(keys)
            business, unfit = copy_company(company)
            if not user and business is None:
                raise Unfit("identify needs the keys of a user or a company")  # noqa: TRY301 - one handler for all
            name = copy_text("name", name)
            own = None if traits is None else self._copy_traits(traits)
            options = check_identify_options(options)
        except Exception as fault:  # noqa: BLE001 - as in track
            return self._reject(fault)
        self._tell_unfit(unfit)
        worker.inbox.append(("identify", next(worker.numbers), self._wall(), user, business, name, own, options))
        if len(worker.inbox) >= worker.notice:
            worker.noticed()
        return True

    def flag_check(
        self, result: CheckResult, company: Mapping[str, str], user: Mapping[str, str], *, preflight: bool = False
    ) -> bool:
        """Record an answered check. Never raises and never waits; the first to go when the queue is full.

        Args:
            result: the answer.
            company: normalised keys asked with; kept without a copy, so they must not change any more.
            user: likewise.
            preflight: whether the check asked about usage that is not recorded yet.

        Returns:
            Whether it was queued.
        """
        worker = self._worker
        if worker.refusing is not None:
            worker.refuse()
            return False
        inbox = worker.inbox
        inbox.append(("flag_check", next(worker.numbers), self._wall(), result, company, user, preflight))
        if len(inbox) >= worker.notice:
            worker.noticed()
        return True

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

    def report(self, notice: Notice) -> None:
        """Pass on losses and refusals to ``on_error`` (called by the background thread)."""
        error = as_error(notice)
        if error is None or self._on_error is None:
            return
        try:
            self._on_error(error)
        except Exception:  # noqa: BLE001 - a user's callback
            self._log.exception("on_error raised")

    def _copy_traits(self, traits: Mapping[str, object]) -> dict[str, object] | None:
        copied, unfit = copy_traits(traits)
        self._tell_unfit(unfit)
        return copied

    def _tell_unfit(self, names: list[str]) -> None:
        place = self._new_place() if names else None
        if place is not None:
            self._log.warning("%s:%d: traits %s hold values that JSON cannot carry; they are left out", *place, names)

    def _reject(self, fault: Exception) -> bool:
        self._worker.count_refused("invalid")
        place = self._new_place()
        if place is not None:
            said = (
                str(fault) if isinstance(fault, (Unfit, InvalidKeys)) else f"an argument raised {type(fault).__name__}"
            )
            self._log.error("%s:%d: the event is dropped: %s", *place, said)
        return False

    def _new_place(self) -> tuple[str, int] | None:
        """Give file and line of the caller outside the suite, None when it was told before."""
        place = _caller()
        if place in self._told_places or len(self._told_places) >= _MAX_TOLD_PLACES:
            return None
        self._told_places.add(place)
        return place


def _caller() -> tuple[str, int]:
    frame = sys._getframe(1)  # noqa: SLF001 - `inspect` does the same and takes 50 ms to import
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _OWN:
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno
