"""State as the HTTP API's JSON: companies, users, overrides, webhooks, and the catalogue they refer to.

Every required member of the documented schemas is present, so that strict clients can read the answers; what has no
meaning here (billing, subscriptions) is empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from schematic_core.environment.compile import company_document, trait_text
from schematic_core.environment.conditions import ACCOUNT_ID, ENVIRONMENT_ID, trait_definition
from schematic_core.environment.model import Company, EntityKind, Environment, Feature, Override, Plan, User
from schematic_core.server.deliveries import Delivery
from schematic_core.server.records import Webhook
from schematic_core.server.state import State
from schematic_core.wire import format_instant

__all__ = [
    "Json",
    "company_json",
    "delivery_json",
    "feature_json",
    "feature_summary_json",
    "override_json",
    "plan_snapshot_json",
    "previews_json",
    "summary_json",
    "user_json",
    "webhook_json",
]

Json = dict[str, Any]

_TRAIT_TYPES = {"string": "string", "int": "number", "bool": "boolean", "date": "date"}


def company_json(state: State, company: Company, now: datetime) -> Json:
    """Give a ``CompanyDetailResponseData``."""
    environment = state.environment
    document = company_document(environment, company, now)
    plans = [_plan_json(environment.plans[key]) for key in company.plans]
    base = plans[0] if company.plan is not None else None
    counted = {
        "captured_at_min": format_instant(company.created_at),
        "captured_at_max": format_instant(company.last_seen_at or company.updated_at),
    }
    return {
        **summary_json(company),
        "add_ons": plans if base is None else plans[1:],
        "billing_credit_balances": document["credit_balances"],
        "billing_subscriptions": [],
        "custom_plan_billings": [],
        "entitlements": document["entitlements"],
        "entity_traits": _traits(environment, "company", company.id, company),
        "keys": _keys("company", company.id, company),
        "metrics": [{**metric, **counted} for metric in document["metrics"]],
        "payment_methods": [],
        **({"plan": base} if base is not None else {}),
        "plans": [{"id": plan["id"], "name": plan["name"]} for plan in plans],
        "rules": document["rules"],
        "traits": dict(company.traits),
        "user_count": sum(company.id in user.company_ids for user in state.users),
    }


def summary_json(entity: Company | User) -> Json:
    """Give a ``CompanyResponseData`` or ``UserResponseData``, which are alike."""
    return {
        **_stamps(entity),
        "id": entity.id,
        "name": entity.name,
        "environment_id": ENVIRONMENT_ID,
        **({"last_seen_at": format_instant(entity.last_seen_at)} if entity.last_seen_at is not None else {}),
    }


def user_json(state: State, user: User) -> Json:
    """Give a ``UserDetailResponseData``."""
    stamps = {"created_at": format_instant(user.created_at), "updated_at": format_instant(user.updated_at)}
    memberships = [
        {
            **stamps,
            "id": f"cmem_{company.id}_{user.id}",
            "company_id": company.id,
            "user_id": user.id,
            "company": summary_json(company),
        }
        for own_id in user.company_ids
        if (company := state.companies.find(own_id)) is not None
    ]
    return {
        **summary_json(user),
        "company_memberships": memberships,
        "entity_traits": _traits(state.environment, "user", user.id, user),
        "keys": _keys("user", user.id, user),
        "traits": dict(user.traits),
    }


def override_json(environment: Environment, override: Override) -> Json:
    """Give a ``CompanyOverrideResponseData``."""
    grant = override.grant
    stamps = _stamps(override)
    note = {"external_user_id": "", "external_user_name": "", "id": f"note_{override.id}", "note": override.note}
    members: Json = {
        **stamps,
        "id": override.id,
        "company_id": override.company_id,
        "environment_id": ENVIRONMENT_ID,
        "feature_id": environment.features[override.feature].id,
        "feature": feature_summary_json(environment.features[override.feature], override.created_at),
        "notes": [{**stamps, **note}] if override.note is not None else [],
        "value_type": grant.value_type,
        "value_bool": grant.value if grant.value_type == "boolean" else None,
        "value_numeric": grant.limit,
        "metric_period": grant.period,
        "metric_period_month_reset": grant.reset,
        "value_credit_id": f"bcrd_{grant.credit}" if grant.credit is not None else None,
        "consumption_rate": grant.rate if grant.credit is not None else None,
        "value_trait_id": f"trait_company_{grant.trait}" if grant.trait is not None else None,
        "expiration_date": format_instant(override.expires_at) if override.expires_at is not None else None,
        "rule_id": f"rule_{override.id}",
        "rule_id_usage_exceeded": f"rule_{override.id}_exceeded" if grant.value_type != "boolean" else None,
    }
    return {name: value for name, value in members.items() if value is not None}


def webhook_json(webhook: Webhook, environment: Environment) -> Json:
    """Give a ``WebhookResponseData``; it holds the secret, as the service's does."""
    features = webhook.feature_ids
    if features is None:
        features = tuple(feature.id for feature in environment.features.values())
    return {
        **_stamps(webhook),
        "id": webhook.id,
        "name": webhook.name,
        "url": webhook.url,
        "secret": webhook.secret,
        "status": webhook.status,
        "request_types": list(webhook.request_types),
        "entitlement_trigger_configs": [{"feature_id": feature} for feature in features],
        "credit_trigger_configs": [{"credit_id": credit} for credit in webhook.credit_ids],
    }


def delivery_json(delivery: Delivery) -> Json:
    """Give a ``WebhookEventDetailResponseData``."""
    members: Json = {
        "id": delivery.id,
        "webhook_id": delivery.webhook_id,
        "request_type": delivery.request_type,
        "status": delivery.status,
        "attempt_count": delivery.attempts,
        "payload": delivery.payload.decode(),
        "response_code": delivery.response_code,
        "created_at": format_instant(delivery.created_at),
        "updated_at": format_instant(delivery.sent_at or delivery.created_at),
        "sent_at": format_instant(delivery.sent_at) if delivery.sent_at is not None else None,
    }
    return {name: value for name, value in members.items() if value is not None}


def feature_json(environment: Environment, feature: Feature, at: datetime) -> Json:
    """Give a ``FeatureView``."""
    plans = [plan for plan in environment.plans.values() if feature.key in plan.grants]
    return {
        **feature_summary_json(feature, at),
        "account_id": ACCOUNT_ID,
        "flags": [],
        "plans": previews_json(plans),
    }


def feature_summary_json(feature: Feature, at: datetime) -> Json:
    """Give a ``FeatureResponseData``."""
    return {
        "id": feature.id,
        "name": feature.name,
        "description": "",
        "icon": "",
        "feature_type": feature.kind,
        "event_source": "track",
        **({"event_subtype": feature.event} if feature.event is not None else {}),
        **({"trait_id": f"trait_company_{feature.trait}"} if feature.trait is not None else {}),
        "created_at": format_instant(at),
        "updated_at": format_instant(at),
    }


def previews_json(plans: Iterable[Plan]) -> list[Json]:
    """Give a list of ``PreviewObject``."""
    return [{"id": plan.id, "name": plan.name} for plan in plans]


def plan_snapshot_json(environment: Environment, key: str) -> Json:
    """Give a ``PlanSnapshotView``."""
    plan = environment.plans[key]
    return {"deleted": False, "description": "", "icon": "blue", "id": plan.id, "name": plan.name}


def _plan_json(plan: Plan) -> Json:
    return {"id": plan.id, "name": plan.name, "included_credit_grants": []}


def _stamps(record: Company | User | Override | Webhook) -> Json:
    return {"created_at": format_instant(record.created_at), "updated_at": format_instant(record.updated_at)}


def _keys(kind: EntityKind, own_id: str, entity: Company | User) -> list[Json]:
    stamps = _stamps(entity)
    return [
        {
            **stamps,
            "id": f"key_{own_id}_{key}",
            "definition_id": f"keyd_{kind}_{key}",
            "definition": {**stamps, "id": f"keyd_{kind}_{key}", "entity_type": kind, "key": key},
            "entity_id": own_id,
            "entity_type": kind,
            "environment_id": ENVIRONMENT_ID,
            "key": key,
            "value": value,
        }
        for key, value in entity.keys.items()
    ]


def _traits(environment: Environment, kind: EntityKind, own_id: str, entity: Company | User) -> list[Json]:
    stamps = _stamps(entity)
    traits: Mapping[str, object] = entity.traits
    return [
        {
            **stamps,
            "id": f"trvl_{own_id}_{name}",
            "definition_id": f"trait_{kind}_{name}",
            "definition": {
                **stamps,
                "id": f"trait_{kind}_{name}",
                "display_name": name,
                "entity_type": kind,
                "hierarchy": [name],
                "trait_type": _TRAIT_TYPES[trait_definition(environment, kind, name, value)["comparable_type"]],
            },
            "environment_id": ENVIRONMENT_ID,
            "value": trait_text(value),
        }
        for name, value in traits.items()
    ]
