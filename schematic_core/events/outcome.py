"""What an answer of the event endpoint means for the batch that was sent: a pure table."""

from __future__ import annotations

from schematic_core.events.values import Outcome, OutcomeKind
from schematic_core.timing import retry_after_seconds

__all__ = ["judge"]

_SUCCESS = range(200, 300)
_SERVER_ERROR = 500
_BAD_REQUEST = 400
_BY_STATUS: dict[int, OutcomeKind] = {
    _BAD_REQUEST: "rejected",
    408: "retry",
    413: "too_large",
    422: "rejected",
    429: "retry",
}


def judge(status: int, retry_after: str | None, body: bytes, *, now: float) -> Outcome:
    """Say what to do after an answer.

    Anything that speaks neither of the batch nor of a passing trouble (401, 403, 404, a redirect) refuses the sender
    itself, so that a wrong key or address loses nothing while the queue has room (choice).

    Args:
        status: HTTP status.
        retry_after: the ``Retry-After`` header, seconds or an HTTP date.
        body: of the answer; read only to recognise ``{"error": "batch too large", ...}``.
        now: epoch seconds, to read a date.
    """
    if status in _SUCCESS:
        return Outcome("acknowledged", status)
    kind: OutcomeKind = "retry" if status >= _SERVER_ERROR else _BY_STATUS.get(status, "refused")
    if status == _BAD_REQUEST and b"batch too large" in body.lower():
        kind = "too_many"
    return Outcome(
        kind, status, f"HTTP status {status}", retry_after_seconds(retry_after, now) if kind == "retry" else None
    )
