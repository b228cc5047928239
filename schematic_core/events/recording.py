"""`track` as the sync client and the event sender both have it: the same function, since one more frame costs a tenth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from schematic_core.events.intake import check_track
from schematic_core.events.worker import Worker
from schematic_core.keys import normalise
from schematic_core.values import Keys, TrackOptions

__all__ = ["Recorder", "track"]


class Recorder(Protocol):
    """Whoever takes usage: all it needs is the worker whose inbox the record goes to."""

    _worker: Worker


def track(  # noqa: C901, D417 - one flat path for speed; self is the client
    self: Recorder,
    event: str,
    company: Keys | None = None,
    user: Keys | None = None,
    traits: Mapping[str, object] | None = None,
    quantity: int | None = None,
    options: TrackOptions | None = None,
) -> bool:
    """Report usage: queue an event and return. Never waits, never raises.

    Args:
        event: e.g. ``"export_created"``.
        company: keys of the company that used it.
        user: keys of the user who did.
        traits: JSON values worth knowing, e.g. ``{"format": "csv"}``; others are left out, and logged once per place.
        quantity: units used; absent means one.
        options: idempotency key and time.

    Returns:
        Whether it was queued; False when closed or offline, or when an argument is wrong (logged once per place).
    """
    worker = self._worker
    if worker.refusing is not None:
        worker.refuse()
        return False
    # Flat, since a call costs a tenth of the whole.
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
            traits = worker.complaints.copy_traits(traits)
        if (
            not (type(event) is str and event)
            or not (quantity is None or type(quantity) is int)
            or not (options is None or type(options) is TrackOptions)
        ):
            event, quantity, options = check_track(event, quantity, options)
        now = worker.wall() if options is None or options.sent_at is None else 0.0
    except Exception as fault:  # noqa: BLE001 - arguments run the caller's code and may do anything
        worker.reject(fault)
        return False
    inbox = worker.inbox
    inbox.append(("track", next(worker.numbers), now, event, company, user, traits, quantity, options))  # type: ignore[arg-type]  # the loops above narrowed the keys
    if len(inbox) >= worker.notice:
        worker.noticed()
    return True
