"""The 12,000 cases on which two independent engines agreed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from schematic_core.errors import EngineError
from schematic_core.rules import Engine, Evaluation, check
from schematic_core.rules.documents import document_of, options_of
from tests.rules.corpus import Case, cases, comparable

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
SHOWN = 5


def mismatches(run: Callable[[Case], Evaluation]) -> tuple[int, list[str]]:
    """Run all cases. Gives how many there were, and a line for each that went wrong."""
    count, wrong = 0, []
    for case in cases():
        count += 1
        difference = compare(case, run)
        if difference is not None:
            wrong.append(f"case {case.number}: {difference}")
    return count, wrong


def compare(case: Case, run: Callable[[Case], Evaluation]) -> str | None:
    try:
        got = comparable(run(case).to_dict())
    except EngineError as error:
        if error.code in ("trapped", "too_large"):
            return f"not even judged: {error}"
        return None if case.expect is None else f"rejected ({error}), expected {case.expect}"
    if case.expect is None:
        return f"accepted, expected a rejection; got {got}"
    want = comparable(case.expect)
    names = sorted(name for name in {*got, *want} if got.get(name) != want.get(name))
    return "; ".join(f"{name} is {got.get(name)!r}, expected {want.get(name)!r}" for name in names) or None


def report(wrong: list[str]) -> str:
    return f"{len(wrong)} cases differ, first:\n" + "\n".join(wrong[:SHOWN])


def by_held_documents(engine: Engine, case: Case) -> Evaluation:
    handles: list[Any] = []
    try:
        handles.append(engine.put_flag(case.flag.encode()))
        handles.append(engine.put_company(case.company.encode()))
        handles.append(engine.put_user(case.user.encode()))
        options = options_of(**case.options)
        handles.append(None if options is None else engine.put_options(options))
        return engine.check(*handles, now_ms=case.now_ms)
    finally:
        for handle in handles:
            if handle is not None:
                engine.drop(handle)


def test_every_case_gives_the_agreed_answer() -> None:
    """``check`` on the text of each case gives the result, or the rejection, that two engines agreed on."""

    def run(case: Case) -> Evaluation:
        now = EPOCH + timedelta(milliseconds=case.now_ms)
        return check(case.flag, case.company, case.user, now=now, **case.options)

    count, wrong = mismatches(run)

    assert count == 12_000
    assert not wrong, report(wrong)


def test_every_case_gives_the_same_answer_with_overflow_checks_on(safe_engine: Engine) -> None:
    """A build that traps on overflow and bad indexes runs through all cases without trapping."""

    def run(case: Case) -> Evaluation:
        return safe_engine.evaluate(
            document_of("flag", case.flag),
            document_of("company", case.company),
            document_of("user", case.user),
            options_of(**case.options),
            now_ms=case.now_ms,
        )

    _, wrong = mismatches(run)

    assert not wrong, report(wrong)


@pytest.mark.parametrize("unchecked", [True, False], ids=["unchecked", "ordinary"])
def test_held_documents_answer_as_passing_ones_on_both_ways_of_calling(unchecked: bool) -> None:
    """Handles, and each way into the module, make no difference; nothing stays held."""
    engine = Engine(unchecked=unchecked)

    wrong = []
    for case in cases():
        if case.number % 20 == 0:
            difference = compare(case, lambda case: by_held_documents(engine, case))
            wrong += [difference] if difference else []

    assert not wrong, report(wrong)
    assert engine.stats().entities == 0
