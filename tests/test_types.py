"""The generated models: lazy, lenient, open, and what the generator gives."""

from __future__ import annotations

import pickle
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from schematic_core import types
from schematic_core.types import (
    CheckFlagsResponseData,
    CompanyDetailResponseData,
    CompanyPlanWithBillingSubView,
    CreateEventRequestBody,
    EventBodyFlagCheck,
    EventBodyTrack,
    UpsertCompanyRequestBody,
    WebFeatureUsageWebhookOutput,
)

ROOT = Path(__file__).resolve().parent.parent


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_files_are_what_the_generator_gives() -> None:
    """And every endpoint agrees with the API's document."""
    done = python("tools/generate_models.py", "--check")

    assert done.returncode == 0, done.stderr


def test_the_package_loads_pydantic_only_for_a_model() -> None:
    """Neither importing it nor listing its names does."""
    done = python(
        "-c",
        "import sys, schematic_core.types as t; dir(t); assert len(t.__all__) > 200; assert 'pydantic' not in sys.modules;"
        "t.EventBodyTrack; assert 'pydantic' in sys.modules",
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", types.__all__)
def test_every_model_is_complete(name: str) -> None:
    """Each can be asked for first, builds with all it refers to, and is listed."""
    model = getattr(types, name)

    if isinstance(model, type) and issubclass(model, BaseModel):
        assert model.model_rebuild(force=True) is True
    assert name in dir(types)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As in any module."""
    with pytest.raises(AttributeError, match="Nonsense"):
        getattr(types, "Nonsense")  # noqa: B009  (type checkers know that it is missing)


def test_left_out_and_null_differ_in_what_is_sent() -> None:
    """An optional member is absent unless it was set, if only to None."""
    body = UpsertCompanyRequestBody(keys={"id": "a"}, name=None)

    assert body.model_dump(mode="json", exclude_unset=True) == {"keys": {"id": "a"}, "name": None}


def test_a_body_is_picked_by_its_type() -> None:
    """Never by its shape: the same members are another model under another type, and an unknown type keeps them plain."""
    shared = {"event": "made", "flag_key": "f", "value": True, "reason": "r"}

    assert isinstance(CreateEventRequestBody(event_type="track", body=shared).body, EventBodyTrack)
    assert isinstance(CreateEventRequestBody(event_type="flag_check", body=shared).body, EventBodyFlagCheck)
    assert CreateEventRequestBody(event_type="brand_new", body=shared).body == shared


def test_naive_instants_are_utc() -> None:
    """Read and written alike."""
    body = CreateEventRequestBody(event_type="track", sent_at=datetime(2026, 1, 2))  # noqa: DTZ001

    assert body.sent_at == datetime(2026, 1, 2, tzinfo=timezone.utc)
    assert body.model_dump(mode="json", exclude_unset=True)["sent_at"] == "2026-01-02T00:00:00Z"


def test_wire_names_and_python_names_are_both_read() -> None:
    """Capitals in the types, small letters in the documentation; sent as the types say."""
    read = WebFeatureUsageWebhookOutput.model_validate({"entitlement": "e", "Usage": 3})

    assert (read.entitlement, read.usage) == ("e", 3)
    assert read.model_dump(by_alias=True, exclude_unset=True) == {"Entitlement": "e", "Usage": 3}


def test_members_that_became_required_may_be_absent() -> None:
    """An older service does not send them; null lists are empty ones."""
    assert CheckFlagsResponseData.model_validate({"flags": None}).flags == []


def test_models_are_frozen_and_pickle() -> None:
    """Assigning fails; a pickled model comes back equal."""
    body = CreateEventRequestBody(event_type="track", body={"event": "made"})

    with pytest.raises(ValidationError):
        body.event_type = "other"
    assert pickle.loads(pickle.dumps(body)) == body


def test_errors_do_not_show_the_input() -> None:
    """It may hold trait values."""
    with pytest.raises(ValidationError) as caught:
        UpsertCompanyRequestBody.model_validate({"keys": "top-secret"})

    assert "top-secret" not in str(caught.value)


def test_a_broken_body_is_read_leniently() -> None:
    """What is missing is None, null lists are empty, odd members stay, nested models are still models."""
    read = types.parse_leniently(
        "CompanyDetailResponseData",
        {
            "id": "comp_1",
            "name": 5,
            "plans": None,
            "plan": {"id": "plan_1", "name": 7},
            "rules": [{"id": "r"}],
            "new": 1,
        },
    )

    assert isinstance(read, CompanyDetailResponseData)
    members = vars(read)  # beyond what the types promise
    assert [members[name] for name in ("id", "name", "plans", "environment_id")] == ["comp_1", 5, [], None]
    assert isinstance(read.plan, CompanyPlanWithBillingSubView)
    assert vars(read.plan)["name"] == 7
    assert read.rules[0].id == "r"
    assert read.model_extra == {"new": 1}


def test_a_whole_body_is_read_strictly_first() -> None:
    """Lenient reading of what fits is plain reading."""
    assert types.parse_leniently("EventBodyTrack", {"event": "made"}) == EventBodyTrack(event="made")
