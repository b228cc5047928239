"""The command ``schematic``: ``dev`` runs the local server, ``webhook`` sends deliveries."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from schematic_core.cli_webhook import add_webhook_commands
from schematic_core.errors import ConfigurationError

__all__ = ["main"]

_DEFAULT_FILES = ("schematic.yaml", "schematic.yml", "schematic.json")
_NEEDED = ("starlette", "uvicorn", "wasmtime")
_MAX_PORT = 65535


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: of the command line; those of the process when absent.

    Returns:
        The exit code: 0, also after Ctrl-C; 1 when a delivery was not acknowledged; 2 when the arguments, the environment
        file or the installation are wrong.
    """
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except ConfigurationError as error:
        sys.stderr.write(f"schematic: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="schematic", description="Schematic for Python web applications.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    dev = commands.add_parser(
        "dev", help="run the local Schematic server", description="Run the local Schematic server."
    )
    dev.add_argument(
        "--env-file", type=Path, help="environment file, YAML or JSON (default: schematic.yaml here, else an empty one)"
    )
    dev.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    dev.add_argument("--port", type=_port, default=8080, help="port to listen on, 0 for any (default: %(default)s)")
    dev.add_argument("--dev-api", action="store_true", help="also serve /_dev/: clock, faults, deliveries, state")
    dev.add_argument("--endpoints", action="store_true", help="print the endpoints that are implemented, and exit")
    dev.set_defaults(run=_dev)
    add_webhook_commands(commands)
    return parser


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= _MAX_PORT):
        raise argparse.ArgumentTypeError(f"expected a number from 0 to {_MAX_PORT}, got {text!r}")
    return int(text)


def _require_extra() -> None:
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"the local server needs {', '.join(missing)}: install schematic-suite[server], "
            "e.g. pip install 'schematic-suite[server]'"
        )


def _print_endpoints() -> int:
    from schematic_core.server import implemented_operations

    sys.stdout.write("".join(f"{operation.method:6} {operation.path}\n" for operation in implemented_operations()))
    return 0


def _dev(options: argparse.Namespace) -> int:
    _require_extra()
    if options.endpoints:
        return _print_endpoints()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    from schematic_core.environment import load_environment, parse_environment
    from schematic_core.server import create_app
    from schematic_core.server.run import bind, run

    path: Path | None = options.env_file or next((Path(one) for one in _DEFAULT_FILES if Path(one).is_file()), None)
    environment = load_environment(path) if path else parse_environment('{"version": 1}', name="schematic.json")
    try:
        listener, url = bind(options.host, options.port)
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {options.host}:{options.port}: {error.strerror}") from error
    with listener:
        sys.stdout.write(f"Schematic server on {url}\n")
        sys.stdout.write(f"  environment: {path or 'empty (no environment file)'}\n")
        sys.stdout.write(f"  SCHEMATIC_API_URL={url}\n")
        sys.stdout.flush()
        run(create_app(environment, dev_api=options.dev_api), listener)
    return 0
