"""Where one client logs: the caller's logger, or ours, with a lowest level of its own if it was given one."""

from __future__ import annotations

import logging
from typing import Any

from schematic_core.config import Settings

__all__ = ["client_log"]


class _LevelledLog(logging.LoggerAdapter):  # type: ignore[type-arg]  # generic only in type checkers before 3.11
    """A client's own lowest level, without touching the logger that others share."""

    def __init__(self, logger: logging.Logger, level: int) -> None:
        super().__init__(logger, {})
        self._level = level

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the name is logging's
        return level >= self._level and self.logger.isEnabledFor(level)

    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        return msg, kwargs


def client_log(settings: Settings) -> logging.Logger | logging.LoggerAdapter[logging.Logger]:
    """Give the log of a client."""
    logger = settings.logger or logging.getLogger("schematic.client")
    return logger if settings.log_level is None else _LevelledLog(logger, settings.log_level)
