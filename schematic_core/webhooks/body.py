"""Bound a delivery's body before it is read whole."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, Callable
from dataclasses import dataclass

__all__ = ["MAX_BODY_BYTES", "Acknowledgement", "read_body", "read_chunks", "too_large"]

MAX_BODY_BYTES = 1024 * 1024

_PIECE_BYTES = 65_536
_MAX_LENGTH_DIGITS = 18

_log = logging.getLogger("schematic.webhooks")


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What to answer: ``{"status": 400, "outcome": "mismatch"}``. 200 ends a delivery, anything else has it sent again.

    ``retry_after``, where given, belongs in a header ``Retry-After``, seconds.
    """

    status: int
    outcome: str
    retry_after: int | None = None


def too_large() -> Acknowledgement:
    """Give the answer to a body over `MAX_BODY_BYTES`."""
    _log.warning("refused a webhook delivery: its body is larger than %d bytes", MAX_BODY_BYTES)
    return Acknowledgement(413, "too_large")


def read_body(read: Callable[[int], bytes], content_length: str | None = None) -> bytes | None:
    """Read the raw body of a plain request, but never more than one byte over `MAX_BODY_BYTES`.

    Args:
        read: gives at most so many bytes, none at the end; e.g. ``environ["wsgi.input"].read``.
        content_length: the header. Where it is given, no more than that is asked for: some servers would wait.

    Returns:
        The body, None when it is larger. One that says so itself is not read at all.
    """
    announced = _announced(content_length)
    left = MAX_BODY_BYTES + 1 if announced is None else announced
    if announced is not None and announced > MAX_BODY_BYTES:
        return None
    body = bytearray()
    while left > 0 and (piece := read(min(left, _PIECE_BYTES))):
        body += piece
        left -= len(piece)
    return _bounded(body)


async def read_chunks(chunks: AsyncIterable[bytes], content_length: str | None = None) -> bytes | None:
    """Read the raw body of an async request from its pieces; no further than to the piece that exceeds `MAX_BODY_BYTES`.

    Args:
        chunks: e.g. ``request.stream()`` of Starlette, ``request.content.iter_any()`` of aiohttp.
        content_length: the header, if there is one.

    Returns:
        The body, None when it is larger. One that says so itself is not read at all.
    """
    if (_announced(content_length) or 0) > MAX_BODY_BYTES:
        return None
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return None
    return bytes(body)


def _bounded(body: bytearray) -> bytes | None:
    return bytes(body) if len(body) <= MAX_BODY_BYTES else None


def _announced(content_length: str | None) -> int | None:
    """Give the length that a header names; one with more digits than any body is too large whatever it says."""
    if content_length is None or not (content_length.isascii() and content_length.isdigit()):
        return None
    return MAX_BODY_BYTES + 1 if len(content_length) > _MAX_LENGTH_DIGITS else int(content_length)
