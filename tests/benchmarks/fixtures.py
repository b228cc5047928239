"""The flag, company and user of a benchmark, trivial and realistic, as the stream and the engines of both packages read them.

Standard library only: the vendor's interpreter imports this as well.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

__all__ = ["FIXTURES", "REALISTIC", "TRIVIAL", "Fixture", "Json", "encoded", "frame"]

Json = dict[str, Any]

_OWNERS = {"account_id": "acct_1", "environment_id": "env_1"}
_CREATED = "2026-01-05T09:30:00Z"
_EVENTS = tuple(
    f"{verb}_{thing}" for verb in ("export", "import") for thing in ("rows", "files", "reports", "seats", "mail")
)
_TRAITS = (
    *(("plan_name", "string", "Growth"), ("region", "string", "eu-central"), ("industry", "string", "logistics")),
    *(("employees", "int", "240"), ("seats", "int", "35"), ("logins_per_week", "int", "412"), ("offices", "int", "3")),
    *(("signed_up_at", "date", "2025-03-14T08:00:00Z"), ("renews_at", "date", "2027-03-14T08:00:00Z")),
    *(("is_partner", "bool", "false"), ("is_verified", "bool", "true"), ("has_sso", "bool", "true")),
    *((f"attribute_{number:02}", "string", f"a text of some length for attribute {number:02}") for number in range(8)),
)


@dataclass(frozen=True)
class Fixture:
    """One question, with what it is about as JSON, and what is right.

    Attributes:
        flag: the flag.
        company: the company; its first key is ``company_keys``.
        user: the user; None when the question names none.
        company_keys: what a client is asked with.
        user_keys: likewise; empty when there is none.
        value: the right answer.
        rule_type: of the rule that gives it.
    """

    flag: Json
    company: Json
    user: Json | None
    company_keys: dict[str, str]
    user_keys: dict[str, str]
    value: bool
    rule_type: str

    def numbered(self, number: int) -> Json:
        """Give the company under another id and key, for questions about many of them; the answer is the same."""
        keys = {name: f"{value}-{number}" for name, value in self.company_keys.items()}
        return {**self.company, "id": f"{self.company['id']}_{number}", "keys": {**self.company["keys"], **keys}}

    def used(self, number: int) -> Json:
        """Give the company after usage moved; no two numbers give the same entitlement. The answer is the same."""
        changed = {"value": number % 500}, {"usage": number % 500, "soft_limit": number}
        lists = zip(("metrics", "entitlements"), changed, strict=True)
        return {
            **self.company,
            **{name: [{**rows[0], **change}, *rows[1:]] for name, change in lists if (rows := self.company.get(name))},
        }

    def keys_of(self, number: int) -> dict[str, str]:
        """Give the keys that ask for a ``numbered`` company; 0 is the company itself."""
        return {name: f"{value}-{number}" if number else value for name, value in self.company_keys.items()}

    def asked(self, keys: Json) -> Json | None:
        """Give the company that ``keys_of`` some number ask for."""
        number = next(iter(keys.values())).rpartition("-")[2]
        found = self.numbered(int(number)) if number.isdigit() else self.company
        return found if keys.items() <= found["keys"].items() else None

    def flags(self, count: int) -> list[Json]:
        """Give the flag, and others with the same rules and the keys ``flag_key`` gives."""
        return [{**self.flag, "id": f"flag_{number}", "key": self.flag_key(number)} for number in range(count)]

    def flag_key(self, number: int) -> str:
        """Give the key of one of ``flags``."""
        key: str = self.flag["key"]
        return f"{key}-{number}" if number else key

    def change(self, number: int) -> Json:
        """Give what a partial says when usage moved, or, without metrics, plans; no two numbers in a row are equal."""
        if not self.company["metrics"]:
            return {"plan_ids": [f"plan_{number}"]}
        return {"metrics": [{**self.company["metrics"][0], "value": number % 500}]}


def frame(entity: str, message_type: str, data: object, entity_id: str | None = None) -> str:
    """Write a message of the stream, e.g. about a ``"Company"``."""
    told = {"entity_type": f"rulesengine.{entity}", "message_type": message_type, "data": data}
    return json.dumps({**told, "entity_id": entity_id} if entity_id else told, separators=(",", ":"))


def encoded(document: Json) -> bytes:
    """Write a document as the stream does."""
    return json.dumps(document, separators=(",", ":")).encode()


def _flag(key: str, *rules: Json) -> Json:
    numbered = [
        {
            **rule,
            "id": f"rule_{number}",
            "conditions": [{**tested, "id": f"cond_{number}_{at}"} for at, tested in enumerate(rule["conditions"])],
        }
        for number, rule in enumerate(rules)
    ]
    return {"id": f"flag_{key}", **_OWNERS, "key": key, "default_value": False, "rules": numbered}


def _rule(rule_type: str, name: str, *conditions: Json, value: bool = True, priority: int = 0) -> Json:
    return {
        "id": "",
        **_OWNERS,
        "name": name,
        "rule_type": rule_type,
        "priority": priority,
        "value": value,
        "conditions": conditions,
        "condition_groups": [],
    }


def _condition(condition_type: str, operator: str = "eq", **changes: Any) -> Json:
    return {
        "id": "",
        **_OWNERS,
        "condition_type": condition_type,
        "operator": operator,
        "resource_ids": [],
        "trait_value": "",
        **changes,
    }


def _definition(name: str, comparable_type: str, entity_type: str) -> Json:
    return {"id": f"trait_{entity_type}_{name}", "comparable_type": comparable_type, "entity_type": entity_type}


def _trait(name: str, comparable_type: str, value: str, entity_type: str) -> Json:
    return {"value": value, "trait_definition": _definition(name, comparable_type, entity_type)}


def _asks_trait(name: str, comparable_type: str, operator: str, value: str) -> Json:
    return _condition(
        "trait", operator, trait_value=value, trait_definition=_definition(name, comparable_type, "company")
    )


def _asks_usage(operator: str) -> Json:
    fields = {"metric_value": 500, "metric_period": "current_month", "metric_period_month_reset": "first_of_month"}
    return _condition("metric", operator, event_subtype=_EVENTS[0], **fields)


def _metric(event: str, value: int) -> Json:
    return {
        **_OWNERS,
        "company_id": "comp_acme",
        "event_subtype": event,
        "period": "current_month",
        "month_reset": "first_of_month",
        "value": value,
        "created_at": _CREATED,
    }


def _entitlement(key: str, event: str, usage: int) -> Json:
    return {
        "feature_id": f"feat_{key}",
        "feature_key": key,
        "value_type": "numeric",
        "allocation": 500,
        "usage": usage,
        "soft_limit": 450,
        "event_name": event,
        "metric_period": "current_month",
        "month_reset": "first_of_month",
        "metric_reset_at": "2026-02-01T00:00:00Z",
    }


def _standard(number: int) -> Json:
    return _rule(
        "standard",
        f"Segment {number}",
        _asks_trait("region", "string", "eq", f"us-east-{number}"),
        _asks_trait("employees", "int", "gte", str(1000 * number)),
        _asks_trait("signed_up_at", "date", "gt", f"2026-0{number}-01T00:00:00Z"),
        priority=number,
    )


def _realistic() -> Fixture:
    key = "exports"
    plan = _condition("plan", resource_ids=["plan_team", "plan_growth", "plan_enterprise"])
    others = _condition("company", resource_ids=[f"comp_{number:04}" for number in range(8)])
    rules = (
        _rule("company_override", "Beta customers", others),
        _rule("company_override_usage_exceeded", "Beta customers", others, _asks_usage("gte"), value=False),
        _rule("plan_entitlement", "Growth", plan, _asks_usage("lt")),
        _rule("plan_entitlement_usage_exceeded", "Growth", plan, _asks_usage("gte"), value=False),
        *(_standard(number) for number in range(1, 8)),
        _rule("default", "Default", value=False),
    )
    company = {
        "id": "comp_acme",
        **_OWNERS,
        "keys": {"id": "acme", "billing_id": "cus_Qw4Er6Ty8Ui0"},
        "base_plan_id": "plan_growth",
        "plan_ids": ["plan_growth"],
        "plan_version_ids": ["plvr_growth_4"],
        "billing_product_ids": ["bilp_growth"],
        "subscription": {"id": "sub_1", "period_start": "2026-01-05T00:00:00Z", "period_end": "2027-01-05T00:00:00Z"},
        "traits": [_trait(*one, "company") for one in _TRAITS],
        "metrics": [_metric(event, 37 * (at + 1)) for at, event in enumerate(_EVENTS)],
        "rules": [],
        "entitlements": [
            _entitlement(name, event, 37 * (at + 1))
            for at, (name, event) in enumerate(zip((key, "imports", "reports", "seats", "mail"), _EVENTS, strict=False))
        ],
        "credit_balances": {"bcrd_export": 120.5, "bcrd_mail": 9000.0},
    }
    user = {
        "id": "user_ada",
        **_OWNERS,
        "keys": {"id": "ada"},
        "traits": [_trait(*one, "user") for one in _TRAITS[:8]],
        "rules": [],
    }
    return Fixture(_flag(key, *rules), company, user, {"id": "acme"}, {"id": "ada"}, True, "plan_entitlement")


def _trivial() -> Fixture:
    key = "beta"
    lists = ("billing_product_ids", "metrics", "plan_ids", "plan_version_ids", "rules", "traits")
    empty: Json = {name: [] for name in lists}
    company = {"id": "comp_acme", **_OWNERS, "keys": {"id": "acme"}, **empty, "credit_balances": {}}
    rule = _rule("standard", "Acme alone", _condition("company", resource_ids=["comp_acme"]))
    return Fixture(_flag(key, rule), company, None, {"id": "acme"}, {}, True, "standard")


REALISTIC = _realistic()
"""A flag of twelve rules (overrides, plan entitlement and its twin, seven standard ones of three conditions, default), a
company with 20 traits, 10 metrics and 5 entitlements, a user with 8 traits; the plan entitlement decides. ``numbered``
companies are no beta customers either."""

TRIVIAL = _trivial()
"""One rule of one condition, a company with nothing but keys. The rule names that company: ``numbered`` ones are denied."""

FIXTURES = {"realistic": REALISTIC, "trivial": TRIVIAL}
"""By name."""
