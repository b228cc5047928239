"""The rules engine under the names of the contract."""

from __future__ import annotations

import asyncio
import pickle
from datetime import datetime

import pytest

from schematic_core.datastream.rules_client import KeyConflictError, RulesEngineClient, RulesEngineError
from schematic_core.errors import EngineError, SchematicError
from schematic_core.rules import check
from schematic_core.values import CheckFlagOptions, EventUsage
from tests.rules.models import NOW, company, condition, flag, metric, rule, user


def test_it_answers_as_the_rules_engine_does() -> None:
    """Every argument reaches it."""
    counted = condition("metric", "lte", event_subtype="ev", metric_value=5, metric_period="all_time")
    documents = flag(rule("plan_entitlement", counted)), company(metrics=[metric(4)]), user()
    client = RulesEngineClient()

    assert client.check_flag(*documents, now=NOW) == check(*documents, now=NOW)
    for options in ({"usage": 2}, {"event_usage": EventUsage("ev", 2)}, {"usage": -1}, {"credit_cost": {"cr": -1.0}}):
        found = client.check_flag(*documents, CheckFlagOptions(**options), now=NOW)
        assert found == check(*documents, now=NOW, **options)
        assert found != check(*documents, now=NOW)


@pytest.mark.parametrize("is_awaited", [False, True], ids=["plain", "awaited"])
def test_it_can_be_loaded_ahead_by_plain_and_by_async_code(is_awaited: bool) -> None:
    """The call does the work; awaiting it is welcome."""
    client = RulesEngineClient()
    assert not client.is_initialized()

    if is_awaited:

        async def main() -> None:
            await client.initialize()

        asyncio.run(main())
    else:
        client.initialize()

    assert client.is_initialized()


def test_a_check_loads_what_was_not_loaded() -> None:
    """Nobody has to initialize it."""
    client = RulesEngineClient()

    client.check_flag(flag())

    assert client.is_initialized()


def test_what_the_engine_refuses_is_its_error_under_the_name_of_the_contract() -> None:
    """One class with two names; the clock keeps the errors of Python."""
    assert RulesEngineError is EngineError
    with pytest.raises(RulesEngineError) as caught:
        RulesEngineClient().check_flag({"id": 1})
    assert caught.value.code == "wrong_type"
    with pytest.raises(ValueError, match="naive"):
        RulesEngineClient().check_flag(flag(), now=datetime(2026, 1, 1))  # noqa: DTZ001 - the fault under test


def test_a_key_conflict_says_which_entities_and_survives_pickling() -> None:
    """It may cross processes like the other errors."""
    error = KeyConflictError("company", ["comp_1", "comp_2"])

    again = pickle.loads(pickle.dumps(error))

    assert isinstance(error, SchematicError)
    assert str(again) == str(error) == "keys of the company belong to comp_1 and comp_2"
    assert (again.kind, again.ids) == ("company", ("comp_1", "comp_2"))
