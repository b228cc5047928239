"""Fixtures of the whole suite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support.faces import Driver, driving
from tests.support.upstream import Upstream, running


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test depends on the environment of whoever runs it."""
    for name in ("API_KEY", "API_URL", "EVENT_CAPTURE_URL", "OFFLINE", "WEBHOOK_SECRET"):
        monkeypatch.delenv(f"SCHEMATIC_{name}", raising=False)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A scriptable service on a real socket."""
    with running() as service:
        yield service


@pytest.fixture(params=["sync", "async"])
def face(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def connect(face: str, upstream: Upstream) -> Iterator[Callable[..., Driver]]:
    """Make clients of the face under test that talk to `upstream`; each is closed after the test."""
    with ExitStack() as stack:

        def make(*arguments: Any, **options: Any) -> Driver:
            given = {"base_url": upstream.url, **options}
            return stack.enter_context(driving(face, *(arguments or ("key",)), **given))

        yield make
