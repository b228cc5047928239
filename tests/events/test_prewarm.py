"""Prewarming with the local server: an identified company is here before its first check, on both faces."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from schematic_core.client import IdentifyOptions
from tests.datastream.support import Service, following, serving


@pytest.fixture
def service() -> Iterator[Service]:
    with serving() as found:
        yield found


@pytest.mark.parametrize("face", ["sync", "async"])
def test_an_identified_company_is_held_before_anybody_asks(service: Service, face: str) -> None:
    """Without ``prewarm`` it is fetched with its first check only."""
    with following(face, service.url) as client:
        assert client.datastream is not None
        held = client.datastream
        client.identify({"id": "u-cold"}, company={"keys": {"id": "cold"}})
        client.identify({"id": "u-warm"}, company={"keys": {"id": "warm"}}, options=IdentifyOptions(prewarm=True))
        assert client.flush(10.0) == 0

        end = time.monotonic() + 10.0
        while time.monotonic() < end and not (held.find_company({"id": "warm"}) and held.find_user({"id": "u-warm"})):
            time.sleep(0.01)  # the stream answers in its own time

        assert held.find_company({"id": "warm"}) is not None
        assert held.find_user({"id": "u-warm"}) is not None
        assert held.find_company({"id": "cold"}) is None
