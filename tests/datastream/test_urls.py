"""Where the stream is."""

from __future__ import annotations

import pytest

from schematic_core.datastream.urls import convert_api_url_to_websocket_url
from schematic_core.errors import ConfigurationError


@pytest.mark.parametrize(
    ("api_url", "expected"),
    [
        ("https://api.schematichq.com", "wss://datastream.schematichq.com/datastream"),
        ("https://api.staging.example.com/v1", "wss://datastream.staging.example.com/datastream"),
        ("https://flags.example.com", "wss://flags.example.com/datastream"),
        ("http://localhost:8080", "ws://localhost:8080/datastream"),
        ("HTTPS://API.example.com:8443/v1?a=b#c", "wss://datastream.example.com:8443/datastream"),
        ("https://api", "wss://api/datastream"),
        ("https://api:81", "wss://api:81/datastream"),
        ("https://api2.example.com", "wss://api2.example.com/datastream"),
        ("https://my.api.example.com", "wss://my.api.example.com/datastream"),
        ("http://[::1]:8080/", "ws://[::1]:8080/datastream"),
        ("https://me:pass@api.example.com", "wss://me:pass@datastream.example.com/datastream"),
        (" https://api.example.com ", "wss://datastream.example.com/datastream"),
        ("ws://api.example.com/stream?x=1", "ws://api.example.com/stream?x=1"),
        ("wss://api.example.com", "wss://api.example.com"),
    ],
)
def test_the_stream_is_beside_the_api(api_url: str, expected: str) -> None:
    """Scheme and first label change, the port stays, the path is the stream's; socket URLs stay as they are."""
    assert convert_api_url_to_websocket_url(api_url) == expected


@pytest.mark.parametrize(
    "api_url",
    [
        "",
        " ",
        "ftp://api.example.com",
        "api.example.com",
        "https://",
        "https://:80",
        "http://a:port",
        "http://[::1",
        "ws:",
    ],
)
def test_anything_else_is_a_wrong_setting(api_url: str) -> None:
    """Other schemes and URLs without a host are refused, and the message shows what was given."""
    with pytest.raises(ConfigurationError, match="base_url") as caught:
        convert_api_url_to_websocket_url(api_url)

    assert repr(api_url.strip()) in str(caught.value)


def test_a_password_in_the_url_is_not_shown() -> None:
    """The message about a wrong URL leaves credentials out."""
    with pytest.raises(ConfigurationError) as caught:
        convert_api_url_to_websocket_url("ftp://me:secret@example.com")

    assert "secret" not in str(caught.value)
