"""The clients as a whole, both faces, against a real service on a real socket."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from schematic_core.cache import AsyncCacheProvider, CacheProvider, LocalCache
from schematic_core.client import AsyncSchematic, CheckFlagOptions, Schematic
from schematic_core.errors import ConnectionFailed, NotFoundError
from schematic_core.values import (
    REASON_CLOSED,
    REASON_ERROR,
    REASON_FLAG_NOT_FOUND,
    REASON_NO_CONTEXT,
    REASON_OFFLINE,
    CheckResult,
)
from tests.support.faces import Driver
from tests.support.upstream import Answer, Upstream, running, verdict, verdicts

Connect = Callable[..., Driver]


def test_a_check_gives_the_whole_answer_of_the_service(connect: Connect, upstream: Upstream) -> None:
    entitlement = {
        "feature_id": "feat_1",
        "feature_key": "exports",
        "value_type": "numeric",
        "allocation": 5,
        "usage": 2,
    }
    upstream.respond = lambda _: verdict(company_id="comp_1", rule_type="plan_entitlement", entitlement=entitlement)
    client = connect()

    result = client.check_flag_with_entitlement("exports", company={"id": "acme"}, user={"id": "ada"})

    assert (result.value, result.flag, result.company_id, result.rule_type) == (
        True,
        "exports",
        "comp_1",
        "plan_entitlement",
    )
    assert (result.entitlement.allocation, result.entitlement.usage) == (5, 2)
    assert upstream.asked[0].json == {"company": {"id": "acme"}, "user": {"id": "ada"}}
    assert upstream.asked[0].headers["x-schematic-api-key"] == "key"
    assert upstream.asked[0].headers["user-agent"].startswith("schematic-suite/")


def test_without_any_keys_the_flag_s_own_default_answers(connect: Connect, upstream: Upstream) -> None:
    upstream.respond = lambda _: verdict(True, reason="whatever the service says")
    client = connect()

    results = [client.check_flag_with_entitlement("exports", {}, {"id": None}) for _ in range(2)]

    assert [(r.value, r.reason) for r in results] == [(True, REASON_NO_CONTEXT)] * 2
    assert [asked.json for asked in upstream.asked] == [{}]


def test_several_flags_come_in_the_order_asked_with_one_request(connect: Connect, upstream: Upstream) -> None:
    upstream.respond = lambda _: verdicts(a=True, b=False, c=True)
    client = connect()

    first = client.check_flags(["c", "a", "c"], {"id": "acme"})
    again = client.check_flags(["a", "b"], {"id": "acme"})
    single = client.check_flag("b", {"id": "acme"})

    assert [(r.flag_key, r.value) for r in first] == [("c", True), ("a", True), ("c", True)]
    assert [(r.flag_key, r.value, r.source) for r in again] == [("a", True, "cache"), ("b", False, "cache")]
    assert (single, len(upstream.asked)) == (False, 1)


def test_all_flags_are_given_when_none_is_named(connect: Connect, upstream: Upstream) -> None:
    upstream.respond = lambda _: verdicts(a=True, b=False)
    client = connect(flag_defaults={"z": True}, max_retries=0)

    assert {r.flag_key: r.value for r in client.check_flags(company={"id": "acme"})} == {"a": True, "b": False}

    upstream.respond = lambda _: Answer(500, {"error": "down"})
    after = client.check_flags(company={"id": "acme"})
    assert {r.flag_key: (r.value, r.source) for r in after} == {
        "a": (True, "cache"),
        "b": (False, "cache"),
        "z": (True, "default"),
    }


@pytest.mark.parametrize("key", ["", ".", ".."])
def test_keys_that_no_flag_can_have_are_unknown_without_asking(connect: Connect, upstream: Upstream, key: str) -> None:
    result = connect().check_flag_with_entitlement(key, {"id": "acme"})

    assert (result.reason, upstream.asked) == (REASON_FLAG_NOT_FOUND, [])


def test_odd_flag_keys_stay_one_path_segment(connect: Connect, upstream: Upstream) -> None:
    client = connect()
    for key in ("a/b", "a?limit=1", "a#x", "x/../../companies", "%2e%2e", "ü"):
        client.check_flag(key, {"id": "acme"})

    assert [asked.path for asked in upstream.asked] == [
        "/flags/a%2Fb/check",
        "/flags/a%3Flimit%3D1/check",
        "/flags/a%23x/check",
        "/flags/x%2F..%2F..%2Fcompanies/check",
        "/flags/%252e%252e/check",
        "/flags/%C3%BC/check",
    ]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"data": 5}', b'{"data": {"flag": "x"}}', b"\xff\xfe"])
def test_an_unreadable_answer_is_a_failure_like_any_other(connect: Connect, upstream: Upstream, body: bytes) -> None:
    upstream.respond = lambda _: Answer(200, body)
    client = connect(flag_defaults={"exports": True}, max_retries=0)

    result = client.check_flag_with_entitlement("exports", {"id": "acme"})

    assert (result.value, result.reason, result.error) == (True, REASON_ERROR, "unreadable_answer")


def test_an_older_answer_serves_while_one_renewal_runs(connect: Connect, upstream: Upstream) -> None:
    """Between one and two times its life an answer is served at once, and renewed in the background by one request."""
    gate = threading.Event()
    client = connect(cache_providers=[LocalCache(10, 150)])
    assert client.check_flag("exports", {"id": "acme"}) is True
    upstream.respond = lambda _: Answer(**{**vars(verdict(False)), "gate": gate})
    answer = client.client._runtime.desk.find(("exports", (("id", "acme"),), ()))
    answer.fresh_until, answer.renewable_until = float("-inf"), float("inf")

    while_renewing = [client.check_flag("exports", {"id": "acme"}) for _ in range(5)]
    gate.set()
    assert upstream.wait_for(lambda: len(upstream.asked) == 2)

    assert while_renewing == [True] * 5
    assert len(upstream.asked) == 2


def test_a_closed_client_answers_defaults_and_drops_events(connect: Connect, upstream: Upstream) -> None:
    client = connect(flag_defaults={"exports": True})
    assert client.check_flag("exports", {"id": "acme"}) is True
    asked = len(upstream.asked)
    client.close()
    client.close()

    result = client.check_flag_with_entitlement("exports", {"id": "acme"})
    client.track("late", {"id": "acme"})

    assert (result.value, result.reason, len(upstream.asked), upstream.events) == (True, REASON_CLOSED, asked, [])
    assert client.flush(1.0) == 0


def test_offline_asks_nobody(connect: Connect, upstream: Upstream) -> None:
    client = connect(offline=True, flag_defaults={"exports": True})

    result = client.check_flag_with_entitlement("exports", {"id": "acme"})
    several = client.check_flags(["exports", "other"])
    client.track("made", {"id": "acme"})
    client.identify({"id": "ada"})

    assert (result.value, result.reason) == (True, REASON_OFFLINE)
    assert [(r.flag_key, r.value) for r in several] == [("exports", True), ("other", False)]
    assert client.flush(1.0) == 0
    with pytest.raises(ConnectionFailed, match="offline"):
        client.run(client.client.companies.get_company("comp_1"))
    assert (upstream.asked, upstream.events) == ([], [])


def test_events_arrive_with_keys_quantities_and_traits(connect: Connect, upstream: Upstream) -> None:
    client = connect(event_buffer_period=0.05)
    client.track("made", {"id": 7}, {"id": "ada"}, {"format": "csv", "note": None}, 3)
    client.identify({"id": "ada"}, {"keys": {"id": "acme"}, "name": "Acme"}, "Ada", {"role": "owner"})

    assert client.flush(10.0) == 0

    made, identified = upstream.events
    assert made["event_type"] == "track"
    assert made["idempotency_key"]
    assert made["body"] == {
        "event": "made",
        "company": {"id": "7"},
        "user": {"id": "ada"},
        "traits": {"format": "csv", "note": None},
        "quantity": 3,
    }
    assert identified["body"]["company"] == {"keys": {"id": "acme"}, "name": "Acme"}


def test_acknowledged_usage_lets_answers_with_usage_be_asked_again(connect: Connect, upstream: Upstream) -> None:
    upstream.respond = lambda asked: verdict(
        flag=asked.path.split("/")[2], feature_usage=1 if "exp" in asked.path else None
    )
    client = connect(event_buffer_period=0.01)
    for flag in ("exports", "plain"):
        client.check_flag(flag, {"id": "acme"})
    client.check_flag("exports", {"id": "other"})

    client.track("made", {"id": "acme"})
    client.flush(10.0)
    deadline = threading.Event()
    for _ in range(200):
        if client.check_flag_with_entitlement("exports", {"id": "acme"}).source == "api":
            break
        deadline.wait(0.01)  # the answers are expired just after the acknowledgement, on the sender's thread

    sources = [
        client.check_flag_with_entitlement(f, {"id": c}).source for f, c in [("plain", "acme"), ("exports", "other")]
    ]
    assert sources == ["cache", "cache"]
    assert len(upstream.asked) == 4


def test_purging_drops_what_it_concerns(connect: Connect, upstream: Upstream) -> None:
    upstream.respond = lambda asked: verdict(company_id=f"comp_{asked.json['company']['id']}")
    client = connect()
    for company in ("acme", "other"):
        client.check_flag("exports", {"id": company})

    assert client.purge(company_id="comp_acme") == 1
    assert client.purge(company={"id": "other"}, flag_key="else") == 0
    assert client.purge(company={}) == client.purge(user={"id": True}) == 0
    sources = [client.check_flag_with_entitlement("exports", {"id": c}).source for c in ("acme", "other")]

    assert sources == ["api", "cache"]
    assert client.purge() == 2


class Remembering(CacheProvider[CheckResult]):
    """A cache of a user's own, with only what the contract asks for."""

    def __init__(self) -> None:
        self.rows: dict[str, Any] = {}
        self.is_broken = False

    def get(self, key: str) -> CheckResult | None:
        if self.is_broken:
            raise OSError("cache is down")
        return self.rows.get(key)

    def set(self, key: str, val: CheckResult, ttl_override: int | None = None) -> None:
        if self.is_broken:
            raise OSError("cache is down")
        self.rows[key] = val


class AsyncRemembering(AsyncCacheProvider[CheckResult]):
    """The same with the async contract."""

    def __init__(self) -> None:
        self.rows: dict[str, Any] = {}

    async def get(self, key: str) -> CheckResult | None:
        return self.rows.get(key)

    async def set(self, key: str, value: CheckResult, ttl: int | None = None) -> None:
        self.rows[key] = value

    async def delete(self, key: str) -> None:
        self.rows.pop(key, None)

    async def delete_missing(self, keys_to_keep: Any, *, scan_pattern: str | None = None) -> None:
        self.rows = {key: self.rows[key] for key in keys_to_keep}


def test_a_cache_of_the_user_s_own_is_shared_between_clients(connect: Connect, upstream: Upstream) -> None:
    cache = Remembering()
    first, second = connect(cache_providers=[cache]), connect(cache_providers=[cache])

    first.check_flag("exports", {"id": "acme"})
    shared = second.check_flag_with_entitlement("exports", {"id": "acme"})
    elsewhere = connect("another key", cache_providers=[cache]).check_flag_with_entitlement("exports", {"id": "acme"})

    assert (shared.value, shared.source, elsewhere.source) == (True, "cache", "api")
    assert len(upstream.asked) == 2
    second.purge()
    first.purge(company={"id": "acme"})
    assert sum(row is not None for row in cache.rows.values()) == 1


def test_a_cache_that_breaks_or_lies_counts_as_empty_and_is_logged_once(
    connect: Connect, upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "schematic")
    cache = Remembering()
    client = connect(cache_providers=[cache])
    cache.is_broken = True
    assert [client.check_flag("exports", {"id": str(n)}) for n in range(3)] == [True] * 3
    cache.is_broken = False
    client.check_flag("exports", {"id": "x"})
    cache.rows = dict.fromkeys(cache.rows, "not an answer")

    assert client.check_flag_with_entitlement("exports", {"id": "x"}).source == "api"
    assert [r.levelname for r in caplog.records if "Remembering" in r.getMessage()] == ["WARNING", "INFO"]


def test_an_async_cache_serves_the_async_face_and_through_its_loop_the_sync_one(upstream: Upstream) -> None:
    cache = AsyncRemembering()

    async def main() -> tuple[str, str]:
        async with AsyncSchematic("key", base_url=upstream.url, cache_providers=[cache]) as client:
            await client.check_flag("exports", {"id": "acme"})
            again = await client.check_flag_with_entitlement("exports", {"id": "acme"})
            plain = await asyncio.to_thread(client.sync.check_flag_with_entitlement, "exports", {"id": "acme"})
            return again.source, plain.source

    assert asyncio.run(main()) == ("cache", "cache")
    assert len(upstream.asked) == 1


def test_an_empty_list_of_caches_asks_the_service_every_time(connect: Connect, upstream: Upstream) -> None:
    client = connect(cache_providers=[])
    for _ in range(3):
        client.check_flag("exports", {"id": "acme"})

    assert len(upstream.asked) == 3


def test_the_resources_of_the_api_hang_on_the_client(connect: Connect, upstream: Upstream) -> None:
    upstream.respond = lambda _: Answer(404, {"error": "company not found"})
    client = connect()
    get = client.client.companies.get_company

    with pytest.raises(NotFoundError) as caught:
        client.run(get("comp_1", request_options={"max_retries": 0, "timeout_in_seconds": 5}))

    assert caught.value.body == {"error": "company not found"}
    assert "companies" in dir(client.client)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = client.client.nonsense


def test_the_other_face_shares_answers_and_life(upstream: Upstream) -> None:
    client = Schematic("key", base_url=upstream.url)

    async def main() -> str:
        return (await client.aio.check_flag_with_entitlement("exports", {"id": "acme"})).source

    assert client.check_flag("exports", {"id": "acme"}) is True
    assert asyncio.run(main()) == "cache"
    client.close()
    assert asyncio.run(client.aio.check_flag("exports", {"id": "acme"})) is False


# -- life cycle: the numbers are those of the pitfalls ---------------------------------------------------------------


def test_l8_an_async_client_made_without_a_loop_serves_one_loop_after_another(upstream: Upstream) -> None:
    client = AsyncSchematic("key", base_url=upstream.url, cache_providers=[])

    async def use() -> bool:
        await client.track("made", {"id": "acme"})
        return await client.check_flag("exports", {"id": "acme"})

    assert [asyncio.run(use()), asyncio.run(use())] == [True, True]
    assert asyncio.run(client.close()) == 0
    assert len(upstream.events) == 2


def test_l8_two_loops_at_once_share_a_client(upstream: Upstream) -> None:
    client = AsyncSchematic("key", base_url=upstream.url, cache_providers=[])
    answers: list[bool] = []

    async def use() -> None:
        answers.extend([await client.check_flag("exports", {"id": "acme"}) for _ in range(20)])

    threads = [threading.Thread(target=lambda: asyncio.run(use())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    asyncio.run(client.close())

    assert answers == [True] * 40


def test_l12_an_own_http_client_is_closed_and_a_given_one_is_not(upstream: Upstream) -> None:
    with httpx.Client(headers={"x-mine": "yes"}) as given:
        with Schematic("key", base_url=upstream.url, http_client=given) as client:
            assert client.check_flag("exports", {"id": "acme"}) is True
        assert not given.is_closed
    assert upstream.asked[0].headers["x-mine"] == "yes"

    with Schematic("key", base_url=upstream.url) as client:
        client.check_flag("exports", {"id": "acme"})
        own = client._runtime.executor._own
    assert own is not None
    assert own.is_closed


def test_l12_the_async_face_closes_its_own_http_client_and_no_given_one(upstream: Upstream) -> None:
    async def main() -> tuple[bool, bool]:
        async with httpx.AsyncClient() as given:
            async with AsyncSchematic("key", base_url=upstream.url, http_client=given) as client:
                await client.check_flag("exports", {"id": "acme"})
            given_is_closed = given.is_closed
        async with AsyncSchematic("key", base_url=upstream.url) as client:
            await client.check_flag("exports", {"id": "acme"})
            own = client._runtime.async_executor._held[asyncio.get_running_loop()].client
        return given_is_closed, own.is_closed

    assert asyncio.run(main()) == (False, True)


def test_l15_clients_leave_logging_as_it_is(upstream: Upstream) -> None:
    logger = logging.getLogger("schematic")
    before = (logger.level, list(logger.handlers), logger.propagate, logging.getLogger().level)
    Schematic("key", base_url=upstream.url, log_level="DEBUG").close()

    assert (logger.level, logger.handlers, logger.propagate, logging.getLogger().level) == before
    assert [type(handler) for handler in logger.handlers] == [logging.NullHandler]


def test_l17_failures_are_logged_once_with_fields_and_the_traceback_at_debug(
    connect: Connect, upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.respond = lambda _: Answer(503, {"error": "down"})
    client = connect(max_retries=0)
    with caplog.at_level(logging.DEBUG, "schematic"):
        for n in range(4):
            client.check_flag("exports", {"id": str(n)})
        upstream.respond = lambda _: verdict()
        client.check_flag("exports", {"id": "5"})

    loud = [r for r in caplog.records if r.levelno >= logging.INFO]
    assert [r.levelname for r in loud] == ["WARNING", "INFO"]
    assert loud[0].__dict__["schematic_error"] == "http_503"
    assert [r.exc_info is not None for r in caplog.records if r.getMessage().startswith("flag check failed")] == [
        True
    ] * 4


def test_a_given_logger_receives_what_the_client_says(connect: Connect, upstream: Upstream) -> None:
    said: list[str] = []

    class Listening(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    logger = logging.Logger("an application's own")
    logger.addHandler(Listening())
    upstream.respond = lambda _: Answer(503, {"error": "down"})

    connect(logger=logger, max_retries=0).check_flag("exports", {"id": "acme"})

    assert said[-1] == "flag checks cannot reach the service (http_503)"


@pytest.mark.parametrize("follows", [True, False])
def test_redirects_are_followed_only_when_wanted(connect: Connect, upstream: Upstream, follows: bool) -> None:
    def respond(asked: Any) -> Answer:
        if asked.path.startswith("/moved"):
            return verdict()
        return Answer(307, {}, {"location": "/moved" + asked.path})

    upstream.respond = respond
    client = connect(follow_redirects=follows, max_retries=0)

    assert client.check_flag("exports", {"id": "acme"}) is follows
    assert len(upstream.asked) == 1 + follows
    assert {asked.method for asked in upstream.asked} == {"POST"}


def test_a_redirect_to_another_host_never_gets_the_key(connect: Connect, upstream: Upstream) -> None:
    with running() as stranger:
        upstream.respond = lambda asked: Answer(307, {}, {"location": stranger.url + asked.path})
        client = connect(max_retries=0, headers={"authorization": "Bearer of.mine", "x-plain": "1"})
        client.check_flag("exports", {"id": "acme"})

        assert all("x-schematic-api-key" not in asked.headers for asked in stranger.asked)
        assert all("authorization" not in asked.headers for asked in stranger.asked)


def test_constructing_does_nothing_yet(upstream: Upstream) -> None:
    before = threading.active_count()
    clients = [kind("key", base_url=upstream.url) for kind in (Schematic, AsyncSchematic)]

    assert (threading.active_count(), upstream.asked) == (before, [])
    del clients


def test_a_dropped_client_is_collected(upstream: Upstream) -> None:
    client = Schematic("key", base_url=upstream.url)
    client.check_flag("exports", {"id": "acme"})
    seen = weakref.ref(client._runtime)
    del client
    gc.collect()

    assert seen() is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_checks_and_tracks_on_its_own(upstream: Upstream) -> None:
    program = f"""
import os
from schematic_core import Schematic
client = Schematic("key", base_url={upstream.url!r}, cache_providers=[])
client.check_flag("exports", {{"id": "parent"}})
client.track("made", {{"id": "parent"}})
if os.fork() == 0:
    assert client.check_flag("exports", {{"id": "child"}}) is True
    client.track("made", {{"id": "child"}})
    os._exit(client.close())
_, status = os.wait()
assert client.check_flag("exports", {{"id": "parent"}}) is True
raise SystemExit(client.close() or status)
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=60)

    assert sorted(event["body"]["company"]["id"] for event in upstream.events) == ["child", "parent"]


def test_an_unawaited_track_is_recorded_without_a_warning(upstream: Upstream) -> None:
    async def main() -> None:
        async with AsyncSchematic("key", base_url=upstream.url) as client:
            client.track("one", {"id": "acme"})
            await client.track("two", {"id": "acme"})
            await asyncio.gather(client.track("three"), asyncio.ensure_future(client.track("four")))

    asyncio.run(main())

    assert [event["body"]["event"] for event in upstream.events] == ["one", "two", "three", "four"]


def test_a_check_option_sets_the_default_of_that_check(connect: Connect, upstream: Upstream) -> None:
    upstream.respond = lambda _: Answer(500, {"error": "down"})
    client = connect(max_retries=0, flag_defaults={"exports": False})

    assert client.check_flag("exports", {"id": "a"}, None, CheckFlagOptions(default_value=True)) is True
    assert client.check_flag("exports", {"id": "a"}) is False
