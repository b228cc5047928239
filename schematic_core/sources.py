"""Sources of local answers, made from a client's settings: DataStream, or an environment file."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import TYPE_CHECKING, Union

from schematic_core.checks.evaluate import EngineHolder
from schematic_core.checks.local import Bounds, Local
from schematic_core.config import Settings
from schematic_core.datastream.replica import Replica
from schematic_core.errors import ConfigurationError
from schematic_core.events.worker import Worker
from schematic_core.rules import engine

if TYPE_CHECKING:
    from schematic_core.datastream.thread import Stream
    from schematic_core.environment.local_file import EnvironmentFile

__all__ = ["follow"]

_FOREVER = 1_000_000_000


def follow(
    settings: Settings, worker: Worker, log: logging.Logger | logging.LoggerAdapter[logging.Logger]
) -> tuple[Local, Union[Stream, EnvironmentFile]]:
    """Make what answers here and what fills it; neither does anything yet, but for reading an environment file.

    Raises:
        ConfigurationError: a package is missing (the message names the extra), or the environment file is wrong.
    """
    if settings.environment_file is not None:
        return _follow_file(settings, settings.environment_file, worker, log)
    return _follow_stream(settings, worker, log)


def _follow_stream(
    settings: Settings, worker: Worker, log: logging.Logger | logging.LoggerAdapter[logging.Logger]
) -> tuple[Local, Stream]:
    from schematic_core.datastream.options import StreamOptions
    from schematic_core.datastream.thread import Stream
    from schematic_core.datastream.urls import convert_api_url_to_websocket_url

    _need("use_datastream", "websockets", "wasmtime")
    options = settings.datastream
    ttl = None if options.cache_ttl is None else options.cache_ttl / 1000
    holder = EngineHolder(engine())

    def make_replica() -> Replica:
        return Replica(holder, max_entities=settings.max_entities, ttl=ttl, not_found_ttl=settings.not_found_ttl)

    bounds = Bounds(settings.stale_after, settings.serve_stale, ttl)
    local = Local(make_replica, engine(), "stream", bounds, worker, log)
    url = convert_api_url_to_websocket_url(settings.base_url)
    stream = Stream(StreamOptions(url, settings.api_key, options.max_message_size), local, engine(), log)
    worker.on_tracked = local.on_tracked
    return local, stream


def _follow_file(
    settings: Settings,
    path: str,
    worker: Worker,
    log: logging.Logger | logging.LoggerAdapter[logging.Logger],
) -> tuple[Local, EnvironmentFile]:
    _need("environment_file", "wasmtime")
    from schematic_core.environment.local_file import EnvironmentFile

    holder = EngineHolder(engine())

    def make_replica() -> Replica:
        return Replica(holder, max_entities=_FOREVER, ttl=None, not_found_ttl=0.0)

    bounds = Bounds(settings.stale_after, settings.serve_stale, is_complete=True)
    local = Local(make_replica, engine(), "file", bounds, worker, log)
    source = EnvironmentFile(path, local, log)
    worker.on_tracked = source.on_tracked
    return local, source


def _need(setting: str, *packages: str) -> None:
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise ConfigurationError(
            f"{setting} needs {' and '.join(missing)}: pip install 'schematic-suite[datastream]'",
        )
