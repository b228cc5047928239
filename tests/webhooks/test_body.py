"""A body's bound holds before it is read whole."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator

import pytest

from schematic_core.webhooks import MAX_BODY_BYTES, read_body, read_chunks

WHOLE = b"x" * MAX_BODY_BYTES


class Source:
    """Gives bytes and counts them; ``endless`` never ends."""

    def __init__(self, content: bytes, *, endless: bool = False) -> None:
        self._content = io.BytesIO(content)
        self._is_endless = endless
        self.given = 0

    def read(self, most: int) -> bytes:
        piece = self._content.read(most) or (b"y" * most if self._is_endless else b"")
        self.given += len(piece)
        return piece

    async def pieces(self) -> AsyncIterator[bytes]:
        while piece := self.read(10_000):
            yield piece


@pytest.mark.parametrize("content_length", [None, "", "abc", "-1", "1e9", "٣"])
@pytest.mark.parametrize("content", [b"", b"short", WHOLE])
def test_a_body_within_the_bound_is_read_whole(content: bytes, content_length: str | None) -> None:
    """Whatever the header says that is no length."""
    assert read_body(Source(content).read, content_length) == content
    assert asyncio.run(read_chunks(Source(content).pieces(), content_length)) == content


def test_no_more_is_asked_for_than_was_announced() -> None:
    """Some servers wait for bytes that do not come; a body that is shorter than announced ends where it ends."""
    source = Source(b"body and the next request", endless=True)
    assert read_body(source.read, "4") == b"body"
    assert source.given == 4
    assert read_body(Source(b"cut").read, "100") == b"cut"
    assert read_body(source.read, "0") == b""


@pytest.mark.parametrize("content_length", [str(MAX_BODY_BYTES + 1), "9" * 30])
def test_an_announced_excess_is_not_read_at_all(content_length: str) -> None:
    """The header alone decides."""
    source = Source(WHOLE + b"x")
    assert read_body(source.read, content_length) is None
    assert asyncio.run(read_chunks(source.pieces(), content_length)) is None
    assert source.given == 0


def test_an_unannounced_excess_is_read_to_the_bound_only() -> None:
    """And a few bytes more, the piece that exceeds it."""
    plain, pieces = Source(b"", endless=True), Source(b"", endless=True)
    assert read_body(plain.read) is None
    assert asyncio.run(read_chunks(pieces.pieces())) is None
    assert plain.given == MAX_BODY_BYTES + 1
    assert pieces.given <= MAX_BODY_BYTES + 10_000


def test_the_bound_is_inclusive() -> None:
    """One byte more is too many."""
    assert read_body(Source(WHOLE).read, str(MAX_BODY_BYTES)) == WHOLE
    assert read_body(Source(WHOLE + b"x").read) is None
