"""Defaults of flags: per call, then per flag, then false. A default that is a function may fail; then the next one counts."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from schematic_core.errors import ConfigurationError
from schematic_core.values import CheckFlagOptions, FlagDefault

__all__ = ["FlagDefaults"]


class FlagDefaults:
    """Default by flag key; may be changed while checks are running.

    Args:
        values: e.g. ``{"exports": True, "beta": lambda: False}``.
        log: where a failing function is reported.
    """

    def __init__(
        self, values: Mapping[str, FlagDefault], log: logging.Logger | logging.LoggerAdapter[logging.Logger]
    ) -> None:
        self._values = dict(values)
        self._log = log

    def update(self, values: Mapping[str, FlagDefault]) -> None:
        """Replace the defaults of the flags named in ``values``.

        Raises:
            ConfigurationError: a key is not text or a value is neither boolean nor a function.
        """
        for key, value in values.items():
            if not isinstance(key, str) or not (isinstance(value, bool) or callable(value)):
                raise ConfigurationError(f"flag default of {key!r} must be True, False or a function that gives one")
        self._values = {**self._values, **values}

    def known(self) -> list[str]:
        """List the flags that have a default of their own."""
        return list(self._values)

    def of(self, flag_key: object, options: object = None) -> bool:
        """Give the default of a flag; never raises, whatever is passed."""
        if isinstance(options, CheckFlagOptions) and options.default_value is not None:
            value = self._settle(flag_key, options.default_value)
            if value is not None:
                return value
        own = self._values.get(flag_key) if isinstance(flag_key, str) else None
        value = None if own is None else self._settle(flag_key, own)
        return False if value is None else value

    def _settle(self, flag_key: object, default: FlagDefault) -> bool | None:
        if isinstance(default, bool):
            return default
        try:
            value = default()
        except Exception:  # noqa: BLE001 - a user's function
            self._log.exception("the default of a flag raised", extra={"schematic_flag": str(flag_key)})
            return None
        return value if isinstance(value, bool) else None
