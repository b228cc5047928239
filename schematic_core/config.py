"""Settings of a client: their names, defaults and sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from schematic_core.config_checks import check, url
from schematic_core.config_datastream import DataStreamConfig
from schematic_core.errors import ConfigurationError
from schematic_core.values import FlagDefault

if TYPE_CHECKING:
    import logging
    from os import PathLike

    import httpx
    from typing_extensions import Unpack

    from schematic_core.cache import AsyncCacheProvider, CacheProvider

__all__ = [
    "AsyncSchematicConfig",
    "ClientOptions",
    "DataStreamConfig",
    "SchematicConfig",
    "Settings",
    "resolve",
    "webhook_secrets",
]

DEFAULT_BASE_URL = "https://api.schematichq.com"
DEFAULT_CAPTURE_URL = "https://c.schematichq.com"

_ENVIRONMENT = {
    "api_key": "SCHEMATIC_API_KEY",
    "base_url": "SCHEMATIC_API_URL",
    "event_capture_url": "SCHEMATIC_EVENT_CAPTURE_URL",
    "offline": "SCHEMATIC_OFFLINE",
}


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
    use_datastream: bool | None
    """Keep flags, companies and users in this process, told of changes over a socket, and evaluate here (False)."""
    datastream: DataStreamConfig | None
    """Options of DataStream; given alone it does not switch it on."""
    stale_after: float | timedelta | None
    """Seconds after a lost connection for which local answers go on before the service is asked first (30)."""
    max_entities: int | None
    """Companies held at most, and users as many again (10,000); flags are not bounded."""
    environment_file: str | PathLike[str] | None
    """Evaluate here from this environment file, read again when it changes; no service is asked and no event sent."""
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
    event_endpoint: Literal["capture", "rest"] | None
    """``"rest"`` sends events to ``/event-batch`` of the HTTP API, ``"capture"`` to ``/batch`` of the capture host."""
    event_delivery: Literal["background", "immediate"] | None
    """``"immediate"`` sends before ``track`` returns, for scripts and functions that end soon (``"background"``)."""
    event_send_timeout: float | timedelta | None
    """Seconds that ``track`` may take with immediate delivery (3)."""
    event_spool: str | PathLike[str] | None
    """File that keeps ``track`` and ``identify`` until they are acknowledged, whatever becomes of the process."""
    event_sent_at: bool | None
    """Date every event with ``sent_at`` (True)."""
    flag_check_events: Literal["all", "distinct", "none"] | None
    """Which checks answered here are reported: all of them, each different one once per period, or none (``"all"``)."""
    before_send: Callable[[dict[str, Any]], dict[str, Any] | None] | None
    """Called with each event before it is sent; may change it, or give None to drop it. It is never called by ``track``."""


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
    use_datastream: bool = False
    datastream: DataStreamConfig = field(default_factory=DataStreamConfig)
    stale_after: float = 30.0
    max_entities: int = 10_000
    environment_file: str | None = None
    event_buffer_period: float = 5.0
    event_queue_max: int = 100_000
    event_queue_max_bytes: int = 64 * 1024 * 1024
    event_max_age: float = 82_800.0
    trusted_client_clock: bool = False
    on_error: Callable[[Exception], None] | None = None
    event_delivery: str = "background"
    event_send_timeout: float = 3.0
    event_spool: str | None = None
    event_sent_at: bool = True
    flag_check_events: str = "all"
    before_send: Callable[[dict[str, Any]], dict[str, Any] | None] | None = None

    @property
    def event_refusal(self) -> str | None:
        """Why no event is ever sent, ``"offline"`` or ``"file"``; None when events are sent."""
        if self.offline:
            return "offline"
        return None if self.environment_file is None else "file"

    def __repr__(self) -> str:
        scheme, _, rest = self.base_url.partition("://")
        url = f"{scheme}://{rest.rpartition('@')[2]}"  # a proxy's password may stand before the host
        return f"Settings(base_url={url!r}, offline={self.offline}, api_key={'set' if self.api_key else None})"


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
    labels = {name: f"{name} ({_ENVIRONMENT[name]})" for name, value in named.items() if chosen.get(name) is value}
    return _check(chosen, labels)


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
    secrets = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, Sequence) else ()
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


def _check(chosen: dict[str, Any], labels: Mapping[str, str]) -> Settings:
    clients = [name for name in ("http_client", "httpx_client") if name in chosen]
    if len(clients) > 1:
        raise ConfigurationError("http_client and httpx_client are the same setting; give one of them")
    values: dict[str, Any] = {"flag_defaults": {}, "headers": {}}
    known = {f.name for f in fields(Settings)}
    for name in known.intersection(chosen):
        values[name] = check(name, labels.get(name, name), chosen[name])
    if clients:
        values["http_client"] = chosen[clients[0]]
    if values.get("use_datastream") and "environment_file" in values:
        raise ConfigurationError("use_datastream and environment_file are two sources of one thing; give one of them")
    if not (values.get("api_key") or values.get("offline") or "environment_file" in values):
        raise ConfigurationError(
            "api_key is missing; pass it, set SCHEMATIC_API_KEY, or say offline=True to run without the service"
        )
    if values.get("trusted_client_clock") and not values.get("event_sent_at", True):
        raise ConfigurationError("trusted_client_clock needs the time of events; leave event_sent_at on")
    capture_url = chosen.get("event_capture_url")
    if capture_url is not None:
        capture_url = url(labels.get("event_capture_url", "event_capture_url"), capture_url)
    endpoint = check("event_endpoint", "event_endpoint", chosen.get("event_endpoint"))
    values["event_url"], values["event_form"] = _event_target(
        values.get("base_url", DEFAULT_BASE_URL), capture_url, endpoint
    )
    return Settings(**values)


def _event_target(base_url: str, capture_url: str | None, endpoint: object) -> tuple[str, str]:
    """Give address and form of event batches; events never leave the host that was named, if one was."""
    is_own = base_url != DEFAULT_BASE_URL
    if endpoint is None:
        endpoint = "rest" if capture_url is None and is_own else "capture"
    if endpoint == "rest":
        return (capture_url or base_url) + "/event-batch", "rest"
    return (capture_url or (base_url if is_own else DEFAULT_CAPTURE_URL)) + "/batch", "capture"
