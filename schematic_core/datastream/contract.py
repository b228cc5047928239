"""The contract's names for what goes over the stream, for users who handle frames themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

__all__ = ["DataStreamBaseReq", "DataStreamError", "DataStreamReq", "DataStreamResp", "EntityType", "MessageType"]


class EntityType(str, Enum):
    """What a frame is about; a member equals its wire value.

    Source: ``datastream.md`` section 4.
    """

    COMPANIES = "rulesengine.Companies"
    COMPANY = "rulesengine.Company"
    FLAG = "rulesengine.Flag"
    FLAGS = "rulesengine.Flags"
    USER = "rulesengine.User"
    USERS = "rulesengine.Users"


class MessageType(str, Enum):
    """What a frame does; a member equals its wire value.

    Source: ``datastream.md`` section 4.
    """

    DELETE = "delete"
    ERROR = "error"
    FULL = "full"
    PARTIAL = "partial"
    RELOAD = "reload"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class DataStreamReq:
    """A request, e.g. ``DataStreamReq(entity_type=EntityType.COMPANY, keys={"id": "acme"})``.

    Attributes:
        entity_type: what is asked for.
        action: ``"start"`` or ``"stop"``.
        keys: of one company or user; None for all other types.
        replay_from: stream id after which to replay; None for none.
        page_size: flags per page; None asks for no pages.
    """

    entity_type: EntityType | str
    action: str | None = "start"
    keys: Mapping[str, str] | None = None
    replay_from: str | None = None
    page_size: int | None = None


@dataclass(frozen=True, slots=True)
class DataStreamBaseReq:
    """The frame around a request: its only member is ``data``."""

    data: DataStreamReq


@dataclass(frozen=True, slots=True)
class DataStreamResp:
    """A frame from the service.

    Attributes:
        entity_type: what it is about.
        message_type: what it does.
        data: parsed JSON, shape by type; may be None.
        entity_id: the service's id of the company or user.
        stream_id: e.g. ``"1770000000123-4"``; None on snapshots.
        pagination: e.g. ``{"has_more": True, "page": 1, "total": 3}``; None when the frame is no page.
    """

    entity_type: EntityType | str
    message_type: MessageType | str
    data: Any = None
    entity_id: str | None = None
    stream_id: str | None = None
    pagination: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class DataStreamError:
    """The data of an error frame.

    Attributes:
        error: what went wrong.
        keys: of the request that failed; None when the service does not say.
        entity_type: of the request that failed; None when the service does not say.
    """

    error: str
    keys: Mapping[str, str] | None = None
    entity_type: EntityType | str | None = None
