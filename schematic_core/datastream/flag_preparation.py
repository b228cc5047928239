"""The heavy half of messages about flags: each document handed to the engine on its own, so that a bad one stays alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from schematic_core.datastream.changes import FlagRemoved, FlagsStored, FlagStored, refusal
from schematic_core.datastream.messages import Element, Message
from schematic_core.datastream.versions import FlagVersion, Holder
from schematic_core.errors import EngineError

__all__ = ["FlagPreparation"]

_MEMBERS = ("id", "account_id", "environment_id", "key", "rules", "default_value")


class FlagPreparation:
    """Makes changes of flags; arguments as of `EntityPreparation`."""

    def __init__(self, holder: Holder, counts: Counter[str]) -> None:
        self._holder = holder
        self._release = holder.release  # one bound method for all versions
        self._counts = counts

    def message(self, message: Message) -> FlagStored | FlagRemoved | None:
        """Prepare a ``full``, ``partial`` or ``delete`` of one flag; None: nothing to do.

        A partial is a replacement if it has all members of a flag.
        """
        data = message.data
        value = None if data is None else data.value
        key, id_ = (None, None) if data is None else (_text(data.member("key")), _text(data.member("id")))
        id_ = id_ or message.entity_id
        if message.message_type == "delete":
            return FlagRemoved(key, id_) if key is not None or id_ is not None else self._nothing("bad_flag")
        if data is None or not isinstance(value, dict):
            return self._nothing("bad_flag")
        if message.message_type == "partial" and not all(name in value for name in _MEMBERS):
            return self._nothing("partial_flag")
        made = self._version(data)
        if isinstance(made, FlagVersion):
            return FlagStored(made)
        return FlagRemoved(key, id_, made)

    def set(self, pages: Iterable[Message], held: Mapping[str, FlagVersion]) -> FlagsStored:
        """Prepare the whole set; a flag whose text is that of a held version keeps it."""
        flags: dict[str, FlagVersion] | None = None
        rejected: EngineError | None = None
        for page in pages:
            if not page.is_array:
                self._counts["bad_flags"] += page.data is not None
                continue
            flags = {} if flags is None else flags
            for element in page.elements():
                former = held.get(_text(element.member("key")) or "")
                made = former if former is not None and former.text == element.text else self._version(element)
                if isinstance(made, FlagVersion):
                    flags[made.key] = made
                else:
                    rejected = rejected or made
        return FlagsStored(flags, rejected)

    def _version(self, element: Element) -> FlagVersion | EngineError | None:
        """Hold a flag; counts one that cannot be used and gives the engine's reason, if it was the engine's."""
        key = _text(element.member("key"))
        if key is None:
            self._counts["bad_flag"] += 1
            return None
        try:
            handle = self._holder.hold("flag", element.text)
        except EngineError as error:
            self._counts["bad_flag"] += 1
            return refusal(error)
        return FlagVersion(
            _text(element.member("id")) or "",
            key,
            element.text,
            handle,
            self._release,
            default_value=element.member("default_value") is True,
        )

    def _nothing(self, why: str) -> FlagStored | FlagRemoved | None:
        self._counts[why] += 1
        return None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
