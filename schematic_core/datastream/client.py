"""`DataStreamClient`: the stream by itself, for who wants to look at what is held, wait for it, or hear of changes."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from schematic_core.checks.local import Local
from schematic_core.checks.local_flow import Need
from schematic_core.checks.question import ask
from schematic_core.config import resolve
from schematic_core.config_datastream import DataStreamConfig
from schematic_core.datastream.replica import Conflict
from schematic_core.datastream.rules_client import KeyConflictError
from schematic_core.datastream.thread import Stream
from schematic_core.datastream.values import StreamChange, StreamStatus
from schematic_core.datastream.versions import EntityVersion, Kind
from schematic_core.errors import StreamError
from schematic_core.events.thread import EventSender
from schematic_core.keys import InvalidKeys, normalise, pairs
from schematic_core.sources import follow
from schematic_core.values import CheckFlagOptions, CheckResult, Keys

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

__all__ = ["DataStreamClient", "DataStreamClientOptions"]

_log = logging.getLogger("schematic.datastream")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataStreamClientOptions:
    """How to follow a stream without a client.

    Args:
        api_key: secret key of one environment.
        base_url: of the HTTP API; the stream's address follows from it.
        config: options of the stream.
        logger: where to log.
    """

    api_key: str = field(repr=False)
    base_url: str | None = None
    config: DataStreamConfig = field(default_factory=DataStreamConfig)
    logger: logging.Logger | None = None


class DataStreamClient:
    """Flags, companies and users as the stream holds them here. Safe to share between threads.

    A client with ``use_datastream=True`` has one as ``client.datastream``; this constructor makes one by itself, which
    records no events and asks nobody else.

    Raises:
        ConfigurationError: an option is wrong, or a package is missing (the message names the extra).

    Source: the stream (``datastream.md``); the names are the contract's.
    """

    def __init__(self, options: DataStreamClientOptions) -> None:
        settings = resolve(
            options.api_key,
            {
                "base_url": options.base_url,
                "use_datastream": True,
                "datastream": options.config,
                "logger": options.logger,
            },
            environment={},
        )
        self._events = EventSender(replace(settings, offline=True))
        local, source = follow(settings, self._events.worker, settings.logger or _log)
        assert isinstance(source, Stream)
        self._adopt(local, source)

    def _adopt(self, local: Local, stream: Stream) -> None:
        self._local = local
        self._stream = stream

    @classmethod
    def of(cls, local: Local, stream: Stream) -> Self:
        """Give the view of a client's stream."""
        client = cls.__new__(cls)
        client._adopt(local, stream)  # noqa: SLF001 - of the class itself
        return client

    def start(self) -> None:
        """Begin to connect in the background."""
        self._stream.start()

    def close(self) -> None:
        """End the stream; safe to repeat."""
        self._local.close()
        self._stream.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<DataStreamClient {self.status}>"

    @property
    def status(self) -> StreamStatus:
        """``"idle"``, ``"connecting"``, ``"ready"``, ``"reconnecting"``, ``"refused"``, ``"failed"`` or ``"closed"``."""
        return self._stream.status

    @property
    def is_connected(self) -> bool:
        """Whether what is held is what the service has."""
        return self.status == "ready"

    def wait_ready(self, timeout: float = 5.0) -> bool:
        """Wait until flags can be evaluated here, at most ``timeout`` seconds; gives whether they can. Blocks: not for loops."""
        return self._stream.wait_ready(timeout)

    def on_status(self, function: Callable[[StreamStatus], object]) -> Callable[[], None]:
        """Call ``function`` at every change of the status; what this gives ends that.

        Listeners run on the stream's thread one after the other, so they must be quick; what they raise is logged.
        """
        return self._stream.on_status(function)

    def on_change(self, function: Callable[[StreamChange], object]) -> Callable[[], None]:
        """Call ``function`` when a flag, company or user held here has changed; as `on_status`."""
        return self._stream.on_change(function)

    def counts(self) -> Counter[str]:
        """Tell what the service sent that could not be used, by kind, e.g. ``Counter({"bad_flag": 1})``."""
        return self._stream.counts()

    def find_flag(self, flag_key: str) -> dict[str, Any] | None:
        """Give the flag with its rules as the service sent it; None when it is not held."""
        with self._local.changing() as replica:
            flag = replica.find_flag(flag_key)
        return None if flag is None else json.loads(flag.text)

    def find_company(self, keys: Keys) -> dict[str, Any] | None:
        """Give the company with these keys, e.g. ``{"id": "acme"}``; None when it is not held. Asks nobody.

        Raises:
            KeyConflictError: the keys belong to several companies.
            TypeError: a key is neither text, ``int`` nor ``UUID``.
        """
        return self._find("company", keys)

    def find_user(self, keys: Keys) -> dict[str, Any] | None:
        """Give the user with these keys; see `find_company`."""
        return self._find("user", keys)

    def check_flag(
        self,
        flag_key: str,
        company: Keys | None = None,
        user: Keys | None = None,
        options: CheckFlagOptions | None = None,
    ) -> CheckResult:
        """Evaluate a flag on what is held, now; no event is recorded.

        Raises:
            StreamError: the flag or an entity is not held, or not as it is now.
            TypeError: a key is neither text, ``int`` nor ``UUID``.
        """
        try:
            question = ask(flag_key, company, user, options)
        except InvalidKeys as error:
            raise TypeError(str(error)) from error
        found = self._local.consult(question)
        if isinstance(found, Need):
            what = " and ".join(kind for kind, _ in found.entities) or "what the flag needs"
            raise StreamError(f"flag {flag_key!r} cannot be evaluated here: {what} is not held")
        return found

    def _find(self, kind: Kind, keys: Keys) -> dict[str, Any] | None:
        try:
            wanted = pairs(normalise(keys))
        except InvalidKeys as error:
            raise TypeError(str(error)) from error
        with self._local.changing() as replica:
            found = replica.find(kind, wanted)
        if isinstance(found, Conflict):
            raise KeyConflictError(kind, found.ids)
        return json.loads(found.text) if isinstance(found, EntityVersion) else None
