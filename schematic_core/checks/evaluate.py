"""Shell: evaluation of held versions in the engine, which may lose what it holds and get it again."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Literal, NamedTuple, cast

from schematic_core.datastream.versions import EntityVersion, FlagVersion
from schematic_core.errors import EngineError
from schematic_core.rules.documents import options_of
from schematic_core.rules.engine import Engine, Handle
from schematic_core.values import CheckFlagOptions, CheckResult, Source, Standing

__all__ = ["EngineHolder", "Evaluator", "Parts"]


class Parts(NamedTuple):
    """What one evaluation is about; ``standing`` is that of the oldest part."""

    flag: FlagVersion
    company: EntityVersion | None
    user: EntityVersion | None
    standing: Standing


class EngineHolder:
    """The engine as the replica needs it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def hold(self, kind: Literal["flag", "company", "user"], text: bytes) -> Handle:
        """Hand a document in; raises ``EngineError``."""
        handle: Handle | None = getattr(self._engine, f"put_{kind}")(text)
        if handle is None:
            raise EngineError(f"rejected {kind}: it is null", code="wrong_type")
        return handle

    def release(self, handle: object) -> None:
        """Let go of a document."""
        if isinstance(handle, Handle):
            self._engine.drop(handle)


class Evaluator:
    """Evaluates flags. Safe for any number of threads.

    Args:
        engine: holds the documents.
        source: what results say of their origin.
    """

    def __init__(self, engine: Engine, source: Source) -> None:
        self._engine = engine
        self._source: Source = source
        self._holder = EngineHolder(engine)
        self.after_fork_in_child()

    def after_fork_in_child(self) -> None:
        """Replace the lock, which may be held."""
        self._lock = threading.RLock()

    def evaluate(self, options: CheckFlagOptions | None, parts: Parts, wall: float) -> tuple[CheckResult, int | None]:
        """Give the result, and until when it holds (epoch milliseconds, None: for ever).

        Args:
            options: whose preflight counts.
            parts: the flag and the entities.
            wall: the present, epoch seconds.

        Raises:
            EngineError: it could not be evaluated.
            ConfigurationError: there is no engine.
        """
        versions = parts.flag, parts.company, parts.user
        handles: list[object] = [None if version is None else version.handle for version in versions]
        try:
            return self._result(options, parts.standing, handles, wall)
        except EngineError as error:
            if error.code != "stale_handle":
                raise
        with self._lock:  # the engine's instance was lost with everything it held, or a version was let go just now
            for place, version in enumerate(versions):
                if version is not None and version.handle is handles[place]:
                    version.handle = self._holder.hold(_kind_of(version), version.text)
                handles[place] = None if version is None else version.handle
        return self._result(options, parts.standing, handles, wall)

    def _result(
        self, options: CheckFlagOptions | None, standing: Standing, handles: Sequence[object], wall: float
    ) -> tuple[CheckResult, int | None]:
        flag, company, user = cast(
            "tuple[Handle, Handle | None, Handle | None]", tuple(handles)
        )  # as `EngineHolder` gave
        preflight = self._put_options(options)
        try:
            return self._engine.result(
                flag,
                company,
                user,
                preflight,
                now_ms=int(wall * 1000),
                source=self._source,
                standing=standing,
                as_of=datetime.fromtimestamp(wall, timezone.utc),
            )
        finally:
            if preflight is not None:
                self._engine.drop(preflight)

    def _put_options(self, options: CheckFlagOptions | None) -> Handle | None:
        if options is None or not options.is_preflight:
            return None
        document = options_of(options.usage, options.event_usage, options.credit_cost or None)
        return None if document is None else self._engine.put_options(document)


def _kind_of(version: FlagVersion | EntityVersion) -> Literal["flag", "company", "user"]:
    return version.kind if isinstance(version, EntityVersion) else "flag"
