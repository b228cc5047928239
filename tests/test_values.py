"""Values: what an answer says of itself."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError
from datetime import datetime, timedelta, timezone

import pytest

from schematic_core.values import CheckFlagOptions, CheckResult, Entitlement, EventUsage, Standing

NOW = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)


def test_an_answer_gives_the_members_that_are_present() -> None:
    held = Entitlement(
        feature_id="feat_1", feature_key="exports", value_type="numeric", allocation=5, metric_reset_at=NOW
    )
    result = CheckResult(
        value=True, reason="r", flag_key="exports", source="api", as_of=NOW, entitlement=held, valid_until=NOW
    )

    assert result.to_dict() == {
        "value": True,
        "reason": "r",
        "flag_key": "exports",
        "source": "api",
        "as_of": "2026-11-01T12:00:00Z",
        "entitlement": {
            "feature_id": "feat_1",
            "feature_key": "exports",
            "value_type": "numeric",
            "allocation": 5,
            "metric_reset_at": "2026-11-01T12:00:00Z",
        },
    }


def test_age_and_staleness_are_read_when_asked() -> None:
    now = datetime.now(timezone.utc)
    old = CheckResult(
        value=True, reason="r", flag_key="f", as_of=now - timedelta(hours=1), valid_until=now - timedelta(minutes=1)
    )
    fresh = CheckResult(value=True, reason="r", flag_key="f", as_of=now, valid_until=now + timedelta(hours=1))
    default = CheckResult(value=True, reason="r", flag_key="f")

    assert old.age >= 3600
    assert (old.is_stale, fresh.is_stale, default.is_stale) == (True, False, False)
    assert (default.age, default.flag) == (0.0, "f")


def test_an_answer_cannot_be_changed_and_can_be_sent_elsewhere() -> None:
    result = CheckResult(value=True, reason="r", flag_key="f", as_of=NOW)

    with pytest.raises(FrozenInstanceError):
        result.value = False  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(result)) == result


@pytest.mark.parametrize(
    ("options", "is_preflight"),
    [
        (CheckFlagOptions(default_value=True, timeout=1), False),
        (CheckFlagOptions(usage=0), True),
        (CheckFlagOptions(event_usage=EventUsage("made")), True),
        (CheckFlagOptions(credit_cost={"bcrd_1": 1}), True),
        (CheckFlagOptions(credit_cost={}), False),
    ],
)
def test_options_about_usage_make_a_preflight(options: CheckFlagOptions, is_preflight: bool) -> None:
    assert options.is_preflight is is_preflight


def test_an_answer_of_the_stream_is_as_old_as_the_stream_s_silence() -> None:
    """While the stream stands by it the age is zero, however long ago it was given; then it counts from the loss."""
    standing = Standing()
    result = CheckResult(value=True, reason="r", flag_key="f", source="stream", as_of=NOW, standing=standing)
    assert (result.age, result.is_stale) == (0.0, False)

    standing.until = datetime.now(timezone.utc) - timedelta(seconds=90)

    assert 90.0 <= result.age < 3600.0
    assert result.is_stale
    assert "standing" not in result.to_dict()
    assert pickle.loads(pickle.dumps(result)) == result
