"""Uses the vendor's client as its README shows it; run by the peer's interpreter, prints what it saw as JSON.

Usage: ``python driver.py URL``, or ``python driver.py URL stream`` for what is answered locally from the stream.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any

import httpx

ACME = {"id": "acme"}


def use(url: str) -> dict[str, object]:
    """Check, track to the limit, write and read companies and users, identify."""
    vendor = import_module("schematic.client")
    models = import_module("schematic")

    def client() -> Any:
        return vendor.Schematic("peer", _config(vendor.SchematicConfig, url))

    seen: dict[str, object] = {}
    first = client()
    seen["reports"] = [first.check_flag("reports", company={"id": company}) for company in ("acme", "globex")]
    seen["unknown flag"] = first.check_flag("nowhere", company=ACME)
    seen["before"] = _verdict(first.check_flag_with_entitlement("exports", company=ACME))
    first.track("export_created", company=ACME, quantity=2)
    first.shutdown()

    second = client()
    seen["at two"] = _verdict(second.check_flag_with_entitlement("exports", company=ACME))
    second.track("export_created", company=ACME)
    second.shutdown()

    third = client()
    seen["at the limit"] = _verdict(third.check_flag_with_entitlement("exports", company=ACME))
    company = third.companies.upsert_company(keys={"id": "initech"}, name="Initech", traits={"region": "eu"}).data
    seen["company"] = [company.name, company.keys[0].key, company.keys[0].value, company.traits]
    user = third.companies.upsert_user(keys={"email": "ada@initech.test"}, name="Ada", company={"id": "initech"}).data
    seen["user"] = [user.name, [membership.company_id == company.id for membership in user.company_memberships]]
    seen["companies"] = sorted(found.name for found in third.companies.list_companies().data)
    third.identify(
        keys={"email": "bob@initech.test"},
        name="Bob",
        company=models.EventBodyIdentifyCompany(keys={"id": "initech"}, name="Initech plc"),
    )
    third.shutdown()

    fourth = client()
    seen["renamed"] = fourth.companies.get_company(company.id).data.name
    seen["users"] = sorted(found.name for found in fourth.companies.list_users().data)
    fourth.shutdown()
    seen["async"] = asyncio.run(_use_async(vendor, url))
    return seen


async def _use_async(vendor: Any, url: str) -> object:
    async with vendor.AsyncSchematic("peer", _config(vendor.AsyncSchematicConfig, url)) as client:
        checked = await client.check_flag("reports", company={"id": "globex"})
        company = (await client.companies.lookup_company(keys=ACME)).data
        await client.track("export_created", company={"id": "globex"})
    async with vendor.AsyncSchematic("peer", _config(vendor.AsyncSchematicConfig, url)) as client:
        used = _verdict(await client.check_flag_with_entitlement("exports", company={"id": "globex"}))
    return [checked, company.name, used]


def _config(kind: Any, url: str) -> Any:
    return kind(base_url=url, event_capture_url=url, cache_providers=[], log_level=logging.WARNING)


def _verdict(result: Any) -> list[object]:
    entitlement = result.entitlement
    if entitlement is None:
        return [result.value, None, None]
    return [result.value, entitlement.usage, entitlement.allocation]


async def use_stream(url: str) -> dict[str, object]:
    """Check locally while the API answers no check: what is pushed over the socket is all that there is."""
    vendor = import_module("schematic.client")
    config = vendor.AsyncSchematicConfig(
        base_url=url, event_capture_url=url, use_datastream=True, cache_providers=[], log_level=logging.ERROR
    )
    seen: dict[str, object] = {}
    async with httpx.AsyncClient(base_url=url) as api:
        await api.post("/_dev/faults", json={"path": "/flags", "count": 1_000_000, "status": 400})
        async with vendor.AsyncSchematic("peer", config) as client:

            async def reports() -> object:
                return await client.check_flag("reports", company=ACME)

            async def exports() -> object:
                return _verdict(await client.check_flag_with_entitlement("exports", company=ACME))

            seen["at first"] = [await _until(exports, [True, 0, 3]), await reports()]
            await api.put("/company-plans/comp_acme", json={"base_plan_id": "plan_pro", "add_on_ids": []})
            seen["on another plan"] = [await _until(reports, expected=True), await exports()]
            event = {"event": "export_created", "company": ACME, "quantity": 7}
            await api.post("/event-batch", json={"events": [{"event_type": "track", "body": event}]})
            seen["tracked"] = await _until(exports, [True, 7, 100])
            override = {"company_id": "comp_acme", "feature_id": "feat_exports", "value_type": "numeric"}
            await api.post("/company-overrides", json={**override, "value_numeric": 5})
            seen["overridden"] = await _until(exports, [False, 7, 5])
            seen["requests"] = [one["data"] for one in (await _connections(api))[0]["requests"]]
            await api.post("/_dev/stream/restart")
            await api.put("/_dev/stream/habits", json={"nulls": True})
            seen["connected again"] = await _until(lambda: _is_connected(api), expected=True)
            seen["after a restart"] = await exports()
    return seen


async def _is_connected(api: httpx.AsyncClient) -> bool:
    return any(one["is_open"] and one["has_flags"] for one in await _connections(api))


async def _connections(api: httpx.AsyncClient) -> list[Any]:
    connections: list[Any] = (await api.get("/_dev/stream")).json()["data"]["connections"]
    return connections


async def _until(ask: Callable[[], Awaitable[object]], expected: object) -> object:
    """Ask again until the answer is as expected; a push takes its time. Gives the last answer."""
    until = time.monotonic() + 15
    while True:
        answer = await ask()
        if answer == expected or time.monotonic() > until:
            return answer
        await asyncio.sleep(0.02)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(use_stream(sys.argv[1])) if "stream" in sys.argv else use(sys.argv[1])))
