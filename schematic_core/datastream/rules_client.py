"""The rules engine under the names of the client library's contract: a small front on ``schematic_core.rules``."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from datetime import datetime

from schematic_core.datastream.versions import Kind
from schematic_core.errors import EngineError, SchematicError
from schematic_core.finished import FINISHED
from schematic_core.rules import Document, Evaluation, check, engine
from schematic_core.values import CheckFlagOptions

__all__ = ["KeyConflictError", "RulesEngineClient", "RulesEngineError"]

RulesEngineError = EngineError
"""The contract's name for `EngineError`."""


class KeyConflictError(SchematicError):
    """Keys that were asked for together belong to different entities.

    Attributes:
        kind: ``"company"`` or ``"user"``.
        ids: of the entities, e.g. ``("comp_1", "comp_2")``; at least two.

    Checks never raise it: they answer the flag's default and say so.
    """

    def __init__(self, kind: Kind, ids: Sequence[str]) -> None:
        super().__init__(f"keys of the {kind} belong to {' and '.join(ids)}")
        self.kind: Kind = kind
        self.ids: tuple[str, ...] = tuple(ids)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.kind, self.ids)


class RulesEngineClient:
    """Evaluates flags on documents that the caller has: the contract's name for what ``schematic_core.rules`` does.

    All objects of this class share the one engine of the process. May be used from any thread.

    Example:
        >>> flag = {"id": "f", "account_id": "a", "environment_id": "e", "key": "seats", "default_value": True}
        >>> RulesEngineClient().check_flag(flag).value
        True
    """

    def __init__(self) -> None:
        self._is_initialized = False

    def initialize(self) -> Awaitable[None]:
        """Load the engine now instead of at the first check: milliseconds when this machine compiled it before.

        Blocks meanwhile. Done when it returns, with or without ``await``.

        Raises:
            ConfigurationError: wasmtime is not installed.
            EngineError: the engine cannot be run here.
        """
        engine().load()
        self._is_initialized = True
        return FINISHED

    def is_initialized(self) -> bool:
        """Tell whether this object has loaded the engine."""
        return self._is_initialized

    def check_flag(
        self,
        flag: Document,
        company: Document | None = None,
        user: Document | None = None,
        options: CheckFlagOptions | None = None,
        *,
        now: datetime | None = None,
    ) -> Evaluation:
        """Evaluate one flag; everything is as in ``schematic_core.rules.check``.

        Args:
            flag: the flag with its rules, as text, mapping or model.
            company: the company; None when there is none.
            user: the user; None when there is none.
            options: of these, ``usage``, ``event_usage`` and ``credit_cost`` count here.
            now: the clock, aware; the present when None.

        Raises:
            EngineError: an argument but ``now`` was refused.
            ConfigurationError: wasmtime is not installed.
            TypeError: ``now`` is no datetime.
            ValueError: ``now`` is naive.
        """
        asked = options or CheckFlagOptions()
        usage, event_usage, credit_cost = asked.usage, asked.event_usage, asked.credit_cost
        found = check(flag, company, user, usage=usage, event_usage=event_usage, credit_cost=credit_cost, now=now)
        self._is_initialized = True
        return found
