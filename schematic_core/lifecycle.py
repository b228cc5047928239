"""Fork and exit: the one place that knows which parts of this process need to hear of either.

Parts are held weakly, so that registering keeps nothing alive. The two hooks are installed once, with the first part.
There is no hook before a fork and none in the parent: every subprocess would trigger it.

Two things are beyond the parts. A child of `multiprocessing` ends without the interpreter's exit, so the exit is hooked
into its own end as well. And a thread that was importing a module when another one forked leaves that import locked in
the child for ever; since our parts import on background threads, the child unlocks it.

An interpreter that runs no fork hooks (uWSGI without ``--py-call-osafterfork``) tells nobody here; parts with a thread
compare the process id as well, when they would wake it.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable
from weakref import WeakSet

__all__ = ["EXIT_TIMEOUT", "ExitPart", "Part", "register", "unregister"]

EXIT_TIMEOUT = 2.0
"""Seconds that all parts together may hold up the exit of the interpreter."""

_log = logging.getLogger("schematic.lifecycle")


class Part(Protocol):
    """Something with state that a forked child must not inherit."""

    def after_fork_in_child(self) -> None:
        """Replace locks, queues and connections; take no inherited lock, send nothing that the parent had queued."""
        ...


@runtime_checkable
class ExitPart(Part, Protocol):
    """Something that has work to finish before the interpreter exits. Deadlines are monotonic seconds."""

    def begin_exit(self, deadline: float) -> None:
        """Start to finish; return at once, so that all parts work at the same time."""
        ...

    def finish_exit(self, deadline: float) -> None:
        """Return when finished, at ``deadline`` at the latest; work left undone is done here, by plain blocking calls."""
        ...


_parts: WeakSet[Part] = WeakSet()
_hooked_pid: int | None = None


def register(part: Part) -> None:
    """Let ``part`` hear of forks, and of the exit when it is an `ExitPart`; twice is once."""
    global _hooked_pid  # noqa: PLW0603 - process state is this module's purpose
    _parts.add(part)
    if _hooked_pid == os.getpid():
        return
    if _hooked_pid is None:
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_after_fork_in_child)
        atexit.register(_at_exit)
    _hooked_pid = os.getpid()
    _hook_multiprocessing()


def unregister(part: Part) -> None:
    """Forget ``part``; it need not be registered."""
    _parts.discard(part)


def _hook_multiprocessing() -> None:
    util: Any = sys.modules.get("multiprocessing.util")
    if util is not None and sys.modules["multiprocessing.process"].parent_process() is not None:
        util.Finalize(None, _at_exit, exitpriority=0)


def _after_fork_in_child() -> None:
    _contained(_unlock_imports)
    for part in _present():
        _contained(part.after_fork_in_child)


def _unlock_imports() -> None:
    """Free the modules that threads of the parent were importing, and forget what they had loaded of them."""
    locks: dict[str, Any] = getattr(sys.modules.get("_frozen_importlib"), "_module_locks", {})
    survivor = threading.get_ident()
    for name, reference in list(locks.items()):
        lock = reference()
        if lock is None or lock.owner in (None, survivor):
            continue
        del locks[name]
        for loaded in [loaded for loaded in sys.modules if f"{loaded}.".startswith(f"{name}.")]:
            del sys.modules[loaded]


def _present() -> list[Part]:
    while True:
        try:
            return list(_parts)
        except RuntimeError:  # another thread registered a part meanwhile
            continue


def _at_exit() -> None:
    deadline = time.monotonic() + EXIT_TIMEOUT
    parts = [part for part in _present() if isinstance(part, ExitPart)]
    for part in parts:
        _contained(part.begin_exit, deadline)
    for part in parts:
        _contained(part.finish_exit, deadline)


def _contained(step: Callable[..., None], *arguments: float) -> None:
    try:
        step(*arguments)
    except Exception:  # noqa: BLE001 - one part's fault must not cost the others their end
        _log.exception("a part failed at a fork or at the exit")
