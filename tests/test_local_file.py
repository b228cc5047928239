"""Answers from an environment file: full evaluation, usage, changes of the file, and no network at all."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, cast

import pytest

from schematic_core.checks.evaluate import EngineHolder
from schematic_core.checks.local import Bounds, Local
from schematic_core.checks.local_flow import ASK_SERVICE
from schematic_core.checks.question import ask
from schematic_core.client import AsyncSchematic, CheckFlagOptions, Schematic
from schematic_core.datastream.replica import Replica
from schematic_core.environment.local_file import EnvironmentFile
from schematic_core.errors import ApiError, ConfigurationError
from schematic_core.events.worker import Worker
from schematic_core.rules import engine
from schematic_core.values import REASON_CLOSED, REASON_FLAG_NOT_FOUND, CheckResult
from tests.checks.test_local import Records
from tests.datastream.support import ACME, ADA, TINY, in_child, making, serving, until
from tests.server.conftest import ENVIRONMENT
from tests.support.faces import Driver
from tests.support.upstream import Upstream

Follow = Callable[..., Driver]

ROOT = Path(__file__).parents[1]
FLAGS = ["daily", "exports", "new-nav", "on-by-default", "reports", "seats", "tokens"]
OTHER_PLAN = ENVIRONMENT.replace("a1}, plan: pro", "a1}, plan: free")

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
forks_with_threads = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "schematic.yaml"
    path.write_text(ENVIRONMENT)
    return path


@pytest.fixture
def follow(face: str, path: Path, upstream: Upstream) -> Iterator[Follow]:
    """Make clients of the face under test that answer from ``path``; ``upstream`` would hear of any request."""
    with ExitStack() as stack:

        def make(*, watches: bool = True, **options: Any) -> Driver:
            options = {"environment_file": path, "base_url": upstream.url, "event_buffer_period": 0.0, **options}
            client = stack.enter_context(making(face, **options))
            if not watches:  # the test looks at the file itself
                _source(client)._period = 3600.0
            return client

        yield make
        assert (upstream.asked, upstream.events) == ([], [])


def _source(client: Driver) -> EnvironmentFile:
    source = client.client._runtime.source
    assert isinstance(source, EnvironmentFile)
    return source


def _check(
    client: Driver, key: str = "exports", company: Any = ACME, user: Any = None, options: Any = None
) -> CheckResult:
    answer: CheckResult = client.check_flag_with_entitlement(key, company, user, options)
    return answer


def _file_threads() -> list[threading.Thread]:
    gc.collect()
    return [thread for thread in threading.enumerate() if thread.name == "schematic-file"]


# -- answers


@pytest.mark.parametrize(("company", "user"), [(ACME, ADA), (TINY, None), ({"id": "nobody"}, None), (None, ADA)])
def test_every_flag_is_answered_as_the_local_server_would(follow: Follow, path: Path, company: Any, user: Any) -> None:
    """With the same file, everything that an answer says is the same."""
    client = follow()

    answers = {one.flag_key: one for one in client.check_flags(None, company, user)}

    with serving(path.read_text()) as service:
        theirs = {key: service.check(key, company, user) for key in FLAGS}
    assert sorted(answers) == FLAGS
    names = ("value", "reason", "rule_id", "company_id", "user_id", "feature_usage", "feature_allocation")
    assert {key: [getattr(one, name) for name in names] for key, one in answers.items()} == {
        key: [one.get(name) for name in names] for key, one in theirs.items()
    }
    assert {one.source for one in answers.values()} == {"file"}


def test_the_first_check_answers_without_getting_ready(follow: Follow) -> None:
    """Nothing has to be waited for; and neither key nor network is needed."""
    client = follow()

    answer = _check(client)

    assert (answer.value, answer.source, answer.age, answer.is_stale) == (True, "file", 0.0, False)
    assert answer.entitlement is not None
    assert answer.entitlement.allocation == 5


def test_getting_ready_is_possible(follow: Follow) -> None:
    """It reads and compiles ahead of the first check."""
    client = follow()

    client.initialize(10.0)

    assert len(_file_threads()) == 1
    assert _check(client).source == "file"
    assert client.datastream is None


def test_making_a_client_starts_nothing(face: str, path: Path) -> None:
    """But it has read the file."""
    kind = Schematic if face == "sync" else AsyncSchematic

    client = kind(environment_file=path)

    assert _file_threads() == []
    path.unlink()
    del client


def test_an_unknown_flag_answers_its_default(follow: Follow) -> None:
    """There is nobody else to ask."""
    client = follow(flag_defaults={"unknown": True})

    answer = _check(client, "unknown")

    assert (answer.value, answer.reason, answer.source) == (True, REASON_FLAG_NOT_FOUND, "default")


def test_the_api_is_out_of_reach(follow: Follow) -> None:
    """Calls of it say so."""
    client = follow()

    with pytest.raises(ApiError, match="environment file"):
        client.run(client.client.companies.list_companies())


def test_a_preflight_is_answered(follow: Follow) -> None:
    """And leaves usage as it is."""
    client = follow()

    values = [_check(client, options=CheckFlagOptions(usage=usage)).value for usage in (1, 5, 6)]

    assert values == [True, False, False]
    assert _check(client).feature_usage == 0


# -- usage


def test_tracked_usage_counts_up_to_the_limit(follow: Follow) -> None:
    """As the service would count it."""
    client = follow()

    usages = []
    for _ in range(5):
        client.track("export_created", ACME)
        usages.append((_check(client).feature_usage, _check(client).value))

    assert usages == [(1, True), (2, True), (3, True), (4, True), (5, False)]
    assert _check(client, company={"ref": "a1"}).value is False
    assert _check(client, company=TINY).feature_usage == 0
    assert client.flush(5.0) == 0


def test_usage_tracked_before_the_first_check_counts(follow: Follow) -> None:
    """Quantities as well; other companies, other events and unknown ones change nothing."""
    client = follow()

    client.track("export_created", {"ref": "a1"}, quantity=3)
    client.track("export_created", TINY)
    client.track("unheard-of", ACME)
    client.track("export_created", {"id": "nobody"})
    client.track("export_created", None, ADA)
    client.track("export_created", {"id": "tiny", "ref": "a1"})

    assert [_check(client, company=one).feature_usage for one in (ACME, TINY)] == [3, 1]


def test_tracked_usage_draws_credits(face: str, path: Path) -> None:
    """At the rate of the plan, down to nothing."""
    path.write_text(
        """
version: 1
features: {tokens: {type: event, event: tokens_used}}
plans: {pro: {entitlements: {tokens: {credit: ai, rate: 0.5}}}}
credits: {ai: {name: AI credits}}
companies: {acme: {plan: pro, credits: {ai: 2}}}
"""
    )
    with making(face, environment_file=path) as client:
        left = []
        for _ in range(3):
            client.track("tokens_used", ACME, quantity=2)
            answer = _check(client, "tokens")
            assert answer.entitlement is not None
            left.append((answer.value, answer.entitlement.credit_remaining))

    assert left == [(True, 1.0), (False, 0.0), (False, 0.0)]


# -- changes of the file


def test_a_change_of_the_file_is_taken_over(follow: Follow, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """By itself, within a moment; usage begins again."""
    caplog.set_level(logging.INFO)
    client = follow()
    client.track("export_created", ACME)
    assert _check(client, "reports").value is True
    assert _check(client).feature_usage == 1

    path.write_text(OTHER_PLAN)

    assert until(lambda: _check(client, "reports").value is False)
    assert _check(client).feature_usage == 0
    told = "the environment file has changed and was read again"
    assert until(lambda: [one.getMessage() for one in caplog.records if one.name.startswith("schematic")] == [told])


def test_what_a_change_leaves_out_is_gone(follow: Follow, path: Path) -> None:
    """Flags, companies and users."""
    client = follow(watches=False)
    assert [_check(client, "new-nav").value, _check(client, "on-by-default").value] == [True, True]

    path.write_text("{version: 1, flags: {new-nav: {default: true}}, companies: {acme: {}}}")
    _source(client).look()

    assert [one.flag_key for one in client.check_flags(None, ACME)] == ["new-nav"]
    assert _check(client, "on-by-default").reason == REASON_FLAG_NOT_FOUND
    assert _check(client, "new-nav", TINY).company_id is None


def test_a_file_without_flags_ends_what_was_remembered(follow: Follow, path: Path) -> None:
    """Not one answer outlives the file that it came from."""
    client = follow(watches=False)
    assert _check(client).source == "file"
    assert _check(client).source == "file"

    path.write_text("version: 1\n")
    _source(client).look()

    assert _check(client).source == "default"


@pytest.mark.parametrize(
    "mistake", ["version: 1\nplans: {pro: {entitlements: {nothing: [}}}", "version: 2\n", "\x00", None]
)
def test_a_broken_file_keeps_the_last_good_one_and_says_so_once(
    follow: Follow, path: Path, caplog: pytest.LogCaptureFixture, mistake: str | None
) -> None:
    """Or one that is gone; once it is good again, it counts."""
    client = follow(watches=False)
    client.track("export_created", ACME)

    if mistake is None:
        path.unlink()
    else:
        path.write_text(mistake)
    for _ in range(5):
        _source(client).look()

    assert (_check(client).value, _check(client).feature_usage, _check(client).is_stale) == (True, 1, False)
    assert [str(path) in one.getMessage() for one in caplog.records] == [True]
    assert "the environment file is broken" in caplog.records[0].getMessage()

    path.write_text(OTHER_PLAN)
    _source(client).look()
    assert _check(client, "reports").value is False


def test_a_file_that_the_engine_refuses_keeps_the_last_good_one(
    follow: Follow, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is read without a mistake, yet what it says cannot be evaluated: it counts as broken too."""
    client = follow(watches=False)
    assert _check(client).value is True

    path.write_text("version: 1\ncompanies: {acme: {traits: {note: " + "x" * 9_000_000 + "}}}\n")
    _source(client).look()

    assert _check(client).value is True
    assert "the engine refuses a company" in caplog.records[0].getMessage()


def test_a_file_broken_in_another_way_says_so_again(
    follow: Follow, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """So that who repairs it sees how far he is."""
    client = follow(watches=False)
    _check(client)

    for mistake in ("version: 2\n", "version: 2\n\n", "version: 3\n"):
        path.write_text(mistake)
        _source(client).look()

    assert len(caplog.records) == 2


@pytest.mark.parametrize("face", ["sync", "async"])
def test_a_wrong_file_is_refused_when_the_client_is_made(face: str, path: Path) -> None:
    """With its name, the line, and what is wrong there; a missing one with its name."""
    kind = Schematic if face == "sync" else AsyncSchematic
    path.write_text("version: 1\nplans:\n  pro: {entitlement: {}}\n")

    with pytest.raises(ConfigurationError, match=rf"{path}:3: .*entitlement"):
        kind(environment_file=path)
    with pytest.raises(ConfigurationError, match=f"{path}.nothing"):
        kind(environment_file=f"{path}.nothing")


def test_a_file_and_a_stream_are_refused_together(path: Path) -> None:
    """They are two sources of one thing."""
    with pytest.raises(ConfigurationError, match="use_datastream"):
        Schematic("key", environment_file=path, use_datastream=True)


def test_checks_go_on_while_the_file_changes(follow: Follow, path: Path) -> None:
    """Each of them is answered by one of the files as a whole."""
    client = follow(watches=False)
    source = _source(client)
    stopped = threading.Event()

    def rewrite() -> None:
        for number in range(40):
            path.write_text((ENVIRONMENT if number % 2 else OTHER_PLAN) + f"# {number}\n")
            source.look()
        stopped.set()

    _check(client)
    writing = threading.Thread(target=rewrite)
    writing.start()
    seen = set()
    while not stopped.is_set():
        one = _check(client)
        allocation = one.entitlement.allocation if one.entitlement is not None else None
        seen.add((one.value, one.rule_id, one.feature_allocation, allocation, one.source))
    writing.join()

    assert seen <= {
        (True, "rule_pro_exports", 5, 5, "file"),
        (True, "rule_free_exports", 2, 2, "file"),
    }


def test_an_engine_that_cannot_run_here_is_said_and_defaults_answer(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A check raises nothing, for it is the first one that takes the file over."""

    class Broken(EngineHolder):
        def hold(self, kind: Any, text: bytes) -> Any:
            raise ConfigurationError("local evaluation needs wasmtime, which cannot be loaded here")

    log = logging.getLogger("schematic.test")
    local = Local(
        lambda: Replica(Broken(engine()), max_entities=1000, ttl=None, not_found_ttl=0.0),
        engine(),
        "file",
        Bounds(30.0, 3600.0, is_complete=True),
        cast("Worker", Records()),
        log,
    )
    source = EnvironmentFile(str(path), local, log, period=3600.0)

    source.start()
    source.on_tracked(ACME, "export_created", 1)
    found = local.consult(ask("exports", ACME, None, None))
    source.close()

    assert found is ASK_SERVICE
    assert ["cannot be evaluated here" in record.getMessage() for record in caplog.records] == [True]


# -- the clock


def test_usage_begins_anew_when_its_period_does(path: Path) -> None:
    """By the clock, without a change of the file."""
    clock = [datetime(2026, 5, 31, 23, 59, 0, tzinfo=timezone.utc)]

    def wall() -> float:
        return clock[0].timestamp()

    local = Local(
        lambda: Replica(EngineHolder(engine()), max_entities=1000, ttl=None, not_found_ttl=0.0),
        engine(),
        "file",
        Bounds(30.0, 3600.0, is_complete=True),
        cast("Worker", Records()),
        logging.getLogger("schematic.test"),
        wall=wall,
    )
    source = EnvironmentFile(str(path), local, logging.getLogger("schematic.test"), now=lambda: clock[0], period=3600.0)

    def usage(key: str) -> tuple[bool, int | None]:
        found = local.consult(ask(key, ACME, None, None))
        assert isinstance(found, CheckResult)
        return found.value, found.feature_usage

    source.start()
    source.on_tracked(ACME, "export_created", 5)
    source.on_tracked(ACME, "report_run", 3)
    before = [usage("exports"), usage("daily")]
    source.look()
    unchanged = [usage("exports"), usage("daily")]
    clock[0] += timedelta(minutes=2)
    source.look()
    after = [usage("exports"), usage("daily")]
    source.on_tracked(ACME, "report_run", 1)
    again = usage("daily")
    source.close()

    assert before == unchanged == [(False, 5), (False, 3)]
    assert after == [(True, 0), (True, 0)]
    assert again == (True, 1)


# -- processes, the end


@needs_fork
@forks_with_threads
@pytest.mark.parametrize("is_started", [True, False])
def test_a_child_answers_on_its_own(follow: Follow, path: Path, is_started: bool) -> None:
    """From what the file says; it follows it, and what it counts is not the parent's."""
    client = follow()
    if is_started:
        client.track("export_created", ACME)
        assert _check(client).feature_usage == 1

    def works() -> bool:
        client.track("export_created", ACME, quantity=2)
        counted = _check(client).feature_usage
        path.write_text(OTHER_PLAN)
        return counted == 2 and until(lambda: _check(client, "reports").value is False)

    assert in_child(works)
    assert _check(client).feature_usage == (1 if is_started else 0) or _check(client, "reports").value is False


@needs_fork
@forks_with_threads
def test_a_child_is_not_held_up_by_the_parent_s_locks(follow: Follow) -> None:
    """A file may be taken over in the very moment of the fork."""
    client = follow()
    _check(client)
    source, local = _source(client), client.client._runtime.local
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with source._lock, local.lock:
            held.set()
            done.wait(20.0)

    holding = threading.Thread(target=hold)
    holding.start()
    held.wait(10.0)

    is_fine = in_child(lambda: _check(client).value)
    done.set()
    holding.join()

    assert is_fine


def test_a_closed_client_answers_defaults_and_watches_no_more(follow: Follow) -> None:
    """Its thread ends; tracking has no effect and raises nothing."""
    client = follow()
    assert _check(client).value is True

    client.close(1.0)
    client.close(1.0)
    client.track("export_created", ACME)

    assert _check(client).reason == REASON_CLOSED
    assert until(lambda: _file_threads() == [])


def test_a_dropped_client_takes_its_thread_along(path: Path) -> None:
    """And is collected."""
    client = Schematic(environment_file=path)
    client.initialize()
    client.check_flag("exports", ACME)
    watched = weakref.ref(client._runtime)

    del client
    gc.collect()

    assert watched() is None
    assert until(lambda: _file_threads() == [])


def test_a_program_ends_quietly(path: Path) -> None:
    """Closed or not; it prints nothing and comes to its end."""
    program = """
import asyncio, logging, sys
from schematic_core import AsyncSchematic, Schematic
logging.basicConfig()
client = Schematic(environment_file=sys.argv[1])
assert client.check_flag("exports", {"id": "acme"})
client.track("export_created", {"id": "acme"})
async def main():
    awaited = AsyncSchematic(environment_file=sys.argv[1])
    assert await awaited.check_flag("exports", {"id": "acme"})
    return awaited
kept = asyncio.run(main())
"""

    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, path],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=30.0,
        check=False,
    )

    assert (ended.returncode, ended.stdout) == (0, "")
