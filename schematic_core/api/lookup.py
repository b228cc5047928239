"""Shell: look a host name up without waiting longer than allowed; the system's own look-up cannot be interrupted."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["addresses"]

Lookup = Callable[..., list[Any]]


def addresses(host: str, port: int, timeout: float | None, lookup: Lookup = socket.getaddrinfo) -> list[str]:
    """Give the addresses of a host, in the system's order, at least one.

    A look-up that is late goes on by itself on its daemon thread, and nobody hears of it.

    Args:
        host: a name or an address.
        port: where the connection will go.
        timeout: seconds; None waits as long as it takes.
        lookup: `socket.getaddrinfo`.

    Raises:
        TimeoutError: it took too long.
        OSError: there is no such host.
    """
    found: list[Any] = []
    done = threading.Event()

    def look() -> None:
        try:
            found.extend(lookup(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:  # UnicodeError: what a name such as "a..b" raises
            found.append(error)
        done.set()

    try:
        threading.Thread(target=look, name="schematic-lookup", daemon=True).start()
    except RuntimeError:  # the interpreter is ending and starts no threads
        look()
    if not done.wait(timeout):
        raise TimeoutError(f"looking {host!r} up took too long")
    if not found or isinstance(found[0], Exception):
        raise OSError(f"there is no host {host!r}") from (found[0] if found else None)
    return list(dict.fromkeys(entry[4][0] for entry in found))
