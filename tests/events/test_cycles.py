"""Clients that come and go leave nothing behind; `make soak` takes ten times as many."""

from __future__ import annotations

import pytest

from tests.events.cycles import over_a_dead_stream, over_http, run


def test_a_thousand_clients_leave_nothing_behind() -> None:
    """Of both faces, closed or dropped, idle or used: threads, descriptors and memory stay flat, and each event arrives."""
    result = run(1000, over_http)

    assert result.faults() == [], str(result)


def test_clients_with_a_dead_stream_leave_nothing_behind() -> None:
    """Also while it dials."""
    pytest.importorskip("wasmtime")

    result = run(100, over_a_dead_stream, warm_up=40)

    assert result.faults() == [], str(result)
