"""Defaults of flags: which one counts, and what a function among them may do."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from schematic_core.checks.defaults import FlagDefaults
from schematic_core.errors import ConfigurationError
from schematic_core.values import CheckFlagOptions


def fail() -> bool:
    raise RuntimeError("of the application")


def give(value: Any) -> Any:
    return lambda: value


def defaults(**values: Any) -> FlagDefaults:
    return FlagDefaults(values, logging.getLogger("schematic.test"))


@pytest.mark.parametrize(
    ("of_call", "of_flag", "value"),
    [
        (None, None, False),
        (None, True, True),
        (False, True, False),
        (True, None, True),
        (give(True), False, True),
        (None, give(True), True),
        (fail, True, True),
        (give("yes"), True, True),
        (fail, fail, False),
        (None, give(1), False),
    ],
)
def test_the_call_s_default_counts_before_the_flag_s_and_that_before_false(
    of_call: Any, of_flag: Any, value: bool
) -> None:
    """A function that raises, or gives anything but a boolean, gives way to the next."""
    known = defaults() if of_flag is None else defaults(exports=of_flag)

    assert known.of("exports", CheckFlagOptions(default_value=of_call)) is value


def test_a_function_that_raises_is_reported_with_its_flag(caplog: pytest.LogCaptureFixture) -> None:
    """The application's mistake is found in the log."""
    assert defaults(exports=fail).of("exports") is False

    (record,) = caplog.records
    assert record.exc_info is not None
    assert vars(record)["schematic_flag"] == "exports"


@pytest.mark.parametrize("flag_key", [None, 7, ["exports"]])
def test_what_is_no_flag_has_the_default_false(flag_key: object) -> None:
    """Nothing that is passed as a flag can raise here."""
    assert defaults(exports=True).of(flag_key, "no options") is False


def test_an_update_replaces_the_flags_it_names_or_nothing_at_all() -> None:
    """One wrong default spoils the whole update, so that no half of it is in force."""
    known = defaults(exports=True, beta=True)

    known.update({"beta": False, "reports": True})
    with pytest.raises(ConfigurationError, match="beta"):
        known.update({"exports": False, "beta": "on"})  # type: ignore[dict-item]

    assert known.known() == ["exports", "beta", "reports"]
    assert [known.of(flag) for flag in known.known()] == [True, False, True]
