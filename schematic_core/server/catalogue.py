"""The catalogue as the HTTP API's JSON: features, flags with their rules, plans. It never changes while serving."""

from __future__ import annotations

from datetime import datetime

from schematic_core.environment.compile import flag_document
from schematic_core.environment.conditions import ENVIRONMENT_ID
from schematic_core.environment.model import Environment, Feature, Flag, Plan
from schematic_core.server.shapes import Json, feature_summary_json, previews_json
from schematic_core.server.state import State
from schematic_core.wire import format_instant

__all__ = ["feature_detail_json", "flag_detail_json", "plan_detail_json"]


def feature_detail_json(state: State, feature: Feature) -> Json:
    """Give a ``FeatureDetailResponseData``."""
    plans = [plan for plan in state.environment.plans.values() if feature.key in plan.grants]
    return {
        **feature_summary_json(feature, state.started_at),
        "flags": [flag_detail_json(state, state.environment.flags[feature.key])],
        "plans": previews_json(plans),
    }


def flag_detail_json(state: State, flag: Flag) -> Json:
    """Give a ``FlagDetailResponseData``; its rules are those that the engine gets."""
    environment = state.environment
    feature = environment.features.get(flag.key)
    rules = flag_document(environment, flag.key)["rules"]
    about = {"feature_id": feature.id, "feature": feature_summary_json(feature, state.started_at)} if feature else {}
    return {
        **_stamps(state.started_at),
        **about,
        "id": flag.id,
        "key": flag.key,
        "name": flag.name,
        "description": "",
        "flag_type": "boolean",
        "default_value": flag.default,
        "rules": [_rule_json(environment, flag, rule, state.started_at) for rule in rules],
    }


def plan_detail_json(state: State, plan: Plan) -> Json:
    """Give a ``PlanDetailResponseData``; nothing here has a price."""
    environment = state.environment
    return {
        **_stamps(state.started_at),
        "id": plan.id,
        "name": plan.name,
        "description": "",
        "icon": "blue",
        "plan_type": "plan",
        "billing_strategy": "no_billing",
        "charge_type": "none",
        "controlled_by": "schematic",
        "company_count": sum(plan.key in company.plans for company in state.companies),
        "credits": [],
        "currency_prices": [],
        "features": [feature_detail_json(state, environment.features[key]) for key in plan.grants],
        "is_default": False,
        "is_trialable": False,
        "versions": [],
    }


def _rule_json(environment: Environment, flag: Flag, rule: Json, at: datetime) -> Json:
    stamps = _stamps(at)
    groups = [
        {
            **stamps,
            "id": f"{rule['id']}_group_{number + 1}",
            "environment_id": ENVIRONMENT_ID,
            "flag_id": flag.id,
            "rule_id": rule["id"],
            "conditions": [_condition_json(environment, rule["id"], one, stamps) for one in group["conditions"]],
        }
        for number, group in enumerate(rule["condition_groups"])
    ]
    return {
        **stamps,
        **{name: rule[name] for name in ("id", "environment_id", "name", "priority", "rule_type", "value")},
        "flag_id": flag.id,
        "conditions": [_condition_json(environment, rule["id"], one, stamps) for one in rule["conditions"]],
        "condition_groups": groups,
    }


def _condition_json(environment: Environment, rule_id: str, condition: Json, stamps: Json) -> Json:
    plans = [plan for plan in environment.plans.values() if plan.id in condition["resource_ids"]]
    kept = ("id", "environment_id", "condition_type", "operator", "resource_ids", "trait_value", "event_subtype")
    optional = ("metric_period", "metric_period_month_reset", "metric_value")
    trait = condition.get("trait_definition")
    return {
        **stamps,
        **{name: condition[name] for name in (*kept, *optional) if name in condition},
        **({"trait_id": trait["id"], "trait_entity_type": trait["entity_type"]} if trait is not None else {}),
        "resources": previews_json(plans),
        "rule_id": rule_id,
    }


def _stamps(at: datetime) -> Json:
    return {"created_at": format_instant(at), "updated_at": format_instant(at)}
