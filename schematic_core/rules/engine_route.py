"""The two ways to call the module: wasmtime-py's own, and the C function below it.

The unchecked way writes arguments into slots and calls wasmtime's C function directly, at a seventieth of the price of
an ordinary call. It leans on parts of wasmtime-py that are not promised, so an instance uses it only after it gave the
same answer as the ordinary way.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import wasmtime

from schematic_core.rules.answer import ANSWER_BYTES
from schematic_core.rules.failure import Trapped

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["OrdinaryRoute", "Route", "UncheckedRoute"]

TEXT_BYTES = 32 << 20
"""The longest text, as in ``scratch.zig``."""

_SLOTS = 8
"""Arguments and results that a call has room for."""


class Route(Protocol):
    """A way to call exports and to reach the memory."""

    def call(self, name: str, *arguments: int) -> int:
        """Call an export that is done at once. Raises ``Trapped``."""
        ...

    def check(self, flag: int, company: int, user: int, options: int, now_ms: int) -> Buffer | None:
        """Call ``check``. Gives the answer, to be read before the next call; None when a number is not valid. Raises ``Trapped``."""
        ...

    def text(self, kind: int, number: int, slot: int) -> str | None:
        """Call ``text``. Gives what it wrote; None when there is no such text. Raises ``Trapped``."""
        ...

    def put(self, name: str, address: int, document: bytes) -> int:
        """Write a document and call the export that reads it, which may take a while. Raises ``Trapped``."""
        ...

    def read(self, address: int, size: int) -> bytes | bytearray:
        """Copy from memory."""
        ...

    def refuel(self, units: int) -> None:
        """Allow so much work until the next time."""
        ...


class OrdinaryRoute:
    """Through the public interface of wasmtime-py."""

    def __init__(self, store: wasmtime.Store, functions: dict[str, wasmtime.Func], memory: wasmtime.Memory) -> None:
        self._store = store
        self._functions = functions
        self._memory = memory
        self._answer, self._text = self.call("answer_block"), self.call("text_block")

    def call(self, name: str, *arguments: int) -> int:
        """Call an export that is done at once."""
        try:
            result: int = self._functions[name](self._store, *arguments)
        except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
            raise Trapped(str(error).splitlines()[0]) from error
        return result

    def check(self, flag: int, company: int, user: int, options: int, now_ms: int) -> Buffer | None:
        """Call ``check``."""
        status = self.call("check", flag, company, user, options, now_ms)
        return None if status < 0 else self.read(self._answer, ANSWER_BYTES)

    def text(self, kind: int, number: int, slot: int) -> str | None:
        """Call ``text``."""
        size = self.call("text", kind, number, slot)
        return None if size < 0 else self.read(self._text, size).decode()

    def put(self, name: str, address: int, document: bytes) -> int:
        """Write a document and call the export that reads it."""
        self._memory.write(self._store, bytearray(document), address)
        return self.call(name, len(document))

    def read(self, address: int, size: int) -> bytes | bytearray:
        """Copy from memory."""
        return self._memory.read(self._store, address, address + size)

    def refuel(self, units: int) -> None:
        """Allow so much work until the next time."""
        self._store.set_fuel(units)


class UncheckedRoute:
    """Through the C interface. Raises anything at all when it cannot be bound."""

    def __init__(self, store: wasmtime.Store, functions: dict[str, wasmtime.Func], memory: wasmtime.Memory) -> None:
        from wasmtime import _bindings as bindings
        from wasmtime import _ffi as ffi

        self._kept_alive = (store, functions, memory)
        library = ffi.dll._name  # noqa: SLF001 - a second handle to the library that wasmtime-py loaded
        # Under PyDLL no other Python thread runs, or forks, inside a call. Reading documents is too long for that.
        held, released = ctypes.PyDLL(library), ctypes.CDLL(library)
        call = _bind(held.wasmtime_func_call_unchecked)
        long_call = _bind(released.wasmtime_func_call_unchecked)
        self._set_fuel = _bind(held.wasmtime_context_set_fuel)
        self._memory_data = _bind(held.wasmtime_memory_data)
        self._delete_trap = _bind(held.wasm_trap_delete, result=None)
        self._delete_error = _bind(held.wasmtime_error_delete, result=None)
        self._step = ctypes.sizeof(bindings.wasmtime_val_raw_t) // 8
        self._slots = (ctypes.c_int64 * (self._step * _SLOTS))()
        self._result = ctypes.c_int32.from_buffer(self._slots)
        self._trap = ctypes.c_void_p()
        # Arguments are made once: declared types would make them anew for each call, which costs more than the call.
        self._context = _pointer(ctypes.cast(bindings.wasmtime_store_context(store.ptr()), ctypes.c_void_p).value)
        # The C structs inside the objects have no public name.
        exports = {name: _pointer(ctypes.addressof(function._func)) for name, function in functions.items()}  # noqa: SLF001
        self._memory_address = _pointer(ctypes.addressof(memory._memory))  # noqa: SLF001
        slots, trap = _pointer(ctypes.addressof(self._slots)), _pointer(ctypes.addressof(self._trap))
        rest = (slots, ctypes.c_size_t.from_param(_SLOTS), trap)
        self._exports = {name: partial(call, self._context, export, *rest) for name, export in exports.items()}
        self._long = {name: partial(long_call, self._context, export, *rest) for name, export in exports.items()}
        self._check = self._exports["check"]
        self._pack = struct.Struct("<" + f"i{self._step * 8 - 4}x" * 4 + "q").pack_into
        self._answer, self._text = self.call("answer_block"), self.call("text_block")
        self._base = 0
        self._find_memory()

    def call(self, name: str, *arguments: int) -> int:
        """Call an export that is done at once."""
        slots, step = self._slots, self._step
        for index, argument in enumerate(arguments):
            slots[index * step] = argument
        error = self._exports[name]()
        if error or self._trap.value:
            raise self._fault(error)
        return self._result.value

    def check(self, flag: int, company: int, user: int, options: int, now_ms: int) -> Buffer | None:
        """Call ``check``; numbers that are too long for it are not valid."""
        try:
            self._pack(self._slots, 0, flag, company, user, options, now_ms)
        except struct.error:
            return None
        error = self._check()
        if error or self._trap.value:
            raise self._fault(error)
        return None if self._result.value < 0 else self._answer_block

    def text(self, kind: int, number: int, slot: int) -> str | None:
        """Call ``text``."""
        size = self.call("text", kind, number, slot)
        return None if size < 0 else str(self._text_block[:size], "utf-8")

    def put(self, name: str, address: int, document: bytes) -> int:
        """Write a document and call the export that reads it."""
        size = len(document)
        ctypes.memmove(self._base + address, document, size)
        self._slots[0] = size
        try:
            error = self._long[name]()
        finally:
            self._find_memory()
        if error or self._trap.value:
            raise self._fault(error)
        return self._result.value

    def _find_memory(self) -> None:
        """Ask where the memory is: it may have grown, and then it may have moved."""
        base = self._memory_data(self._context, self._memory_address)
        if base != self._base:
            self._base = base
            self._answer_block = (ctypes.c_char * ANSWER_BYTES).from_address(base + self._answer)
            self._text_block = memoryview((ctypes.c_char * TEXT_BYTES).from_address(base + self._text)).cast("B")

    def read(self, address: int, size: int) -> bytes | bytearray:
        """Copy from memory."""
        return ctypes.string_at(self._base + address, size)

    def refuel(self, units: int) -> None:
        """Allow so much work until the next time."""
        error = self._set_fuel(self._context, ctypes.c_uint64(units))
        if error:
            raise self._fault(error)

    def _fault(self, error: int | None) -> Trapped:
        if error:
            self._delete_error(_pointer(error))
            return Trapped("the module could not be called")
        self._delete_trap(_pointer(self._trap.value))
        self._trap.value = None
        return Trapped("the module trapped")


def _bind(function: Any, result: Any = ctypes.c_void_p) -> Callable[..., Any]:
    """Say what a C function gives: an address is a plain number, null None. Its arguments must be C values already."""
    function.restype = result
    bound: Callable[..., Any] = function
    return bound


def _pointer(address: int | None) -> Any:
    return ctypes.c_void_p.from_param(address)
