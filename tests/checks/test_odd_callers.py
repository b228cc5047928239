"""What callers and their cache providers may do to a check: it answers, in time, and about whom it was asked."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from schematic_core.cache import AsyncCacheProvider, CacheProvider
from schematic_core.client import AsyncSchematic, CheckFlagOptions, Schematic
from schematic_core.values import REASON_INVALID_KEYS, CheckResult
from tests.support.faces import Driver
from tests.support.upstream import Answer, Asked, Upstream, verdict

Connect = Callable[..., Driver]


class Broken(Mapping[str, str]):
    """Keys that cannot even be listed."""

    def __getitem__(self, name: str) -> str:
        raise RuntimeError("detached")

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("detached")

    def __len__(self) -> int:
        return 1


class Odd(str):
    """Text that calls itself something else."""

    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError("no")

    def __format__(self, spec: str) -> str:
        raise RuntimeError("no")


class Unhashable(Odd):
    """Text that refuses to be looked up."""

    __slots__ = ()

    def __hash__(self) -> int:
        raise RuntimeError("no")


@pytest.mark.parametrize("keys", [Broken(), {"id": 10**5000}])
def test_keys_that_raise_when_read_answer_the_default(connect: Connect, upstream: Upstream, keys: Any) -> None:
    client = connect(flag_defaults={"exports": True})

    single = client.check_flag_with_entitlement("exports", keys)
    several = client.check_flags(["exports"], keys)

    assert [(r.value, r.reason) for r in (single, *several)] == [(True, REASON_INVALID_KEYS)] * 2
    assert upstream.asked == []


@pytest.mark.parametrize("number", [10**400, -(10**400)])
def test_numbers_beyond_all_bounds_answer_the_default(connect: Connect, number: int) -> None:
    client = connect()
    for options in (CheckFlagOptions(usage=number), CheckFlagOptions(timeout=number)):
        assert client.check_flag_with_entitlement("exports", {"id": "a"}, None, options).reason == REASON_INVALID_KEYS


class Faulty(list[str]):
    """A list that fails half-way, like a query whose connection is gone."""

    def __iter__(self) -> Iterator[str]:
        yield "exports"
        raise RuntimeError("gone")


@pytest.mark.parametrize("flag_keys", ["exports", b"exports", 5, Faulty()])
def test_flags_that_are_no_list_give_one_answer_that_says_so(
    connect: Connect, upstream: Upstream, flag_keys: Any
) -> None:
    results = connect().check_flags(flag_keys, {"id": "acme"})

    assert [r.reason for r in results] == [REASON_INVALID_KEYS]
    assert upstream.asked == []


def test_text_of_any_subclass_is_taken_as_its_text(connect: Connect, upstream: Upstream) -> None:
    client = connect()

    assert client.check_flag(Unhashable("exports"), {Odd("id"): Unhashable("acme")}) is True
    assert client.check_flags([Unhashable("exports")], {Odd("id"): Unhashable("acme")})[0].value is True
    assert [(a.path, a.json["company"]) for a in upstream.asked] == [("/flags/exports/check", {"id": "acme"})]


def test_a_follower_may_be_told_to_wait_for_ever(upstream: Upstream) -> None:
    gate = threading.Event()
    upstream.respond = lambda _: Answer(**{**vars(verdict()), "gate": gate})
    patient = CheckFlagOptions(timeout=1e300)
    with Schematic("key", base_url=upstream.url) as client, ThreadPoolExecutor(2) as pool:
        leader = pool.submit(client.check_flag, "exports", {"id": "acme"}, None, patient)
        assert upstream.wait_for(lambda: len(upstream.asked) == 1)
        follower = pool.submit(client.check_flag, "exports", {"id": "acme"}, None, patient)
        gate.set()

        assert (leader.result(10), follower.result(10)) == (True, True)


def about(name: str) -> Callable[[Asked], Answer]:
    return lambda asked: verdict(asked.json["company"] == {"id": name})


def test_keys_changed_during_a_check_do_not_lend_its_answer_to_another_company(upstream: Upstream) -> None:
    upstream.respond = about("good")

    async def main() -> bool:
        async with AsyncSchematic("key", base_url=upstream.url) as client:
            keys = {"id": "good"}
            asking = asyncio.create_task(client.check_flag("exports", keys))
            await asyncio.sleep(0)
            keys["id"] = "evil"
            assert await asking is True
            return await client.check_flag("exports", {"id": "evil"})

    assert asyncio.run(main()) is False


class Rows(CacheProvider[Any]):
    """A cache without expiry; ``on_set`` may happen during a write."""

    def __init__(self) -> None:
        self.rows: dict[str, Any] = {}
        self.on_set: Callable[[], object] = lambda: None

    def get(self, key: str) -> Any:
        return self.rows.get(key)

    def set(self, key: str, val: Any, ttl_override: int | None = None) -> None:
        self.rows[key] = val
        self.on_set()


def test_a_purge_holds_for_rows_that_another_client_wrote(connect: Connect, upstream: Upstream) -> None:
    cache = Rows()
    writer, reader = connect(cache_providers=[cache]), connect(cache_providers=[cache])
    writer.check_flag("exports", {"id": "acme"})
    upstream.respond = lambda _: verdict(False)

    reader.purge(company={"id": "acme"})

    assert reader.check_flag("exports", {"id": "acme"}) is False
    assert writer.check_flag("exports", {"id": "acme"}) is False


def test_a_purge_takes_out_rows_that_were_only_read(connect: Connect, upstream: Upstream) -> None:
    cache = Rows()
    writer, reader = connect(cache_providers=[cache]), connect(cache_providers=[cache])
    writer.check_flag("exports", {"id": "acme"})
    reader.check_flag("exports", {"id": "acme"})

    assert (reader.purge(company={"id": "acme"}), len(upstream.asked)) == (1, 1)


def test_an_answer_asked_before_a_purge_is_not_written_to_caches(upstream: Upstream) -> None:
    cache, gate = Rows(), threading.Event()
    upstream.respond = lambda _: Answer(**{**vars(verdict()), "gate": gate})
    with Schematic("key", base_url=upstream.url, cache_providers=[cache]) as client, ThreadPoolExecutor(1) as pool:
        asking = pool.submit(client.check_flag, "exports", {"id": "acme"})
        assert upstream.wait_for(lambda: len(upstream.asked) == 1)
        client.purge(company={"id": "acme"})
        gate.set()

        assert (asking.result(10), cache.rows) == (True, {})


def test_an_answer_purged_while_it_is_written_is_taken_out_again(upstream: Upstream) -> None:
    """The purge may have come before the row was there."""
    cache = Rows()
    with Schematic("key", base_url=upstream.url, cache_providers=[cache]) as client:

        def purge_once() -> None:
            written = dict(cache.rows)
            cache.on_set = lambda: None
            client.purge(flag_key="exports")
            cache.rows = written

        cache.on_set = purge_once
        client.check_flag("exports", {"id": "acme"})

    assert [row for row in cache.rows.values() if row is not None] == []


class Hanging(AsyncCacheProvider[Any]):
    """A cache that never answers."""

    async def get(self, key: str) -> Any:
        await asyncio.Event().wait()

    async def set(self, key: str, value: Any, ttl: int | None = None) -> None:
        await asyncio.Event().wait()

    async def delete(self, key: str) -> None:
        await asyncio.Event().wait()

    async def delete_missing(self, keys_to_keep: Any, *, scan_pattern: str | None = None) -> None:
        await asyncio.Event().wait()


def test_a_cache_that_hangs_takes_no_more_than_the_check_s_time(upstream: Upstream) -> None:
    """Twelve flags of one second each would be far outside the bound."""

    async def main() -> list[CheckResult]:
        async with AsyncSchematic("key", base_url=upstream.url, cache_providers=[Hanging()]) as client:
            options = CheckFlagOptions(timeout=0.1)
            asking = client.check_flags([f"f{n}" for n in range(12)], {"id": "acme"}, None, options)
            return await asyncio.wait_for(asking, 3.0)

    assert {result.error for result in asyncio.run(main())} == {"timed_out"}


def test_a_cache_that_hangs_while_written_does_not_cost_the_answer(upstream: Upstream) -> None:
    class HangingSet(Hanging):
        async def get(self, key: str) -> Any:
            return None

    async def main() -> CheckResult:
        async with AsyncSchematic("key", base_url=upstream.url, cache_providers=[HangingSet()]) as client:
            asking = client.check_flag_with_entitlement("exports", {"id": "acme"}, None, CheckFlagOptions(timeout=0.5))
            return await asyncio.wait_for(asking, 3.0)

    result = asyncio.run(main())
    assert (result.value, result.source) == (True, "api")


def test_a_wrapped_async_cache_is_awaited(upstream: Upstream) -> None:
    rows: dict[str, Any] = {}

    async def get(key: str) -> Any:
        return rows.get(key)

    async def put(key: str, value: Any) -> None:
        rows[key] = value

    class Wrapped(Rows):
        def get(self, key: str) -> Any:
            return get(key)

        def set(self, key: str, val: Any, ttl_override: int | None = None) -> Any:
            return put(key, val)

    async def main() -> list[str]:
        async with AsyncSchematic("key", base_url=upstream.url, cache_providers=[Wrapped()]) as client:
            return [(await client.check_flag_with_entitlement("exports", {"id": "a"})).source for _ in range(2)]

    assert asyncio.run(main()) == ["api", "cache"]


def test_a_row_that_is_no_whole_answer_counts_as_none(connect: Connect, upstream: Upstream) -> None:
    cache = Rows()
    client = connect(cache_providers=[cache])
    client.check_flag("exports", {"id": "acme"})
    ((key, answer),) = cache.rows.items()

    for row in (CheckResult.__new__(CheckResult), replace(answer, value="yes"), replace(answer, flag_key="other")):
        cache.rows[key] = row
        assert client.check_flag_with_entitlement("exports", {"id": "acme"}).source == "api"
