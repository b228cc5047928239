"""Reads the conformance cases, keeping the text of each input as it is in the file."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

_FILE = Path(__file__).resolve().parents[1] / "data" / "rules-engine.jsonl.gz"
_DECODER = json.JSONDecoder()


class Case(NamedTuple):
    """One check and the answer it must give; ``expect`` is None for a rejection."""

    number: int
    flag: str
    company: str
    user: str
    options: dict[str, Any]
    now_ms: int
    expect: dict[str, Any] | None


def cases() -> Iterator[Case]:
    with gzip.open(_FILE, "rt", encoding="utf-8") as lines:
        for line in lines:
            members = _members(line)
            expect = json.loads(members["expect"])
            yield Case(
                number=int(members["id"]),
                flag=members["flag"],
                company=members["company"],
                user=members["user"],
                options={name: json.loads(members[name]) for name in ("usage", "event_usage", "credit_cost")},
                now_ms=int(members["now_ms"]),
                expect=None if expect.get("rejected") else expect,
            )


def _members(line: str) -> dict[str, str]:
    """The text of each member: damaged inputs hold doubled fields, which a parsed object would lose."""
    members: dict[str, str] = {}
    at = line.index("{") + 1
    while True:
        at = _past(line, at, " ,")
        if line[at] == "}":
            return members
        name, at = _DECODER.raw_decode(line, at)
        start = _past(line, at, " :")
        _, at = _DECODER.raw_decode(line, start)
        members[name] = line[start:at]


def _past(line: str, at: int, skipped: str) -> int:
    while line[at] in skipped:
        at += 1
    return at


def comparable(result: dict[str, Any]) -> dict[str, Any]:
    """A result with everything in one form that may take several."""
    result = dict(result)
    entitlement = result.get("entitlement")
    if entitlement is not None:
        optional = ("warning_tiers", "quantity_rates")
        result["entitlement"] = {k: v for k, v in entitlement.items() if v or k not in optional}
    reset = result.get("feature_usage_reset_at")
    if reset is not None:
        moment, _, fraction = reset.replace("Z", "+00:00").removesuffix("+00:00").partition(".")
        result["feature_usage_reset_at"] = (moment, fraction.rstrip("0"))
    return result
