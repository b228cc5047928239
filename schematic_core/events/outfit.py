"""What delivery needs of a client's settings; and nothing else of them, since a thread that held more would keep the client."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from schematic_core.config import Settings
from schematic_core.events.codec import Codec
from schematic_core.events.courier import BeforeSend
from schematic_core.events.delivery import Delivery
from schematic_core.events.values import Limits

if TYPE_CHECKING:
    import httpx

    from schematic_core.events.report import Log
    from schematic_core.events.spool import Spool

__all__ = ["Outfit"]


@dataclass(frozen=True, slots=True)
class Outfit:
    """Settings of one event sender.

    A ``before_send`` that belongs to the client keeps it alive, once its first event was recorded: an event that it has
    not seen must never go out.
    """

    url: str
    form: str
    api_key: str = field(repr=False)
    trusted_client_clock: bool
    dates: bool
    factory: Callable[[], httpx.Client] | None
    before_send: BeforeSend | None
    spool_path: str | None
    is_distinct: bool
    send_timeout: float | None
    limits: Limits

    @classmethod
    def of(cls, settings: Settings) -> Outfit:
        """Take what is needed."""
        return cls(
            url=settings.event_url,
            form=settings.event_form,
            api_key=settings.api_key,
            trusted_client_clock=settings.trusted_client_clock,
            dates=settings.event_sent_at,
            factory=settings.event_http_client,
            before_send=settings.before_send,
            spool_path=settings.event_spool if settings.event_refusal is None else None,
            is_distinct=settings.flag_check_events == "distinct",
            send_timeout=settings.event_send_timeout if settings.event_delivery == "immediate" else None,
            limits=Limits(
                settings.event_buffer_period,
                settings.event_queue_max,
                settings.event_queue_max_bytes,
                settings.event_max_age,
            ),
        )

    def codec(self, token: str) -> Codec:
        """Make the codec of one process."""
        return Codec(
            form=self.form,
            api_key=self.api_key,
            token=token,
            trusted_client_clock=self.trusted_client_clock,
            dates=self.dates,
        )

    def delivery(self, log: Log, wall: Callable[[], float]) -> Delivery:
        """Make what sends."""
        return Delivery(url=self.url, api_key=self.api_key, factory=self.factory, log=log, wall=wall)

    def spool(self, log: Log, clock: Callable[[], float], wall: Callable[[], float]) -> Spool | None:
        """Make what keeps events on file, if it is asked for."""
        if self.spool_path is None:
            return None
        from schematic_core.events.spool import Spool
        from schematic_core.events.spool_rows import fingerprint

        return Spool(self.spool_path, fingerprint(self.api_key), log=log, clock=clock, wall=wall)
