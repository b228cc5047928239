"""Defects of existing clients in API-mode checks, each with the opposite outcome. Names start with the pitfall's number."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from schematic_core.cache import LocalCache
from schematic_core.client import AsyncSchematic, CheckFlagOptions, EventUsage, Schematic
from schematic_core.errors import ConfigurationError
from schematic_core.values import REASON_ERROR, REASON_FLAG_NOT_FOUND, REASON_INVALID_KEYS
from tests.support.faces import Driver
from tests.support.upstream import Answer, Asked, Upstream, verdict, verdicts

Connect = Callable[..., Driver]


def by_company(asked: Asked) -> Answer:
    """Answer true for one company only, whose keys look like two of another's when joined carelessly."""
    return verdict(asked.json["company"] == {"a": "1;b=2"})


def test_c1_keys_that_look_alike_when_joined_get_answers_of_their_own(connect: Connect, upstream: Upstream) -> None:
    upstream.respond = by_company
    client = connect()

    first = client.check_flag("exports", company={"a": "1;b=2"})
    second = client.check_flag("exports", company={"a": "1", "b": "2"})

    assert (first, second, len(upstream.asked)) == (True, False, 2)


def test_c1_a_flag_named_like_a_context_is_another_question(connect: Connect, upstream: Upstream) -> None:
    client = connect()

    client.check_flag("f:user:id=9")
    client.check_flag("f", user={"id": "9"})

    assert [asked.path for asked in upstream.asked] == ["/flags/f%3Auser%3Aid%3D9/check", "/flags/f/check"]


def test_c1_true_and_one_are_not_the_same_company(connect: Connect, upstream: Upstream) -> None:
    client = connect()

    assert client.check_flag("exports", company={"id": 1}) is True
    odd = client.check_flag_with_entitlement("exports", company={"id": True})

    assert (odd.value, odd.reason, len(upstream.asked)) == (False, REASON_INVALID_KEYS, 1)


def test_c2_a_check_s_timeout_covers_waiting_and_repeats(connect: Connect, upstream: Upstream) -> None:
    gate = threading.Event()
    upstream.respond = lambda _: Answer(503, {"error": "slow"}, gate=gate)
    client = connect(max_retries=5, check_timeout=60)  # long enough for the service to answer, and to be asked again

    result = client.check_flag_with_entitlement("exports", {"id": "acme"}, None, CheckFlagOptions(timeout=0.2))
    gate.set()

    assert (result.value, result.reason, result.error) == (False, REASON_ERROR, "timed_out")
    assert len(upstream.asked) == 1


def test_c3_a_dead_service_is_asked_no_more_until_a_probe(connect: Connect, upstream: Upstream) -> None:
    upstream.respond = lambda _: Answer(503, {"error": "down"})
    client = connect(max_retries=0)

    results = [client.check_flag_with_entitlement("exports", {"id": str(n)}) for n in range(20)]

    assert len(upstream.asked) == 5
    assert {result.error for result in results} == {"http_503", "service_unavailable"}


def test_c3_a_caller_s_haste_does_not_stop_others_from_asking(connect: Connect, upstream: Upstream) -> None:
    gate = threading.Event()
    upstream.respond = lambda _: Answer(gate=gate)
    client = connect(max_retries=0)
    for n in range(8):
        client.check_flag("exports", {"id": str(n)}, None, CheckFlagOptions(timeout=0.02))

    gate.set()
    upstream.respond = lambda _: verdict()

    assert client.check_flag("exports", {"id": "other"}) is True


def test_c4_an_expired_answer_serves_while_the_service_is_down(connect: Connect, upstream: Upstream) -> None:
    client = connect(max_retries=0, cache_providers=[LocalCache(10, 0)])
    assert client.check_flag("exports", {"id": "acme"}) is True

    upstream.respond = lambda _: Answer(500, {"error": "down"})
    result = client.check_flag_with_entitlement("exports", {"id": "acme"})

    assert (result.value, result.source, result.error) == (True, "cache", "http_500")


def test_c4_no_answer_serves_longer_than_serve_stale(connect: Connect, upstream: Upstream) -> None:
    client = connect(max_retries=0, cache_providers=[LocalCache(10, 0)], serve_stale=0)
    assert client.check_flag("exports", {"id": "acme"}) is True

    upstream.respond = lambda _: Answer(500, {"error": "down"})

    assert client.check_flag("exports", {"id": "acme"}) is False


def test_c5_threads_that_ask_the_same_make_one_request(upstream: Upstream) -> None:
    gate = threading.Event()
    upstream.respond = lambda _: Answer(**{**vars(verdict()), "gate": gate})
    with Schematic("key", base_url=upstream.url) as client, ThreadPoolExecutor(20) as pool:
        asking = [pool.submit(client.check_flag, "exports", {"id": "acme"}) for _ in range(20)]
        assert upstream.wait_for(lambda: len(upstream.asked) == 1)
        gate.set()

        assert [answer.result(10) for answer in asking] == [True] * 20

    assert len(upstream.asked) == 1


def test_c5_tasks_that_ask_the_same_make_one_request(upstream: Upstream) -> None:
    async def main() -> list[bool]:
        async with AsyncSchematic("key", base_url=upstream.url) as client:
            return await asyncio.gather(*(client.check_flag("exports", {"id": "acme"}) for _ in range(50)))

    assert asyncio.run(main()) == [True] * 50
    assert len(upstream.asked) == 1


def test_c5_a_cancelled_leader_leaves_the_question_to_a_follower(upstream: Upstream) -> None:
    gate = threading.Event()
    upstream.respond = lambda _: Answer(gate=gate) if len(upstream.asked) == 1 else verdict()

    async def main() -> bool:
        async with AsyncSchematic("key", base_url=upstream.url) as client:
            leader = asyncio.create_task(client.check_flag("exports", {"id": "acme"}))
            await asyncio.to_thread(upstream.wait_for, lambda: len(upstream.asked) == 1)
            follower = asyncio.create_task(client.check_flag("exports", {"id": "acme"}))
            await asyncio.sleep(0)
            leader.cancel()
            try:
                return await follower
            finally:
                gate.set()

    assert asyncio.run(main()) is True


def test_c5_an_impatient_leader_does_not_fail_a_patient_follower(upstream: Upstream) -> None:
    gate = threading.Event()
    upstream.respond = lambda _: Answer(gate=gate) if len(upstream.asked) == 1 else verdict()
    with Schematic("key", base_url=upstream.url, max_retries=0) as client, ThreadPoolExecutor(2) as pool:
        leader = pool.submit(client.check_flag, "exports", {"id": "acme"}, None, CheckFlagOptions(timeout=0.3))
        assert upstream.wait_for(lambda: len(upstream.asked) == 1)
        follower = pool.submit(client.check_flag, "exports", {"id": "acme"})

        assert (leader.result(10), follower.result(10)) == (False, True)
        gate.set()


def test_c6_unknown_flags_are_remembered_as_unknown(connect: Connect, upstream: Upstream) -> None:
    upstream.respond = lambda _: verdicts(exports=True)
    client = connect()

    results = [client.check_flags(["exports", "nonsense"], {"id": "acme"}) for _ in range(3)]

    assert len(upstream.asked) == 1
    assert [(r.flag_key, r.value, r.reason) for r in results[2]] == [
        ("exports", True, "r"),
        ("nonsense", False, REASON_FLAG_NOT_FOUND),
    ]


def test_c6_a_single_check_of_an_unknown_flag_is_remembered_too(connect: Connect, upstream: Upstream) -> None:
    upstream.respond = lambda _: Answer(404, {"error": "flag not found"})
    client = connect(flag_defaults={"nonsense": True})

    results = [client.check_flag_with_entitlement("nonsense", {"id": "acme"}) for _ in range(3)]

    assert len(upstream.asked) == 1
    assert {(r.value, r.reason, r.source) for r in results} == {(True, REASON_FLAG_NOT_FOUND, "default")}


class Yielding(str):
    """A key that lets other threads run whenever it is looked up, where they disturb most."""

    __slots__ = ()

    def __hash__(self) -> int:
        time.sleep(0)
        return super().__hash__()


def test_c7_the_local_cache_bears_many_threads() -> None:
    cache: LocalCache[int] = LocalCache(3, 0.05)
    faults: list[BaseException] = []

    def hammer(seed: int) -> None:
        try:
            for n in range(500):
                cache.set(Yielding(f"k{(n + seed) % 5}"), n)
                cache.get(Yielding(f"k{n % 5}"))
        except BaseException as fault:
            faults.append(fault)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(hammer, range(8)))

    assert faults == []
    assert len(cache) <= 3


def test_c8_none_can_be_cached_and_expired_items_are_swept() -> None:
    now = [0.0]
    cache: LocalCache[Any] = LocalCache(100, 1000, clock=lambda: now[0])
    absent = object()
    cache.set("nothing", None)
    assert cache.get("nothing", absent) is None
    assert cache.get("else", absent) is absent

    for n in range(50):
        cache.set(f"k{n}", n)
    now[0] = 120.0
    cache.set("one more", 1)

    assert len(cache) == 1


def test_c9_an_answer_says_where_it_came_from_and_how_old_it_is(connect: Connect, upstream: Upstream) -> None:
    client = connect()

    fresh = client.check_flag_with_entitlement("exports", {"id": "acme"})
    cached = client.check_flag_with_entitlement("exports", {"id": "acme"})

    assert (fresh.source, cached.source, len(upstream.asked)) == ("api", "cache", 1)
    assert cached.as_of == fresh.as_of
    assert 0 <= cached.age < 60
    assert not cached.is_stale


def test_c10_a_default_that_raises_gives_way_to_the_next_one(connect: Connect, upstream: Upstream) -> None:
    upstream.respond = lambda _: Answer(500, {"error": "down"})
    client = connect(flag_defaults={"exports": True}, max_retries=0)

    def broken() -> bool:
        raise RuntimeError("no default today")

    assert client.check_flag("exports", {"id": "acme"}, None, CheckFlagOptions(default_value=broken)) is True


def test_c11_the_reason_is_short_and_details_go_to_the_log(
    connect: Connect, upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.respond = lambda _: Answer(500, {"error": "secret internals"}, {"x-internal": "very secret"})
    client = connect(max_retries=0)

    with caplog.at_level(logging.DEBUG, "schematic"):
        result = client.check_flag_with_entitlement("exports", {"id": "acme"})

    assert (result.reason, result.error) == (REASON_ERROR, "http_500")
    assert "very secret" not in caplog.text
    assert "secret internals" in caplog.text


def test_c12_retries_can_be_configured_and_409_is_never_repeated(connect: Connect, upstream: Upstream) -> None:
    upstream.respond = lambda _: Answer(503, {"error": "down"}, {"retry-after": "0"})
    connect(max_retries=1).check_flag("exports", {"id": "acme"})
    repeated = len(upstream.asked)

    upstream.respond = lambda _: Answer(409, {"error": "conflict"})
    connect(max_retries=4).check_flag("exports", {"id": "acme"})

    assert (repeated, len(upstream.asked) - repeated) == (2, 1)


def test_c13_checks_of_several_flags_honour_preflight(connect: Connect, upstream: Upstream) -> None:
    upstream.respond = lambda asked: verdict("preflight" not in asked.json)
    client = connect()
    options = CheckFlagOptions(usage=1.2, event_usage=EventUsage("made", 2), credit_cost={"bcrd_1": 0.5})

    several = client.check_flags(["exports"], {"id": "acme"}, None, options)
    single = client.check_flag_with_entitlement("exports", {"id": "acme"}, None, options)
    plain = client.check_flag("exports", {"id": "acme"})

    assert [several[0].value, single.value, plain] == [False, False, True]
    assert upstream.asked[0].json["preflight"] == {
        "usage": 2,
        "event_usage": {"event_subtype": "made", "quantity": 2},
        "credit_cost": {"bcrd_1": 0.5},
    }


@pytest.mark.parametrize(
    "keys", [{"id": 1.5}, {"id": True}, {"id": b"x"}, {"id": ["a"]}, {1: "a"}, "acme", 7, [("id", "a")]]
)
def test_c14_keys_of_the_wrong_kind_answer_the_default_and_say_so(
    connect: Connect, upstream: Upstream, keys: Any
) -> None:
    client = connect(flag_defaults={"exports": True})

    result = client.check_flag_with_entitlement("exports", company=keys)

    assert (result.value, result.reason, result.source) == (True, REASON_INVALID_KEYS, "default")
    assert upstream.asked == []


def test_c14_numbers_and_uuids_are_sent_as_text(connect: Connect, upstream: Upstream) -> None:
    from uuid import UUID

    client = connect()
    client.check_flag("exports", company={"id": 7, "slug": None}, user={"id": UUID(int=5)})

    assert upstream.asked[0].json == {
        "company": {"id": "7"},
        "user": {"id": "00000000-0000-0000-0000-000000000005"},
    }


def test_c14_a_wrong_option_is_refused_at_once_in_settings() -> None:
    with pytest.raises(ConfigurationError, match="flag_defaults"):
        Schematic("key", flag_defaults={"exports": "yes"})  # type: ignore[dict-item]
