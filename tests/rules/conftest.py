"""Modules under test: the committed one, and one built with overflow and bounds checks."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from schematic_core.rules import Engine

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def safe_engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """An engine whose arithmetic and indexing trap where the committed one would go on."""
    if find_spec("ziglang") is None:
        pytest.skip("the checked module can only be built with ziglang installed")
    out = tmp_path_factory.mktemp("engine") / "safe.wasm"
    subprocess.run([sys.executable, ROOT / "tools" / "build_wasm.py", "--safe", out], check=True, capture_output=True)
    return Engine(module_path=out)
