"""Records made on the hot paths: `track`, the same function for client and sender as one more frame costs a tenth, and checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from schematic_core.events.intake import check_track
from schematic_core.events.worker import Worker
from schematic_core.keys import normalise
from schematic_core.values import CheckResult, Keys, TrackOptions

__all__ = ["Recorder", "record_check", "track"]


class Recorder(Protocol):
    """Whoever takes usage: all it needs is the worker whose inbox the record goes to."""

    _worker: Worker


def track(  # noqa: C901, D417, PLR0912 - one flat path for speed; self is the client
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
    if worker.refusal is not None and worker.on_tracked is None:
        return worker.refuse()
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
        return worker.reject(fault)
    if worker.on_tracked is not None:
        worker.on_tracked(company, event, quantity)  # type: ignore[arg-type]  # as below
        if worker.refusal is not None:
            return worker.refuse()
    inbox = worker.inbox
    inbox.append(("track", next(worker.numbers), now, event, company, user, traits, quantity, options))  # type: ignore[arg-type]  # the loops above narrowed the keys
    if len(inbox) >= worker.notice:
        worker.noticed()
    return True


def record_check(
    worker: Worker, result: CheckResult, company: Mapping[str, str], user: Mapping[str, str], *, is_preflight: bool
) -> bool:
    """Record an answered check. Never raises and never waits; the first to go when the queue is full.

    Args:
        worker: takes the record.
        result: the answer.
        company: keys the company was asked by; must not change afterwards.
        user: keys of the user, likewise.
        is_preflight: whether the check asked about usage that had not happened yet.

    Returns:
        Whether it was queued; False also when the settings want none.
    """
    if worker.refusing is not None:
        return worker.refusal is not None and worker.refuse()
    inbox = worker.inbox
    inbox.append(("flag_check", next(worker.numbers), worker.wall(), result, company, user, is_preflight))
    if len(inbox) >= worker.notice:
        worker.noticed(is_check=True)
    return True
