"""The commands ``schematic webhook``: send a made-up delivery to an endpoint, or recorded ones again."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from schematic_core.config import webhook_secrets
from schematic_core.errors import ConfigurationError
from schematic_core.webhooks import sign
from schematic_core.webhooks.sample import EVENT_TYPES, sample
from schematic_core.wire import dumps

if TYPE_CHECKING:
    import httpx

    _Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse has no other name for it

__all__ = ["add_webhook_commands"]

DEFAULT_URL = "http://127.0.0.1:8000/webhooks/schematic"

_EPILOG = "exit codes: 0 every delivery was acknowledged (2xx), 1 one was not, 2 the arguments are wrong"
_SUCCESS = range(200, 300)
_MAX_SHOWN = 10_000


def add_webhook_commands(commands: _Commands) -> None:
    """Add ``webhook send`` and ``webhook replay`` to the command's parser; each sets ``run``."""
    about = "send signed webhook deliveries to an endpoint, for local work"
    webhook = commands.add_parser("webhook", help=about, description=about.capitalize() + ".")
    actions = webhook.add_subparsers(dest="action", required=True, metavar="ACTION")

    send = actions.add_parser("send", help="send a sample of one event type", epilog=_EPILOG)
    send.add_argument("type", metavar="TYPE", help="e.g. company.plan_changed")
    send.add_argument("url", metavar="URL", help=f"the endpoint, e.g. {DEFAULT_URL}")
    send.add_argument("--data", help="the event's body, JSON, or @FILE; made up from the API's schema otherwise")
    send.add_argument("--company-id", help="id of the company concerned")
    send.add_argument("--feature-id", help="id of the feature concerned")
    send.set_defaults(run=_send)

    replay = actions.add_parser(
        "replay",
        help="send recorded deliveries again, as they were, signed anew",
        description="Send recorded deliveries again, byte for byte, signed anew. FILE holds raw bodies or records of "
        "/webhook-events: one, a list, an answer of the API, or one to a line.",
        epilog=_EPILOG,
    )
    replay.add_argument("file", metavar="FILE", help="the recording; - reads standard input")
    replay.add_argument("--url", default=DEFAULT_URL, help="the endpoint (default: %(default)s)")
    replay.set_defaults(run=_replay)

    for action in (send, replay):
        action.add_argument("--secret", help="of the endpoint (default: the first of SCHEMATIC_WEBHOOK_SECRET)")
        action.add_argument(
            "--timeout", type=_seconds, default=10.0, help="seconds for one delivery (default: %(default)s)"
        )


def _send(options: argparse.Namespace) -> int:
    data = None if options.data is None else _data(options.data)
    if data is None and options.type not in EVENT_TYPES:
        near = get_close_matches(options.type, EVENT_TYPES, 3, 0.5)
        hint = f"; did you mean {' or '.join(near)}?" if near else "; give its body with --data"
        raise ConfigurationError(f"there is no published webhook event {options.type!r}{hint}")
    envelope = sample(options.type, data)
    given = {"company_id": options.company_id, "feature_id": options.feature_id}
    envelope.update({name: value for name, value in given.items() if value is not None})
    return _deliver([dumps(envelope)], options.url, options)


def _replay(options: argparse.Namespace) -> int:
    bodies = recorded(_read(options.file))
    if not bodies:
        raise ConfigurationError(f"{options.file} holds no delivery")
    return _deliver(bodies, options.url, options)


def recorded(recording: bytes) -> list[bytes]:
    """Give the raw bodies of a recording, byte for byte unless they stand in a list; the oldest first if all are dated.

    Raises:
        ConfigurationError: something in it is no delivery.
    """
    texts = [recording] if _is_json(recording) else [line for line in recording.splitlines() if line.strip()]
    found = [record for text in texts for record in _records(_parsed(text), text)]
    if all(created_at for created_at, _ in found):
        found.reverse()  # the API lists the newest first, and dates do not tell all apart
        found.sort(key=itemgetter(0))
    return [body for _, body in found]


def _records(value: Any, raw: bytes | None = None) -> Iterator[tuple[str, bytes]]:
    """Give when each delivery was made, if that is said, and its body; ``raw`` is what ``value`` was read from."""
    if _is_envelope(value):
        yield "", dumps(value) if raw is None else raw
    elif isinstance(value, list):
        for one in value:
            yield from _records(one)
    elif isinstance(value, dict) and isinstance(value.get("payload"), str):
        yield str(value.get("created_at") or ""), value["payload"].encode("utf-8", "replace")
    elif isinstance(value, dict) and "data" in value:
        yield from _records(value["data"])
    else:
        raise ConfigurationError("the recording holds something that is no webhook delivery")


def _is_envelope(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("action"), str)


def _deliver(bodies: list[bytes], url: str, options: argparse.Namespace) -> int:
    secret = _secret(options.secret)
    _check_url(url)
    import httpx

    with httpx.Client(timeout=options.timeout, follow_redirects=False, trust_env=False) as client:
        outcomes = [_post(client, url, body, secret) for body in bodies]
    return 0 if all(outcomes) else 1


def _check_url(url: str) -> None:
    import httpx

    try:
        httpx.URL(url)
        parts = urlsplit(url)
        fits = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except (httpx.InvalidURL, ValueError):
        fits = False
    if not fits:
        raise ConfigurationError(f"URL must be one of http or https, not {url!r}")


def _post(client: httpx.Client, url: str, body: bytes, secret: str) -> bool:
    """Send one delivery, and print what came of it; gives whether it was acknowledged."""
    import httpx

    headers = {"Content-Type": "application/json", **sign(body, secret)}
    try:
        answer = client.post(url, content=body, headers=headers)
    except (httpx.HTTPError, ValueError) as error:  # ValueError: a host that IDNA refuses
        sys.stdout.write(f"{_action(body)}: no answer: {type(error).__name__}: {error}\n")
        return False
    sys.stdout.write(f"{_action(body)}: {answer.status_code} {answer.reason_phrase}".rstrip() + "\n")
    if answer.text:
        sys.stdout.write(answer.text[:_MAX_SHOWN].rstrip("\n") + "\n")
    return answer.status_code in _SUCCESS


def _action(body: bytes) -> str:
    envelope = _parsed(body) if _is_json(body) else None
    return str(envelope["action"]) if envelope is not None and _is_envelope(envelope) else "delivery"


def _secret(given: str | None) -> str:
    secrets = webhook_secrets(given, os.environ)
    if not secrets:
        raise ConfigurationError("there is no secret to sign with; give --secret or set SCHEMATIC_WEBHOOK_SECRET")
    return secrets[0]


def _data(given: str) -> dict[str, Any]:
    text = _read(given[1:]) if given.startswith("@") else given.encode()
    value = _parsed(text)
    if not isinstance(value, dict):
        raise ConfigurationError("--data must be a JSON object")
    return value


def _read(name: str) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{name} cannot be read: {error.strerror}") from error


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError("expected JSON") from error


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of seconds, got {text!r}")
    return seconds
