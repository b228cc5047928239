"""DataStream: flags, companies and users held in this process and kept up to date over one socket.

The public names, each loaded when it is first used; clients follow the stream by themselves with ``use_datastream=True``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from schematic_core.datastream.client import DataStreamClient, DataStreamClientOptions
    from schematic_core.datastream.contract import (
        DataStreamBaseReq,
        DataStreamError,
        DataStreamReq,
        DataStreamResp,
        EntityType,
        MessageType,
    )
    from schematic_core.datastream.merge import deep_copy_company, deep_copy_user, partial_company, partial_user
    from schematic_core.datastream.rules_client import KeyConflictError, RulesEngineClient, RulesEngineError
    from schematic_core.datastream.urls import convert_api_url_to_websocket_url
    from schematic_core.datastream.values import StreamChange, StreamStatus

__all__ = [
    "DataStreamBaseReq",
    "DataStreamClient",
    "DataStreamClientOptions",
    "DataStreamError",
    "DataStreamReq",
    "DataStreamResp",
    "EntityType",
    "KeyConflictError",
    "MessageType",
    "RulesEngineClient",
    "RulesEngineError",
    "StreamChange",
    "StreamStatus",
    "convert_api_url_to_websocket_url",
    "deep_copy_company",
    "deep_copy_user",
    "partial_company",
    "partial_user",
]

_HOMES = {
    "client": ("DataStreamClient", "DataStreamClientOptions"),
    "contract": (
        "DataStreamBaseReq",
        "DataStreamError",
        "DataStreamReq",
        "DataStreamResp",
        "EntityType",
        "MessageType",
    ),
    "merge": ("deep_copy_company", "deep_copy_user", "partial_company", "partial_user"),
    "rules_client": ("KeyConflictError", "RulesEngineClient", "RulesEngineError"),
    "urls": ("convert_api_url_to_websocket_url",),
    "values": ("StreamChange", "StreamStatus"),
}
_HOME_OF = {name: f"{__name__}.{home}" for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
