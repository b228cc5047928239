"""The vendor's own client, 1.4.6, works with our local server: that is the server's acceptance test."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from schematic_core.server import serve

HERE = Path(__file__).parent
PYTHON = HERE.parents[1] / ".peer" / "venv" / "bin" / "python"


needs_peer = pytest.mark.skipif(
    not PYTHON.exists(), reason="the vendor's package is not installed in .peer; `make test` does that"
)


@needs_peer
def test_the_vendors_client_checks_meters_and_manages() -> None:
    """Flags are checked, usage counts up to a limit that denies, companies and users are written, listed, identified."""
    with serve(HERE / "environment.yaml") as server:
        ran = subprocess.run(
            [PYTHON, HERE / "driver.py", server.url], check=False, capture_output=True, text=True, timeout=60
        )

    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    assert json.loads(ran.stdout) == {
        "reports": [False, True],
        "unknown flag": False,
        "before": [True, 0, 3],
        "at two": [True, 2, 3],
        "at the limit": [False, 3, 3],
        "company": ["Initech", "id", "initech", {"region": "eu"}],
        "user": ["Ada", [True]],
        "companies": ["Initech", "acme", "globex"],
        "renamed": "Initech plc",
        "users": ["Ada", "Bob"],
        "async": [True, "acme", [True, 1, 100]],
    }


@needs_peer
def test_the_vendors_client_checks_locally_on_our_stream() -> None:
    """While the API answers no check, what we push decides: a plan, usage, an override; and it connects again."""
    with serve(HERE / "environment.yaml") as server:
        ran = subprocess.run(
            [PYTHON, HERE / "driver.py", server.url, "stream"], check=False, capture_output=True, text=True, timeout=90
        )

    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == {
        "at first": [[True, 0, 3], False],
        "on another plan": [True, [True, 0, 100]],
        "tracked": [True, 7, 100],
        "overridden": [False, 7, 5],
        "requests": [
            {"action": "start", "entity_type": "rulesengine.Flags"},
            {"action": "start", "entity_type": "rulesengine.Company", "keys": {"id": "acme"}},
        ],
        "connected again": True,
        "after a restart": [False, 7, 5],
    }
