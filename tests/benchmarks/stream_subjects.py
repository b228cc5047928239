"""What is timed of DataStream: checks on what is held, and updates of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import count as count_from
from itertools import cycle, islice, repeat
from time import perf_counter
from typing import Any

from tests.benchmarks.follower import Follower
from tests.benchmarks.subject import Package, Subject, timed

__all__ = ["STREAM_SUBJECTS"]

_WARM_UP, _SECTION, _SECTIONS = 10, 80, 200
"""As for `track`: each section meets an empty queue of events and stays below the size at which the vendor's sends."""

Asked = tuple[str, dict[str, str], "dict[str, str] | None"]


def stream_check(package: Package) -> Subject:
    """A repeated `check_flag`, async, realistic, with its event."""
    return _repeated(package, Follower(package, "realistic"))


def stream_check_trivial(package: Package) -> Subject:
    """A repeated `check_flag`, async, trivial, with its event."""
    return _repeated(package, Follower(package, "trivial"))


def stream_check_sync(package: Package) -> Subject:
    """A repeated `check_flag`, realistic, with its event; async where there is no sync one."""
    follower = Follower(package, "realistic")
    return _repeated(package, follower, is_sync=package.is_ours)


def stream_check_pairs(package: Package) -> Subject:
    """`check_flag` about random pairs of 100 flags and 1,000 companies, all asked before.

    The vendor's keeps no answers, so that what a check costs does not depend on how many pairs there are: 40 companies do.
    """
    follower = Follower(package, "realistic", flags=100)
    companies = 5 if package.is_brief else 1000 if package.is_ours else 40
    fixture = follower.fixture
    pairs = [
        (fixture.flag_key(flag), fixture.keys_of(number), follower.user)
        for number in range(companies)
        for flag in range(100)
    ]
    follower.loop.run(follower.hold(range(companies)))
    random.Random(1).shuffle(pairs)
    follower.loop.run(_ask(follower, pairs[: 100 * 40]) if not package.is_ours else _ask(follower, pairs))
    return _repeated(package, follower, pairs)


def stream_fresh(package: Package) -> Subject:
    """The whole answer about a company that has changed since it was asked last, realistic."""
    return _fresh(package, "realistic")


def stream_fresh_trivial(package: Package) -> Subject:
    """The whole answer about a company that has changed since it was asked last, trivial."""
    return _fresh(package, "trivial")


def stream_update(package: Package) -> Subject:
    """A partial of one of 10,000 companies held: the frame decoded, merged, and ready for checks.

    With ours each company had one before: the first after a full message takes longer. The vendor's knows no difference.
    """
    follower = Follower(package, "realistic")
    loop, held = follower.loop, 50 if package.is_brief else 10_000
    loop.run(follower.hold(range(held)))
    if package.is_ours:
        loop.run(follower.change([(number, 0) for number in range(held)]))
    numbers, chosen = count_from(1), random.Random(2)
    last: dict[int, int] = {}

    def run(count: int) -> float:
        updates = [(chosen.randrange(held), next(numbers)) for _ in range(count)]
        last.update(updates)
        spent: float = loop.run(follower.change(updates))
        return spent

    async def answer() -> object:
        for number, change in islice(reversed(last.items()), 20):
            verdict = await follower.verdict(number)
            if verdict != [True, "plan_entitlement", change % 500, 500]:
                raise AssertionError(f"after change {change} of {number}: {verdict}")
        return "as sent last"

    return Subject(run, lambda: loop.run(answer()), follower.close)


def stream_sustained(package: Package) -> Subject:
    """As `stream_check`, without a pause for the sender of events, which then competes for the interpreter; ours alone."""
    follower = Follower(package, "realistic")
    asked: Asked = (follower.fixture.flag_key(0), follower.fixture.keys_of(0), follower.user)

    async def run(count: int) -> float:
        return await _timed_checks(follower, repeat(asked, count))

    async def answer() -> object:
        return await follower.verdict()

    loop = follower.loop
    return Subject(lambda count: loop.run(run(count)), lambda: loop.run(answer()), follower.close)


def _repeated(
    package: Package, follower: Follower, pairs: Sequence[Asked] | None = None, *, is_sync: bool = False
) -> Subject:
    fixture = follower.fixture
    asked: Any = cycle(pairs or [(fixture.flag_key(0), fixture.keys_of(0), follower.user)])
    section = _timed_sync_checks if is_sync else _timed_checks

    async def batch(count: int) -> float:
        spent = 0.0
        for _ in range(count // _SECTION):
            await _ask(follower, list(islice(asked, _WARM_UP)))
            spent += await section(follower, list(islice(asked, _SECTION)))
            await follower.settle()
        return spent

    async def answer() -> object:
        verdicts = [await follower.verdict(number) for number in (range(5) if pairs else (0,))]
        await follower.settle()
        return [*verdicts, {"recorded": follower.checks}]

    loop = follower.loop
    return Subject(
        lambda count: loop.run(batch(count)), lambda: loop.run(answer()), follower.close, _SECTION, _SECTIONS
    )


async def _timed_checks(follower: Follower, asked: Any) -> float:
    check, value, number = follower.client.check_flag, None, 0
    started = perf_counter()
    for number, (flag_key, company, user) in enumerate(asked, 1):  # noqa: B007 - counted after the loop
        value = await check(flag_key, company, user)
    spent = perf_counter() - started
    follower.checks += number
    return timed(spent, value)


async def _timed_sync_checks(follower: Follower, asked: Any) -> float:
    check, value, number = follower.sync.check_flag, None, 0
    started = perf_counter()
    for number, (flag_key, company, user) in enumerate(asked, 1):  # noqa: B007 - counted after the loop
        value = check(flag_key, company, user)
    spent = perf_counter() - started
    follower.checks += number
    return timed(spent, value)


async def _ask(follower: Follower, asked: Sequence[Asked]) -> None:
    for flag_key, company, user in asked:
        await follower.client.check_flag(flag_key, company, user)
    follower.checks += len(asked)


def _fresh(package: Package, name: str) -> Subject:
    """Sections of as many companies, so that each is asked for once after its change."""
    follower = Follower(package, name)
    loop, fixture = follower.loop, follower.fixture
    companies = range(_SECTION)
    loop.run(follower.hold(range(_SECTION + 1)))
    unchanged: list[Asked] = [(fixture.flag_key(0), fixture.keys_of(_SECTION), follower.user)] * _WARM_UP
    changes = count_from(1)
    last = 0

    async def batch(count: int) -> float:
        nonlocal last
        spent = 0.0
        for _ in range(count // _SECTION):
            last = next(changes)
            await follower.change([(number, last) for number in companies])
            asked = [(fixture.flag_key(0), fixture.keys_of(number), follower.user) for number in companies]
            await _ask(follower, unchanged)
            spent += await _timed_whole(follower, asked)
            await follower.settle()
        return spent

    async def answer() -> object:
        verdict = await follower.verdict(7)
        is_as_sent = verdict[2] in (None, last % 500)
        await follower.settle()
        return [verdict[0], verdict[1], verdict[3], is_as_sent, {"recorded": follower.checks}]

    return Subject(
        lambda count: loop.run(batch(count)), lambda: loop.run(answer()), follower.close, _SECTION, _SECTIONS
    )


async def _timed_whole(follower: Follower, asked: Sequence[Asked]) -> float:
    check = follower.client.check_flag_with_entitlement
    started = perf_counter()
    for flag_key, company, user in asked:
        await check(flag_key, company, user)
    spent = perf_counter() - started
    follower.checks += len(asked)
    return spent


STREAM_SUBJECTS: dict[str, Callable[[Package], Subject]] = {
    subject.__name__: subject
    for subject in (
        *(stream_check, stream_check_trivial, stream_check_sync, stream_check_pairs),
        *(stream_fresh, stream_fresh_trivial, stream_update, stream_sustained),
    )
}
"""By name, as a worker is asked for them."""
