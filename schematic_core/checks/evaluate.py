"""Shell: evaluation of held versions in the engine, which may lose what it holds and get it again."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Literal, cast

from schematic_core.datastream.versions import EntityVersion, FlagVersion
from schematic_core.errors import EngineError
from schematic_core.rules.documents import options_of
from schematic_core.rules.engine import Engine, Handle
from schematic_core.values import CheckFlagOptions, CheckResult, Source, Standing

__all__ = ["EngineHolder", "Evaluator"]

_MAX_PREFLIGHTS = 256
_Handles = tuple[object, ...]
"""Of the flag, the company and the user."""


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
        """Replace the lock, which may be held, and what it guards."""
        self._lock = threading.RLock()
        self._preflights: dict[bytes, Handle] = {}

    def evaluate(
        self,
        options: CheckFlagOptions | None,
        flag: FlagVersion,
        company: EntityVersion | None,
        user: EntityVersion | None,
        standing: Standing,
        wall: float,
    ) -> tuple[CheckResult, int | None]:
        """Give the result, and until when it holds (epoch milliseconds, None: for ever).

        Args:
            options: whose preflight counts.
            flag: the flag.
            company: the company, if any.
            user: the user, if any.
            standing: of the oldest of these.
            wall: the present, epoch seconds.

        Raises:
            EngineError: it could not be evaluated.
            ConfigurationError: there is no engine.
        """
        preflight = None if options is None or not options.is_preflight else self._put_options(options)
        handles: _Handles = (
            flag.handle,
            None if company is None else company.handle,
            None if user is None else user.handle,
        )
        try:
            return self._result(handles, preflight, standing, wall)
        except EngineError as error:
            if error.code != "stale_handle":
                raise
        # The engine's instance was lost with everything it held, or something was let go just now.
        handles = self._hold_again((flag, company, user), handles)
        preflight = None if options is None or preflight is None else self._put_options(options)
        return self._result(handles, preflight, standing, wall)

    def _hold_again(self, versions: Sequence[FlagVersion | EntityVersion | None], stale: _Handles) -> _Handles:
        self._release_preflights()
        held: list[object] = []
        with self._lock:
            for version, handle in zip(versions, stale, strict=True):
                if version is not None and version.handle is handle:
                    version.handle = self._holder.hold(_kind_of(version), version.text)
                held.append(None if version is None else version.handle)
        return tuple(held)

    def _result(
        self, handles: _Handles, preflight: Handle | None, standing: Standing, wall: float
    ) -> tuple[CheckResult, int | None]:
        flag, company, user = cast("tuple[Handle, Handle | None, Handle | None]", handles)  # as `EngineHolder` gave
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

    def _put_options(self, options: CheckFlagOptions) -> Handle | None:
        """Hold options, for a while: the same few are asked again and again, and taking them in costs more than a check."""
        document = options_of(options.usage, options.event_usage, options.credit_cost or None)
        if document is None:
            return None
        held = self._preflights.get(document)
        if held is None:
            held = self._engine.put_options(document)
            if held is not None:
                self._keep(document, held)
        return held

    def _keep(self, document: bytes, held: Handle) -> None:
        if len(self._preflights) >= _MAX_PREFLIGHTS:
            self._release_preflights()  # a check that is under way with one finds it stale, and holds it again
        with self._lock:
            former, self._preflights[document] = self._preflights.get(document), held
        if former is not None:
            self._engine.drop(former)

    def _release_preflights(self) -> None:
        with self._lock:
            released, self._preflights = self._preflights, {}
        for held in released.values():
            self._engine.drop(held)


def _kind_of(version: FlagVersion | EntityVersion) -> Literal["flag", "company", "user"]:
    return version.kind if isinstance(version, EntityVersion) else "flag"
