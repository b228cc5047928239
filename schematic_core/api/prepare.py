"""Make a call from an endpoint and a caller's arguments; nothing here knows a client's settings.

An argument that is left out is absent from the body, an explicit None is sent as ``null``; in the query None is left out.
Source: ``http-api.md`` sections 4, 9 and 11.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, TypedDict, cast

from schematic_core.api.call import Call, Endpoint
from schematic_core.errors import ConfigurationError
from schematic_core.wire import dumps, plain

__all__ = ["RequestOptions", "path_segment", "prepare"]

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FRAMING = frozenset({"content-length", "transfer-encoding"})
"""Headers that say where a request ends; another value than HTTP's own would break the connection."""


class RequestOptions(TypedDict, total=False):
    """Options of one API call. Durations are seconds."""

    timeout: float | timedelta | None
    """Seconds the call may take, repeats included; before ``timeout_in_seconds``."""
    timeout_in_seconds: float | timedelta | None
    """The vendor's name for ``timeout``."""
    max_retries: int | None
    """Repeats after the first try; the client's when None."""
    additional_headers: Mapping[str, str] | None
    """Headers that win over all others, e.g. ``{"X-Trace": "1"}``."""
    additional_query_parameters: Mapping[str, Any] | None
    """Merged over the query."""
    additional_body_parameters: Mapping[str, Any] | None
    """Merged over the JSON body; on a call without one they become it."""


def prepare(endpoint: Endpoint, args: tuple[object, ...], arguments: Mapping[str, object]) -> Call:
    """Make the call of ``endpoint`` with these arguments.

    Args:
        endpoint: the operation.
        args: path parameters by position.
        arguments: path parameters by name, query and body arguments, ``request_options``.

    Raises:
        TypeError: an argument is unknown, missing, given twice, or has no JSON form.
        ConfigurationError: a path parameter, a query argument or a request option cannot be; the message names it.
    """
    given = dict(arguments)
    options = _options(given.pop("request_options", None))
    path = _path(endpoint, args, given)
    _refuse_wrong_names(endpoint, given)
    query = {name: given[name] for name in endpoint.query if name in given}
    body = {name: given[name] for name in endpoint.body if name in given} if endpoint.body else None
    query.update(options.get("additional_query_parameters") or {})
    extra = options.get("additional_body_parameters")
    if extra:
        body = {**(body or {}), **extra}
    sendable = None if body is None else cast("dict[str, object]", plain(body))
    return Call(
        method=endpoint.method,
        path=path,
        query=tuple(_pairs(query)),
        headers=options.get("additional_headers") or {},
        body=None if sendable is None else dumps(sendable),
        timeout=_timeout(options),
        max_retries=options.get("max_retries"),
        repeatable=endpoint.is_repeatable or (sendable is not None and _has_idempotency_key(sendable)),
    )


def path_segment(name: str, value: object) -> str:
    """Percent-encode ``value`` as exactly one segment of a path.

    Raises:
        TypeError: it is neither text, a whole number nor a UUID.
        ConfigurationError: it is empty or a dot segment, which servers would fold into another path.
    """
    text = value if isinstance(value, str) else _id_text(name, value)
    if text in ("", ".", ".."):
        raise ConfigurationError(f"{name} must be a non-empty identifier, not {text!r}")
    from urllib.parse import quote

    try:
        return quote(text, safe="")
    except UnicodeEncodeError:
        raise ConfigurationError(f"{name} holds characters that cannot be encoded: {text!r}") from None


def _id_text(name: str, value: object) -> str:
    from uuid import UUID

    if isinstance(value, bool) or not isinstance(value, (int, UUID)):
        raise TypeError(f"{name} must be text, not {type(value).__name__}")
    return str(value)


def _path(endpoint: Endpoint, args: tuple[object, ...], given: dict[str, object]) -> str:
    names = endpoint.path_parameters
    if len(args) > len(names):
        raise TypeError(f"{endpoint.name}() takes {len(names)} positional arguments but {len(args)} were given")
    for former, name in endpoint.renamed.items():
        if former in given and name not in given:
            given[name] = given.pop(former)
    values = dict(zip(names, args, strict=False))
    for name in names:
        if name in given and name in values:
            raise TypeError(f"{endpoint.name}() got two values for {name!r}")
        if name not in given and name not in values:
            raise TypeError(f"{endpoint.name}() needs {name!r}")
        values.setdefault(name, given.pop(name, None))
    return endpoint.path.format(**{name: path_segment(name, value) for name, value in values.items()})


def _refuse_wrong_names(endpoint: Endpoint, given: Mapping[str, object]) -> None:
    for name in given:
        if name not in endpoint.query and name not in endpoint.body:
            raise TypeError(f"{endpoint.name}() got an unexpected argument {name!r}")
    for name in endpoint.required:
        if name not in given:
            raise TypeError(f"{endpoint.name}() needs {name!r}")


def _pairs(query: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for name, value in query.items():
        for pair in _encoded(str(name), plain(value)):
            try:
                "".join(pair).encode()
            except UnicodeEncodeError:
                raise ConfigurationError(f"{name} holds characters that cannot be encoded") from None
            yield pair


def _encoded(name: str, value: object) -> Iterator[tuple[str, str]]:
    """Spread one plain value: a list repeats the name, a map puts its keys in brackets, None gives nothing."""
    if isinstance(value, list):
        for item in value:
            yield from _encoded(name, item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _encoded(f"{name}[{key}]", item)
    elif isinstance(value, bool):
        yield name, "true" if value else "false"
    elif value is not None:
        yield name, str(value)


def _has_idempotency_key(body: Mapping[str, object]) -> bool:
    events = body.get("events")
    if isinstance(events, list):
        return all(isinstance(event, dict) and _has_idempotency_key(event) for event in events)
    return bool(body.get("idempotency_key"))


def _options(given: object) -> RequestOptions:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"request_options must be a mapping, not {type(given).__name__}")
    for name, value in given.items():
        if name not in RequestOptions.__annotations__:
            known = ", ".join(RequestOptions.__annotations__)
            raise ConfigurationError(f"unknown request option {name!r}; there are {known}")
        if name.startswith("additional_") and not isinstance(value, (Mapping, type(None))):
            raise ConfigurationError(f"{name} must be a mapping, not {type(value).__name__}")
    options = cast("RequestOptions", given)  # names and kinds were checked above
    _check_headers(options.get("additional_headers") or {})
    retries: object = options.get("max_retries")
    if retries is not None and (isinstance(retries, bool) or not isinstance(retries, int) or retries < 0):
        raise ConfigurationError(f"max_retries must be a whole number, zero or more, not {retries!r}")
    return options


def _check_headers(headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name) or name.lower() in _FRAMING:
            raise ConfigurationError(f"additional_headers has a name that cannot be sent: {name!r}")
        if not isinstance(value, str) or not (value.isascii() and value.isprintable()):
            raise ConfigurationError(f"additional_headers[{name!r}] holds a value that cannot be sent in a header")


def _timeout(options: RequestOptions) -> float | None:
    timeout: object = options.get("timeout")
    name = "timeout"
    if timeout is None:
        timeout, name = options.get("timeout_in_seconds"), "timeout_in_seconds"
    if isinstance(timeout, timedelta):
        timeout = timeout.total_seconds()
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 < timeout < math.inf:
        raise ConfigurationError(f"{name} must be a number of seconds above zero, not {timeout!r}")
    return float(timeout)
