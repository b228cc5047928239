"""What every adapter is made of: who a request is about, its view of the features, denials, metering."""

from __future__ import annotations

from schematic_core.binding.denial import PROBLEM_MEDIA_TYPE, RETRY_AFTER, problem, refusal
from schematic_core.binding.features import Features, SyncFeatures
from schematic_core.binding.identity import Identity
from schematic_core.binding.meter import Meter, Usage
from schematic_core.binding.ports import AsyncClient, Clients, SyncClient
from schematic_core.binding.view import View, Wait
from schematic_core.errors import FeatureDenied

__all__ = [
    "PROBLEM_MEDIA_TYPE",
    "RETRY_AFTER",
    "AsyncClient",
    "Clients",
    "FeatureDenied",
    "Features",
    "Identity",
    "Meter",
    "SyncClient",
    "SyncFeatures",
    "Usage",
    "View",
    "Wait",
    "problem",
    "refusal",
]
