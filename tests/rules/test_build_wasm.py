"""The tool that builds the module and guards the committed one."""

from __future__ import annotations

import importlib.util
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "build_wasm.py"


@pytest.fixture
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_wasm", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_module_that_differs_from_its_source_is_refused(tool: ModuleType) -> None:
    """The message says what to do."""
    with pytest.raises(tool.BuildError, match=r"run python tools/build_wasm\.py"):
        tool.check(b"old", b"new")


def test_a_module_with_source_paths_is_refused(tool: ModuleType) -> None:
    """Even if it is what the source gives."""
    with pytest.raises(tool.BuildError, match="paths"):
        tool.check(b"rules/engine.zig", b"rules/engine.zig")


@pytest.mark.parametrize("found", [None, "0.13.0"])
def test_another_compiler_is_refused(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], found: str | None
) -> None:
    """Or none at all: the exit status is 1 and the message names the version."""

    def version(name: str) -> str:
        if found is None:
            raise metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(tool.metadata, "version", version)

    assert tool.main(["--check"]) == 1
    assert tool.ZIGLANG in capsys.readouterr().err
