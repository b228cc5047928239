"""What each answer of the event endpoint means."""

from __future__ import annotations

import pytest

from schematic_core.events.outcome import judge
from schematic_core.events.report import as_error
from schematic_core.events.values import Notice, NoticeKind, Outcome


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, "acknowledged"),
        (202, "acknowledged"),
        (302, "refused"),
        (400, "rejected"),
        (401, "refused"),
        (403, "refused"),
        (404, "refused"),
        (408, "retry"),
        (413, "too_large"),
        (422, "rejected"),
        (429, "retry"),
        (500, "retry"),
        (503, "retry"),
    ],
)
def test_the_status_decides(status: int, kind: str) -> None:
    """Each status leads to one way of going on."""
    assert judge(status, None, b"{}", now=0.0).kind == kind


def test_too_large_a_batch_is_told_from_a_bad_one() -> None:
    """The capture host says so with status 400."""
    body = b'{"error": "batch too large", "max_size": 100}'

    assert judge(400, None, body, now=0.0).kind == "too_many"


def test_too_large_an_event_does_not_shrink_all_later_batches() -> None:
    """Only the batch's own size is a reason for smaller ones."""
    assert judge(400, None, b'{"error": "trait value too large"}', now=0.0).kind == "rejected"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        (" 30 ", 30.0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90.0),
        ("Thu, 01 Jan 1970 00:00:01 GMT", 0.0),
        ("Thu Jan  1 00:01:40 1970", 90.0),
        ("soon", None),
        ("-5", None),
        ("9" * 40, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    """What cannot be read counts as absent."""
    assert judge(503, header, b"", now=10.0).retry_after == seconds


def test_retry_after_matters_only_to_a_retry() -> None:
    """A refusal is probed at its own pace."""
    assert judge(401, "7", b"", now=0.0).retry_after is None


@pytest.mark.parametrize(
    ("kind", "status", "name"),
    [
        ("refused", 401, "UnauthorizedError"),
        ("refused", 403, "ForbiddenError"),
        ("refused", 404, "ApiError"),
        ("rejected", 400, "BadRequestError"),
        ("overflow", None, "SchematicError"),
        ("expired", None, "SchematicError"),
        ("undelivered", None, "SchematicError"),
        ("trouble", 503, "NoneType"),
        ("recovered", None, "NoneType"),
    ],
)
def test_losses_and_refusals_are_errors(kind: NoticeKind, status: int | None, name: str) -> None:
    """Passing trouble loses nothing and is no error."""
    notice = Notice(kind, 1, None if status is None else Outcome("refused", status, f"HTTP status {status}"))

    error = as_error(notice)

    assert type(error).__name__ == name
    assert getattr(error, "status_code", None) == (status if error is not None else None)
