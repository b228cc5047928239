"""Schematic for FastAPI; `schematic_fastapi.starlette` for Starlette and bare ASGI."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from schematic_core.binding import Features as FeaturesView
    from schematic_core.binding import Identity
    from schematic_core.binding import SyncFeatures as SyncFeaturesView
    from schematic_core.errors import FeatureDenied
    from schematic_core.webhooks import WebhookEvent
    from schematic_fastapi._app import Schematic

__all__ = ["FeatureDenied", "FeaturesView", "Identity", "Schematic", "SyncFeaturesView", "WebhookEvent"]

_HOMES = {
    "FeatureDenied": ("schematic_core.errors", "FeatureDenied"),
    "FeaturesView": ("schematic_core.binding", "Features"),
    "Identity": ("schematic_core.binding", "Identity"),
    "Schematic": ("schematic_fastapi._app", "Schematic"),
    "SyncFeaturesView": ("schematic_core.binding", "SyncFeatures"),
    "WebhookEvent": ("schematic_core.webhooks", "WebhookEvent"),
}


def __getattr__(name: str) -> object:
    """Load a public name at its first use, so that the Starlette half works without FastAPI."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    try:
        value: object = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name not in ("fastapi", "starlette"):
            raise
        raise ImportError(f"{error.name} is not installed; pip install 'schematic-suite[fastapi]'") from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
