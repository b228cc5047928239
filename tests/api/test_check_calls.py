"""Calls of flag checks, made without models."""

from __future__ import annotations

import json

import pytest

from schematic_core.api.checks import check_call, checks_call
from schematic_core.errors import ConfigurationError
from schematic_core.values import CheckFlagOptions, EventUsage


def test_a_check_names_its_flag_and_sides() -> None:
    """The flag is one path segment; a side without keys is left out, and a repeat is harmless."""
    call = check_call("a/b", {"id": "acme"}, {})

    assert (call.method, call.path, call.repeatable) == ("POST", "/flags/a%2Fb/check", True)
    assert json.loads(call.body or b"") == {"company": {"id": "acme"}}


def test_a_check_of_all_flags_has_the_same_body() -> None:
    """Both sides, no flag."""
    call = checks_call({"id": "acme"}, {"id": "ada"}, CheckFlagOptions(timeout=1.0))

    assert call.path == "/flags/check"
    assert json.loads(call.body or b"") == {"company": {"id": "acme"}, "user": {"id": "ada"}}


def test_fractions_of_usage_are_rounded_up() -> None:
    """The wire knows whole units; credits stay as they are."""
    options = CheckFlagOptions(usage=0.2, event_usage=EventUsage("made", 1.5), credit_cost={"bcrd_1": 2.5})

    assert json.loads(check_call("f", {}, {}, options).body or b"") == {
        "preflight": {
            "usage": 1,
            "event_usage": {"event_subtype": "made", "quantity": 2},
            "credit_cost": {"bcrd_1": 2.5},
        }
    }


@pytest.mark.parametrize(
    "options", [CheckFlagOptions(event_usage=EventUsage("made")), CheckFlagOptions(credit_cost={"c": 1})]
)
def test_only_what_was_asked_is_in_the_preflight(options: CheckFlagOptions) -> None:
    """Each member stands alone."""
    assert len(json.loads(checks_call({}, {}, options).body or b"")["preflight"]) == 1


def test_what_cannot_be_asked_is_refused() -> None:
    """Infinite usage has no form on the wire, an empty flag key no path."""
    with pytest.raises(ValueError, match="usage"):
        check_call("f", {}, {}, CheckFlagOptions(usage=float("inf")))
    with pytest.raises(ConfigurationError, match="flag_key"):
        check_call("", {}, {})
