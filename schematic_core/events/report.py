"""Notices of the event queue in words: a log line for humans, an exception for ``on_error``."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Union

from schematic_core.errors import ApiError, BadRequestError, ForbiddenError, SchematicError, UnauthorizedError
from schematic_core.events.intake import Unfit
from schematic_core.events.values import Notice, NoticeKind

if TYPE_CHECKING:
    Log = Union[logging.Logger, logging.LoggerAdapter[logging.Logger]]

__all__ = ["as_error", "say", "say_lost"]

_WORDS: dict[NoticeKind, tuple[int, str]] = {
    "trouble": (logging.WARNING, "events cannot be delivered at present (%s); they are kept and sent again"),
    "refused": (logging.WARNING, "the service refuses events (%s); check the API key and the address of events"),
    "recovered": (logging.INFO, "events are delivered again%s"),
    "kept": (logging.WARNING, "events were not delivered; the spool keeps them for the next process%s"),
    "overflow": (logging.ERROR, "the event queue is full, the oldest events are being lost%s"),
    "expired": (logging.ERROR, "events are lost: too old after a long time without delivery%s"),
    "rejected": (logging.ERROR, "an event is lost: the service rejected it (%s)"),
    "undelivered": (logging.ERROR, "events are lost: they could not be delivered before the end%s"),
}
_ERRORS: dict[int | None, type[ApiError]] = {
    400: BadRequestError,
    401: UnauthorizedError,
    403: ForbiddenError,
}


def say(log: Log, notice: Notice) -> None:
    """Log ``notice``; losses are errors, trouble is a warning."""
    level, words = _WORDS[notice.kind]
    detail = notice.outcome.detail if notice.outcome is not None else ""
    status = notice.outcome.status if notice.outcome is not None else None
    log.log(level, words, detail, extra={"schematic_events": notice.events, "schematic_status": status})


def say_lost(log: Log, fault: Exception, told: set[str]) -> None:
    """Log that an event could not be written; one filled wrongly by the caller once for each way of being wrong."""
    if not isinstance(fault, Unfit):
        log.error("an event could not be serialised and is lost", exc_info=fault)
    elif str(fault) not in told:
        told.add(str(fault))
        log.warning("an event was dropped: %s", fault)


def as_error(notice: Notice) -> SchematicError | None:
    """Give what ``on_error`` is told: refusals and losses; None for what loses nothing, such as trouble that passes."""
    if notice.kind in ("trouble", "recovered", "kept"):
        return None
    text = _WORDS[notice.kind][1] % (notice.outcome.detail if notice.outcome is not None else "")
    if notice.outcome is None:
        return SchematicError(text)
    status = notice.outcome.status
    return _ERRORS.get(status, ApiError)(status_code=status, message=text)
