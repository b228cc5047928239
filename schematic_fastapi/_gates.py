"""Dependencies that FastAPI resolves: the request's view, and what is asked of it. Compared and hashed by value.

Each takes the view through a parameter whose default is ``Depends(schematic.features)``. That default differs from object to
object, so it is stated in ``__signature__``, which is where FastAPI looks.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from fastapi import Depends
from starlette.requests import HTTPConnection

from schematic_core.binding import Features, SyncFeatures, View
from schematic_core.errors import FeatureDenied
from schematic_core.values import CheckResult
from schematic_fastapi._denial import refuse
from schematic_fastapi._middleware import handle_denials, view_of
from schematic_fastapi._runtime import OnDenied, Runtime

__all__ = [
    "EntitlementOf",
    "FeaturesDependency",
    "FlagValue",
    "Gate",
    "SyncFeaturesDependency",
    "Tracking",
    "ViewDependency",
    "features_dependencies",
]

ViewDependency = Callable[..., Coroutine[Any, Any, View]]
FeaturesDependency = Callable[..., Coroutine[Any, Any, Features]]
SyncFeaturesDependency = Callable[..., Coroutine[Any, Any, SyncFeatures]]


def features_dependencies(
    runtime: Runtime, identity: Callable[..., Any] | None
) -> tuple[FeaturesDependency, SyncFeaturesDependency]:
    """Make the two dependencies that give a request's view; ``identity`` becomes an ordinary dependency of both."""
    view = _anonymous_view(runtime) if identity is None else _identified_view(runtime, identity)

    async def features(view: View = Depends(view)) -> Features:  # noqa: B008 - FastAPI's way
        return Features(view)

    async def sync_features(view: View = Depends(view)) -> SyncFeatures:  # noqa: B008 - FastAPI's way
        return SyncFeatures(view)

    return features, sync_features


def _anonymous_view(runtime: Runtime) -> ViewDependency:
    async def view(connection: HTTPConnection) -> View:
        return _publish(connection, view_of(connection, runtime))

    return view


def _identified_view(runtime: Runtime, identity: Callable[..., Any]) -> ViewDependency:
    async def view(connection: HTTPConnection, found: Any = Depends(identity)) -> View:  # noqa: B008 - FastAPI's way
        view = view_of(connection, runtime)
        view.identify(found)
        return _publish(connection, view)

    return view


def _publish(connection: HTTPConnection, view: View) -> View:
    handle_denials(connection)
    connection.state.features = Features(view)
    return view


@dataclass(frozen=True)
class _OfFeatures:
    """Something asked of the view that ``features`` gives."""

    features: FeaturesDependency

    def __post_init__(self) -> None:
        parameter = inspect.Parameter(
            "features", inspect.Parameter.KEYWORD_ONLY, default=Depends(self.features), annotation=Features
        )
        object.__setattr__(self, "__signature__", inspect.Signature([parameter]))


@dataclass(frozen=True)
class Gate(_OfFeatures):
    """Lets a request in when a flag is on, and gives the flag's whole answer; raises ``FeatureDenied`` otherwise."""

    key: str
    status: int | None = None
    redirect_to: str | None = None
    denied: OnDenied | None = None
    usage: float | None = None
    default: bool | None = None

    async def __call__(self, features: Features) -> CheckResult:
        """Decide."""
        try:
            return await features.require(self.key, status=self.status, usage=self.usage, default=self.default)
        except FeatureDenied as error:
            raise refuse(error, self.redirect_to, self.denied) from None


@dataclass(frozen=True)
class FlagValue(_OfFeatures):
    """Gives a flag's value."""

    key: str
    default: bool | None = None

    async def __call__(self, features: Features) -> bool:
        """Ask."""
        return await features.flag(self.key, default=self.default)


@dataclass(frozen=True)
class EntitlementOf(_OfFeatures):
    """Gives a flag's whole answer."""

    key: str
    default: bool | None = None
    usage: float | None = None

    async def __call__(self, features: Features) -> CheckResult:
        """Ask."""
        return await features.entitlement(self.key, default=self.default, usage=self.usage)


@dataclass(frozen=True)
class Tracking(_OfFeatures):
    """Reports usage once the request succeeded."""

    event: str
    quantity: int = 1

    async def __call__(self, features: Features) -> None:
        """Hold the report until the outcome is known."""
        await features.track(self.event, self.quantity)
