"""Make the calls of flag checks fast, without models.

Source: ``http-api.md`` section 15. Sides without keys and an empty preflight are left out of the body.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from schematic_core.api.call import Call
from schematic_core.api.prepare import path_segment
from schematic_core.values import CheckFlagOptions
from schematic_core.wire import dumps

__all__ = ["check_call", "checks_call"]


def check_call(
    flag_key: str, company: Mapping[str, str], user: Mapping[str, str], options: CheckFlagOptions | None = None
) -> Call:
    """Make the call that checks one flag.

    Args:
        flag_key: the flag's key, not its id; any text but ``""``, ``"."`` and ``".."``.
        company: keys of the company, e.g. ``{"id": "acme"}``; may be empty.
        user: keys of the user; may be empty.
        options: its preflight members are sent, fractions of ``usage`` and quantities rounded up.

    Raises:
        ConfigurationError: the flag key cannot be a segment of a path.
        ValueError: a preflight number is not finite.
    """
    path = f"/flags/{path_segment('flag_key', flag_key)}/check"
    return Call(method="POST", path=path, body=_body(company, user, options))


def checks_call(company: Mapping[str, str], user: Mapping[str, str], options: CheckFlagOptions | None = None) -> Call:
    """Make the call that checks every flag for one company and user; arguments as in `check_call`."""
    return Call(method="POST", path="/flags/check", body=_body(company, user, options))


def _body(company: Mapping[str, str], user: Mapping[str, str], options: CheckFlagOptions | None) -> bytes:
    body: dict[str, object] = {}
    if company:
        body["company"] = dict(company)
    if user:
        body["user"] = dict(user)
    if options is not None and options.is_preflight:
        body["preflight"] = _preflight(options)
    return dumps(body)


def _preflight(options: CheckFlagOptions) -> dict[str, object]:
    preflight: dict[str, object] = {}
    if options.usage is not None:
        preflight["usage"] = _whole("usage", options.usage)
    if options.event_usage is not None:
        event = options.event_usage
        quantity = _whole("event_usage.quantity", event.quantity)
        preflight["event_usage"] = {"event_subtype": event.event_subtype, "quantity": quantity}
    if options.credit_cost:
        preflight["credit_cost"] = dict(options.credit_cost)
    return preflight


def _whole(name: str, quantity: float) -> int:
    if not math.isfinite(quantity):
        raise ValueError(f"{name} must be a finite number, not {quantity!r}")
    return math.ceil(quantity)
