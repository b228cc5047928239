"""The rules engine for a whole process: one instance behind one lock.

Writing a document, calling and reading what came out happen under the lock, because documents, answers and texts each
have one fixed place. Whatever traps is thrown away, for a trap leaves the stack pointer inside where it was. What was
held there must be handed in anew; its handles say so.
"""

from __future__ import annotations

import itertools
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from schematic_core import lifecycle
from schematic_core.errors import ConfigurationError
from schematic_core.rules.evaluation import Evaluation
from schematic_core.rules.failure import MAX_DOCUMENT_BYTES, Trapped, too_large
from schematic_core.rules.place import Handle, Place, busy, stale
from schematic_core.rules.results import Results
from schematic_core.values import CheckResult, Source, Standing

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from schematic_core.rules import engine_instance

__all__ = ["Engine", "Handle"]

_Context = TypeVar("_Context")
_Told = TypeVar("_Told")
_getpid = os.getpid

_MODULE = Path(__file__).with_name("engine.wasm")
_MEMORY_LIMIT = 1 << 30
_SMALLEST_MEMORY = 1 << 27


class Engine:
    """The rules engine, for any number of threads. Nothing is loaded or compiled before the first use.

    Args:
        module_path: the module to run; the packaged one when None.
        memory_limit: bytes of linear memory, from 128 MiB to below 2 GiB.
        unchecked: False forces wasmtime-py's ordinary way of calling, for comparison.

    Raises (every method but ``drop`` and ``after_fork_in_child``):
        ConfigurationError: wasmtime is not installed.
        EngineError: a document was refused, a handle is no longer valid (``code="stale_handle"``), or the engine
            could not go on (``code="trapped"``); the next call works again.

    Source: ``engine.zig`` describes the module's interface.
    """

    def __init__(
        self, *, module_path: Path | None = None, memory_limit: int = _MEMORY_LIMIT, unchecked: bool = True
    ) -> None:
        if not _SMALLEST_MEMORY <= memory_limit < 2**31:
            raise ConfigurationError(f"memory_limit must be from {_SMALLEST_MEMORY} to {2**31 - 1}, got {memory_limit}")
        self._module_path = module_path or _MODULE
        self._memory_limit = memory_limit
        self._unchecked = unchecked
        self._lives = itertools.count(1)
        self._dropped: deque[Handle] = deque()
        self._places: dict[int, Place] = {os.getpid(): Place()}

    def put_flag(self, document: bytes) -> Handle:
        """Hold a flag, given as JSON text in UTF-8; 8 MiB at most."""
        return self._put("flag", document)

    def put_company(self, document: bytes) -> Handle | None:
        """Hold a company, given as JSON text in UTF-8; 8 MiB at most. None for ``null``."""
        return self._put_or_none("company", document)

    def put_user(self, document: bytes) -> Handle | None:
        """Hold a user, given as JSON text in UTF-8; 8 MiB at most. None for ``null``."""
        return self._put_or_none("user", document)

    def put_options(self, document: bytes) -> Handle | None:
        """Hold preflight options, e.g. ``b'{"usage": 2, "credit_cost": {"bcrd_1": 2.5}}'``. None for ``null``.

        All fields may be missing. ``usage`` and ``event_usage`` may be null, ``credit_cost`` and what is in it may not.
        """
        return self._put_or_none("options", document)

    def drop(self, handle: Handle) -> None:
        """Free a document, now or with the next call. Never waits and never raises, so finalisers may use it."""
        self._dropped.append(handle)
        place = self._places.get(os.getpid())
        if place is None or not place.lock.acquire(blocking=False):
            return  # the next call of any kind frees it
        try:
            if not place.is_running:
                place.free_now(self._dropped)
        finally:
            place.lock.release()

    def check(
        self,
        flag: Handle,
        company: Handle | None = None,
        user: Handle | None = None,
        options: Handle | None = None,
        *,
        now_ms: int,
    ) -> Evaluation:
        """Evaluate a held flag.

        Args:
            flag: from ``put_flag``.
            company: from ``put_company``; None when there is none.
            user: from ``put_user``; None when there is none.
            options: from ``put_options``; None when there are none.
            now_ms: the clock, milliseconds since 1970 in UTC.
        """
        return self._ask(flag, company, user, options, now_ms, Results.evaluation, None)

    def result(
        self,
        flag: Handle,
        company: Handle | None,
        user: Handle | None,
        options: Handle | None,
        *,
        now_ms: int,
        source: Source,
        standing: Standing | None,
        as_of: datetime,
    ) -> tuple[CheckResult, int | None]:
        """Evaluate a held flag as ``check`` does, for callers of a client.

        Args:
            flag: from ``put_flag``.
            company: from ``put_company``; None when there is none.
            user: from ``put_user``; None when there is none.
            options: from ``put_options``; None when there are none.
            now_ms: the clock, milliseconds since 1970 in UTC.
            source: where the documents came from.
            standing: of the stream they came by; None when by none.
            as_of: when that source stood by them (aware, UTC).

        Returns:
            The result, and the ``horizon_ms`` of an `Evaluation`. Members of the entitlement that `Entitlement` has not are
            left out. ``feature_usage_reset_at`` is cut to microseconds, and None when no ``datetime`` can hold it.
        """
        return self._ask(flag, company, user, options, now_ms, Results.check_result, (source, standing, as_of))

    def evaluate(
        self,
        flag: bytes,
        company: bytes | None = None,
        user: bytes | None = None,
        options: bytes | None = None,
        *,
        now_ms: int,
    ) -> Evaluation:
        """Evaluate documents that are not kept; otherwise as ``check``, and as the ``put_`` methods for the documents."""
        documents = {"flag": flag, "company": company, "user": user, "options": options}
        for kind, document in documents.items():
            _check_size(kind, document)
        with self._running() as instance:
            numbers: list[int] = []
            try:
                for kind, document in documents.items():
                    numbers.append(0 if document is None else instance.put(kind, document))
                flag_number, company_number, user_number, options_number = numbers
                block = instance.check(flag_number, company_number, user_number, options_number, now_ms)
                assert block is not None, "all four were put just now"
                result = instance.results.evaluation(block, None)
            except Trapped:
                raise
            except BaseException:
                _drop_all(instance, numbers)
                raise
            _drop_all(instance, numbers)
            return result

    def stats(self) -> engine_instance.Stats:
        """Tell what is held, e.g. ``Stats(entities=2, entity_bytes=9120, memory_bytes=...)``."""
        with self._running() as instance:
            return instance.stats()

    def load(self) -> None:
        """Compile and start the module now instead of at the first use."""
        with self._running():
            return

    def after_fork_in_child(self) -> None:
        """Make the lock anew in a forked child. Safe to call more than once; never raises.

        An instance that the parent was using at that moment is in an unknown state and is not taken over.
        """
        pid = os.getpid()
        places = self._places
        if pid in places:
            return
        # Two threads of the child may come here at once. They make the same of it, and one of the two stays.
        inherited = next(place for owner, place in list(places.items()) if owner != pid)
        instance = None if inherited.is_running else inherited.instance
        self._places = {pid: places.setdefault(pid, Place(instance, inherited.compiled))}

    def begin_exit(self, deadline: float) -> None:
        """Nothing has to be finished before the exit."""

    def finish_exit(self, deadline: float) -> None:
        """Let go of the instance: wasmtime's objects cannot be freed once the interpreter takes its modules apart."""
        place = self._places.get(os.getpid())
        if place is None or not place.lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            return
        if not place.is_running:
            place.instance = place.compiled = None
        place.lock.release()

    def _place(self) -> Place:
        place = self._places.get(os.getpid())
        if place is None:
            self.after_fork_in_child()
            place = self._places[os.getpid()]
        return place

    @contextmanager
    def _running(self) -> Iterator[engine_instance.Instance]:
        """Hold the lock and the instance; lose the instance when it traps."""
        place = self._place()
        with place.lock:
            if place.is_running:
                raise busy()
            try:
                place.is_running = True
                instance = place.instance or self._start(place)
                if self._dropped:
                    place.free(self._dropped)
                yield instance
            except Trapped as error:
                raise place.lose(error) from error
            finally:
                place.is_running = False

    def _ask(
        self,
        flag: Handle,
        company: Handle | None,
        user: Handle | None,
        options: Handle | None,
        now_ms: int,
        tell: Callable[[Results, Buffer, _Context], _Told],
        context: _Context,
    ) -> _Told:
        """Check, and give ``tell(results, block, context)``.

        Does what ``_running`` does: that one, as a generator, takes as long as the check.
        """
        place = self._places.get(_getpid()) or self._place()
        with place.lock:
            if place.is_running:
                raise busy()
            try:
                place.is_running = True
                instance = place.instance or self._start(place)
                if self._dropped:
                    place.free(self._dropped)
                life = instance.life
                if (
                    flag.life != life
                    or (company is not None and company.life != life)
                    or (user is not None and user.life != life)
                    or (options is not None and options.life != life)
                ):
                    raise stale()
                block = instance.check(
                    flag.number,
                    0 if company is None else company.number,
                    0 if user is None else user.number,
                    0 if options is None else options.number,
                    now_ms,
                )
                if block is None:
                    raise stale()
                return tell(instance.results, block, context)
            except Trapped as error:
                raise place.lose(error) from error
            finally:
                place.is_running = False

    def _start(self, place: Place) -> engine_instance.Instance:
        try:
            from schematic_core.rules import engine_instance
        except ImportError as error:
            raise ConfigurationError(
                "local evaluation needs wasmtime: pip install 'schematic-suite[datastream]'",
            ) from error
        except (OSError, RuntimeError) as error:
            # What wasmtime-py raises where there is no library for the system or processor.
            raise ConfigurationError(
                f"local evaluation needs wasmtime, which cannot be loaded here: {error}"
            ) from error
        if place.compiled is None:
            place.compiled = engine_instance.compile_module(self._module_path)
        lifecycle.register(self)
        make = partial(engine_instance.Instance, place.compiled, memory_limit=self._memory_limit)
        try:
            place.instance = make(next(self._lives), is_unchecked=self._unchecked)
        except Trapped:
            # If calling the C function broke the instance, the ordinary way has one of its own.
            self._unchecked = False
            place.instance = make(next(self._lives), is_unchecked=False)
        return place.instance

    def _put(self, kind: str, document: bytes) -> Handle:
        _check_size(kind, document)
        with self._running() as instance:
            number = instance.put(kind, document)
            if number:
                instance.prepare(kind, number)
            return Handle(number, instance.life)

    def _put_or_none(self, kind: str, document: bytes) -> Handle | None:
        handle = self._put(kind, document)
        return handle if handle.number else None


def _drop_all(instance: engine_instance.Instance, numbers: list[int]) -> None:
    for number in numbers:
        if number:
            instance.drop(number)


def _check_size(kind: str, document: bytes | None) -> None:
    if document is not None and len(document) > MAX_DOCUMENT_BYTES:
        raise too_large(kind)
