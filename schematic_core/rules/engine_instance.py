"""One running instance of the module; with ``engine_route`` the only place that imports wasmtime or ctypes.

Nothing here locks: the caller must.
"""

from __future__ import annotations

import ctypes
import logging
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import wasmtime

from schematic_core.errors import EngineError
from schematic_core.rules.answer import ANSWER_BYTES
from schematic_core.rules.engine_route import OrdinaryRoute, Route, UncheckedRoute
from schematic_core.rules.failure import ERROR_BYTES, Failure, Trapped
from schematic_core.rules.results import Results
from schematic_core.rules.texts import TextKind, Texts

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Compiled", "Instance", "Stats", "compile_module"]

_log = logging.getLogger("schematic.rules")

_ABI = 1
_STATS_BYTES = 8
# Units are about a fifth of a nanosecond. A document of 8 MiB takes a twentieth of the first, sorted lists more.
_FUEL_OF_PUT = 20_000_000_000
_FUEL_OF_CHECKS = 10_000_000_000
_CHECKS_PER_FUEL = 64

_SIGNATURES = {
    **dict.fromkeys(("abi", "answer_block", "error_block", "text_block", "stats_block"), (0, 0)),
    **dict.fromkeys(("input", "put_flag", "put_company", "put_user", "put_options", "drop"), (1, 0)),
    "text": (3, 0),
    "check": (4, 1),
}
"""How many arguments of 32 bits and then of 64 bits each export takes. All give one number of 32 bits."""

_SELF_TEST = b'{"id":"f","account_id":"","environment_id":"","key":"k","default_value":true}'


class Compiled(NamedTuple):
    """The module as machine code, ready for any number of instances."""

    engine: wasmtime.Engine
    module: wasmtime.Module


class Stats(NamedTuple):
    """What an engine holds: documents, bytes of their images, and bytes of linear memory."""

    entities: int
    entity_bytes: int
    memory_bytes: int


def compile_module(path: Path) -> Compiled:
    """Compile the module at ``path``, or take it from wasmtime's cache.

    Raises:
        EngineError: it is no module that this wasmtime can run.
    """
    engine = wasmtime.Engine(_config())
    try:
        return Compiled(engine, wasmtime.Module(engine, path.read_bytes()))
    except wasmtime.WasmtimeError as error:
        raise EngineError(f"the engine module cannot be compiled: {error}", code="trapped") from error


def _config() -> wasmtime.Config:
    config = _config_without_cache()
    try:
        config.cache = True
    except wasmtime.WasmtimeError:
        # The cache's folder cannot be made, as in a read-only container: compile at every start.
        return _config_without_cache()
    return config


def _config_without_cache() -> wasmtime.Config:
    config = wasmtime.Config()
    # With its threads on, a forked child of a process that compiled would wait for ever when it compiles itself.
    config.parallel_compilation = False
    config.consume_fuel = True
    return config


class Instance:
    """A running module with what it holds.

    Args:
        compiled: from ``compile_module``.
        life: a number that no other instance of this process has.
        memory_limit: bytes of linear memory.
        is_unchecked: False forces the ordinary way of calling.

    Attributes:
        life: as given.
        texts: those of the documents held, and of the last answer.
        results: made of them.

    Every method raises ``Trapped`` when the instance is lost.
    """

    def __init__(self, compiled: Compiled, life: int, memory_limit: int, *, is_unchecked: bool = True) -> None:
        self.life = life
        self.texts: Texts = Texts(self._write_text)
        self.results: Results = Results(self.texts)
        self._store = wasmtime.Store(compiled.engine)
        self._store.set_limits(memory_size=memory_limit)
        self._store.set_fuel(_FUEL_OF_PUT)
        try:
            exports = wasmtime.Instance(self._store, compiled.module, []).exports(self._store)
        except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
            raise Trapped(str(error).splitlines()[0]) from error
        self._functions = {name: _function(self._store, exports[name], name) for name in _SIGNATURES}
        memory = exports["memory"]
        assert isinstance(memory, wasmtime.Memory)
        self._memory = memory
        self._route: Route = OrdinaryRoute(self._store, self._functions, memory)
        if self._route.call("abi") != _ABI:
            raise EngineError(f"the engine module has interface {self._route.call('abi')}, expected {_ABI}")
        self._input = self._route.call("input", 0)
        self._answer, self._error = self._route.call("answer_block"), self._route.call("error_block")
        self._stats = self._route.call("stats_block")
        self._checks_left = 0
        if is_unchecked:
            self._route = self._proven_route()

    def _proven_route(self) -> Route:
        """The unchecked way if it gives the same answer as the ordinary one."""
        ordinary = self._route
        flag = ordinary.put("put_flag", self._input, _SELF_TEST)
        expected = self._answer_by(ordinary, flag, 1)
        # Leaves another answer in the block, so that a call that does nothing is noticed.
        self._answer_by(ordinary, flag, 2)
        try:
            unchecked = UncheckedRoute(self._store, self._functions, self._memory)
            is_proven = self._answer_by(unchecked, flag, 1) == expected and self._refuses(unchecked)
            self._answer_by(ordinary, flag, 2)
            block = unchecked.check(flag, 0, 0, 0, 1)
            is_proven = is_proven and block is not None and bytes(block) == expected[1]
        except (ImportError, AttributeError, TypeError, ValueError, OSError, ctypes.ArgumentError):
            is_proven = False
        ordinary.call("drop", flag)
        if is_proven:
            return unchecked
        _log.warning("this wasmtime cannot be called directly; evaluations take longer")
        return ordinary

    def _answer_by(self, route: Route, flag: int, now_ms: int) -> tuple[int, bytes, str | None]:
        status = route.call("check", flag, 0, 0, 0, now_ms)
        return status, bytes(route.read(self._answer, ANSWER_BYTES)), route.text(TextKind.FLAG_KEY, flag, 0)

    def _refuses(self, route: Route) -> bool:
        return route.put("put_flag", self._input, b"[]") < 0

    def put(self, kind: str, document: bytes) -> int:
        """Hold a document. Gives its number, 0 for anything but a flag that is ``null``; raises ``EngineError``."""
        self._checks_left = 0
        self._route.refuel(_FUEL_OF_PUT)
        number = self._route.put(f"put_{kind}", self._input, document)
        if number >= 0:
            return number
        block = self._route.read(self._error, ERROR_BYTES)
        raise Failure.read(block, self.texts.error_path()).to_error(kind)

    def prepare(self, kind: str, number: int) -> None:
        """Ask now for what the first check of a document held will tell, while nobody waits for an answer."""
        if kind == "company":
            self.texts.prepare(number)
        elif kind == "user":
            _ = self.texts.ids[number]

    def check(self, flag: int, company: int, user: int, options: int, now_ms: int) -> Buffer | None:
        """Evaluate held documents. Gives the answer block, to be read before the next call; None when a number is not valid."""
        if self._checks_left == 0:
            self._route.refuel(_FUEL_OF_CHECKS)
            self._checks_left = _CHECKS_PER_FUEL
        self._checks_left -= 1
        return self._route.check(flag, company, user, options, now_ms)

    def _write_text(self, kind: int, number: int, slot: int) -> str:
        text = self._route.text(kind, number, slot)
        if text is None:
            raise EngineError("a text of the result is too large", code="too_large")
        return text

    def drop(self, number: int) -> None:
        """Free a document; nothing when the number is not valid."""
        self.texts.forget(number)
        self._route.call("drop", number)

    def stats(self) -> Stats:
        """Tell what is held."""
        block = self._route.read(self._stats, _STATS_BYTES)
        memory_bytes = self._memory.data_len(self._store)
        return Stats(int.from_bytes(block[:4], "little"), int.from_bytes(block[4:], "little"), memory_bytes)


def _function(store: wasmtime.Store, function: object, name: str) -> wasmtime.Func:
    """An export, its signature compared: the unchecked way does not look at it again."""
    assert isinstance(function, wasmtime.Func)
    kind = function.type(store)
    short, long = _SIGNATURES[name]
    found = [str(value) for value in kind.params], [str(value) for value in kind.results]
    if found != (["i32"] * short + ["i64"] * long, ["i32"]):
        raise EngineError(f"the engine module's {name} takes {found}")
    return function
