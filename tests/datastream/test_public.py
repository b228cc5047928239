"""The package's public names: all there, each loaded when it is first used."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from schematic_core import datastream


def test_every_public_name_can_be_had() -> None:
    """The list is pinned by the contract (and ours are `StreamChange` and `StreamStatus`)."""
    module = importlib.reload(datastream)

    assert module.__all__ == sorted(module.__all__)
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        assert getattr(module, name) is not None
    assert module.__dict__["DataStreamClient"] is module.DataStreamClient


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    """As in any module."""
    with pytest.raises(AttributeError, match="DataStreamServer"):
        _ = datastream.DataStreamServer


def test_importing_the_package_loads_neither_the_socket_nor_the_engine() -> None:
    """A client that does not use the stream does not pay for it."""
    program = (
        "import sys, schematic_core.datastream as d; d.MessageType; d.partial_company;"
        "print([m for m in ('websockets', 'wasmtime', 'httpx', 'asyncio') if m in sys.modules])"
    )

    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert printed.stdout.strip() == "[]"
