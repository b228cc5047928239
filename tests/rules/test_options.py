"""Preflight options, as arguments of ``check`` and as documents (rules-engine.md section 2, "options")."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schematic_core.errors import EngineError
from schematic_core.rules import Engine, check
from schematic_core.values import EventUsage
from tests.rules.models import NOW, company, condition, flag, rule

BEYOND_DOUBLES = [10**400, -(10**400), 10**5000]
REFUSED_QUANTITIES: list[Any] = [True, "1", float("nan"), float("inf"), *BEYOND_DOUBLES]
REFUSED_OPTIONS: dict[str, list[Any]] = {
    "usage": [*REFUSED_QUANTITIES, 2**63, 1e300, [], 1j],
    "event_usage": [
        *[5, "ev", {"event_subtype": "ev"}, {"quantity": 1}, {"eventSubtype": "ev", "quantity": 1}],
        *[{"event_subtype": "ev", "quantity": quantity} for quantity in [*REFUSED_QUANTITIES, None]],
        *[EventUsage("ev", quantity) for quantity in BEYOND_DOUBLES],
    ],
    "credit_cost": [5, [], {"\ud800": 2}, *[{"cr": cost} for cost in REFUSED_QUANTITIES]],
}


@pytest.mark.parametrize("option", REFUSED_OPTIONS)
def test_options_are_refused(option: str) -> None:
    """Quantities are finite numbers, and not booleans."""
    for value in REFUSED_OPTIONS[option]:
        options: dict[str, Any] = {option: value}
        with pytest.raises(EngineError):
            check(flag(), now=NOW, **options)


def test_integers_beyond_every_double_are_out_of_range() -> None:
    """They are named, and their digits kept out of the message."""
    with pytest.raises(EngineError) as caught:
        check(flag(), now=NOW, credit_cost={"cr": 10**400})

    assert (caught.value.code, caught.value.path) == ("out_of_range", "credit_cost")
    assert len(str(caught.value)) < 100


def test_unset_options_are_dropped() -> None:
    """None at the top and inside credit_cost; objects may stand for event usage."""
    check(flag(), now=NOW, usage=None, event_usage=None, credit_cost={"cr": None})

    tested = condition("metric", event_subtype="ev", metric_value=2)
    assert check(flag(rule("standard", tested)), company(), now=NOW, event_usage=EventUsage("ev", 1.5)).value


@pytest.mark.parametrize(
    ("document", "path"),
    [
        (b'{"credit_cost": null}', "credit_cost"),
        (b'{"credit_cost": {"cr": null}}', "credit_cost"),
        (b'{"event_usage": {"event_subtype": null, "quantity": 1}}', "event_usage.event_subtype"),
        (b'{"event_usage": {"event_subtype": "ev", "quantity": null}}', "event_usage.quantity"),
        (b"[]", None),
    ],
)
def test_an_options_document_refuses_nulls_that_mean_nothing(document: bytes, path: str | None) -> None:
    """Credit costs may be left out, and are then not null."""
    with pytest.raises(EngineError) as caught:
        Engine().put_options(document)

    assert (caught.value.code, caught.value.path) == ("wrong_type", path)


@pytest.mark.parametrize("document", [b"{}", b'{"usage": null, "event_usage": null}', b'{"credit_cost": {}}'])
def test_an_options_document_may_be_empty(document: bytes) -> None:
    """Then it is held all the same."""
    engine = Engine()

    assert engine.put_options(document) is not None
    assert engine.stats().entities == 1


def test_an_options_document_of_null_is_no_options() -> None:
    """Nothing is held for it; passed along with a question, it changes nothing."""
    engine = Engine()
    asked = json.dumps(flag()).encode()

    assert engine.put_options(b" null ") is None
    assert engine.evaluate(asked, None, None, b"null", now_ms=0) == engine.evaluate(asked, now_ms=0)
    assert engine.stats().entities == 0
