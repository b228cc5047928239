"""Values of the HTTP layer: an endpoint, a call of it, the request that leaves, and what came of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Union

__all__ = ["Call", "Endpoint", "Failure", "Outcome", "Request", "Response"]

_PATH_PARAMETER = re.compile(r"\{(\w+)\}")
_REPEATABLE_METHODS = frozenset({"GET", "HEAD", "PUT", "DELETE"})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One operation of the API: everything that both clients need to call it.

    Args:
        resource: attribute of the client, e.g. ``"companies"``.
        name: method of that resource, e.g. ``"get_company"``.
        method: HTTP method.
        path: template, e.g. ``"/companies/{company_id}"``; its parameters are the positional arguments, in order.
        query: names of the query arguments.
        body: names of the members of the JSON body; none means that there is no body.
        required: those of ``query`` and ``body`` that a caller must give.
        response: name of the model of the answer; None: the endpoint promises no payload.
        repeatable: whether a second execution is harmless; None: by the method (GET, PUT, DELETE are).
        renamed: former names of path parameters, e.g. ``{"company_plan_id": "company_id"}``.

    Source: ``tools/openapi.json``; ``tools/generate_models.py --check`` proves that both agree.
    """

    resource: str
    name: str
    method: str
    path: str
    query: tuple[str, ...] = ()
    body: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    response: str | None = None
    repeatable: bool | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)

    @property
    def path_parameters(self) -> tuple[str, ...]:
        """Names of the positional arguments, in order."""
        return tuple(_PATH_PARAMETER.findall(self.path))

    @property
    def is_repeatable(self) -> bool:
        """Whether a second execution is harmless whatever the arguments are."""
        return self.method in _REPEATABLE_METHODS if self.repeatable is None else self.repeatable


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call, complete but for what the client's settings add.

    Attributes:
        path: percent-encoded, e.g. ``"/flags/a%2Fb/check"``.
        query: names and values in order, not yet encoded.
        headers: this call's own; they win over all others.
        body: JSON; None: no body.
        timeout: seconds for everything, repeats included; None: the client's.
        max_retries: repeats after the first try; None: the client's.
        repeatable: whether the call may be repeated when nobody knows if it was executed.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    timeout: float | None = None
    max_retries: int | None = None
    repeatable: bool = True

    @property
    def label(self) -> str:
        """Method and path, for messages."""
        return f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What leaves: absolute URL, every header, the body.

    ``is_foreign`` says that a redirect led away from the configured host: nothing of the client's may be added.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes | None = field(default=None, repr=False)
    is_foreign: bool = False


@dataclass(frozen=True, slots=True)
class Response:
    """A complete answer: status, headers with lower-case names, body."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Failure:
    """No answer. ``kind`` says how much is known.

    ``refused``: no connection, so nothing was executed. ``timeout``: the time ran out. ``broken``: the connection broke,
    perhaps after the execution. ``unsendable``: repeating cannot help.
    """

    kind: Literal["refused", "timeout", "broken", "unsendable"]
    cause: Exception | None = None


Outcome = Union[Response, Failure]
