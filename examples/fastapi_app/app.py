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
from fastapi.responses import JSONResponse
from starlette.requests import HTTPConnection

from schematic_core import CheckResult
from schematic_core.binding import PROBLEM_MEDIA_TYPE, problem
from schematic_core.webhooks import WebhookEvent
from schematic_fastapi import FeatureDenied, FeaturesView, Identity, Schematic


def identity(x_company: Annotated[str | None, Header()] = None) -> Identity | None:
    """Say whose request it is; a real application would read its session here, never a plain header."""
    return Identity(company={"id": x_company}) if x_company else None


def origin(answer: CheckResult) -> dict[str, object]:
    """Tell where an answer came from and how old it is. Only for show: leave this out of an application of yours."""
    return {"source": answer.source, "age": round(answer.age, 1), "is_stale": answer.is_stale}


def denial(_request: HTTPConnection, denied: FeatureDenied) -> JSONResponse:
    """Deny as Schematic does by itself, with the origin added."""
    return JSONResponse({**problem(denied), **origin(denied.result)}, denied.status, media_type=PROBLEM_MEDIA_TYPE)


app = FastAPI(title="A small SaaS")
# With DataStream flags are evaluated in this process. Usage is reported every second; the default of 5 saves requests.
schematic = Schematic(identity=identity, use_datastream=True, on_denied=denial, event_buffer_period=1)
schematic.init_app(app)

Features = Annotated[FeaturesView, Depends(schematic.features)]
Exports = Annotated[CheckResult, Depends(schematic.requires("exports"))]
PremiumReport = Annotated[CheckResult, Depends(schematic.requires("premium-report"))]

export_numbers = count(1)
heard: list[str] = []


@app.get("/projects")
async def projects(features: Features) -> dict[str, object]:
    """Open to everybody; tells the page which buttons to show."""
    report = await features.entitlement("premium-report")
    return {"projects": ["Apollo", "Gemini"], "can_see_report": report.value, **origin(report)}


@app.get("/usage")
async def usage(features: Features) -> dict[str, object]:
    """How much of the month's exports is used."""
    exports = await features.entitlement("exports")
    return {"used": exports.feature_usage, "limit": exports.feature_allocation, **origin(exports)}


@app.post("/exports", status_code=201, dependencies=[Depends(schematic.track("export_created"))])
async def create_export(exports: Exports) -> dict[str, object]:
    """Allowed while the month's limit lasts; counted when it succeeded."""
    return {"export": next(export_numbers), **origin(exports)}


@app.get("/reports/premium")
async def premium_report(allowed: PremiumReport) -> dict[str, object]:
    """Part of the premium plan."""
    return {"report": "everything is going up", **origin(allowed)}


@schematic.on("company.plan_changed")
async def plan_changed(event: WebhookEvent) -> None:
    """Hear of a change of plan, to send a welcome for example; flags need no webhook, the stream tells of it."""
    heard.append(f"{event.type} of {event.company_id}")


@app.get("/heard")
async def list_heard() -> list[str]:
    """Which webhooks arrived since the start."""
    return heard
