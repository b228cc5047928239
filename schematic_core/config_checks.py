"""Checks of single settings: each gives the value as the client uses it, or raises an error that names the setting."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import cast

from schematic_core.config_datastream import DataStreamConfig
from schematic_core.errors import ConfigurationError
from schematic_core.values import FlagDefault

__all__ = ["check", "url"]

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LONGEST = 1e9  # 31 years; operating systems refuse to wait for much more
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


def check(name: str, label: str, value: object) -> object:
    """Check the setting ``name``, called ``label`` in messages.

    Raises:
        ConfigurationError: the value cannot be.
    """
    checker = _CHECKS.get(name)
    return value if checker is None else checker(label, value)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} must be text, not {type(value).__name__}")
    if not value.strip().isprintable() or not value.isascii():
        raise ConfigurationError(f"{name} holds characters that cannot be sent in a header")
    return value.strip()


def url(name: str, value: object) -> str:
    """Give an absolute HTTP URL without a trailing slash."""
    from urllib.parse import urlsplit

    text = value.strip().rstrip("/") if isinstance(value, str) else ""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and not (parts.query or parts.fragment)
        _ = parts.port
    except ValueError:
        usable = False
    if not usable or any(c.isspace() for c in text):
        raise ConfigurationError(f"{name} must be an http or https URL such as 'https://host/path', not {value!r}")
    return text


def _switch(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else ""
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise ConfigurationError(f"{name} must be True or False, not {value!r}")


def _seconds(name: str, value: object) -> float:
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ConfigurationError(f"{name} must be a number of seconds, zero or more, not {value!r}")
    return float(min(value, _LONGEST))


def _positive_seconds(name: str, value: object) -> float:
    seconds = _seconds(name, value)
    if seconds == 0:
        raise ConfigurationError(f"{name} must be more than zero seconds")
    return seconds


def _count(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigurationError(f"{name} must be a whole number, zero or more, not {value!r}")
    return value


def _positive_count(name: str, value: object) -> int:
    number = _count(name, value)
    if number == 0:
        raise ConfigurationError(f"{name} must be at least 1")
    return number


def _level(name: str, value: object) -> int:
    import logging

    if isinstance(value, str):
        value = logging.getLevelName(value.strip().upper())
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigurationError(f"{name} must be a logging level such as 'INFO' or logging.INFO")
    return value


def _providers(name: str, value: object) -> tuple[object, ...]:
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise ConfigurationError(f"{name} must be a list of cache providers, not {type(value).__name__}")
    for provider in value:
        if isinstance(provider, type):
            raise ConfigurationError(f"{name} holds the class {provider.__name__}; give an instance of it")
        if not (callable(getattr(provider, "get", None)) and callable(getattr(provider, "set", None))):
            raise ConfigurationError(f"{name} holds a {type(provider).__name__}, which has no get and set methods")
    return tuple(value)


def _defaults(name: str, value: object) -> dict[str, FlagDefault]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{name} must map flag keys to True, False or a function, not {type(value).__name__}")
    for key, default in value.items():
        if not isinstance(key, str) or not (isinstance(default, bool) or callable(default)):
            raise ConfigurationError(f"{name}[{key!r}] must be True, False or a function that gives one")
    return dict(cast("Mapping[str, FlagDefault]", value))


def _headers(name: str, value: object) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(k, str) and isinstance(v, str) for k, v in value.items()):
        raise ConfigurationError(f"{name} must map header names to text")
    for key, text in value.items():
        if not _HEADER_NAME.fullmatch(key):
            raise ConfigurationError(f"{name} holds {key!r}, which cannot be the name of a header")
        if not (text.isascii() and text.replace("\t", " ").isprintable()):
            raise ConfigurationError(f"{name}[{key!r}] holds characters that cannot be sent in a header")
    return dict(value)


def _function(name: str, value: object) -> object:
    if not callable(value):
        raise ConfigurationError(f"{name} must be a function, not {type(value).__name__}")
    return value


def _datastream(name: str, value: object) -> DataStreamConfig:
    if not isinstance(value, DataStreamConfig):
        raise ConfigurationError(f"{name} must be a DataStreamConfig, not {type(value).__name__}")
    return value


def _path(name: str, value: object) -> str:
    import os

    try:
        path = os.fspath(cast("str", value))  # anything at all may stand here, and is refused below
    except TypeError:
        path = None
    if not isinstance(path, str):
        raise ConfigurationError(f"{name} must be a path, not {type(value).__name__}")
    return path


def _own_file(name: str, value: object) -> str:
    import os

    return os.path.abspath(_path(name, value))  # noqa: PTH100 - a daemon changes its directory later, and pathlib takes 10 ms


def _one_of(*words: str) -> Callable[[str, object], object]:
    def choose(name: str, value: object) -> object:
        if value is not None and value not in words:
            raise ConfigurationError(f"{name} must be {' or '.join(map(repr, words))}, not {value!r}")
        return value

    return choose


def _logger(name: str, value: object) -> object:
    if not all(callable(getattr(value, method, None)) for method in ("debug", "warning", "isEnabledFor")):
        raise ConfigurationError(f"{name} must be a logging.Logger, not {type(value).__name__}")
    return value


_CHECKS: dict[str, Callable[[str, object], object]] = {
    "api_key": _text,
    "base_url": url,
    "offline": _switch,
    "flag_defaults": _defaults,
    "timeout": _positive_seconds,
    "check_timeout": _positive_seconds,
    "start_timeout": _seconds,
    "max_retries": _count,
    "headers": _headers,
    "follow_redirects": _switch,
    "event_http_client": _function,
    "log_level": _level,
    "cache_providers": _providers,
    "serve_stale": _seconds,
    "not_found_ttl": _seconds,
    "use_datastream": _switch,
    "datastream": _datastream,
    "stale_after": _seconds,
    "max_entities": _positive_count,
    "environment_file": _path,
    "event_buffer_period": _seconds,
    "event_queue_max": _positive_count,
    "event_queue_max_bytes": _positive_count,
    "event_max_age": _positive_seconds,
    "trusted_client_clock": _switch,
    "on_error": _function,
    "event_endpoint": _one_of("capture", "rest"),
    "event_delivery": _one_of("background", "immediate"),
    "event_send_timeout": _positive_seconds,
    "event_spool": _own_file,
    "event_sent_at": _switch,
    "flag_check_events": _one_of("all", "distinct", "none"),
    "before_send": _function,
    "logger": _logger,
}
