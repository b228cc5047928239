"""Options of local answers: DataStream, and the environment file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from schematic_core import AsyncSchematic, ConfigurationError, DataStreamConfig, Schematic
from schematic_core.config import Settings, resolve


def settle(api_key: str | None = None, **options: Any) -> Settings:
    return resolve(api_key, options, environment={})  # type: ignore[arg-type]  # options of any kind are what is tested


def test_the_contract_s_defaults() -> None:
    """Units are the vendor's: milliseconds and bytes."""
    config = DataStreamConfig()

    assert (config.cache_ttl, config.max_message_size) == (86_400_000, 104_857_600)
    assert (config.replicator_mode, config.replicator_health_url, config.replicator_health_check) == (False, None, None)
    assert repr(config) == "DataStreamConfig(cache_ttl=86400000, max_message_size=104857600)"


def test_never_expiring_and_the_stream_s_bounds_are_settings() -> None:
    """``stale_after`` and ``max_entities`` are ours, and lie beside the vendor's."""
    settings = settle(
        api_key="k",
        use_datastream=True,
        datastream=DataStreamConfig(cache_ttl=None, max_message_size=1024),
        stale_after=5,
        max_entities=7,
    )

    assert (settings.use_datastream, settings.stale_after, settings.max_entities) == (True, 5.0, 7)
    assert (settings.datastream.cache_ttl, settings.datastream.max_message_size) == (None, 1024)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"cache_ttl": 0}, "datastream.cache_ttl"),
        ({"cache_ttl": 1.5}, "datastream.cache_ttl"),
        ({"max_message_size": True}, "datastream.max_message_size"),
        ({"flag_cache": object()}, "datastream.flag_cache"),
        ({"company_lookup_cache": object()}, "datastream.company_lookup_cache"),
        ({"replicator_mode": True}, "datastream.replicator_mode"),
    ],
)
def test_an_option_that_cannot_be_is_named(options: dict[str, Any], named: str) -> None:
    """What does not exist yet is refused too: silence would be taken for a shared cache."""
    with pytest.raises(ConfigurationError, match=named):
        DataStreamConfig(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"api_key": "k", "datastream": {"cache_ttl": 5}}, "datastream must be a DataStreamConfig, not dict"),
        ({"api_key": "k", "use_datastream": "perhaps"}, "use_datastream must be True or False"),
        ({"api_key": "k", "max_entities": 0}, "max_entities must be at least 1"),
        ({"environment_file": 7}, "environment_file must be a path, not int"),
        ({"environment_file": b"x.yaml"}, "environment_file must be a path, not bytes"),
        ({"api_key": "k", "use_datastream": True, "environment_file": "x.yaml"}, "two sources of one thing"),
    ],
)
def test_a_setting_that_cannot_be_is_named(options: dict[str, Any], message: str) -> None:
    """At the start, with what was expected."""
    with pytest.raises(ConfigurationError, match=message):
        settle(**options)


def test_an_environment_file_needs_no_key_and_sends_no_events() -> None:
    """A path of either kind will do."""
    settings = settle(environment_file=Path("schematic.yaml"))

    assert (settings.environment_file, settings.event_refusal) == ("schematic.yaml", "file")
    assert settle(offline=True, environment_file="x").event_refusal == "offline"
    assert settle(api_key="k").event_refusal is None


def test_offline_wins_over_every_source() -> None:
    """One switch turns everything off, in tests for instance."""
    for client in (
        Schematic(offline=True, use_datastream=True),
        AsyncSchematic(offline=True, environment_file="there-is-none.yaml"),
    ):
        assert client.datastream is None
