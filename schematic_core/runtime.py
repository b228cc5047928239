"""What one client is made of, shared by its sync and its async face: settings, answers, events, HTTP, end of life."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from schematic_core import lifecycle
from schematic_core.api.call import Call, Response
from schematic_core.cache.plan import cache_plan
from schematic_core.chance import chance
from schematic_core.checks.answers import Answers
from schematic_core.checks.concerned import Concerned, company_tokens
from schematic_core.checks.defaults import FlagDefaults
from schematic_core.checks.desk import Desk
from schematic_core.checks.flow import CheckFlow, CheckRules, Deadlines
from schematic_core.checks.outcome import Health
from schematic_core.checks.question import Context, Question, Subject, ask, context, is_written_as, raw_question
from schematic_core.checks.sync import BackgroundThreads, SyncPorts, drive
from schematic_core.checks.tiers import Tiers
from schematic_core.client_log import client_log
from schematic_core.config import Settings
from schematic_core.errors import ConnectionFailed
from schematic_core.events.thread import EventSender
from schematic_core.keys import InvalidKeys, check_row
from schematic_core.timing import Backoff, Breaker
from schematic_core.values import (
    REASON_CLOSED,
    REASON_INVALID_KEYS,
    REASON_OFFLINE,
    CheckFlagOptions,
    CheckResult,
    Keys,
)

if TYPE_CHECKING:
    import asyncio

    from schematic_core.api.aio import AsyncExecutor
    from schematic_core.api.sync import SyncExecutor
    from schematic_core.checks.aio import AsyncPorts
    from schematic_core.checks.local import Local
    from schematic_core.checks.local_flow import LocalFlow
    from schematic_core.datastream.client import DataStreamClient
    from schematic_core.datastream.thread import Stream
    from schematic_core.environment.local_file import EnvironmentFile

__all__ = ["Runtime"]

T = TypeVar("T")
Recall = Callable[[str, "Keys | None", "Keys | None"], "CheckResult | None"]
"""Gives the answer to a question asked before, while it is good."""


class _Once(Generic[T]):
    """An attribute made on first use; like ``functools.cached_property``, but threads that race all get the same object."""

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, runtime: Runtime, owner: type | None = None) -> T:
        made: T = runtime.__dict__.setdefault(self._name, self._make(runtime))
        return made


class Runtime:
    """One client's parts. Construction does no I/O and starts nothing; each part comes alive on first use.

    Args:
        settings: complete and checked.
        clock: monotonic seconds.
        random: floats in [0, 1).
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] | None = None,
    ) -> None:
        self.settings = settings
        self.log: logging.Logger | logging.LoggerAdapter[logging.Logger] = client_log(settings)
        self.is_closed: bool = False
        self.loop: asyncio.AbstractEventLoop | None = None
        self._clock = clock
        self._warned_of_keys = False
        self.defaults: FlagDefaults = FlagDefaults(settings.flag_defaults, self.log)
        self._namespace = f"{settings.base_url}\n{settings.api_key}"  # only ever used hashed
        size, ttl, tiers = cache_plan(settings)
        self.desk: Desk = Desk(
            lambda: Answers(size, ttl, settings.not_found_ttl, settings.serve_stale),
            clock,
            _utc_now,
            remembers=settings.cache_providers != (),
        )
        self._tiers = Tiers(tiers, self.log)
        service = CheckFlow(
            CheckRules(settings.check_timeout, ttl, self._namespace),
            self.desk,
            self._tiers,
            Health(Breaker(Backoff(1.0, 30.0, random or chance)), self.log),
            self.defaults,
            self.log,
            clock,
            _utc_now,
        )
        self._threads = BackgroundThreads()
        self.events: EventSender = EventSender(settings, on_acknowledged=self._usage_recorded, log=self.log)
        self.recall: Recall = self.desk.recall
        self.flow: CheckFlow | LocalFlow = service
        self.local: Local | None = None
        self.source: Stream | EnvironmentFile | None = None
        if (settings.use_datastream or settings.environment_file is not None) and not settings.offline:
            self._answer_here(service)
        lifecycle.register(self)

    def _answer_here(self, service: CheckFlow) -> None:
        """Put a source of local answers before the service, or in its place."""
        from schematic_core.checks.local_flow import LocalFlow
        from schematic_core.sources import follow

        local, source = follow(self.settings, self.events.worker, self.log)
        self.local, self.source, self.recall = local, source, local.recall
        self.events.prewarmed_by(source)
        asked = service if self.settings.environment_file is None else None
        deadlines = Deadlines(self.settings.check_timeout, self._clock)
        self.flow = LocalFlow(local, source, asked, self.defaults, deadlines, self._clock)

    @_Once
    def executor(self) -> SyncExecutor:
        """The executor of the sync face; it, and what it imports, comes with the first call."""
        from schematic_core.api.sync import SyncExecutor

        return SyncExecutor(self.settings)

    @_Once
    def ports(self) -> SyncPorts:
        """The ports of the sync face."""
        return SyncPorts(self.executor, self._threads, self._clock, self._await_on_loop)

    @_Once
    def async_executor(self) -> AsyncExecutor:
        """The executor of the async face; it brings asyncio."""
        from schematic_core.api.aio import AsyncExecutor

        return AsyncExecutor(self.settings)

    @_Once
    def async_ports(self) -> AsyncPorts:
        """The ports of the async face."""
        from schematic_core.checks.aio import AsyncPorts

        return AsyncPorts(self.async_executor, self._clock)

    @_Once
    def datastream(self) -> DataStreamClient | None:
        """What users see of the stream."""
        from schematic_core.datastream.client import DataStreamClient
        from schematic_core.datastream.thread import Stream

        if self.local is None or not isinstance(self.source, Stream):
            return None
        return DataStreamClient.of(self.local, self.source)

    def call(self, call: Call) -> Response:
        """Make an API call for a resource; raises ``ApiError``."""
        self._refuse_calls()
        return self.executor.run(call)

    async def call_async(self, call: Call) -> Response:
        """Make an API call for a resource of the async face; raises ``ApiError``."""
        self._refuse_calls()
        return await self.async_executor.run(call)

    def _refuse_calls(self) -> None:
        if self.settings.offline:
            raise ConnectionFailed(message="the client is offline: it makes no API calls")
        if self.settings.environment_file is not None:
            raise ConnectionFailed(message="the client answers from an environment file: it makes no API calls")

    def ask(
        self, flag_key: str, company: Keys | None, user: Keys | None, options: CheckFlagOptions | None
    ) -> Question | CheckResult:
        """Give the question to put to the flow, or the answer when there is nothing to ask."""
        known = self._without_asking(flag_key, options)
        if known is not None:
            return known
        try:
            return ask(flag_key, company, user, options)
        except Exception as error:  # noqa: BLE001 - keys may be objects of any kind
            return self._refuse(flag_key, options, error)

    def ask_many(
        self, flag_keys: Iterable[str] | None, company: Keys | None, user: Keys | None, options: CheckFlagOptions | None
    ) -> tuple[list[str] | None, Context] | list[CheckResult]:
        """Give the flags and the context to put to the flow, or the answers when there is nothing to ask."""
        try:
            given = _listed(flag_keys)
        except Exception as error:  # noqa: BLE001 - any iterable of the caller's
            return [self._refuse(flag_keys, options, error)]
        keys = self.defaults.known() if given is None else given
        if self.is_closed or self.settings.offline:
            return [answer for key in keys if (answer := self._without_asking(key, options))]
        try:
            asked = [ask(key, company, user, options).flag_key for key in keys]
            return None if given is None else asked, context(company, user)
        except Exception as error:  # noqa: BLE001 - keys may be objects of any kind
            return [self._refuse(key, options, error) for key in keys]

    def remember_raw(self, question: Question, company: Keys | None, user: Keys | None) -> None:
        """Let the same question, written the same way, find its answer by one look-up."""
        if question.is_preflight:
            return
        with suppress(Exception):  # the caller's mappings may have changed into anything meanwhile
            raw = raw_question(question.flag_key, company, user)
            if is_written_as(question, raw):
                (self.local or self.desk).alias(raw, question.subject)

    def purge(
        self,
        company_id: str | None,
        user_id: str | None,
        flag_key: str | None,
        company: Keys | None,
        user: Keys | None,
    ) -> int:
        """Drop remembered answers; see the faces."""
        whom = Concerned(company_id, user_id, flag_key, company, user)
        if self.local is not None and self.settings.environment_file is None:  # a file says everything by itself
            with self.local.changing() as replica:
                whom.doubt(replica)
        return self._forget(self.desk.drop(whom.groups()))

    def meet_loop(self) -> None:
        """Remember the loop that uses the async face, for async cache providers; the first one as long as it runs."""
        if self._tiers and (self.loop is None or not self.loop.is_running()):
            import asyncio

            self.loop = asyncio.get_running_loop()

    def start(self, timeout: float | None) -> bool:
        """Follow the source of local answers, if there is one, and wait for it; gives whether it is ready."""
        if self.source is None or self.is_closed:
            return not self.is_closed
        self.source.start()
        return self.source.wait_ready(self.settings.start_timeout if timeout is None else timeout)

    async def start_async(self, timeout: float | None) -> None:
        """Make the async face ready: imports and connections' set-up happen off the loop, within ``timeout`` seconds."""
        import asyncio

        from schematic_core.offloop import off_loop

        self.loop = asyncio.get_running_loop()
        limit = self.settings.start_timeout if timeout is None else timeout
        if self.settings.offline or self.is_closed:
            return
        steps: list[Coroutine[Any, Any, object]] = []
        if self.settings.environment_file is None:
            steps.append(self.async_executor.prepare())
        if self.source is not None:
            steps.append(off_loop(lambda: self.start(limit)))
        preparing = {asyncio.ensure_future(step) for step in steps}
        for one in preparing:
            one.add_done_callback(self._prepared)
        await asyncio.wait(preparing, timeout=limit)

    def _prepared(self, preparing: asyncio.Future[Any]) -> None:
        if not preparing.cancelled() and preparing.exception() is not None:
            self.log.debug("the connection could not be prepared", exc_info=preparing.exception())

    async def flush_async(self, timeout: float | None) -> int:
        """Wait for events without holding up the loop."""
        from schematic_core.offloop import off_loop

        return await off_loop(lambda: self.events.flush(timeout))

    def close(self, timeout: float) -> int:
        """Deliver what can be within ``timeout`` seconds and end everything; gives how many events remain."""
        self._begin_close()
        remaining = self._close_threads(timeout)
        if "async_executor" in self.__dict__:
            self.async_executor.close_soon()
        self._end_close()
        return remaining

    async def close_async(self, timeout: float) -> int:
        """Close without holding up the loop."""
        from schematic_core.offloop import off_loop

        self._begin_close()
        remaining = await off_loop(lambda: self._close_threads(timeout))
        if "async_executor" in self.__dict__:
            await self.async_executor.close()
        self._end_close()
        return remaining

    def _begin_close(self) -> None:
        self.is_closed = True
        self.desk.retire()
        if self.local is not None:
            self.local.close()

    def _close_threads(self, timeout: float) -> int:
        """Wait for what runs in the background to end; gives how many events remain."""
        if self.source is not None:
            self.source.close()
        return self.events.close(timeout)

    def _end_close(self) -> None:
        if "executor" in self.__dict__:
            self.executor.close()
        lifecycle.unregister(self)

    def after_fork_in_child(self) -> None:
        """Replace locks, threads and connections that belong to the parent (the event sender sees to itself)."""
        self.loop = None
        self.desk.after_fork_in_child()
        if self.local is not None:
            self.local.after_fork_in_child()
        self._threads.after_fork_in_child()
        for name in ("executor", "async_executor"):
            if name in self.__dict__:
                self.__dict__[name].after_fork_in_child()

    def _without_asking(self, flag_key: str, options: CheckFlagOptions | None) -> CheckResult | None:
        if not (self.is_closed or self.settings.offline):
            return None
        reason = REASON_CLOSED if self.is_closed else REASON_OFFLINE
        return CheckResult(value=self.defaults.of(flag_key, options), reason=reason, flag_key=str(flag_key))

    def _refuse(self, flag_key: object, options: CheckFlagOptions | None, error: Exception) -> CheckResult:
        fault = str(error) if isinstance(error, InvalidKeys) else f"reading the keys raised {type(error).__name__}"
        if not self._warned_of_keys:
            self._warned_of_keys = True
            self.log.warning("a check was asked wrongly and answers its default: %s", fault, stacklevel=5)
        value = self.defaults.of(flag_key, options)
        key = flag_key if isinstance(flag_key, str) else type(flag_key).__name__
        return CheckResult(value=value, reason=REASON_INVALID_KEYS, flag_key=key, error=fault)

    def _usage_recorded(self, companies: Iterable[Mapping[str, str]]) -> None:
        tokens = {token for keys in companies for token in company_tokens(keys)}
        if tokens:
            self._forget(self.desk.expire_usage(tokens))

    def _forget(self, subjects: list[Subject]) -> int:
        if subjects and self._tiers:
            rows = [check_row(self._namespace, *subject) for subject in subjects]
            forever = float("inf")  # each step has the bound of its kind
            if self.loop is not None and self.loop.is_running():
                import asyncio

                forgetting = self._tiers.forget(rows, partial(self.async_ports.invoke, forever))
                asyncio.run_coroutine_threadsafe(forgetting, self.loop)
            else:
                drive(self._tiers.forget(rows, partial(self.ports.invoke, forever)))
        return len(subjects)

    def _await_on_loop(self, value: Coroutine[Any, Any, Any], timeout: float) -> Any:
        """Run a user's async cache provider for the sync face, on the loop that the async face uses."""
        import asyncio

        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if self.loop is None or not self.loop.is_running() or here is self.loop:
            value.close()
            raise RuntimeError("an async cache provider needs the running loop of the async client")
        return asyncio.run_coroutine_threadsafe(value, self.loop).result(timeout)


def _listed(flag_keys: Iterable[str] | None) -> list[str] | None:
    if isinstance(flag_keys, (str, bytes)):
        raise InvalidKeys(f"flag_keys must be several keys, e.g. ['exports'], not one {type(flag_keys).__name__}")
    return None if flag_keys is None else list(flag_keys)


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)
