"""Where the stream is, told from where the API is."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from schematic_core.errors import ConfigurationError

__all__ = ["convert_api_url_to_websocket_url"]

_SCHEMES = {"http": "ws", "https": "wss"}
_SOCKETS = ("ws", "wss")


def convert_api_url_to_websocket_url(api_url: str) -> str:
    """Give the URL of the stream that belongs to an API.

    Args:
        api_url: e.g. ``"https://api.schematichq.com"``; a ``ws`` or ``wss`` URL is given back as it is.

    Raises:
        ConfigurationError: it is no URL of these schemes with a host.

    Source: ``datastream.md`` section 1: ``api.`` at the front of a host of at least two labels becomes ``datastream.``,
    the port is kept, path, query and fragment are not.

    Example:
        >>> convert_api_url_to_websocket_url("https://api.schematichq.com")
        'wss://datastream.schematichq.com/datastream'
        >>> convert_api_url_to_websocket_url("http://localhost:8080")
        'ws://localhost:8080/datastream'
    """
    url = api_url.strip()
    try:
        parts = urlsplit(url)
        is_whole = bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, brackets that do not match
        is_whole = False
    if not is_whole or parts.scheme not in (*_SCHEMES, *_SOCKETS):
        raise ConfigurationError(f"base_url must be an http, https, ws or wss URL with a host, not {_shown(url)}")
    if parts.scheme in _SOCKETS:
        return url
    credentials, at, place = parts.netloc.rpartition("@")
    label, dot, rest = place.partition(".")
    if label.lower() == "api" and rest:
        place = f"datastream{dot}{rest}"
    return urlunsplit((_SCHEMES[parts.scheme], f"{credentials}{at}{place}", "/datastream", "", ""))


def _shown(url: str) -> str:
    """Give a URL for a message, without a password that may be in it."""
    return repr(url.rpartition("@")[2])
