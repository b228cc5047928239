"""What callers hand to `track` and `identify`, turned into the parts of a record: checked, copied, ready for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import SupportsIndex

from schematic_core.keys import normalise
from schematic_core.values import IdentifyOptions, TrackOptions
from schematic_core.wire import plain

__all__ = [
    "Unfit",
    "check_identify_options",
    "check_track",
    "check_track_options",
    "copy_company",
    "copy_text",
    "copy_traits",
]

_PLAIN = frozenset({str, int, float, bool, type(None)})
"""Types whose values need no copy and no translation."""


class Unfit(Exception):
    """An argument is of a kind that no event can carry; the text says which, never its value."""


def check_track(event: object, quantity: object, options: object) -> tuple[str, int | None, TrackOptions | None]:
    """Give the three as an event carries them.

    Quantities are whole on the wire: whole numbers of any type are taken, negative ones too (a correction); a fraction
    is refused, because rounding would bill something else than what was reported (choice).

    Raises:
        Unfit: the event is no text or empty, the quantity not whole, the options not `TrackOptions` or filled wrongly.
    """
    if not isinstance(event, str) or not event:
        raise Unfit(f"event must be non-empty text, not {_kind(event)}")
    if options is not None:
        options = check_track_options(options)
    return str.__str__(event), _whole(quantity), options


def check_identify_options(options: object) -> IdentifyOptions | None:
    """Give the options as an event carries them.

    Raises:
        Unfit: they are not `IdentifyOptions`, or filled wrongly.
    """
    if options is None:
        return None
    if not isinstance(options, IdentifyOptions):
        raise Unfit(f"options must be IdentifyOptions, not {_kind(options)}")
    _check_switch("prewarm", options.prewarm)
    _check_envelope(options)
    return options


def copy_text(name: str, value: object) -> str | None:
    """Give optional text.

    Raises:
        Unfit: it is something else; the message calls it ``name``.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise Unfit(f"{name} must be text, not {_kind(value)}")
    return str.__str__(value)


def copy_traits(traits: object) -> tuple[dict[str, object] | None, list[str]]:
    """Copy traits deeply, as JSON knows them: instants, dates, UUIDs and Decimals as text, enum members by value.

    Returns:
        The traits (a None inside is data: it clears the trait) and the names of those left out for having no JSON form.

    Raises:
        Unfit: they are no mapping.
    """
    if traits is None:
        return None, []
    if not isinstance(traits, Mapping):
        raise Unfit(f"traits must be a mapping, not {_kind(traits)}")
    copied: dict[str, object] = {}
    unfit: list[str] = []
    for name, value in traits.items():
        if not isinstance(name, str):
            unfit.append(f"({_kind(name)})")
            continue
        try:
            copied[str.__str__(name)] = value if type(value) in _PLAIN else plain(value)
        except Exception:  # noqa: BLE001 - code of the user's own types ran; the caller logs the names
            unfit.append(name)
    return copied, unfit


def copy_company(company: object) -> tuple[dict[str, object] | None, list[str]]:
    """Copy the company of an `identify`.

    Args:
        company: ``{"keys": {"id": "acme"}, "name": "Acme", "traits": {"region": "eu"}}``, the last two optional, or an
            object with these attributes such as ``EventBodyIdentifyCompany``.

    Returns:
        The company, and the names of traits left out.

    Raises:
        Unfit: there are no keys, or a part is of the wrong kind.
        InvalidKeys: the keys address nothing.
    """
    if company is None:
        return None, []
    parts = {name: _part(company, name) for name in ("keys", "name", "traits")}
    if not isinstance(parts["keys"], Mapping):
        raise Unfit(f"company must have a mapping 'keys', this {_kind(company)} has none")
    copied: dict[str, object] = {"keys": normalise(parts["keys"])}
    traits, unfit = copy_traits(parts["traits"])
    if parts["name"] is not None:
        copied["name"] = copy_text("the company's name", parts["name"])
    if traits is not None:
        copied["traits"] = traits
    return copied, unfit


def _part(company: object, name: str) -> object:
    return company.get(name) if isinstance(company, Mapping) else getattr(company, name, None)


def check_track_options(options: object) -> TrackOptions:
    """Give the options of a `track`; the sender's thread calls this too, since callers pay for every look.

    Raises:
        Unfit: they are not `TrackOptions`, or filled wrongly.
    """
    if not isinstance(options, TrackOptions):
        raise Unfit(f"options must be TrackOptions, not {_kind(options)}")
    copy_text("lease_id", options.lease_id)
    copy_text("reservation_id", options.reservation_id)
    _check_envelope(options)
    return options


def _check_envelope(options: TrackOptions | IdentifyOptions) -> None:
    copy_text("idempotency_key", options.idempotency_key)
    if options.sent_at is not None and not isinstance(options.sent_at, datetime):
        raise Unfit(f"sent_at must be a datetime, not {_kind(options.sent_at)}")
    _check_switch("trusted_client_clock", options.trusted_client_clock)
    _check_switch("backfill", options.backfill)
    if options.backfill and options.sent_at is None:
        raise Unfit("backfill needs sent_at, the time at which it happened")
    if options.backfill and options.trusted_client_clock is False:
        raise Unfit("backfill needs a trusted client clock; leave trusted_client_clock out")


def _check_switch(name: str, switch: object) -> None:
    if switch is not None and not isinstance(switch, bool):
        raise Unfit(f"{name} must be True or False, not {_kind(switch)}")


def _whole(quantity: object) -> int | None:
    if quantity is None:
        return None
    if isinstance(quantity, SupportsIndex) and not isinstance(quantity, bool):
        return quantity.__index__()
    try:
        whole = int(quantity) if not isinstance(quantity, (str, bytes, bool)) else None  # type: ignore[call-overload]  # whatever has int()
    except (TypeError, ValueError, OverflowError):
        whole = None
    if whole is None or whole != quantity:
        raise Unfit(f"quantity must be a whole number, not this {_kind(quantity)}")
    return int(whole)


def _kind(value: object) -> str:
    return type(value).__name__
