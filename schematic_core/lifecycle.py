"""Fork and exit: the one place that knows which parts of this process need to hear of either.

Parts are held weakly, so that registering keeps nothing alive. The two hooks are installed once, with the first part.
There is no hook before a fork and none in the parent: every subprocess would trigger it.

Some things are beyond the parts. Children of `multiprocessing` and of Celery's pool end without the interpreter's exit, so
the exit is hooked into their own end as well. uWSGI forks without Python's hooks unless told otherwise, and has a hook of
its own; should somebody else take that, parts with a thread compare the process id as well, when they would wake it. And a
thread that was importing a module when another one forked leaves that import locked in the child for ever; since our parts
import on background threads, the child unlocks it.
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable
from weakref import WeakSet

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["EXIT_TIMEOUT", "ExitPart", "FlushPart", "Part", "flush_on_sigterm", "register", "unregister"]

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


@runtime_checkable
class FlushPart(Part, Protocol):
    """Something that can deliver what it has now, and go on."""

    def flush(self, timeout: float | None) -> int:
        """Deliver within ``timeout`` seconds; gives how much remains."""
        ...


_parts: WeakSet[Part] = WeakSet()
_hooked_pid: int | None = None
_told_pid: int | None = None


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
        _hook_uwsgi()
    _hooked_pid = os.getpid()
    _hook_multiprocessing()
    _hook_celery()


def unregister(part: Part) -> None:
    """Forget ``part``; it need not be registered."""
    _parts.discard(part)


def flush_on_sigterm(timeout: float = EXIT_TIMEOUT) -> bool:
    """Deliver what all clients of this process have queued when SIGTERM arrives, and then let it do what it did before.

    Its default ends a process at once, with what was tracked in the last seconds. Call this once, in the main thread, before
    or after clients are made; forked children inherit it. Where the default would end the process, clients are closed; a
    handler that was there before is called after a flush, and clients go on. A second SIGTERM is not held up. Servers that
    turn SIGTERM into an exit of their own (gunicorn, uvicorn, uWSGI, Celery) need none of this.

    Args:
        timeout: seconds that delivering may take, for all clients together.

    Returns:
        Whether it is in place. Not where SIGTERM is ignored, or handled by something other than Python.

    Raises:
        ValueError: called in another thread than the main one.

    Example:
        >>> from schematic_core.lifecycle import flush_on_sigterm
        >>> flush_on_sigterm()
        True
    """
    previous = signal.getsignal(signal.SIGTERM)
    if isinstance(previous, _FlushFirst):
        return True
    if previous is None or previous == signal.SIG_IGN:
        return False
    signal.signal(signal.SIGTERM, _FlushFirst(previous, timeout))
    return True


class _FlushFirst:
    """A handler that stands before another one, for a single signal."""

    def __init__(self, previous: Callable[[int, FrameType | None], object] | int, timeout: float) -> None:
        self._previous = previous
        self._timeout = timeout

    def __call__(self, number: int, frame: FrameType | None) -> None:
        signal.signal(number, self._previous)  # a second signal does at once what it always did
        if callable(self._previous):
            _flush(self._timeout)
            self._previous(number, frame)
        else:
            _at_exit(self._timeout)
            os.kill(os.getpid(), number)


def _hook_multiprocessing() -> None:
    util: Any = sys.modules.get("multiprocessing.util")
    if util is None:
        return
    # A child drops all finalisers when it begins, even those of itself: a fork server's child has imported its main module by then.
    util.register_after_fork(_at_exit, _hook_end_of_child)
    if sys.modules["multiprocessing.process"].parent_process() is not None:
        _hook_end_of_child()


def _hook_end_of_child(_: object = None) -> None:
    sys.modules["multiprocessing.util"].Finalize(None, _at_exit, exitpriority=0)


def _hook_celery() -> None:
    signals: Any = sys.modules.get("celery.signals")
    if signals is not None:
        signals.worker_process_shutdown.connect(_at_end_of_celery_child, weak=False)


def _at_end_of_celery_child(**_: object) -> None:
    _at_exit()


def _hook_uwsgi() -> None:
    uwsgi: Any = sys.modules.get("uwsgi")  # there inside of uWSGI only
    if uwsgi is None:
        return
    previous: Callable[[], object] | None = getattr(uwsgi, "post_fork_hook", None)

    def post_fork_hook() -> None:
        _after_fork_in_child()  # first: what the other one tracks is the child's own
        if previous is not None:
            previous()

    uwsgi.post_fork_hook = post_fork_hook
    if not getattr(uwsgi, "has_threads", True):
        _log.warning("uWSGI runs no threads, so events are not delivered before the end: set enable-threads = true")
    options = getattr(uwsgi, "opt", {})
    if not options.keys() & {"py-call-osafterfork", "py-call-uwsgi-fork-hooks", "lazy-apps", "lazy"}:
        # Not py-call-osafterfork: with it, workers of uWSGI 2.0.30 hang on Python 3.13, whatever the application.
        _log.warning("uWSGI runs no fork hooks, and its own may be replaced: set py-call-uwsgi-fork-hooks = true")


def _after_fork_in_child() -> None:
    global _told_pid  # noqa: PLW0603 - process state is this module's purpose
    if _told_pid == os.getpid():  # uWSGI may run both hooks
        return
    _told_pid = os.getpid()
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


def _flush(timeout: float) -> None:
    """Deliver what there is; each part gets its share of the time that those before it left."""
    deadline = time.monotonic() + timeout
    parts = [part for part in _present() if isinstance(part, FlushPart)]
    for number, part in enumerate(parts):
        _contained(part.flush, max(0.0, deadline - time.monotonic()) / (len(parts) - number))


def _at_exit(timeout: float = EXIT_TIMEOUT) -> None:
    deadline = time.monotonic() + timeout
    parts = [part for part in _present() if isinstance(part, ExitPart)]
    for part in parts:
        _contained(part.begin_exit, deadline)
    for part in parts:
        _contained(part.finish_exit, deadline)


def _contained(step: Callable[..., object], *arguments: float) -> None:
    try:
        step(*arguments)
    except Exception:  # noqa: BLE001 - one part's fault must not cost the others their end
        _log.exception("a part failed at a fork or at the exit")
