"""The shape of the code: imports point downward only, heavy packages are imported in one place, modules stay small."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("schematic_core", "schematic_fastapi", "schematic_flask", "schematic_django")

# Longest prefix wins. A module may import its own level only within its own package or file group, and anything below.
LEVELS = {
    "schematic_core._version": 0,
    "schematic_core.values": 0,
    "schematic_core.errors": 0,
    "schematic_core.config": 0,
    "schematic_core.config_checks": 0,
    "schematic_core.config_datastream": 0,
    "schematic_core.cache.providers": 0,
    "schematic_core.wire": 1,
    "schematic_core.keys": 1,
    "schematic_core.timing": 1,
    "schematic_core.ports": 1,
    "schematic_core.finished": 1,
    "schematic_core.core": 1,
    "schematic_core.events.codec": 2,
    "schematic_core.events.queue": 2,
    "schematic_core.events": 2,
    "schematic_core.cache.memory": 2,
    "schematic_core.api": 2,
    "schematic_core.api.sync": 4,
    "schematic_core.api.aio": 4,
    "schematic_core.types": 4,
    "schematic_core.api.methods": 4,
    "schematic_core.api.resources": 4,
    "schematic_core.api.deadline": 4,
    "schematic_core.api.lookup": 4,
    "schematic_core.api.off_pool": 4,
    "schematic_core.api.over_httpx": 4,
    "schematic_core.checks": 2,
    "schematic_core.checks.tiers": 3,
    "schematic_core.checks.flow": 3,
    "schematic_core.checks.local_flow": 3,
    "schematic_core.checks.evaluate": 4,
    "schematic_core.checks.memos": 2,
    "schematic_core.checks.local": 4,
    "schematic_core.datastream": 2,
    "schematic_core.datastream.messages": 1,
    "schematic_core.datastream.contract": 1,
    "schematic_core.datastream.urls": 1,
    "schematic_core.datastream.values": 1,
    "schematic_core.datastream.document": 1,
    "schematic_core.datastream.versions": 1,
    "schematic_core.datastream.dial": 4,
    "schematic_core.datastream.listeners": 4,
    "schematic_core.datastream.pump": 4,
    "schematic_core.datastream.reader": 4,
    "schematic_core.datastream.thread": 4,
    "schematic_core.datastream.client": 5,
    "schematic_core.datastream.rules_client": 5,
    "schematic_core.lifecycle": 4,
    "schematic_core.events.delivery": 4,
    "schematic_core.events.courier": 4,
    "schematic_core.events.keeping": 4,
    "schematic_core.events.loop": 4,
    "schematic_core.events.outfit": 4,
    "schematic_core.events.sent": 4,
    "schematic_core.events.spool": 4,
    "schematic_core.events.spool_file": 4,
    "schematic_core.events.waiters": 4,
    "schematic_core.events.complaints": 4,
    "schematic_core.events.worker": 4,
    "schematic_core.events.recording": 4,
    "schematic_core.events.thread": 4,
    "schematic_core.checks.desk": 2,
    "schematic_core.checks.sync": 4,
    "schematic_core.checks.aio": 4,
    "schematic_core.cache": 4,
    "schematic_core.cache.local": 4,
    "schematic_core.rules": 4,
    "schematic_core.offloop": 4,
    "schematic_core.chance": 4,
    "schematic_core.client_log": 4,
    "schematic_core.sources": 5,
    "schematic_core.runtime": 5,
    "schematic_core.face": 5,
    "schematic_core.client": 5,
    "schematic_core.binding": 5,
    "schematic_core.webhooks": 5,
    "schematic_core.webhook_utils": 5,
    "schematic_core.environment": 5,
    "schematic_core.server": 6,
    "schematic_core.cli": 6,
    "schematic_core.cli_webhook": 6,
    "schematic_core.__main__": 6,
    "schematic_core": 6,
    "schematic_fastapi": 7,
    "schematic_flask": 7,
    "schematic_django": 7,
}

# Values, wire, machines and flows, whose every branch has a test (`make coverage`): what stands on levels 0 to 3, so that a
# new module there is among them by itself, and what is named here. A shell that flows need below level 4 is named as well.
PURE_ABOVE = (
    "schematic_core.binding",
    "schematic_core.webhooks",
    *(
        f"schematic_core.server.{name}"
        for name in ("asked", "deliveries", "frames", "replay", "streams", "subscriber", "watch")
    ),
)
SHELLS_BELOW = ("schematic_core.checks.desk",)  # the lock around a machine

# Packages too heavy or too optional to be imported at large, and where each may be imported.
HEAVY = {
    "httpx": (
        "schematic_core.api.sync",
        "schematic_core.api.aio",
        "schematic_core.api.deadline",
        "schematic_core.api.off_pool",
        "schematic_core.api.over_httpx",
        "schematic_core.events.delivery",
        "schematic_core.cli_webhook",
        "schematic_core.server",
    ),
    "pydantic": ("schematic_core.types", "schematic_core.api.resources"),
    "wasmtime": ("schematic_core.rules.engine",),
    "ctypes": ("schematic_core.rules.engine",),
    "websockets": ("schematic_core.datastream.dial",),
    "redis": (),
    "yaml": ("schematic_core.environment",),
    "uvicorn": ("schematic_core.server",),
    "starlette": ("schematic_core.server", "schematic_fastapi"),
    "fastapi": ("schematic_fastapi",),
}

MAX_LINES = 400
MAX_FUNCTION_LINES = 60
LONG_IS_DATA = ("_generated",)


@dataclass(frozen=True)
class Import:
    importer: str
    imported: str
    line: int
    is_for_types_only: bool


def modules() -> Iterator[tuple[str, Path]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


MODULES = dict(modules())


def imports_of(name: str, path: Path) -> Iterator[Import]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    types_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} uses a relative import"
            base = node.module or ""
            found = [f"{base}.{a.name}" if f"{base}.{a.name}" in MODULES else base for a in node.names]
        else:
            continue
        for imported in dict.fromkeys(found):
            yield Import(name, imported, node.lineno, id(node) in types_only)


IMPORTS = [found for name, path in MODULES.items() for found in imports_of(name, path)]


def level(module: str) -> int:
    names = module.split(".")
    for end in range(len(names), 0, -1):
        if (known := LEVELS.get(".".join(names[:end]))) is not None:
            return known
    raise AssertionError(f"{module} has no level: add it to LEVELS")


def is_pure(module: str) -> bool:
    """Whether every branch of ``module`` must have a test."""
    is_named = any(module == name or module.startswith(f"{name}.") for name in PURE_ABOVE)
    return is_named or (level(module) <= 3 and module not in SHELLS_BELOW)


def is_ours(module: str) -> bool:
    return module.split(".", maxsplit=1)[0] in PACKAGES


def test_imports_point_downward_only() -> None:
    """A module imports nothing that stands on a higher level than its own."""
    upward = [
        f"{i.importer}:{i.line} (level {level(i.importer)}) imports {i.imported} (level {level(i.imported)})"
        for i in IMPORTS
        if is_ours(i.imported) and not i.is_for_types_only and level(i.imported) > level(i.importer)
    ]

    assert upward == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    """There is no import cycle, not even through imports inside functions."""
    graph: dict[str, set[str]] = {name: set() for name in MODULES}
    for found in IMPORTS:
        if is_ours(found.imported) and not found.is_for_types_only and found.imported in graph:
            graph[found.importer].add(found.imported)
    done: set[str] = set()

    def walk(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path[path.index(name) :], name))
        if name not in done:
            for imported in graph[name]:
                if imported != name:
                    walk(imported, (*path, name))
            done.add(name)

    for name in graph:
        walk(name, ())


def test_heavy_packages_are_imported_in_one_place_each() -> None:
    """Packages that cost start-up time or are optional are imported only where they are listed."""
    astray = [
        f"{i.importer}:{i.line} imports {i.imported}"
        for i in IMPORTS
        if (allowed := HEAVY.get(i.imported.split(".")[0])) is not None
        and not i.is_for_types_only
        and not i.importer.startswith(allowed or ("nowhere",))
    ]

    assert astray == []


def test_adapters_know_only_the_core_s_public_names_and_no_other_adapter() -> None:
    """An adapter imports no other adapter, and nothing of the core with an underscore."""
    adapters = PACKAGES[1:]
    astray = [
        f"{i.importer}:{i.line} imports {i.imported}"
        for i in IMPORTS
        if i.importer.startswith(adapters)
        and is_ours(i.imported)
        and not i.imported.startswith(i.importer.split(".")[0])
        and (i.imported.startswith(adapters) or any(part.startswith("_") for part in i.imported.split(".")))
    ]

    assert astray == []


def test_machines_and_flows_import_no_runtime() -> None:
    """Levels 0 to 3 know no thread, loop, socket or clock."""
    runtimes = {"asyncio", "threading", "socket", "time", "random", "httpx", "concurrent"}
    astray = [
        f"{i.importer}:{i.line} imports {i.imported}"
        for i in IMPORTS
        if level(i.importer) <= 3
        and i.importer not in SHELLS_BELOW
        and not i.is_for_types_only
        and i.imported.split(".")[0] in runtimes
    ]

    assert astray == []


@pytest.mark.parametrize("name", [n for n in MODULES if not any(part in n for part in LONG_IS_DATA)])
def test_modules_and_functions_stay_small_and_say_what_they_are_for(name: str) -> None:
    """A module has a docstring and at most 400 lines; no function has more than 60."""
    source = MODULES[name].read_text(encoding="utf-8")
    tree = ast.parse(source)
    long = [
        f"{node.name} ({(node.end_lineno or 0) - node.lineno + 1} lines)"
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (node.end_lineno or 0) - node.lineno + 1 > MAX_FUNCTION_LINES
    ]

    assert ast.get_docstring(tree), f"{name} does not say what it is for"
    assert len(source.splitlines()) <= MAX_LINES
    assert long == []


def test_importing_a_client_loads_nothing_heavy() -> None:
    """`import schematic_core.client` loads neither pydantic, httpx, asyncio, websockets, wasmtime nor redis."""
    heavy = ["pydantic", "httpx", "asyncio", "websockets", "wasmtime", "redis", "yaml", "starlette"]
    program = (
        "import sys, schematic_core.client as c; c.Schematic('key'); c.AsyncSchematic('key');"
        f"print([m for m in {heavy!r} if m in sys.modules])"
    )

    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert printed.stdout.strip() == "[]"
