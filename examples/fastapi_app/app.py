r"""A small SaaS: projects for everybody, exports up to a monthly limit, a report for premium plans only.

Run it beside the local server::

    schematic dev --env-file examples/fastapi_app/schematic.yaml
    SCHEMATIC_API_URL=http://127.0.0.1:8080 SCHEMATIC_API_KEY=dev SCHEMATIC_WEBHOOK_SECRET=whsec_dev \
        uvicorn --app-dir examples/fastapi_app app:app
"""

from __future__ import annotations

from itertools import count
from typing import Annotated

from fastapi import Depends, FastAPI, Header

from schematic_core import CheckResult
from schematic_core.webhooks import WebhookEvent
from schematic_fastapi import FeaturesView, Identity, Schematic


def identity(x_company: Annotated[str | None, Header()] = None) -> Identity | None:
    """Say whose request it is; a real application would read its session here, never a plain header."""
    return Identity(company={"id": x_company}) if x_company else None


app = FastAPI(title="A small SaaS")
schematic = Schematic(identity=identity, event_buffer_period=0.2)  # usage shows at once; the default, 5, saves requests
schematic.init_app(app)

Features = Annotated[FeaturesView, Depends(schematic.features)]
Exports = Annotated[CheckResult, Depends(schematic.requires("exports"))]

export_numbers = count(1)
heard: list[str] = []


@app.get("/projects")
async def projects(features: Features) -> dict[str, object]:
    """Open to everybody; tells the page which buttons to show."""
    return {"projects": ["Apollo", "Gemini"], "can_see_report": await features.flag("premium-report")}


@app.get("/usage")
async def usage(features: Features) -> dict[str, object]:
    """How much of the month's exports is used."""
    exports = await features.entitlement("exports")
    return {"used": exports.feature_usage, "limit": exports.feature_allocation, "reason": exports.reason}


@app.post("/exports", status_code=201, dependencies=[Depends(schematic.track("export_created"))])
async def create_export(entitled: Exports) -> dict[str, object]:
    """Allowed while the month's limit lasts; counted when it succeeded."""
    return {"export": next(export_numbers), "reason": entitled.reason}


@app.get("/reports/premium", dependencies=[Depends(schematic.requires("premium-report"))])
async def premium_report() -> dict[str, object]:
    """Part of the premium plan."""
    return {"report": "everything is going up"}


@schematic.on("company.plan_changed")
async def plan_changed(event: WebhookEvent) -> None:
    """Hear of a change of plan; what was remembered about the company is forgotten before this runs."""
    heard.append(f"{event.type} of {event.company_id}")


@app.get("/heard")
async def list_heard() -> list[str]:
    """Which webhooks arrived since the start."""
    return heard
