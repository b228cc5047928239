"""Shell: look host names up on threads of our own; the system's look-up cannot be interrupted, only left behind."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["Lookup", "addresses", "find"]

Lookup = Callable[..., list[Any]]

_SCOPE = 3
"""Where the scope is in an address of IPv6; one of IPv4 is shorter."""


def addresses(host: str, port: int, timeout: float | None, lookup: Lookup | None = None) -> list[str]:
    """Give the addresses of a host as `find` does, without waiting longer than allowed.

    A look-up that is late goes on by itself on its daemon thread, and nobody hears of it.

    Args:
        host: a name or an address.
        port: where the connection will go.
        timeout: seconds; None waits as long as it takes.
        lookup: `socket.getaddrinfo` when None.

    Raises:
        TimeoutError: it took too long.
        OSError: there is no such host.
    """
    found: list[str] = []
    faults: list[OSError] = []
    done = threading.Event()

    def look() -> None:
        try:
            found.extend(find(host, port, lookup))
        except OSError as fault:
            faults.append(fault)
        finally:
            done.set()

    try:
        threading.Thread(target=look, name="schematic-lookup", daemon=True).start()
    except RuntimeError:  # the interpreter is ending and starts no threads
        look()
    if not done.wait(timeout):
        raise TimeoutError(f"looking {host!r} up took too long")
    if not found:
        raise OSError(f"there is no host {host!r}") from next(iter(faults), None)
    return found


def find(host: str, port: int, lookup: Lookup | None = None) -> list[str]:
    """Give the addresses of a host, in the system's order, each once, at least one; blocks as long as that takes.

    Args:
        host: a name or an address.
        port: where the connection will go.
        lookup: `socket.getaddrinfo` when None.

    Raises:
        OSError: there is no such host.
    """
    try:
        entries = (lookup or socket.getaddrinfo)(host, port, type=socket.SOCK_STREAM)
        found = list(dict.fromkeys(_address(entry[4]) for entry in entries))
    except (
        Exception
    ) as fault:  # "a..b" raises UnicodeError, and what a program put in the place of the look-up, anything
        raise OSError(f"there is no host {host!r}") from fault
    if not found:
        raise OSError(f"there is no host {host!r}")
    return found


def _address(place: Sequence[Any]) -> str:
    """Give the text of an address; one of a single link means nothing without its scope."""
    host: str = place[0]
    scope = place[_SCOPE] if len(place) > _SCOPE else 0
    return f"{host}%{scope}" if scope and "%" not in host else host
