"""README, docs and docstrings say what is true: their examples run, their links lead somewhere."""

from __future__ import annotations

import doctest
import importlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.test_architecture import MODULES

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
EXAMPLES = [
    (page, number, block)
    for page in PAGES
    for number, block in enumerate(
        re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    )
]
WITH_DOCTESTS = [name for name, path in MODULES.items() if ">>> " in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize(
    ("page", "number", "block"), EXAMPLES, ids=[f"{page.name}-{number}" for page, number, _ in EXAMPLES]
)
def test_examples_run(page: Path, number: int, block: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each python block of a page runs on its own, without a service: offline, unless it brings what answers with it."""
    if not ("serve(" in block or "with Schematic(environment_file" in block):
        monkeypatch.setenv("SCHEMATIC_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)

    exec(compile(block, f"{page.name} block {number}", "exec"), {"__name__": "example"})


@pytest.mark.parametrize("name", WITH_DOCTESTS)
def test_examples_in_docstrings_run(name: str) -> None:
    """Each example of a docstring gives what it says."""
    results = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)

    assert results.attempted > 0
    assert results.failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Each relative link of a page names a file that exists."""
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8"))

    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_readme_s_application_is_gated(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fifteen lines of the README, against the local server with the example's file: let in, metered, denied."""
    from starlette.testclient import TestClient

    from schematic_core.server import serve

    block = next(block for page, _, block in EXAMPLES if page.name == "README.md" and "FastAPI()" in block)
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(block, "README.md", "exec"), names)
    assert len([line for line in block.splitlines() if line.strip()]) <= 15

    with serve(ROOT / "examples" / "fastapi_app" / "schematic.yaml") as server:
        monkeypatch.setenv("SCHEMATIC_API_URL", server.url)
        monkeypatch.setenv("SCHEMATIC_API_KEY", "dev")
        with TestClient(names["app"]) as client:
            anonymous = client.post("/exports")
            *allowed, denied = [client.post("/exports", headers={"x-company": "acme"}) for _ in range(4)]

    assert anonymous.status_code == 401
    assert [(answer.status_code, answer.json()) for answer in allowed] == [(200, {"premium": False})] * 3
    assert (denied.status_code, denied.json()["code"]) == (402, "limit_reached")


def test_the_local_file_example_runs() -> None:
    """The program reaches the limit of its file, and the edited file lifts it."""
    ran = subprocess.run(
        [sys.executable, ROOT / "examples" / "local_file.py"], capture_output=True, text=True, check=True
    )

    answers = [line.split()[0] for line in ran.stdout.splitlines() if "[source=file]" in line]
    assert answers == ["allowed", "allowed", "denied", "allowed"]
    assert ran.stderr == ""
