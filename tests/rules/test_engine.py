"""The engine as an object: handles, threads, forks, and the module it runs."""

from __future__ import annotations

import ast
import gc
import json
import os
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import wasmtime

import schematic_core.rules
from schematic_core.errors import ConfigurationError, EngineError
from schematic_core.rules import Engine, check
from schematic_core.rules.engine import Handle
from schematic_core.rules.failure import Trapped
from tests.rules.models import NOW, company, condition, flag, rule

RULES = Path(__file__).resolve().parents[2] / "schematic_core" / "rules"
MODULE = RULES / "engine.wasm"


def encoded(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode()


ASKED = encoded(flag(rule("standard", condition("company", resource_ids=["co_1"]))))


def test_handles_stay_good_until_they_are_dropped() -> None:
    """Dropping twice does nothing; a dropped handle never comes to mean another document."""
    engine = Engine()
    asked = engine.put_flag(ASKED)
    first = engine.put_company(encoded(company()))
    assert first is not None
    assert engine.check(asked, first, now_ms=0).value

    engine.drop(first)
    engine.drop(first)
    second = engine.put_company(encoded(company(id="co_2")))

    assert second != first
    assert not engine.check(asked, second, now_ms=0).value
    with pytest.raises(EngineError) as caught:
        engine.check(asked, first, now_ms=0)
    assert caught.value.code == "stale_handle"


def test_invented_handles_and_those_of_another_kind_are_not_valid() -> None:
    """A wrong number is an error, never a verdict."""
    engine = Engine()
    asked = engine.put_flag(ASKED)
    owner = engine.put_company(encoded(company()))
    options = engine.put_options(b"{}")
    assert owner is not None

    wrong: list[tuple[Any, ...]] = [
        *[(owner,), (asked, asked), (asked, None, owner), (asked, owner, None, owner), (options,)],
        *[(Handle(number, asked.life),) for number in (-1, 0, 12345, 2**31 - 1, -(2**31), asked.number + (1 << 20))],
        *[(Handle(asked.number, asked.life + 1),), (asked, Handle(2**40 + 7, asked.life))],
    ]
    for handles in wrong:
        with pytest.raises(EngineError) as caught:
            engine.check(*handles, now_ms=0)
        assert caught.value.code == "stale_handle"


def test_places_are_used_again_under_new_numbers() -> None:
    """Many more documents than generations of one place; nothing grows."""
    engine = Engine()
    numbers = set()
    for _ in range(5000):
        handle = engine.put_flag(ASKED)
        numbers.add(handle.number)
        engine.drop(handle)

    assert len(numbers) == 5000
    assert min(numbers) > 0
    assert engine.stats().entities == 0
    assert engine.stats().entity_bytes == 0


@pytest.mark.parametrize("now_ms", [-(2**63), -1, 0, 2**63 - 1])
def test_every_clock_gives_an_answer(safe_engine: Engine, now_ms: int) -> None:
    """Also those that no datetime can hold, without overflow."""
    tested = condition("metric", "gte", event_subtype="ev", metric_value=0, metric_period="current_month")
    given = {"id": "s", "period_start": "2023-01-31T10:00:00Z", "period_end": "9999-12-31T23:59:59Z"}
    tested["metric_period_month_reset"] = "billing_cycle"
    documents = encoded(flag(rule("plan_entitlement", tested))), encoded(company(subscription=given))

    result = safe_engine.evaluate(*documents, now_ms=now_ms)

    assert result.value
    assert result.feature_usage_reset_at is not None


def test_resets_have_a_form_for_every_year() -> None:
    """Leap seconds and years a datetime cannot hold are text only."""
    tested = condition("metric", "gte", event_subtype="ev", metric_value=0, metric_period="current_month")
    tested["metric_period_month_reset"] = "billing_cycle"
    asked = encoded(flag(rule("plan_entitlement", tested)))

    def reset(now_ms: int, start: str, end: str = "9999-12-31T23:59:59Z") -> tuple[str | None, str | None]:
        owner = encoded(company(subscription={"id": "s", "period_start": start, "period_end": end}))
        result = Engine.evaluate(engine, asked, owner, now_ms=now_ms)
        return result.feature_usage_reset_at, result.reset_at.isoformat() if result.reset_at else None

    engine = Engine()
    assert reset(0, "1970-01-31T23:59:60Z") == ("1970-01-31T23:59:60+00:00", None)
    assert reset(0, "1970-01-09T00:00:00.1234567Z") == (
        "1970-01-09T00:00:00.123456700+00:00",
        "1970-01-09T00:00:00.123456+00:00",
    )
    assert reset(253402300800000 * 2, "2000-01-01T00:00:00Z")[0] == "9999-12-31T23:59:59+00:00"
    assert reset(253402300800000 * 2, "9999-01-01T00:00:00Z", "?") == (None, None)


def test_four_threads_with_different_questions_get_their_own_answers() -> None:
    """Documents, answers and texts of one thread never reach another."""
    engine = Engine()
    wrong: list[str] = []

    def ask(number: int) -> None:
        text = encoded(flag(rule("standard", condition("company", resource_ids=[f"co_{number}"]), id=f"rule_{number}")))
        owners = [encoded(company(id=f"co_{number + shift}")) for shift in (0, 10)]
        held = engine.put_flag(text)
        for turn in range(1500):
            is_own = turn % 2 == 0
            if turn % 10 < 8:
                owner = engine.put_company(owners[turn % 2])
                result = engine.check(held, owner, now_ms=0)
                assert owner is not None
                engine.drop(owner)
            else:
                result = engine.evaluate(text, owners[turn % 2], now_ms=0)
            if result.value is not is_own or result.rule_id != (f"rule_{number}" if is_own else None):
                wrong.append(f"{number} got {result}")

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


def in_child(action: Any, seconds: float = 30) -> int:
    """Run something in a forked child. Gives its exit status; -1 when it had to be killed."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if action() else 2
        finally:
            os._exit(status)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)  # a real child takes real time
    os.kill(child, 9)
    os.waitpid(child, 0)
    return -1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_checks_what_the_parent_compiled() -> None:
    """With inherited handles, with new documents, and with an engine that it has to compile itself."""
    engine = Engine()
    asked, owner = engine.put_flag(ASKED), engine.put_company(encoded(company()))
    assert engine.check(asked, owner, now_ms=0).value

    def inherited() -> bool:
        engine.after_fork_in_child()
        return engine.check(asked, owner, now_ms=0).value and engine.evaluate(ASKED, encoded(company()), now_ms=0).value

    def own() -> bool:
        return Engine().evaluate(ASKED, encoded(company()), now_ms=0).value

    assert in_child(inherited) == 0
    assert in_child(own) == 0
    assert engine.check(asked, owner, now_ms=0).value


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_forked_during_a_call_starts_anew() -> None:
    """Another thread held the lock when the process forked: the child neither waits for it nor trusts the instance."""
    engine = Engine()
    asked = engine.put_flag(ASKED)
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with engine._running():
            entered.set()
            leave.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    entered.wait(30)

    def child() -> bool:
        with pytest.raises(EngineError):
            engine.check(asked, now_ms=0)
        return engine.evaluate(ASKED, encoded(company()), now_ms=0).value

    status = in_child(child)
    leave.set()
    holder.join()

    assert status == 0
    assert engine.check(asked, now_ms=0).flag_id == "flag_1"


def test_a_call_from_inside_a_call_of_the_same_thread_is_refused() -> None:
    """A finaliser or signal handler must not wait for its own thread; dropping is always possible."""
    engine = Engine()
    asked = engine.put_flag(ASKED)

    with engine._running():
        with pytest.raises(EngineError) as caught:
            engine.check(asked, now_ms=0)
        engine.drop(asked)

    assert caught.value.code == "busy"
    assert engine.stats().entities == 0


def test_a_missing_wasmtime_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only when the engine is used, and as a setting that is wrong."""
    monkeypatch.setitem(sys.modules, "wasmtime", None)
    monkeypatch.delitem(sys.modules, "schematic_core.rules.engine_instance", raising=False)
    monkeypatch.delattr(schematic_core.rules, "engine_instance", raising=False)

    with pytest.raises(ConfigurationError, match=r"schematic-suite\[datastream\]"):
        Engine().evaluate(ASKED, now_ms=0)


def test_importing_the_package_does_not_load_wasmtime() -> None:
    """Nor anything else heavy: the module starts at the first check."""
    script = (
        "import sys, schematic_core.rules; sys.exit(any(n in sys.modules for n in ('wasmtime', 'ctypes', 'pydantic')))"
    )

    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_cache_that_cannot_be_made_is_done_without(tmp_path: Path) -> None:
    """A read-only home must not keep flags from being evaluated."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    script = "from schematic_core.rules import check; from tests.rules.models import flag; check(flag())"
    environment = {
        **os.environ,
        "XDG_CACHE_HOME": str(blocked / "cache"),
        "HOME": str(blocked),
        "PYTHONPATH": str(RULES.parents[1]),
    }

    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_a_wasmtime_that_cannot_be_called_directly_is_called_the_ordinary_way(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A call that does nothing, one that traps, and a binding without the names all end there, with one warning."""
    from schematic_core.rules import engine_instance, engine_route

    class Idle(engine_route.UncheckedRoute):
        def call(self, name: str, *arguments: int) -> int:
            return 0

    class Trapping(engine_route.UncheckedRoute):
        def call(self, name: str, *arguments: int) -> int:
            raise Trapped("oh")

    class Missing(engine_route.UncheckedRoute):
        def __init__(self, *arguments: Any) -> None:
            raise AttributeError("wasmtime_val_raw_t")

    for route in (Idle, Trapping, Missing):
        monkeypatch.setattr(engine_instance, "UncheckedRoute", route)
        engine = Engine()
        assert engine.evaluate(ASKED, encoded(company()), now_ms=0).value
        assert engine.stats().entities == 0
    assert {record.getMessage() for record in caplog.records} == {
        "this wasmtime cannot be called directly; evaluations take longer"
    }


def test_the_interpreter_exits_silently() -> None:
    """The process-wide engine is let go of before its parts are taken apart."""
    script = "import schematic_core.rules as r; from tests.rules.models import flag; r.check(flag())"

    done = subprocess.run([sys.executable, "-c", script], cwd=RULES.parents[1], capture_output=True, check=False)

    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("limit", [0, 1 << 20, 1 << 31])
def test_memory_limits_out_of_range_are_refused(limit: int) -> None:
    """Below, the module does not fit; above, addresses would turn negative."""
    with pytest.raises(ConfigurationError, match="memory_limit"):
        Engine(memory_limit=limit)


def test_a_module_that_is_none_is_refused(tmp_path: Path) -> None:
    """With an engine error, not one of wasmtime's."""
    broken = tmp_path / "broken.wasm"
    broken.write_bytes(b"no module")

    with pytest.raises(EngineError):
        Engine(module_path=broken).load()


def test_the_module_imports_nothing_and_names_no_paths() -> None:
    """It can reach nothing but its own memory, and does not tell where it was built."""
    module = wasmtime.Module(wasmtime.Engine(), MODULE.read_bytes())

    assert list(module.imports) == []
    assert b".zig" not in MODULE.read_bytes()
    assert len(MODULE.read_bytes()) < 150_000


@pytest.mark.skipif(find_spec("ziglang") is None, reason="the module can only be rebuilt with ziglang installed")
def test_the_committed_module_is_what_its_source_gives() -> None:
    """Byte for byte."""
    tool = RULES.parents[1] / "tools" / "build_wasm.py"

    done = subprocess.run([sys.executable, tool, "--check"], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_only_the_two_engine_modules_reach_for_wasmtime_or_ctypes() -> None:
    """Everything else goes through them."""
    found = set()
    for path in RULES.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [node.module] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if any((module or "").split(".")[0] in ("wasmtime", "ctypes") for module in modules):
                found.add(path.name)

    assert found == {"engine_instance.py", "engine_route.py"}


def test_the_public_check_uses_one_engine_for_the_process() -> None:
    """And leaves nothing behind in it."""
    from schematic_core.rules import engine

    gc.collect()  # of clients that other tests used
    before = engine().stats().entities

    check(flag(), company(), now=NOW)

    assert engine() is engine()
    assert engine().stats().entities == before
