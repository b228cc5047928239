"""Environment files: read with line numbers, checked, and compiled to what the rules engine takes."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schematic_core import rules
from schematic_core.environment import (
    Company,
    Environment,
    companies,
    company_document,
    flag_document,
    load_environment,
    parse_environment,
    user_document,
    users,
)
from schematic_core.environment.periods import Period, Reset, Subscription, window_end, window_start
from schematic_core.errors import ConfigurationError
from tests.support.strategies import trees

NOW = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)

SAMPLE = """
version: 1
features:
  exports: {type: event, event: export_created}
  reports: {type: boolean}
  seats:   {type: trait, trait: seats}
flags:
  new-nav: {default: false, rules: [{name: beta, value: true, when: [{plan: pro}, {trait: region, op: eq, value: eu}]}]}
plans:
  pro: {entitlements: {reports: true, exports: {limit: 100, period: current_month, reset: first_of_month}, seats: unlimited, tokens: {credit: ai, rate: 0.5}}}
credits: {ai: {name: AI credits}}
companies:
  acme: {keys: {id: acme}, plan: pro, traits: {region: eu}, overrides: {exports: {limit: 500}}, metrics: {export_created: 3}, credits: {ai: 100}}
users:
  ada: {keys: {id: ada}, company: acme}
webhooks: [{url: "http://127.0.0.1:8000/webhooks/schematic", secret: whsec_dev, events: ["*"]}]
api_keys: [dev]     # absent: any key is accepted
"""


def _company(environment: Environment, name: str = "acme") -> Company:
    return next(one for one in companies(environment, NOW) if one.id == f"comp_{name}")


def _checked(environment: Environment, key: str, company: Company | None, **options: Any) -> rules.Evaluation:
    overridden = [company.id] if company is not None and key in company.overrides else []
    document = company_document(environment, company, NOW) if company is not None else None
    user = next(iter(users(environment, NOW)), None)
    about = user_document(environment, user) if user is not None else None
    return rules.check(flag_document(environment, key, overridden), document, about, now=NOW, **options)


def test_the_documented_form_is_read() -> None:
    """Map names become the readable halves of ids; a flag exists for every feature, also one that a credit implies."""
    environment = parse_environment(SAMPLE)

    assert set(environment.flags) == {"new-nav", "exports", "reports", "seats", "tokens"}
    assert environment.plans["pro"].id == "plan_pro"
    assert environment.flags["exports"].id == "flag_exports"
    assert environment.features["tokens"].event == "tokens"
    assert environment.api_keys == frozenset({"dev"})
    assert _company(environment).id == "comp_acme"
    assert [user.company_ids for user in users(environment, NOW)] == [("comp_acme",)]


def test_json_is_read_as_yaml_is() -> None:
    """The same content gives the same environment."""
    import yaml

    assert parse_environment(json.dumps(yaml.safe_load(SAMPLE)), name="schematic.json") == parse_environment(SAMPLE)


def test_secrets_stay_out_of_reprs() -> None:
    """Neither the webhook's secret nor an API key is shown."""
    shown = repr(parse_environment(SAMPLE))

    assert "whsec_dev" not in shown
    assert "dev'" not in shown


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("reports", True, 'Matched plan entitlement rule "pro" (rule_pro_reports)'),
        ("seats", True, 'Matched plan entitlement rule "pro" (rule_pro_seats)'),
        ("tokens", True, 'Matched plan entitlement rule "pro" (rule_pro_tokens)'),
        ("exports", True, 'Matched company override rule "acme" (rule_cmov_acme_exports)'),
        ("new-nav", True, 'Matched standard rule "beta" (rule_new-nav_1)'),
    ],
)
def test_the_compiled_sample_evaluates(key: str, value: bool, reason: str) -> None:
    """The engine takes the documents as they are, and each kind of grant gives its rule."""
    environment = parse_environment(SAMPLE)

    found = _checked(environment, key, _company(environment))

    assert (found.value, found.reason) == (value, reason)
    assert _checked(environment, key, None).value is False


@pytest.mark.parametrize(
    ("used", "value", "rule_type"),
    [(99, True, "plan_entitlement"), (100, False, "plan_entitlement_usage_exceeded")],
)
def test_a_limit_has_a_rule_and_its_twin(used: int, value: bool, rule_type: str) -> None:
    """Below the limit the one holds, from the limit on the other; both tell usage, allocation and reset."""
    environment = parse_environment(
        SAMPLE.replace("overrides: {exports: {limit: 500}}, ", "").replace("3}", f"{used}}}")
    )

    found = _checked(environment, "exports", _company(environment))

    assert (found.value, found.rule_type) == (value, rule_type)
    assert (found.feature_usage, found.feature_allocation) == (used, 100)
    assert found.feature_usage_reset_at == "2026-12-01T00:00:00+00:00"
    assert found.entitlement is not None
    assert found.entitlement["usage"] == used


def test_credits_run_out() -> None:
    """The twin of a credit grant holds when one more unit cannot be paid."""
    environment = parse_environment(SAMPLE.replace("credits: {ai: 100}", "credits: {ai: 0.25}"))

    found = _checked(environment, "tokens", _company(environment))

    assert (found.value, found.rule_type) == (False, "plan_entitlement_usage_exceeded")
    assert found.entitlement is not None
    assert found.entitlement["credit_remaining"] == 0.25


def test_every_kind_of_condition_compiles() -> None:
    """Plans, companies, users, traits, events, credits and groups, each in a rule that holds."""
    environment = parse_environment(
        """
version: 1
features: {exports: {type: event, event: made}}
credits: {ai: {}}
plans: {pro: {}, free: {}}
companies: {acme: {plan: pro, traits: {size: 12, vip: true, region: eu}, metrics: {made: 3}, credits: {ai: 1}}}
users: {ada: {company: acme, traits: {role: owner}}}
flags:
  f:
    rules:
      - name: all
        when:
          - {plan: [pro, free]}
          - {company: acme}
          - {user: ada}
          - {plan: free, op: ne}
          - {trait: size, op: gte, value: 9}
          - {trait: vip, value: true}
          - {trait: role, of: user, value: owner}
          - {trait: since, op: is_empty, type: date}
          - {event: made, op: lt, value: 4, period: current_week}
          - {event: made, value: 3}
          - {credit: ai, rate: 1}
          - {any: [{plan: free}, {trait: region, value: eu}]}
"""
    )

    found = _checked(environment, "f", _company(environment))

    assert (found.value, found.reason) == (True, 'Matched standard rule "all" (rule_f_1)')


def test_traits_of_any_json_type_are_stored_as_text() -> None:
    """Lists and maps become JSON, as the service stores them."""
    environment = parse_environment(
        "version: 1\ncompanies: {acme: {traits: {a: [1, {b: c}], d: 1.5, e: true, f: null, g: 2026-01-31}}}"
    )

    traits = company_document(environment, _company(environment), NOW)["traits"]

    assert {one["trait_definition"]["id"]: one["value"] for one in traits} == {
        "trait_company_a": '[1,{"b":"c"}]',
        "trait_company_d": "1.5",
        "trait_company_e": "true",
        "trait_company_g": "2026-01-31",
    }


def test_usage_counts_in_the_window_that_is_open() -> None:
    """The next month reads zero, without anything having been written."""
    environment = parse_environment(SAMPLE)
    later = NOW.replace(month=12)

    metrics = company_document(environment, _company(environment), later)["metrics"]

    assert {(one["period"], one["value"]) for one in metrics} == {
        ("all_time", 3),
        ("current_day", 0),
        ("current_week", 0),
        ("current_month", 0),
    }


def test_the_most_generous_of_several_plans_counts() -> None:
    """Unlimited before any limit, a higher limit before a lower."""
    environment = parse_environment(
        """
version: 1
features: {exports: {type: event, event: made}}
plans:
  a: {entitlements: {exports: {limit: 5}}}
  b: {entitlements: {exports: {limit: 9}}}
  c: {entitlements: {exports: unlimited}}
companies: {acme: {plan: a}}
"""
    )
    company = _company(environment)

    documents = [
        company_document(environment, replace(company, add_ons=add_ons), NOW) for add_ons in ((), ("b",), ("b", "c"))
    ]

    assert [document["entitlements"][0].get("allocation") for document in documents] == [5, 9, None]


def test_a_file_is_read_by_its_ending(tmp_path: Path) -> None:
    """``.json`` is JSON, anything else YAML; a file that cannot be read is told plainly."""
    (tmp_path / "a.json").write_text('{"version": 1, "flags": {"f": {}}}', encoding="utf-8")
    (tmp_path / "a.yml").write_text("version: 1\nflags: {f: {}}", encoding="utf-8")
    (tmp_path / "bom.json").write_text('{"version": 1, "flags": {"f": {}}}', encoding="utf-8-sig")
    (tmp_path / "b.yml").write_bytes(b"\xff\xfe\xff")

    assert load_environment(tmp_path / "a.json") == load_environment(str(tmp_path / "a.yml"))
    assert load_environment(tmp_path / "bom.json") == load_environment(tmp_path / "a.json")
    with pytest.raises(ConfigurationError, match="cannot be read: not UTF-8 text"):
        load_environment(tmp_path / "b.yml")
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        load_environment(tmp_path / "none.yml")


def test_yaml_without_its_package_names_the_extra() -> None:
    """JSON needs none."""
    program = """
import sys
sys.modules["yaml"] = None
from schematic_core.environment import parse_environment
from schematic_core.errors import ConfigurationError
parse_environment('{"version": 1}', name="a.json")
try:
    parse_environment("version: 1")
except ConfigurationError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)

    assert "install schematic-suite[server]" in done.stdout


_NAMES = [
    "version",
    "features",
    "flags",
    "plans",
    "credits",
    "companies",
    "users",
    "webhooks",
    "api_keys",
    "type",
    "event",
    "trait",
    "default",
    "rules",
    "when",
    "plan",
    "any",
    "company",
    "user",
    "credit",
    "value",
    "op",
    "of",
    "period",
    "reset",
    "entitlements",
    "limit",
    "rate",
    "keys",
    "traits",
    "overrides",
    "metrics",
    "subscription",
    "start",
    "end",
    "name",
    "url",
    "secret",
    "events",
    "exports",
]
_VALUES = st.sampled_from(
    [1, 0.5, "exports", "unlimited", "pro", "event", "http://[", "2026-01-01", True, None, "", "*"]
)
_TREES = trees(_VALUES, st.sampled_from(_NAMES))


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(st.sampled_from(_NAMES[:9]), st.dictionaries(st.sampled_from(_NAMES), _TREES) | _TREES, max_size=6)
)
def test_any_content_is_an_environment_or_a_told_mistake(content: dict[str, object]) -> None:
    """Whatever stands where, the reader never fails otherwise; what it accepts, the engine accepts."""
    try:
        environment = parse_environment(json.dumps({**content, "version": 1}), name="a.json")
    except ConfigurationError:
        return

    for key in environment.flags:
        _checked(environment, key, next(companies(environment, NOW), None))


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text + "+00:00")


@pytest.mark.parametrize(
    ("period", "start", "end"),
    [
        ("current_day", "2023-11-14T00:00", "2023-11-15T00:00"),
        ("current_week", "2023-11-12T00:00", "2023-11-19T00:00"),
        ("current_month", "2023-11-01T00:00", "2023-12-01T00:00"),
    ],
)
def test_calendar_windows_are_those_of_utc(period: Period, start: str, end: str) -> None:
    """Days, weeks from Sunday, months."""
    now = _at("2023-11-14T22:13")

    assert window_start(period, "first_of_month", now) == _at(start)
    assert window_end(period, "first_of_month", now) == _at(end)


def test_a_sunday_begins_its_week() -> None:
    """The week that ends next Sunday."""
    sunday = _at("2023-11-19T00:00")

    assert window_start("current_week", "first_of_month", sunday) == sunday
    assert window_end("current_week", "first_of_month", sunday) == _at("2023-11-26T00:00")


@pytest.mark.parametrize(
    ("start", "end", "now", "ends", "began"),
    [
        ("2023-01-31T10:00", None, "2023-01-31T10:00", "2023-02-28T10:00", "2023-01-31T10:00"),
        ("2023-01-31T10:00", None, "2023-02-28T11:00", "2023-03-31T10:00", "2023-02-28T10:00"),
        ("2023-01-31T10:00", None, "2024-02-01T00:00", "2024-02-29T10:00", "2024-01-31T10:00"),
        ("2023-01-31T10:00", None, "2024-03-30T09:00", "2024-03-31T10:00", "2024-02-29T10:00"),
        ("2023-01-31T10:00", None, "2023-04-30T12:00", "2023-05-31T10:00", "2023-04-30T10:00"),
        ("2023-10-21T04:00", None, "2023-11-14T00:00", "2023-11-21T04:00", "2023-10-21T04:00"),
        ("2023-11-20T01:02", None, "2023-11-14T00:00", "2023-11-20T01:02", "2023-11-01T00:00"),
        ("2023-12-20T00:00", None, "2023-11-14T00:00", "2023-12-01T00:00", "2023-11-01T00:00"),
        ("2023-10-20T00:00", "2023-11-18T03:00", "2023-11-14T00:00", "2023-11-18T03:00", "2023-10-20T00:00"),
        ("2023-10-20T00:00", "2023-11-01T00:00", "2023-11-14T00:00", "2023-11-01T00:00", "2023-10-20T00:00"),
    ],
)
def test_a_billing_cycle_keeps_its_anchor_day(start: str, end: str | None, now: str, ends: str, began: str) -> None:
    """The published table of the engine's specification; the day is clamped to short months and does not drift."""
    reset: Reset = "billing_cycle"
    subscription = Subscription(_at(start), _at(end or "2033-01-01T00:00"))

    assert window_end("current_month", reset, _at(now), subscription) == _at(ends)
    assert window_start("current_month", reset, _at(now), subscription) == _at(began)


def test_without_a_subscription_a_billing_cycle_is_the_month() -> None:
    """As the engine has it."""
    assert window_start("current_month", "billing_cycle", NOW) == _at("2026-11-01T00:00")
    assert window_end("all_time", "first_of_month", NOW) is None


def test_the_documented_example_is_a_whole_environment() -> None:
    """The page's file is read, and each of its flags evaluates."""
    page = (Path(__file__).parents[1] / "docs" / "environment-file.md").read_text(encoding="utf-8")
    text = page.partition("```yaml\n")[2].partition("```")[0]

    environment = parse_environment(text, name="docs/environment-file.md")

    values = {key: _checked(environment, key, _company(environment)).value for key in environment.flags}
    assert values == {"new-nav": True, "exports": True, "reports": True, "seats": True, "tokens": True}
