"""Uses the vendor's client as its README shows it; run by the peer's interpreter, prints what it saw as JSON.

Usage: ``python driver.py URL``.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from importlib import import_module
from typing import Any

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
    return [result.value, entitlement.usage, entitlement.allocation]


if __name__ == "__main__":
    print(json.dumps(use(sys.argv[1])))
