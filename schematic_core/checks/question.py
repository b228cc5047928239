"""A question as a value: the flag, whose it is, the options, and the form under which its answer is remembered."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from schematic_core.keys import InvalidKeys, Pairs, normalise, pairs
from schematic_core.values import CheckFlagOptions, EventUsage, Keys

__all__ = ["Context", "Question", "RawQuestion", "Subject", "ask", "context", "is_written_as", "raw_question"]

Subject = tuple[str, Pairs, Pairs]
"""Under what an answer is remembered: flag key, the company's pairs, the user's pairs."""


@dataclass(frozen=True, slots=True)
class Context:
    """Whom a question is about: keys in canonical form; both may be empty."""

    company: Pairs
    user: Pairs


@dataclass(frozen=True, slots=True)
class Question:
    """One flag asked for one context."""

    flag_key: str
    context: Context
    options: CheckFlagOptions | None = None

    @property
    def subject(self) -> Subject:
        """Under what its answer is remembered."""
        return (self.flag_key, self.context.company, self.context.user)

    @property
    def is_preflight(self) -> bool:
        """Whether it asks about usage that is not recorded yet, so that its answer must not be remembered."""
        return self.options is not None and self.options.is_preflight


RawQuestion = tuple[object, ...]
"""A question in the form in which callers write it, as a key: cheap to make, several of them may mean the same subject."""


def raw_question(flag_key: object, company: Keys | None, user: Keys | None) -> RawQuestion:
    """Make the raw form; raises ``AttributeError`` when keys are no mapping."""
    return (
        flag_key,
        () if company is None else tuple(company.items()),
        () if user is None else tuple(user.items()),
    )


def is_written_as(question: Question, raw: RawQuestion) -> bool:
    """Whether a raw form stands for ``question`` and for nothing else.

    It must be all exact text, for nothing else is equal to that (True is equal to 1), and say the same still: the caller
    may have changed the mapping since.
    """
    flag_key, *sides = raw
    given = [tuple(sorted(side)) for side in sides if isinstance(side, tuple)]
    texts = [text for side in given for pair in side for text in pair]
    is_text = type(flag_key) is str and all(type(text) is str for text in texts)
    return is_text and (flag_key, *given) == question.subject


def context(company: Keys | None, user: Keys | None) -> Context:
    """Make a context.

    Raises:
        InvalidKeys: see `normalise`.
    """
    return Context(pairs(normalise(company)), pairs(normalise(user)))


def ask(flag_key: str, company: Keys | None, user: Keys | None, options: CheckFlagOptions | None) -> Question:
    """Make a question.

    Raises:
        InvalidKeys: the flag key is not text, the options are something else, or see `normalise`.
    """
    if not isinstance(flag_key, str):
        raise InvalidKeys(f"flag key must be text, not {type(flag_key).__name__}")
    if options is not None and not isinstance(options, CheckFlagOptions):
        raise InvalidKeys(f"options must be CheckFlagOptions, not {type(options).__name__}")
    if options is not None:
        _validate(options)
    return Question(str.__str__(flag_key), context(company, user), options)  # plain text also of a subclass


def _validate(options: CheckFlagOptions) -> None:
    event_usage = options.event_usage
    if event_usage is not None and not isinstance(event_usage, EventUsage):
        raise InvalidKeys(f"event_usage must be EventUsage, not {type(event_usage).__name__}")
    if options.credit_cost is not None and not isinstance(options.credit_cost, Mapping):
        raise InvalidKeys(f"credit_cost must be a mapping, not {type(options.credit_cost).__name__}")
    numbers = {
        "timeout": options.timeout,
        "usage": options.usage,
        "event_usage.quantity": None if event_usage is None else event_usage.quantity,
        **{f"credit_cost[{credit!r}]": cost for credit, cost in (options.credit_cost or {}).items()},
    }
    for name, number in numbers.items():
        is_number = isinstance(number, (int, float)) and not isinstance(number, bool) and math.isfinite(number)
        if number is not None and not is_number:
            raise InvalidKeys(f"{name} must be a finite number, not {type(number).__name__}")
