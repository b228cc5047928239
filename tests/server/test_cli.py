"""The command ``schematic``, as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from schematic_core.cli import main
from schematic_core.server import implemented_operations
from tests.server.conftest import ENVIRONMENT

_ROOT = Path(__file__).parents[2]
_LIMIT = 30


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "schematic_core", *arguments]


@contextmanager
def _running(directory: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    with subprocess.Popen(
        _command("dev", "--port", "0", *arguments), cwd=directory, env=environment, text=True, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        try:
            yield process, first
        finally:
            process.kill()


def test_the_first_line_gives_the_chosen_url(tmp_path: Path) -> None:
    """``--port 0`` prints the port, and the server answers there; the file of the directory is found."""
    (tmp_path / "schematic.yaml").write_text(ENVIRONMENT, encoding="utf-8")

    with _running(tmp_path, "--dev-api") as (_, first):
        assert first.startswith("Schematic server on http://127.0.0.1:")
        url = first.split()[-1]
        answer = httpx.post(f"{url}/flags/reports/check", json={"company": {"id": "acme"}}, timeout=_LIMIT)
        private = httpx.get(f"{url}/_dev/clock", timeout=_LIMIT)

    assert answer.json()["data"]["value"] is True
    assert private.status_code == 200


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    """Also with a connection open and a delivery that cannot be made; Ctrl-C is no failure."""
    hook = 'webhooks: [{url: "http://127.0.0.1:1/none", secret: s}]\n'
    (tmp_path / "env.yaml").write_text(ENVIRONMENT + hook, encoding="utf-8")

    with _running(tmp_path, "--env-file", "env.yaml") as (process, first), httpx.Client(timeout=_LIMIT) as client:
        client.post(f"{first.split()[-1]}/companies", json={"keys": {"id": "neu"}})
        process.send_signal(number)
        code = process.wait(_LIMIT)

    assert code == (0 if number == signal.SIGINT else -signal.SIGTERM)


def test_ctrl_c_while_it_starts_is_no_traceback(tmp_path: Path) -> None:
    """Here while it waits for its environment file, which is a pipe."""
    pipe = tmp_path / "env.yaml"
    os.mkfifo(pipe)
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}

    with subprocess.Popen(
        _command("dev", "--env-file", str(pipe)), env=environment, text=True, stderr=subprocess.PIPE
    ) as process:
        writer = _opened(pipe)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=_LIMIT)
        os.close(writer)

    assert (process.returncode, said) == (0, "")


def _opened(pipe: Path) -> int:
    deadline = time.monotonic() + _LIMIT
    while True:
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody reads it yet
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_wrong_file_is_reported_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, file, line and what was expected; all mistakes at once."""
    path = tmp_path / "env.yaml"
    path.write_text("version: 1\nplans:\n  pro: {entitlements: {exports: lots}}\nflags: 3\n", encoding="utf-8")

    code = main(["dev", "--env-file", str(path)])

    said = capsys.readouterr().err
    assert code == 2
    assert f"{path}:3: plans.pro.entitlements.exports: expected true, false, unlimited" in said
    assert f"{path}:4: flags: expected a mapping, found 3" in said


def test_a_missing_file_and_a_taken_port_are_told_plainly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line on standard error, exit code 2."""
    import socket

    assert main(["dev", "--env-file", str(tmp_path / "none.yaml")]) == 2
    assert "cannot be read: No such file" in capsys.readouterr().err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["dev", "--port", str(taken.getsockname()[1])]) == 2
    assert "cannot listen on 127.0.0.1:" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["-1", "70000", "http", ""])
def test_a_port_that_is_none_is_a_usage_error(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The usage message of argparse, and its exit code."""
    with pytest.raises(SystemExit) as exited:
        main(["dev", "--port", port])

    assert exited.value.code == 2
    assert "expected a number from 0 to 65535" in capsys.readouterr().err


def test_a_missing_extra_is_named() -> None:
    """What is missing, and how to install it; exit code 2."""
    program = "import sys; sys.modules['uvicorn'] = None; from schematic_core.cli import main; sys.exit(main(['dev']))"

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=_ROOT, capture_output=True, text=True, check=False, timeout=_LIMIT
    )

    assert done.returncode == 2
    assert "the local server needs uvicorn: install schematic-suite[server]" in done.stderr


def test_the_implemented_endpoints_can_be_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """One line each: method and path."""
    code = main(["dev", "--endpoints"])

    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert len(lines) == len(implemented_operations())
    assert "POST   /flags/{key}/check" in lines


def test_the_documented_program_runs() -> None:
    """The example of ``docs/local-server.md``, as printed."""
    page = (_ROOT / "docs" / "local-server.md").read_text(encoding="utf-8")
    program = page.partition("```python\n")[2].partition("```")[0]

    exec(compile(program, "docs/local-server.md", "exec"), {})
