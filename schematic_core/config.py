"""Settings of a client: their names, defaults, sources and checks. Wrong ones raise ``ConfigurationError`` here."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypedDict, cast
from urllib.parse import urlsplit

from schematic_core.errors import ConfigurationError
from schematic_core.values import FlagDefault

if TYPE_CHECKING:
    import logging

    import httpx
    from typing_extensions import Unpack

    from schematic_core.cache import AsyncCacheProvider, CacheProvider

__all__ = ["AsyncSchematicConfig", "ClientOptions", "SchematicConfig", "Settings", "resolve", "webhook_secrets"]

DEFAULT_BASE_URL = "https://api.schematichq.com"
DEFAULT_CAPTURE_URL = "https://c.schematichq.com"

_ENVIRONMENT = {
    "api_key": "SCHEMATIC_API_KEY",
    "base_url": "SCHEMATIC_API_URL",
    "event_capture_url": "SCHEMATIC_EVENT_CAPTURE_URL",
    "offline": "SCHEMATIC_OFFLINE",
}
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


class ClientOptions(TypedDict, total=False):
    """Every option of a client, usable as keyword arguments or in a config object. Durations are seconds."""

    base_url: str | None
    """Where the HTTP API is; ``SCHEMATIC_API_URL`` otherwise."""
    event_capture_url: str | None
    """Where events go (``/batch`` is added); ``SCHEMATIC_EVENT_CAPTURE_URL`` otherwise."""
    offline: bool | str | None
    """Ask nobody: every check gives its default, events are dropped; ``SCHEMATIC_OFFLINE`` otherwise."""
    flag_defaults: Mapping[str, FlagDefault] | None
    """Value by flag key for when nothing can answer, e.g. ``{"exports": True}``."""
    timeout: float | timedelta | None
    """Seconds an API call may take (60)."""
    check_timeout: float | timedelta | None
    """Seconds a check may take, all retries included (3)."""
    start_timeout: float | timedelta | None
    """Seconds ``initialize`` waits at most (5)."""
    max_retries: int | None
    """Repeats after the first try of an API call (2)."""
    headers: Mapping[str, str] | None
    """Added to every API call."""
    follow_redirects: bool | None
    """Follow redirects of API calls (True); credentials never leave the first host."""
    http_client: httpx.Client | httpx.AsyncClient | None
    """Makes the API calls; stays yours to close."""
    httpx_client: httpx.Client | httpx.AsyncClient | None
    """The vendor's name for ``http_client``."""
    event_http_client: Callable[[], httpx.Client] | None
    """Factory of the event sender's client; called again after a fork."""
    logger: logging.Logger | None
    """Where this client logs; ``schematic.client`` otherwise."""
    log_level: int | str | None
    """Lowest level this client logs at; the logger's own otherwise."""
    cache_providers: Sequence[CacheProvider[Any] | AsyncCacheProvider[Any]] | None
    """Tiers of the flag-check cache, asked in order; an empty list switches it off."""
    serve_stale: float | timedelta | None
    """Seconds an old answer may serve while the service cannot answer (3,600)."""
    not_found_ttl: float | timedelta | None
    """Seconds an unknown flag is remembered as unknown (10)."""
    event_buffer_period: float | timedelta | None
    """Seconds between sends of events (5); 0 sends at once."""
    event_queue_max: int | None
    """Events held at most (100,000)."""
    event_queue_max_bytes: int | None
    """Bytes of serialised events held at most (64 MiB)."""
    event_max_age: float | timedelta | None
    """Seconds after which an undelivered event is given up (82,800: under the 24 h in which repeats are recognised)."""
    trusted_client_clock: bool | None
    """Let the client's ``sent_at`` be the effective time of every event (False)."""
    on_error: Callable[[Exception], None] | None
    """Called in the background when events are lost; whatever it raises is logged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of one client, complete and checked. Durations are seconds."""

    api_key: str = ""
    base_url: str = DEFAULT_BASE_URL
    event_url: str = DEFAULT_CAPTURE_URL + "/batch"
    event_form: str = "capture"
    offline: bool = False
    flag_defaults: Mapping[str, FlagDefault]
    timeout: float = 60.0
    check_timeout: float = 3.0
    start_timeout: float = 5.0
    max_retries: int = 2
    headers: Mapping[str, str]
    follow_redirects: bool = True
    http_client: httpx.Client | httpx.AsyncClient | None = None
    event_http_client: Callable[[], httpx.Client] | None = None
    logger: logging.Logger | None = None
    log_level: int | None = None
    cache_providers: tuple[CacheProvider[Any] | AsyncCacheProvider[Any], ...] | None = None
    serve_stale: float = 3600.0
    not_found_ttl: float = 10.0
    event_buffer_period: float = 5.0
    event_queue_max: int = 100_000
    event_queue_max_bytes: int = 64 * 1024 * 1024
    event_max_age: float = 82_800.0
    trusted_client_clock: bool = False
    on_error: Callable[[Exception], None] | None = None

    def __repr__(self) -> str:
        return (
            f"Settings(base_url={self.base_url!r}, offline={self.offline}, api_key={'set' if self.api_key else None})"
        )


class SchematicConfig:
    """Options of a client, checked by name now and by value when the client is made.

    Args:
        **options: members of `ClientOptions`; an unknown name raises ``ConfigurationError``.

    Example:
        >>> config = SchematicConfig(offline=True, flag_defaults={"exports": True})
    """

    __slots__ = ("options",)

    def __init__(self, **options: Unpack[ClientOptions]) -> None:
        _refuse_unknown(options)
        self.options: ClientOptions = options

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(sorted(self.options))})"


class AsyncSchematicConfig(SchematicConfig):
    """The same options under the vendor's name for the async client."""

    __slots__ = ()


def resolve(
    api_key: str | None, options: ClientOptions, *sources: SchematicConfig | None, environment: Mapping[str, str]
) -> Settings:
    """Settle every setting: keyword arguments, then ``sources`` in order, then the environment, then the default.

    Args:
        api_key: the key given, if one was.
        options: the other keyword arguments.
        sources: config objects, first wins; None is passed over.
        environment: e.g. ``os.environ``.

    Raises:
        ConfigurationError: a name is unknown or a value cannot be; the message names the setting.
    """
    _refuse_unknown(options)
    for source in sources:
        if source is not None and not isinstance(source, SchematicConfig):
            raise ConfigurationError(f"config must be a SchematicConfig, not {type(source).__name__}")
    named = {name: environment.get(variable) for name, variable in _ENVIRONMENT.items()}
    given = [source.options for source in reversed(sources) if source is not None]
    chosen: dict[str, Any] = {}
    for layer in (named, *given, options, {"api_key": api_key}):
        chosen.update((name, value) for name, value in layer.items() if _is_set(value))
    return _check(chosen)


def webhook_secrets(given: str | Sequence[str] | None, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Give the webhook secrets to try, in order; ``SCHEMATIC_WEBHOOK_SECRET`` (comma-separated) when none is given.

    Returns:
        One or more secrets, or nothing when neither source has any.

    Raises:
        ConfigurationError: a secret was given and is blank or not text.
    """
    if given is None:
        listed = environment.get("SCHEMATIC_WEBHOOK_SECRET", "")
        return tuple(part.strip() for part in listed.split(",") if part.strip())
    secrets = (given,) if isinstance(given, str) else tuple(given)
    if not secrets or not all(isinstance(secret, str) and secret.strip() for secret in secrets):
        raise ConfigurationError("webhook_secret is empty; give the endpoint's secret, or several as a list")
    return secrets


def _is_set(value: object) -> bool:
    return value is not None and not (isinstance(value, str) and not value.strip())


def _refuse_unknown(options: Mapping[str, object]) -> None:
    for name in options:
        if name not in ClientOptions.__annotations__:
            close = _closest(name)
            hint = f"; did you mean {close!r}?" if close else ""
            raise ConfigurationError(f"unknown setting {name!r}{hint}")


def _closest(name: str) -> str | None:
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, ClientOptions.__annotations__, 1)), None)


def _check(chosen: dict[str, Any]) -> Settings:
    clients = [name for name in ("http_client", "httpx_client") if name in chosen]
    if len(clients) > 1:
        raise ConfigurationError("http_client and httpx_client are the same setting; give one of them")
    values: dict[str, Any] = {"flag_defaults": {}, "headers": {}}
    known = {f.name for f in fields(Settings)}
    values.update((name, _CHECKS.get(name, _as_given)(name, value)) for name, value in chosen.items() if name in known)
    if clients:
        values["http_client"] = chosen[clients[0]]
    if not values.get("api_key") and not values.get("offline"):
        raise ConfigurationError(
            "api_key is missing; pass it, set SCHEMATIC_API_KEY, or say offline=True to run without the service"
        )
    values["event_url"], values["event_form"] = _event_target(values.get("base_url"), chosen.get("event_capture_url"))
    return Settings(**values)


def _event_target(base_url: str | None, capture_url: object) -> tuple[str, str]:
    if capture_url is not None:
        return _url("event_capture_url", capture_url) + "/batch", "capture"
    if base_url is None or base_url == DEFAULT_BASE_URL:
        return DEFAULT_CAPTURE_URL + "/batch", "capture"
    return base_url + "/event-batch", "rest"


def _as_given(_name: str, value: object) -> object:
    return value


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} must be text, not {type(value).__name__}")
    if not value.strip().isprintable() or not value.isascii():
        raise ConfigurationError(f"{name} holds characters that cannot be sent in a header")
    return value.strip()


def _url(name: str, value: object) -> str:
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
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise ConfigurationError(f"{name} must be a number of seconds, zero or more, not {value!r}")
    return float(value)


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
    return dict(value)


def _function(name: str, value: object) -> object:
    if not callable(value):
        raise ConfigurationError(f"{name} must be a function, not {type(value).__name__}")
    return value


_CHECKS: dict[str, Callable[[str, object], object]] = {
    "api_key": _text,
    "base_url": _url,
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
    "event_buffer_period": _seconds,
    "event_queue_max": _positive_count,
    "event_queue_max_bytes": _positive_count,
    "event_max_age": _positive_seconds,
    "trusted_client_clock": _switch,
    "on_error": _function,
}
