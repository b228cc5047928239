"""What must be true of every check, on documents made at random and on those of the corpus."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from itertools import islice
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schematic_core.errors import EngineError
from schematic_core.rules import Evaluation, check
from tests.rules.corpus import cases
from tests.rules.models import company, condition, definition, flag, metric, policy, rule, trait, user

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
MAPS = {"credit_balances"}
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

names = st.sampled_from(["a", "b", ""])
operators = st.sampled_from(["eq", "ne", "gt", "lt", "gte", "lte", "is_empty", "not_empty", "has"])
kinds = st.sampled_from(["string", "int", "bool", "date"])
texts = st.sampled_from(["", "1", "7", "1.5", "true", "x", "2024-01-15T21:59:40Z", "2024-01-15 21:59:40"])
periods = st.sampled_from([None, "all_time", "current_day", "current_week", "current_month"])
resets = st.sampled_from([None, "first_of_month", "billing_cycle"])
moments = st.datetimes(datetime(2023, 1, 1), datetime(2025, 1, 1)).map(lambda at: at.replace(tzinfo=timezone.utc))  # noqa: DTZ001
stamps = moments.map(lambda at: at.isoformat())
amounts = st.sampled_from([0, 1, 2.5, 10, -1])
definitions = st.builds(definition, names, kinds, st.sampled_from(["company", "user"]))
conditions = st.builds(
    condition,
    st.sampled_from(["company", "user", "plan", "base_plan", "metric", "metric", "trait", "trait", "credit", "credit"]),
    operators,
    resource_ids=st.lists(names, max_size=2),
    event_subtype=st.sampled_from(["ev", "a"]),
    metric_value=st.integers(0, 3),
    metric_period=periods,
    metric_period_month_reset=resets,
    credit_id=st.just("cr"),
    consumption_rate=amounts,
    trait_definition=definitions,
    trait_value=texts,
    comparison_trait_definition=st.none() | definitions,
)
types = st.sampled_from(
    ["company_override", "plan_entitlement", "plan_entitlement_usage_exceeded", "standard", "standard", "default"]
)


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    return rule(
        draw(types),
        *draw(st.lists(conditions, max_size=2)),
        value=draw(st.booleans()),
        id=draw(st.sampled_from(["r1", "r2", "r3"])),
        flag_id=draw(st.sampled_from(["flag_1", None])),
        priority=draw(st.integers(-1, 1)),
        condition_groups=[
            {"conditions": draw(st.lists(conditions, max_size=2))} for _ in range(draw(st.integers(0, 1)))
        ],
    )


policies = st.builds(
    policy,
    amounts,
    st.sampled_from(["window", "window", "per_draw"]),
    scope=st.sampled_from(["company", "user", "group"]),
    consumed=amounts,
    resets_at=st.none() | stamps,
)
traits = st.lists(st.builds(trait, texts, names, kinds), max_size=3)
companies = st.builds(
    company,
    id=names,
    base_plan_id=st.none() | names,
    plan_ids=st.lists(names, max_size=2),
    traits=traits,
    metrics=st.lists(
        st.builds(metric, st.integers(0, 3), st.just("ev"), periods.filter(bool), resets.filter(bool)), max_size=3
    ),
    rules=st.lists(rules(), max_size=2),
    credit_balances=st.fixed_dictionaries({}, optional={"cr": amounts}),
    credit_spend_policies=st.lists(policies, max_size=2),
    subscription=st.none() | st.builds(lambda a, b: {"id": "s", "period_start": a, "period_end": b}, stamps, stamps),
)
users = st.builds(user, id=names, traits=traits, rules=st.lists(rules(), max_size=2))
questions = st.fixed_dictionaries(
    {
        "flag": st.lists(rules(), max_size=4).map(lambda found: flag(*found)),
        "company": st.none() | companies,
        "user": st.none() | users,
        "now": moments,
        "usage": st.none() | st.integers(0, 3),
    }
)


def ask(question: dict[str, Any], **changes: Any) -> Evaluation:
    return check(**{**question, **changes})


@given(question=questions, other=questions)
@QUICK
def test_a_check_is_pure(question: dict[str, Any], other: dict[str, Any]) -> None:
    """The same question gives the same result, whatever was asked in between."""
    first = ask(question)
    ask(other)

    assert ask(question) == first


@given(question=questions, share=st.floats(0, 1, exclude_max=True))
@QUICK
def test_a_result_holds_until_its_horizon(question: dict[str, Any], share: float) -> None:
    """At every clock up to the last millisecond before the horizon; without horizon, for ever."""
    first = ask(question)
    start_ms = (question["now"] - EPOCH) // timedelta(milliseconds=1)
    horizon_ms = start_ms + 10**11 if first.horizon_ms is None else first.horizon_ms
    assert horizon_ms > start_ms

    for at_ms in (start_ms + int((horizon_ms - start_ms) * share), horizon_ms - 1):
        later = ask(question, now=EPOCH + timedelta(milliseconds=at_ms))
        assert later.to_dict() == first.to_dict()


def with_unknown_fields(value: Any) -> Any:
    if isinstance(value, list):
        return [with_unknown_fields(item) for item in value]
    if not isinstance(value, dict):
        return value
    known = {name: item if name in MAPS else with_unknown_fields(item) for name, item in value.items()}
    return {"zz": {"id": [None]}, **known, "Id": 1}


def camel_case(value: Any) -> Any:
    if isinstance(value, list):
        return [camel_case(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {_camel(name): item if name in MAPS else camel_case(item) for name, item in value.items()}


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def without_nulls(value: Any) -> Any:
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: without_nulls(item) for name, item in value.items() if item not in (None, [], {})}


@given(question=questions)
@QUICK
def test_unknown_fields_other_spellings_and_nulls_change_nothing(question: dict[str, Any]) -> None:
    """Extra fields anywhere, camelCase everywhere, and defaults left out: one question in four forms."""
    first = ask(question)

    for change in (with_unknown_fields, camel_case, without_nulls):
        assert (
            ask({name: change(value) if isinstance(value, dict) else value for name, value in question.items()})
            == first
        )


@given(question=questions)
@QUICK
def test_rules_that_cannot_hold_change_nothing(question: dict[str, Any]) -> None:
    """A rule of another type in front of the others, always false, leaves the order of the rest as it was."""
    never = rule("company_override", condition("company", resource_ids=[]), id="never")
    changed = {**question["flag"], "rules": [never, *question["flag"]["rules"], never]}

    assert ask(question, flag=changed) == ask(question)


def test_order_of_fields_and_white_space_change_nothing() -> None:
    """On the first valid cases of the corpus, written backwards and indented."""
    valid = (case for case in cases() if case.expect is not None)
    for case in islice(valid, 300):
        now = EPOCH + timedelta(milliseconds=case.now_ms)
        documents = [json.loads(text) for text in (case.flag, case.company, case.user)]
        if any(_has_camel_case_or_doubles(text) for text in (case.flag, case.company, case.user)):
            continue
        try:
            first = check(case.flag, case.company, case.user, now=now, **case.options)
        except EngineError:
            continue
        backwards = [json.dumps(_backwards(document), indent=1) for document in documents]
        assert check(*backwards, now=now, **case.options).to_dict() == first.to_dict(), case.number


def _has_camel_case_or_doubles(text: str) -> bool:
    doubled = False

    def notice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal doubled
        doubled = doubled or len({name for name, _ in pairs}) < len(pairs)
        return dict(pairs)

    json.loads(text, object_pairs_hook=notice)
    return doubled


def _backwards(value: Any) -> Any:
    if isinstance(value, list):
        return [_backwards(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: _backwards(item) for name, item in reversed(value.items())}
