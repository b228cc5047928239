"""Deliveries as they might arrive, built from the models of the API: for local work and for tests."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, get_args, get_origin

from schematic_core.errors import ConfigurationError
from schematic_core.types._generated.payloads import PAYLOADS

__all__ = ["EVENT_TYPES", "sample"]

EVENT_TYPES: tuple[str, ...] = tuple(PAYLOADS)
"""Every published type of webhook event, in the order of the API's document."""

_COMPANY_ID = "comp_sample"
_FEATURE_ID = "feat_sample"
_INSTANT = "2026-01-01T00:00:00Z"
_DEPTH = 2
_PREFIXES = {
    "account_id": "acct",
    "company_id": "comp",
    "environment_id": "env",
    "feature_id": "feat",
    "flag_id": "flag",
    "plan_id": "plan",
    "rule_id": "rule",
    "user_id": "user",
}
_OWN_IDS = {
    "CompanyDetailResponseData": _COMPANY_ID,
    "CompanyResponseData": _COMPANY_ID,
    "FeatureDetailResponseData": _FEATURE_ID,
    "FeatureView": _FEATURE_ID,
    "FlagDetailResponseData": "flag_sample",
    "PlanDetailResponseData": "plan_sample",
    "RuleDetailResponseData": "rule_sample",
    "UserDetailResponseData": "user_sample",
}
_OBJECT_TYPES = {
    "company.plan_changed": "plan_change",
    "company.scheduled_downgrade": "scheduled_downgrade",
    "flag_rules.updated": "rule",
    "test.send": "test",
}


def sample(type_: str, data: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Give the envelope of a delivery, JSON-ready; its body has every member that the API describes.

    Args:
        type_: e.g. ``"company.plan_changed"``; one of `EVENT_TYPES`, or any other if ``data`` is given.
        data: the body, in place of one made up.

    Raises:
        ConfigurationError: there is no such type.

    Example:
        >>> sample("user.created")["body"]["id"]
        'user_sample'
    """
    if data is None and type_ not in PAYLOADS:
        raise ConfigurationError(f"there is no published webhook event {type_!r}")
    kind = type_.partition(".")[0]
    envelope: dict[str, Any] = {
        "action": type_,
        "account_id": "acct_sample",
        "environment_id": "env_sample",
        "object_type": _OBJECT_TYPES.get(type_, type_.rpartition(".")[0].replace(".", "_")),
        "body": dict(data) if data is not None else _body(type_),
    }
    if kind in ("company", "entitlement"):
        envelope["company_id"] = _COMPANY_ID
    if kind == "entitlement":
        envelope["feature_id"] = _FEATURE_ID
    return envelope


def _body(type_: str) -> dict[str, Any]:
    name = PAYLOADS[type_]
    return _model(name, _DEPTH) if name is not None else {"message": "a sample delivery"}


def _model(name: str, depth: int) -> dict[str, Any]:
    """Give an object with the members that must be there, and, down to ``depth``, with those that may be."""
    from schematic_core.types import load

    return {
        field.serialization_alias or member: _OWN_IDS.get(name, "id_sample")
        if member == "id"
        else _value(member, field.rebuild_annotation(), depth)
        for member, field in load(name).model_fields.items()
        if depth > 0 or field.is_required() or field.default_factory is not None
    }


def _value(name: str, annotation: Any, depth: int) -> Any:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return arguments[0]
    if hasattr(annotation, "model_fields"):
        return _model(annotation.__name__, depth - 1)
    if origin is list:
        return [_value(name, arguments[0], depth)] if depth > 0 else []
    if origin is dict:
        return {}
    if arguments:  # annotated, or a union: what it names first
        return _value(name, arguments[0], depth)
    return _scalar(name, annotation)


def _scalar(name: str, kind: Any) -> Any:
    if kind is datetime:
        return _INSTANT
    if kind is str:
        return f"{_PREFIXES[name]}_sample" if name in _PREFIXES else f"{name}_sample"
    return {int: 1, float: 1.0, bool: False}.get(kind)
