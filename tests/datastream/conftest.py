"""Servers of the stream and clients that follow them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.datastream.support import Script, Service, following, playing, serving
from tests.support.faces import Driver
from tests.support.upstream import Upstream

Follow = Callable[..., Driver]


@pytest.fixture
def service() -> Iterator[Service]:
    """The local server."""
    with serving() as found:
        yield found


@pytest.fixture
def script() -> Iterator[Script]:
    """A stream that plays what the test says."""
    with playing() as found:
        yield found


@pytest.fixture
def follow(face: str, service: Service) -> Iterator[Follow]:
    """Make clients of the face under test that follow ``service``; each is closed after the test."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(following(face, service.url, **options))


@pytest.fixture
def listen(face: str, script: Script, upstream: Upstream) -> Iterator[Follow]:
    """Make clients of the face under test that follow ``script`` and ask ``upstream`` for everything else."""

    def make(**options: Any) -> Driver:
        return stack.enter_context(following(face, upstream.url, **{"stream_url": script.url, **options}))

    with ExitStack() as stack:
        yield make
