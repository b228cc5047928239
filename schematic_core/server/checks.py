"""Flag checks: what to ask the rules engine about, asking it, and its answers as the HTTP API states them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from schematic_core.environment.compile import company_document, flag_document, user_document
from schematic_core.server.faults import Refused
from schematic_core.server.requests import Body
from schematic_core.server.state import State
from schematic_core.values import REASON_NO_CONTEXT
from schematic_core.wire import dumps

__all__ = ["Context", "Question", "answer", "flag_texts", "question", "read_context", "verdict_set"]

_NOT_FOUND = "Flag not found"


@dataclass(frozen=True, slots=True)
class Context:
    """Whom a check is about, by keys, and the preflight options as ``rules.check`` takes them."""

    company: Mapping[str, str]
    user: Mapping[str, str]
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """Everything an evaluation needs, as JSON text, so that it can be answered on any thread.

    ``flags`` are keys with their document, None when there is no such flag; ``defaults`` are set when there is no
    context and the engine is not asked.
    """

    flags: Sequence[tuple[str, bytes | None]]
    company: bytes | None
    user: bytes | None
    options: Mapping[str, Any]
    now: datetime
    defaults: Mapping[str, bool] | None = None


def read_context(body: Body) -> Context:
    """Read ``{company?, user?, preflight?}``.

    Raises:
        Refused: 400, a member is not what it should be.
    """
    return Context(body.keys("company"), body.keys("user"), _preflight(body.object("preflight")))


def flag_texts(state: State, keys: Sequence[str], now: datetime) -> list[tuple[str, bytes | None]]:
    """Give flags as a `Question` takes them: each key with its document, None when there is no such flag."""
    environment = state.environment
    return [
        (key, dumps(flag_document(environment, key, state.overridden(key, now))) if key in environment.flags else None)
        for key in keys
    ]


def question(state: State, flags: Sequence[tuple[str, bytes | None]], context: Context, now: datetime) -> Question:
    """Gather what a check of ``flags`` needs. Unknown entities are left out: the rules run without them."""
    environment = state.environment
    company = state.companies.lookup(context.company)
    user = state.users.lookup(context.user)
    has_context = bool(context.company or context.user)
    return Question(
        flags=flags,
        company=dumps(company_document(environment, company, now)) if company is not None else None,
        user=dumps(user_document(environment, user)) if user is not None else None,
        options=context.options,
        now=now,
        defaults=None if has_context else {key: flag.default for key, flag in environment.flags.items()},
    )


def answer(asked: Question) -> list[dict[str, Any]]:
    """Evaluate: one ``CheckFlagResponseData`` for each flag, in order. Blocks while the engine starts.

    Raises:
        Refused: 400, the engine refused its input; what was sent made it unfit, e.g. by its size.
    """
    from schematic_core import rules
    from schematic_core.errors import EngineError

    answers: list[dict[str, Any]] = []
    for key, document in asked.flags:
        if document is None:
            answers.append({"flag": key, "value": False, "reason": _NOT_FOUND})
        elif asked.defaults is not None:
            answers.append(
                {"flag": key, "flag_id": f"flag_{key}", "value": asked.defaults[key], "reason": REASON_NO_CONTEXT}
            )
        else:
            try:
                found = rules.check(document, asked.company, asked.user, **asked.options, now=asked.now)
            except EngineError as error:
                raise Refused(400, f"the flag could not be evaluated: {error}") from error
            answers.append(_as_api(found.to_dict()))
    return answers


def verdict_set(state: State, context: Context, flags: list[dict[str, Any]]) -> dict[str, Any]:
    """Give a ``CheckFlagsResponseData``."""
    company = state.companies.lookup(context.company)
    data: dict[str, Any] = {"flags": flags, "credit_spend_policies": [], "credit_balances": {}}
    if company is None:
        return data
    data["credit_balances"] = {
        f"bcrd_{key}": {"postpaid": False, "remaining": balance.remaining, "reserved": 0, "settled": balance.remaining}
        for key, balance in company.credits.items()
    }
    if company.plan is not None:
        plan = state.environment.plans[company.plan]
        data["plan"] = {"id": plan.id, "name": plan.name}
    return data


def _preflight(body: Body | None) -> dict[str, Any]:
    if body is None:
        return {}
    if "event_quantities" in body:
        raise Refused(501, "the local server does not implement preflight.event_quantities")
    options: dict[str, Any] = {}
    if (usage := body.whole("usage")) is not None:
        options["usage"] = usage
    if (event := body.object("event_usage")) is not None:
        quantity = event.whole("quantity")
        if quantity is None:
            raise Refused(400, "preflight.event_usage.quantity must be a whole number")
        options["event_usage"] = {"event_subtype": event.need("event_subtype"), "quantity": quantity}
    if "credit_cost" in body:
        options["credit_cost"] = body.numbers("credit_cost")
    return options


def _as_api(result: dict[str, Any]) -> dict[str, Any]:
    renamed = {"flag_key": "flag", "err": "error"}
    return {renamed.get(name, name): value for name, value in result.items() if name != "credit_spend_policy"}
