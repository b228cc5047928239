"""The two ways to call the module: wasmtime-py's own, and the C function below it.

The unchecked way writes arguments into slots and calls wasmtime's C function directly, at a seventieth of the price of
an ordinary call. It leans on parts of wasmtime-py that are not promised, so an instance uses it only after it gave the
same answer as the ordinary way.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Protocol

import wasmtime

from schematic_core.rules.failure import Trapped

__all__ = ["OrdinaryRoute", "Route", "UncheckedRoute"]

_POINTER = ctypes.c_void_p


class Route(Protocol):
    """A way to call exports and to reach the memory."""

    def call(self, name: str, *arguments: int) -> int:
        """Call an export that is done at once. Raises ``Trapped``."""
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

    def call(self, name: str, *arguments: int) -> int:
        """Call an export that is done at once."""
        try:
            result: int = self._functions[name](self._store, *arguments)
        except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
            raise Trapped(str(error).splitlines()[0]) from error
        return result

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
        call = (_POINTER, _POINTER, _POINTER, ctypes.c_size_t, _POINTER)
        self._call = _bind(held.wasmtime_func_call_unchecked, *call)
        self._long_call = _bind(released.wasmtime_func_call_unchecked, *call)
        self._set_fuel = _bind(held.wasmtime_context_set_fuel, _POINTER, ctypes.c_uint64)
        self._memory_data = _bind(held.wasmtime_memory_data, _POINTER, _POINTER)
        self._delete_trap = _bind(held.wasm_trap_delete, _POINTER, result=None)
        self._delete_error = _bind(held.wasmtime_error_delete, _POINTER, result=None)
        self._context = ctypes.cast(bindings.wasmtime_store_context(store.ptr()), ctypes.c_void_p).value
        # The C structs inside the objects have no public name.
        self._addresses = {name: ctypes.addressof(function._func) for name, function in functions.items()}  # noqa: SLF001
        self._memory_address = ctypes.addressof(memory._memory)  # noqa: SLF001
        self._base = self._memory_data(self._context, self._memory_address)
        self._step = ctypes.sizeof(bindings.wasmtime_val_raw_t) // 8
        self._slots = (ctypes.c_int64 * (self._step * 8))()
        self._slots_address = ctypes.addressof(self._slots)
        self._result = ctypes.c_int32.from_buffer(self._slots)
        self._trap = ctypes.c_void_p()
        self._trap_address = ctypes.addressof(self._trap)

    def call(self, name: str, *arguments: int) -> int:
        """Call an export that is done at once."""
        slots, step = self._slots, self._step
        for index, argument in enumerate(arguments):
            slots[index * step] = argument
        error = self._call(self._context, self._addresses[name], self._slots_address, 8, self._trap_address)
        if error or self._trap.value:
            raise self._fault(error)
        return self._result.value

    def put(self, name: str, address: int, document: bytes) -> int:
        """Write a document and call the export that reads it."""
        size = len(document)
        ctypes.memmove(self._base + address, document, size)
        self._slots[0] = size
        error = self._long_call(self._context, self._addresses[name], self._slots_address, 8, self._trap_address)
        if error or self._trap.value:
            raise self._fault(error)
        # Memory may have grown, and then it may have moved.
        self._base = self._memory_data(self._context, self._memory_address)
        return self._result.value

    def read(self, address: int, size: int) -> bytes | bytearray:
        """Copy from memory."""
        return ctypes.string_at(self._base + address, size)

    def refuel(self, units: int) -> None:
        """Allow so much work until the next time."""
        error = self._set_fuel(self._context, units)
        if error:
            raise self._fault(error)

    def _fault(self, error: int | None) -> Trapped:
        if error:
            self._delete_error(error)
            return Trapped("the module could not be called")
        self._delete_trap(self._trap.value)
        self._trap.value = None
        return Trapped("the module trapped")


def _bind(function: Any, *arguments: Any, result: Any = _POINTER) -> Callable[..., Any]:
    """Declare a C function. Addresses are plain numbers here, which costs less than wasmtime-py's pointer objects."""
    function.argtypes, function.restype = arguments, result
    bound: Callable[..., Any] = function
    return bound
