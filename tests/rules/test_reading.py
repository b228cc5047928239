"""How documents are read, and what is refused (rules-engine.md sections 2, 3 and 11.2)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from schematic_core.errors import EngineError
from schematic_core.rules import check
from tests.rules.models import NOW, company, condition, definition, flag, metric, policy, rule, trait, user

ENTITLEMENT = {"feature_id": "feat", "feature_key": "key_1", "value_type": "numeric"}


def echoed(**changes: Any) -> dict[str, Any] | None:
    return check(flag(), company(entitlements=[{**ENTITLEMENT, **changes}]), now=NOW).entitlement


def test_an_entitlement_is_echoed_whole() -> None:
    """All fields of section 2, doubles as doubles; unknown fields are dropped, map keys are data."""
    full: dict[str, Any] = {
        **ENTITLEMENT,
        "allocation": 10,
        "soft_limit": 8,
        "usage": 3,
        "event_name": "Ev",
        "event_subtype": "ev",
        "credit_id": "cr",
        "metric_reset_at": "never",
        "metric_period": "all_time",
        "month_reset": "billing_cycle",
        "consumption_rate": 1,
        "credit_total": 1e300,
        "credit_used": 5e-324,
        "credit_remaining": 0.1,
        "credit_reserved": -0.0,
        "credit_settled": 123456789.125,
        "quantity_rates": {"inputTokens": 1, "x_y": 2.5},
        "warning_tiers": [{"key": 'k"\\\u0001\u00e9', "value": 80}],
    }

    got = echoed(**full, surprise=[1])

    assert got == full
    assert got is not None
    assert isinstance(got["consumption_rate"], float)


def test_absent_and_empty_fields_are_left_out_of_the_echo() -> None:
    """Also nulls inside quantity_rates."""
    assert echoed(allocation=None, quantity_rates={"a": None}, warning_tiers=[]) == ENTITLEMENT
    assert echoed(quantity_rates=None, warning_tiers=None) == ENTITLEMENT


def test_the_first_entitlement_of_the_flags_key_is_taken() -> None:
    """Whatever rule held, or none."""
    entitlements = [
        {**ENTITLEMENT, "feature_key": "other"},
        {**ENTITLEMENT, "usage": 1},
        {**ENTITLEMENT, "usage": 2},
    ]

    result = check(flag(), company(entitlements=entitlements), now=NOW)

    assert result.entitlement == {**ENTITLEMENT, "usage": 1}


def changed(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with one field set, e.g. at ``rules.0.priority``; the value ``...`` removes it."""
    copy: Any = json.loads(json.dumps(document))
    *parents, last = path.split(".")
    target = copy
    for name in parents:
        target = target[int(name) if name.isdigit() else name]
    if value is ...:
        del target[last]
    else:
        target[last] = value
    result: dict[str, Any] = copy
    return result


FLAG = flag(
    rule(
        "standard",
        condition("trait", trait_definition=definition(), comparison_trait_definition=definition(), metric_value=1),
        condition_groups=[{"conditions": [condition("plan", resource_ids=["a"])]}],
    )
)
COMPANY = company(
    traits=[trait("1")],
    metrics=[metric(1)],
    rules=[rule(flag_id="other")],
    entitlements=[{**ENTITLEMENT, "allocation": 1, "warning_tiers": [{"key": "k", "value": 1}]}],
    credit_spend_policies=[policy(1, window={"unit": "day", "count": 1})],
    credit_balances={"cr": 1.5},
    credit_postpaid={"cr": {"overdraft_limit": 1}},
    keys={"id": "x"},
    subscription={"id": "s", "period_start": "?", "period_end": "?"},
)
USER = user(traits=[trait("1")], rules=[rule(flag_id="other")], credit_spend_policies=[policy(1)], keys={"id": "x"})

STRING, INTEGER, NUMBER, BOOLEAN, LIST, OBJECT = "x", 7, 7.5, True, [0], {"x": 0}


def refused(kind: str, document: Any) -> EngineError:
    documents: dict[str, Any] = {"flag": FLAG, "company": COMPANY, "user": USER, kind: document}
    with pytest.raises(EngineError) as caught:
        check(documents["flag"], documents["company"], documents["user"], now=NOW)
    return caught.value


def fields(document: Any, path: str = "") -> list[tuple[str, Any]]:
    """Every leaf and container of a document with its path, those inside maps included."""
    pairs = document.items() if isinstance(document, dict) else enumerate(document)
    found = []
    for name, value in pairs:
        here = f"{path}.{name}" if path else str(name)
        found.append((here, value))
        if isinstance(value, (dict, list)):
            found += fields(value, here)
    return found


WRONG: dict[type, list[Any]] = {
    str: [INTEGER, BOOLEAN, LIST, OBJECT],
    bool: [0, "true", LIST],
    int: ["5", 7.0, BOOLEAN, 2**63, -(2**63) - 1, LIST],
    float: ["5", BOOLEAN, LIST],
    list: [STRING, OBJECT, [None]],
    dict: [STRING, LIST, INTEGER],
}
OPTIONAL = {
    *("rules", "conditions", "condition_groups", "resource_ids", "flag_id", "event_subtype", "metric_value"),
    *("trait_definition", "comparison_trait_definition", "traits", "metrics", "entitlements", "allocation"),
    *(
        "warning_tiers",
        "credit_spend_policies",
        "limit",
        "window",
        "count",
        "unit",
        "credit_balances",
        "credit_postpaid",
    ),
    *("overdraft_limit", "keys", "subscription", "kind", "scope", "credit_id"),
}


def may_be_absent(path: str) -> bool:
    name = path.rsplit(".", 1)[-1]
    return (name in OPTIONAL and path != "metrics.0.event_subtype") or (name == "id" and "policies" in path)


@pytest.mark.parametrize(("kind", "document"), [("flag", FLAG), ("company", COMPANY), ("user", USER)])
def test_every_field_refuses_other_types_and_knows_whether_it_may_be_absent(kind: str, document: Any) -> None:
    """Wrong types reject wherever they stand; null and missing reject exactly for required fields."""
    check(FLAG, COMPANY, USER, now=NOW)
    for path, value in fields(document):
        wrong = WRONG[type(value)]
        if path.endswith(("overdraft_limit", "limit", ".cr")) and isinstance(value, (int, float)):
            wrong = WRONG[float]
        for other in wrong:
            error = refused(kind, changed(document, path, other)) if not path[-1].isdigit() else None
            assert error is None or error.code in ("wrong_type", "out_of_range"), (path, other, error)
        in_map = path in ("keys.id", "credit_balances.cr", "credit_postpaid.cr")
        if may_be_absent(path) or in_map or path[-1].isdigit():
            continue
        assert refused(kind, changed(document, path, None)).code == "wrong_type"
        assert refused(kind, changed(document, path, ...)).code == "missing"


@pytest.mark.parametrize(("kind", "document"), [("flag", FLAG), ("company", COMPANY), ("user", USER)])
def test_optional_fields_accept_null_and_absence(kind: str, document: Any) -> None:
    """Null and missing mean the same to everything that is not required."""
    documents: dict[str, Any] = {"flag": FLAG, "company": COMPANY, "user": USER}
    for path, _ in fields(document):
        if not may_be_absent(path):
            continue
        results = []
        for value in (None, ...):
            documents[kind] = changed(document, path, value)
            results.append(check(documents["flag"], documents["company"], documents["user"], now=NOW))
        assert results[0] == results[1], path


def test_maps_treat_null_each_in_its_way() -> None:
    """A balance of null rejects, a null postpaid entry is no entry; the last of equal names wins."""
    assert refused("company", changed(COMPANY, "credit_balances.cr", None)).code == "wrong_type"
    for number in ("1e400", "-1e400", "1" * 400):
        spoiled = json.dumps(COMPANY).replace('{"cr": 1.5}', f'{{"cr": {number}}}')
        assert refused("company", spoiled).code == "out_of_range"
    credit = condition("credit", credit_id="cr", consumption_rate=5)
    asked = flag(rule("standard", credit))
    text = json.dumps(company())[:-1]

    assert check(asked, text + ', "credit_postpaid": {"cr": {}, "c": null}}', now=NOW).value
    assert not check(asked, text + ', "credit_postpaid": {"cr": {}, "cr": null}}', now=NOW).value
    assert check(asked, text + ', "credit_balances": {"cr": 1, "a": 1, "cr": 5}}', now=NOW).value
    assert not check(asked, text + ', "credit_balances": {"cr": 5, "a": 1, "cr": 1}}', now=NOW).value


def edited(old: str, new: str) -> str:
    text = json.dumps(FLAG)
    assert old in text
    return text.replace(old, new, 1)


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (lambda: edited('"priority": 1', '"priority": -0'), "wrong_type"),
        (lambda: edited('"priority": 1', '"priority": 1e0'), "wrong_type"),
        (lambda: edited('"priority": 1', '"priority": 1, "priority": 1'), "repeated"),
        (lambda: edited('"name"', '"na\\u006de": "", "name"'), "repeated"),
        (lambda: edited('"rule_type"', '"ruleType": "standard", "rule_type"'), "repeated"),
        (lambda: edited('"rule_type": "standard"', '"rule_type": "Standard"'), "unknown_value"),
        (lambda: edited('"rule_type": "standard"', '"rule_type": "none"'), "unknown_value"),
        (lambda: edited('"comparable_type": "string"', '"comparable_type": "float"'), "unknown_value"),
        (lambda: edited('"entity_type": "company"', '"entity_type": "plan"'), "unknown_value"),
        (lambda: edited('"name": "Pro"', r'"name": "\ud800"'), "encoding"),
        (lambda: edited('"name": "Pro"', r'"name": "\udc00\ud800"'), "encoding"),
        (lambda: edited('"name": "Pro"', '"name": "\x01"'), "malformed"),
        (lambda: edited('"name": "Pro"', r'"name": "\x41"'), "malformed"),
        (lambda: edited('"name"', r'"\ud800": 1, "name"'), "encoding"),
        (lambda: edited('"name"', '"zz": 01, "name"'), "malformed"),
        (lambda: edited('"name"', '"zz": -, "name"'), "malformed"),
        (lambda: edited('"name"', '"zz": [1,], "name"'), "malformed"),
        (lambda: edited('"name"', r'"zz": "\uZZZZ", "name"'), "malformed"),
        (lambda: edited('"name"', '"zz": "\n", "name"'), "malformed"),
        (lambda: edited('"name"', '"zz": nul, "name"'), "malformed"),
        (lambda: edited('"name"', '"zz": ' + "[" * 126 + "]" * 126 + ', "name"'), "too_deep"),
        (lambda: json.dumps(FLAG) + " x", "malformed"),
        (lambda: json.dumps(FLAG)[:-1], "malformed"),
        (lambda: json.dumps(FLAG)[:-1] + ",}", "malformed"),
        (lambda: "\ufeff" + json.dumps(FLAG), "malformed"),
        (lambda: json.dumps(FLAG).encode().replace(b"Pro", b"\xff"), "encoding"),
        (lambda: json.dumps(FLAG).encode().replace(b"Pro", b"\xed\xa0\x80"), "encoding"),
        (lambda: json.dumps(FLAG) + "\ud800", "encoding"),
        (lambda: "", "malformed"),
        (lambda: "null", "wrong_type"),
        (lambda: "[]", "wrong_type"),
        (lambda: '"flag"', "wrong_type"),
    ],
)
def test_text_is_refused(edit: Callable[[], Any], code: str) -> None:
    """Grammar, names, numbers and encoding as section 3 asks."""
    assert refused("flag", edit()).code == code


@pytest.mark.parametrize(
    "edit",
    [
        lambda: edited(
            '"name"', r'"zz": [1e400, {"\udc00": "\ud800", "\ud800": 1}, [[]], {}, "\"\\"], "zz": 1, "name"'
        ),
        lambda: edited('"name"', '"zz": ' + "[" * 125 + "]" * 125 + ', "name"'),
        lambda: edited('"name"', '"na\\u006de"'),
        lambda: edited('"rule_type"', '"ruleType"'),
        lambda: edited('"condition_groups"', '"conditionGroups"'),
        lambda: edited('"comparison_trait_definition"', '"comparisonTraitDefinition"'),
        lambda: edited('"operator": "eq"', '"operator": "has"'),
        lambda: edited('"priority": 1', '"priority": -9223372036854775808'),
        lambda: " \t\r\n" + json.dumps(FLAG, indent=2) + "\n",
        lambda: json.dumps(FLAG).encode(),
        lambda: bytearray(json.dumps(FLAG).encode()),
    ],
)
def test_text_is_accepted(edit: Callable[[], Any]) -> None:
    """Unknown fields hold anything, names have two spellings and may be escaped."""
    assert check(edit(), COMPANY, USER, now=NOW) == check(FLAG, COMPANY, USER, now=NOW)


def test_strings_are_unescaped() -> None:
    """All escapes, pairs of surrogates included, beside bytes that need none."""
    text = json.dumps(flag(rule("default", name="?"))).replace(
        "?", r"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00é" + "\U0001f600"
    )

    assert 'rule "' + '"\\/\b\f\n\r\té\U0001f600é\U0001f600' + '" (' in check(text, now=NOW).reason


def test_the_error_says_what_and_where() -> None:
    """Message, code, path and byte."""
    document = json.dumps(flag(rule(), rule(), rule(priority="7")))

    error = refused("flag", document)

    offset = document.index('"7"')
    assert str(error) == f"rejected flag: expected integer at rules[2].priority (byte {offset})"
    assert (error.code, error.path, error.offset) == ("wrong_type", "rules[2].priority", offset)
    assert (
        refused("flag", flag(rule("standard", condition("x", id=...) | {"id": None}))).path
        == "rules[0].conditions[0].id"
    )


@pytest.mark.parametrize("source", [5, [], object(), 1.5, ("a",), json])
def test_entities_of_other_types_are_refused(source: Any) -> None:
    """An engine error too, naming the type."""
    assert refused("company", source).code == "wrong_type"


def test_objects_become_json_strictly() -> None:
    """No NaN, no objects JSON does not have, no cycles; unpaired surrogates are the engine's to refuse."""
    cycle: dict[str, Any] = company()
    cycle["keys"] = cycle
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    for document in (company(credit_balances={"cr": float("nan")}), company(zz=object()), cycle, company(zz=deep)):
        assert refused("company", document).code in ("malformed", "too_deep")
    assert refused("company", company(id="\ud800")).code == "encoding"
    assert check(flag(), company(zz="\ud800"), now=NOW).company_id == "co_1"


def test_models_write_themselves() -> None:
    """Anything with ``model_dump_json``, as pydantic models have."""

    class Model:
        def model_dump_json(self) -> str:
            return json.dumps(company(id="co_9"))

    class Broken:
        def model_dump_json(self) -> str:
            raise ValueError("no")

    assert check(flag(), Model(), now=NOW).company_id == "co_9"
    assert refused("company", Broken()).code == "malformed"
    assert refused("company", Model).code == "wrong_type"


def test_null_entities_are_absent() -> None:
    """None and the text of a null alike."""
    assert check(flag(), "null", b" null ", now=NOW) == check(flag(), None, None, now=NOW)


def test_the_clock_must_be_an_aware_datetime() -> None:
    """The caller's mistake, not the document's."""
    with pytest.raises(ValueError, match="naive"):
        check(flag(), now=NOW.replace(tzinfo=None))
    with pytest.raises(TypeError, match="datetime"):
        check(flag(), now=5)  # type: ignore[arg-type]
    assert check(flag()).value is False
