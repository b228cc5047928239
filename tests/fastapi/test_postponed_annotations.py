"""The alias that an application writes once works where annotations are postponed."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, FastAPI
from starlette.testclient import TestClient

from schematic_core.values import CheckResult
from schematic_fastapi import FeaturesView, Schematic, SyncFeaturesView

schematic = Schematic(offline=True, flag_defaults={"exports": True})
Features = Annotated[FeaturesView, Depends(schematic.features)]
SyncFeatures = Annotated[SyncFeaturesView, Depends(schematic.sync_features)]
Exports = Annotated[CheckResult, Depends(schematic.requires("exports"))]
app = FastAPI()
schematic.init_app(app)


@app.get("/async")
async def asynchronous(features: Features, exports: Exports) -> list[bool]:
    return [await features.flag("exports"), exports.value]


@app.get("/sync")
def synchronous(features: SyncFeatures) -> bool:
    return features.flag("exports")


def test_aliases_written_once_serve_everywhere() -> None:
    """Endpoints of both kinds resolve them."""
    with TestClient(app) as web:
        assert web.get("/async").json() == [True, True]
        assert web.get("/sync").json() is True
