"""Schematic for Python web applications: plans, entitlements, feature flags, usage metering, webhooks.

Every public name and every model of the HTTP API can be imported from here; each is loaded when it is first used.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING

from schematic_core._version import __version__

if TYPE_CHECKING:
    from schematic_core.cache import AsyncCacheProvider, AsyncLocalCache, CacheProvider, LocalCache
    from schematic_core.client import AsyncSchematic, Schematic
    from schematic_core.config import AsyncSchematicConfig, DataStreamConfig, SchematicConfig
    from schematic_core.errors import (
        ApiError,
        BadRequestError,
        ConfigurationError,
        ConnectionFailed,
        EngineError,
        FeatureDenied,
        ForbiddenError,
        InternalServerError,
        NotFoundError,
        ParsingError,
        PaymentRequiredError,
        RateLimitError,
        SchematicError,
        StreamError,
        TimedOut,
        TransportError,
        UnauthorizedError,
        WebhookSignatureError,
    )
    from schematic_core.types import *
    from schematic_core.values import (
        REASON_CLOSED,
        REASON_ERROR,
        REASON_FLAG_NOT_FOUND,
        REASON_OFFLINE,
        CheckFlagOptions,
        CheckResult,
        Entitlement,
        EventUsage,
        IdentifyOptions,
        TrackOptions,
    )

_HOMES = {
    "schematic_core.cache": ("AsyncCacheProvider", "AsyncLocalCache", "CacheProvider", "LocalCache"),
    "schematic_core.client": ("AsyncSchematic", "Schematic"),
    "schematic_core.config": ("AsyncSchematicConfig", "DataStreamConfig", "SchematicConfig"),
    "schematic_core.errors": (
        "ApiError",
        "BadRequestError",
        "ConfigurationError",
        "ConnectionFailed",
        "EngineError",
        "FeatureDenied",
        "ForbiddenError",
        "InternalServerError",
        "NotFoundError",
        "ParsingError",
        "PaymentRequiredError",
        "RateLimitError",
        "SchematicError",
        "StreamError",
        "TimedOut",
        "TransportError",
        "UnauthorizedError",
        "WebhookSignatureError",
    ),
    "schematic_core.values": (
        "REASON_CLOSED",
        "REASON_ERROR",
        "REASON_FLAG_NOT_FOUND",
        "REASON_OFFLINE",
        "CheckFlagOptions",
        "CheckResult",
        "Entitlement",
        "EventUsage",
        "IdentifyOptions",
        "TrackOptions",
    ),
}
_MODULES = (
    "cache",
    "client",
    "core",
    "datastream",
    "types",
    "webhook_utils",
)  # usable after `import schematic_core` alone
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "REASON_CLOSED",
    "REASON_ERROR",
    "REASON_FLAG_NOT_FOUND",
    "REASON_OFFLINE",
    "ApiError",
    "AsyncCacheProvider",
    "AsyncLocalCache",
    "AsyncSchematic",
    "AsyncSchematicConfig",
    "BadRequestError",
    "CacheProvider",
    "CheckFlagOptions",
    "CheckResult",
    "ConfigurationError",
    "ConnectionFailed",
    "DataStreamConfig",
    "EngineError",
    "Entitlement",
    "EventUsage",
    "FeatureDenied",
    "ForbiddenError",
    "IdentifyOptions",
    "InternalServerError",
    "LocalCache",
    "NotFoundError",
    "ParsingError",
    "PaymentRequiredError",
    "RateLimitError",
    "Schematic",
    "SchematicConfig",
    "SchematicError",
    "StreamError",
    "TimedOut",
    "TrackOptions",
    "TransportError",
    "UnauthorizedError",
    "WebhookSignatureError",
    "__version__",
]

# A library logs, and leaves it to the application whether anybody hears it.
logging.getLogger("schematic").addHandler(logging.NullHandler())


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if name in _MODULES:
        return import_module(f"schematic_core.{name}")
    if not name[0].isupper() and home is None:
        raise AttributeError(f"module 'schematic_core' has no attribute {name!r}")
    if home is None:
        home = "schematic_core.types"
        if name not in import_module(home).__all__:
            raise AttributeError(f"module 'schematic_core' has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *import_module("schematic_core.types").__all__})
