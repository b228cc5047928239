"""Environment files: parsed with line numbers, checked, and compiled to the engine's input.

``load_environment`` reads a file, ``parse_environment`` a text; both give an ``Environment``. ``companies`` and
``users`` make the records it starts from; ``flag_document``, ``company_document`` and ``user_document`` give the
engine's input at one moment. Everything here is pure but ``load_environment``.
"""

from __future__ import annotations

from pathlib import Path

from schematic_core.environment.compile import company_document, entitlement_documents, flag_document, user_document
from schematic_core.environment.document import read_json, read_yaml
from schematic_core.environment.model import Company, Environment, User
from schematic_core.environment.reader import read_environment
from schematic_core.environment.seed import companies, users
from schematic_core.errors import ConfigurationError

__all__ = [
    "Company",
    "Environment",
    "User",
    "companies",
    "company_document",
    "entitlement_documents",
    "flag_document",
    "load_environment",
    "parse_environment",
    "user_document",
    "users",
]


def load_environment(path: str | Path) -> Environment:
    """Read an environment file: JSON when its name ends in ``.json``, otherwise YAML.

    Raises:
        ConfigurationError: the file cannot be read, or something in it is wrong; one line per mistake, each with file,
            line and what was expected.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigurationError(f"environment file {str(path)!r} cannot be read: {reason}") from error
    return parse_environment(text, name=str(path))


def parse_environment(text: str, *, name: str = "schematic.yaml") -> Environment:
    """Read an environment from text.

    Args:
        text: YAML, or JSON when ``name`` ends in ``.json``.
        name: what the file is called in messages.

    Raises:
        ConfigurationError: something in it is wrong; one line per mistake, each with file, line and what was expected.
    """
    root = read_json(text, name) if name.lower().endswith(".json") else read_yaml(text, name)
    return read_environment(root, name)
