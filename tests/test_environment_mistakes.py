"""Environment files that are wrong: each mistake is told with file, line and what was expected, never a traceback."""

from __future__ import annotations

import pytest

from schematic_core.environment import parse_environment
from schematic_core.errors import ConfigurationError

MISTAKES = [
    ("version: 2", ":1: version: expected 1, found 2"),
    ("flags: {}", ":1: version: missing; expected 1"),
    ("version: 1\nfoo: 1", ":2: foo: unknown name; expected one of version, features"),
    ("version: 1\nflags: [a]", ":2: flags: expected a mapping, found a list"),
    (
        "version: 1\nflags: {f: {default: yes please}}",
        ":2: flags.f.default: expected true or false, found 'yes please'",
    ),
    ("version: 1\nflags: {f: {rules: {}}}", ":2: flags.f.rules: expected a list, found a mapping"),
    ("version: 1\nflags: {f: {rules: [{when: [{plan: x}]}]}}", ":2: flags.f.rules[0].when[0].plan: unknown plan 'x'"),
    (
        "version: 1\nflags: {f: {rules: [{when: [{}]}]}}",
        ":2: flags.f.rules[0].when[0]: expected a mapping with exactly",
    ),
    ("version: 1\nflags: {f: {rules: [{when: [{trait: t}]}]}}", "value: missing; expected a text, number"),
    ("version: 1\nflags: {f: {rules: [{when: [{trait: t, value: 1, op: is}]}]}}", "op: expected one of eq, ne"),
    ("version: 1\nfeatures:\n  e: {type: event}", ":3: features.e.event: missing; expected a text"),
    ("version: 1\nfeatures: {e: {type: thing}}", ":2: features.e.type: expected one of boolean, event, trait"),
    ("version: 1\nfeatures: {e: {event: x}}", ":2: features.e.event: expected no event, as the type is not event"),
    ("version: 1\nplans: {p: {entitlements: {e: true}}}", ":2: plans.p.entitlements.e: unknown feature"),
    (
        "version: 1\nfeatures: {e: {}}\nplans: {p: {entitlements: {e: 5}}}",
        ":3: plans.p.entitlements.e: expected true, false,",
    ),
    (
        "version: 1\nfeatures: {e: {}}\nplans: {p: {entitlements: {e: {limit: 5}}}}",
        "expected true or false, as the feature",
    ),
    ("version: 1\nplans: {p: {entitlements: {t: {credit: c}}}}", "unknown credit 'c'; declare it under credits"),
    (
        "version: 1\ncompanies:\n  a:\n    plan: p",
        ":4: companies.a.plan: expected one of the plans (none are declared)",
    ),
    ("version: 1\ncompanies: {a: {metrics: {e: -1}}}", "metrics.e: expected a whole number of at least 0, found -1"),
    ("version: 1\ncompanies: {a: {credits: {c: 1}}}", ":2: companies.a.credits.c: unknown credit"),
    ("version: 1\ncompanies: {a: {keys: {id: [x]}}}", ":2: companies.a.keys.id: expected a text or a whole number"),
    (
        "version: 1\ncompanies:\n  a: {keys: {id: x}}\n  b: {keys: {id: x}}",
        ":4: companies.b.keys.id: 'a' has the same key",
    ),
    ("version: 1\ncompanies: {a: {subscription: {start: soon}}}", "subscription.start: expected an instant such as"),
    (
        "version: 1\ncompanies: {a: {subscription: {start: 2026-02-01, end: 2026-01-01}}}",
        "subscription.end: expected an instant after start, found '2026-01-01'",
    ),
    (
        "version: 1\nfeatures: {e: {type: event, event: e}}\nplans: {p: {entitlements: {e: {limit: 0100}}}}",
        ":3: plans.p.entitlements.e.limit: expected a whole number of at least 0, found '0100'",
    ),
    ("version: 1\nusers: {u: {companies: [a]}}", ":2: users.u.companies: unknown company 'a'"),
    ("version: 1\nusers: {u: {company: a}}", ":2: users.u.company: unknown company 'a'"),
    ("version: 1\nwebhooks: [{url: x, secret: s}]", ":2: webhooks[0].url: expected an http or https URL, found 'x'"),
    (
        "version: 1\nwebhooks: [{url: 'http://x:99999', secret: s}]",
        ":2: webhooks[0].url: expected an http or https URL",
    ),
    ("version: 1\nwebhooks: [{url: 'http://x'}]", ":2: webhooks[0].secret: missing; expected a text"),
    (
        "version: 1\nwebhooks: [{url: 'http://x', secret: ''}]",
        ":2: webhooks[0].secret: expected a text that is not blank",
    ),
    (
        "version: 1\nwebhooks: [{url: 'http://x', secret: s, events: [odd]}]",
        ":2: webhooks[0].events: unknown event type 'odd'",
    ),
    ("version: 1\napi_keys: []", ":2: api_keys: expected a list of texts, at least one"),
    ("version: 1\nversion: 1", ":2: 'version' is given twice, first on line 1"),
    ("version: 1\nflags: {f: {", ":2: not valid YAML"),
    ("version: 1\n? [a]\n: b", ":2: expected a name as key"),
    ("version: 1\nflags: &a {f: *a}", ":2: nested too deeply"),
    ("version: 1\nfeatures: {' ': {}}", ":2: features: expected a name that is not blank"),
    ("version: 1\nfeatures: {e: !!float x}", ":2: not a value: 'x'"),
    ("version: 1\nfeatures: {e: !!bool x}", ":2: not a value: 'x'"),
    ("version: 1\nfeatures: {e: !!float ''}", ":2: not a value: ''"),
    ("version: 1\nfeatures: {e: " + "9" * 5000 + "}", ":2: not a value: '" + "9" * 60 + "'"),
    ("version: 1\ncompanies: {a: {traits: {n: .inf}}}", ":2: a number is not finite"),
    ('version: 1\nwebhooks: [{url: "http://x", secret: "\\ud800"}]', ":2: a text holds half of a surrogate pair"),
    ('version: 1\n"\\ud800": {}', ":2: a text holds half of a surrogate pair"),
    ("version: 1\nflags: " + "[" * 5000, ":2: nested too deeply"),
    ("version: 1\nflags: {\x07: {}}", ":2: not valid YAML: special characters are not allowed"),
    ("version: 1\nflags:\n\tf: {}", ":3: not valid YAML: found character"),
    (
        "version: 1\nfeatures: {s: {type: trait, trait: s}}\nplans: {p: {entitlements: {s: {limit: 1, period: all_time}}}}",
        "no period",
    ),
    (
        "version: 1\nfeatures: {s: {}}\ncredits: {c: {}}\nplans: {p: {entitlements: {s: {credit: c}}}}",
        "expected no credit, as",
    ),
    (
        "version: 1\ncompanies: {a: {credits: {c: -1}}}\ncredits: {c: {}}",
        "credits.c: expected a number of at least 0, found -1",
    ),
    ("[1, 2]", ":1: expected a mapping, found a list"),
]


@pytest.mark.parametrize(("text", "said"), MISTAKES)
def test_a_mistake_is_told_with_file_line_and_what_was_expected(text: str, said: str) -> None:
    """One line for each mistake, in the order of the file."""
    with pytest.raises(ConfigurationError) as raised:
        parse_environment(text, name="dir/env.yaml")

    assert said in str(raised.value)
    assert all(line.startswith("dir/env.yaml:") for line in str(raised.value).splitlines())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"version": 1,\n "foo": 2}', "env.json:2: foo: unknown name"),
        ('{"version": 1,\n}', "env.json:2: not valid JSON: expected a name in double quotes"),
        ('{"version": 1\n "a": 2}', "env.json:2: not valid JSON: expected ','"),
        ('{"version" 1}', "env.json:1: not valid JSON: expected ':'"),
        ('{"version": NaN}', "env.json:1: not valid JSON: expected a JSON value"),
        ('{"version": 1} x', "env.json:1: not valid JSON: expected the end of the file"),
        ('{"version": 1, "version": 1}', "env.json:1: not valid JSON: 'version' is given twice"),
        ('{"flags": ' + "[" * 100, "env.json:1: not valid JSON: nested too deeply"),
        ("", "env.json:1: not valid JSON: expected a JSON value"),
        ('{"version":\n1e999}', "env.json:2: not valid JSON: a number is not finite"),
        ('{"version":\n"\\ud800"}', "env.json:2: not valid JSON: a text holds half of a surrogate pair"),
        ('{"version": 1, "webhooks": [1,]}', "env.json:1: not valid JSON: expected a JSON value"),
    ],
)
def test_a_mistake_in_json_has_its_line_too(text: str, said: str) -> None:
    """The reader of JSON knows lines as that of YAML does."""
    with pytest.raises(ConfigurationError) as raised:
        parse_environment(text, name="env.json")

    assert said in str(raised.value)


def test_aliases_that_multiply_are_refused() -> None:
    """Eight lists of nine aliases each would be 43 million values; a long chain would be too deep."""
    lists = "\n".join(f"      x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9)}]" for n in range(1, 8))
    text = f"version: 1\ncompanies:\n  acme:\n    traits:\n      x0: &x0 [{', '.join('a' * 9)}]\n{lists}"

    with pytest.raises(ConfigurationError, match=r"schematic\.yaml:[0-9]+: aliases repeat more than 100000 values"):
        parse_environment(text)

    chain = "\n".join(f"      x{n}: &x{n} [*x{n - 1}]" for n in range(1, 400))
    with pytest.raises(ConfigurationError, match=r"schematic\.yaml:[0-9]+: nested too deeply"):
        parse_environment(f"version: 1\ncompanies:\n  acme:\n    traits:\n      x0: &x0 [a]\n{chain}")
    few = parse_environment("version: 1\ncompanies: {a: {traits: &t {r: eu}}, b: {traits: *t}}")
    assert few.companies["b"].traits == {"r": "eu"}


def test_numbers_that_yaml_reads_otherwise_than_people_do_stay_text() -> None:
    """In YAML 1.1 ``010`` is eight and ``1:30`` is ninety: as a key, that would address nobody."""
    environment = parse_environment(
        "version: 1\ncompanies: {a: {keys: {id: 0123, at: 1:30, no: 7}, traits: {v: 1:30.5}}}"
    )

    company = environment.companies["a"]
    assert (company.keys, company.traits) == ({"id": "0123", "at": "1:30", "no": "7"}, {"v": "1:30.5"})


def test_many_mistakes_are_told_together_up_to_a_bound() -> None:
    """Twenty are shown, the rest is counted."""
    text = "version: 1\n" + "\n".join(f"x{number}: 1" for number in range(30))

    with pytest.raises(ConfigurationError) as raised:
        parse_environment(text)

    assert len(str(raised.value).splitlines()) == 21
    assert str(raised.value).endswith("and 10 more")


def test_each_mistake_is_told_once_on_one_line() -> None:
    """Companies and users are looked at twice; a name may hold a line break."""
    with pytest.raises(ConfigurationError) as raised:
        parse_environment(
            '{"version": 1, "users": {"u": {"a\\nb\\u2028": 1}}, "companies": {"c": {"x": 1}}}', name="e.json"
        )

    assert str(raised.value).splitlines() == [
        (
            "e.json:1: companies.c.x: unknown name; expected one of "
            "name, keys, plan, traits, overrides, metrics, credits, subscription"
        ),
        r"e.json:1: users.u.a\nb\u2028: unknown name; expected one of name, keys, traits, company, companies",
    ]
