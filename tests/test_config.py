"""Settings: where each comes from, and how a wrong one is named at construction."""

from __future__ import annotations

import datetime as dt
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest
from typing_extensions import Unpack

from schematic_core.cache import AsyncLocalCache, LocalCache
from schematic_core.client import AsyncSchematic, AsyncSchematicConfig, Schematic, SchematicConfig
from schematic_core.config import ClientOptions, resolve, webhook_secrets
from schematic_core.errors import ConfigurationError, SchematicError


def test_keyword_arguments_win_over_the_config_object_and_that_over_the_environment() -> None:
    environment = {"SCHEMATIC_API_KEY": "env", "SCHEMATIC_API_URL": "http://env"}
    config = SchematicConfig(base_url="http://config", timeout=7)

    settings = resolve(None, {"timeout": 9}, config, environment=environment)

    assert (settings.api_key, settings.base_url, settings.timeout) == ("env", "http://config", 9.0)


def test_of_several_config_objects_the_first_wins() -> None:
    settings = resolve("k", {}, SchematicConfig(timeout=1), None, SchematicConfig(timeout=2), environment={})

    assert settings.timeout == 1.0


@pytest.mark.parametrize("blank", [None, "", "  "])
def test_none_and_blank_text_mean_unset(blank: Any) -> None:
    settings = resolve("k", {"base_url": blank}, environment={"SCHEMATIC_API_URL": "http://env"})

    assert settings.base_url == "http://env"


@pytest.mark.parametrize("word,offline", [("1", True), ("true", True), ("ON", True), ("0", False), ("no", False)])
def test_offline_can_be_said_in_the_environment(word: str, offline: bool) -> None:
    assert resolve("k", {}, environment={"SCHEMATIC_OFFLINE": word}).offline is offline


def test_events_go_to_the_capture_host_or_else_to_the_given_service() -> None:
    def target(**options: Unpack[ClientOptions]) -> tuple[str, str]:
        settings = resolve("k", options, environment={})
        return settings.event_url, settings.event_form

    assert target() == ("https://c.schematichq.com/batch", "capture")
    assert target(base_url="http://h/api/") == ("http://h/api/event-batch", "rest")
    assert target(base_url="http://h", event_capture_url="http://c/") == ("http://c/batch", "capture")


def test_the_form_of_events_may_be_chosen_and_never_leads_to_a_host_that_was_not_named() -> None:
    def target(**options: Unpack[ClientOptions]) -> tuple[str, str]:
        settings = resolve("k", options, environment={})
        return settings.event_url, settings.event_form

    assert target(event_endpoint="rest") == ("https://api.schematichq.com/event-batch", "rest")
    assert target(event_endpoint="rest", base_url="http://h") == ("http://h/event-batch", "rest")
    assert target(event_endpoint="rest", event_capture_url="http://c/") == ("http://c/event-batch", "rest")
    assert target(event_endpoint="capture") == ("https://c.schematichq.com/batch", "capture")
    assert target(event_endpoint="capture", base_url="http://h") == ("http://h/batch", "capture")
    assert target(event_endpoint="capture", base_url="http://h", event_capture_url="http://c") == (
        "http://c/batch",
        "capture",
    )


def test_delivery_of_events_is_set_by_plain_words() -> None:
    settings = resolve(
        "k",
        {
            "event_delivery": "immediate",
            "event_send_timeout": dt.timedelta(seconds=1),
            "event_spool": "events.spool",
            "event_sent_at": False,
            "flag_check_events": "distinct",
            "before_send": dict,
        },
        environment={},
    )

    assert (settings.event_delivery, settings.event_send_timeout) == ("immediate", 1.0)
    assert settings.event_spool == str(Path("events.spool").resolve())
    assert (settings.event_sent_at, settings.flag_check_events, settings.before_send) == (False, "distinct", dict)


def test_durations_may_be_timedeltas() -> None:
    assert resolve("k", {"timeout": dt.timedelta(minutes=1)}, environment={}).timeout == 60.0


def test_bounds_and_functions_of_the_event_sender_may_be_given() -> None:
    settings = resolve(
        "k",
        {"event_queue_max": 1, "event_queue_max_bytes": 2, "on_error": print, "event_http_client": httpx.Client},
        environment={},
    )

    assert (settings.event_queue_max, settings.event_queue_max_bytes) == (1, 2)
    assert (settings.on_error, settings.event_http_client) == (print, httpx.Client)


def test_the_vendor_s_name_for_the_http_client_works() -> None:
    with httpx.Client() as http_client:
        assert resolve("k", {"httpx_client": http_client}, environment={}).http_client is http_client


@pytest.mark.parametrize(
    "options,named",
    [
        ({}, "api_key"),
        ({"api_key": 5}, "api_key"),
        ({"api_key": "snow☃"}, "api_key"),
        ({"api_key": "two\nlines"}, "api_key"),
        ({"tiemout": 3}, "tiemout.*timeout"),
        ({"nonsense": 3}, "nonsense"),
        ({"base_url": "api.test"}, "base_url"),
        ({"base_url": "ftp://api.test"}, "base_url"),
        ({"base_url": "http://"}, "base_url"),
        ({"base_url": "http://a b"}, "base_url"),
        ({"base_url": "http://a:port"}, "base_url"),
        ({"base_url": "http://a?x=1"}, "base_url"),
        ({"base_url": 7}, "base_url"),
        ({"event_capture_url": "c.test"}, "event_capture_url"),
        ({"offline": "perhaps"}, "offline"),
        ({"offline": 3}, "offline"),
        ({"timeout": "20"}, "timeout"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"check_timeout": True}, "check_timeout"),
        ({"start_timeout": -1}, "start_timeout"),
        ({"max_retries": 1.5}, "max_retries"),
        ({"max_retries": -1}, "max_retries"),
        ({"event_queue_max": 0}, "event_queue_max"),
        ({"flag_defaults": ["exports"]}, "flag_defaults"),
        ({"flag_defaults": {"exports": "on"}}, "flag_defaults.*exports"),
        ({"flag_defaults": {7: True}}, "flag_defaults"),
        ({"headers": {"x": 1}}, "headers"),
        ({"headers": "x: 1"}, "headers"),
        ({"log_level": "LOUD"}, "log_level"),
        ({"cache_providers": "redis"}, "cache_providers"),
        ({"cache_providers": [object()]}, "cache_providers"),
        ({"event_http_client": "client"}, "event_http_client"),
        ({"on_error": 5}, "on_error"),
        ({"event_endpoint": "batch"}, "event_endpoint"),
        ({"event_delivery": "sync"}, "event_delivery"),
        ({"event_send_timeout": 0}, "event_send_timeout"),
        ({"event_spool": 5}, "event_spool"),
        ({"flag_check_events": "some"}, "flag_check_events"),
        ({"before_send": "hook"}, "before_send"),
        ({"trusted_client_clock": True, "event_sent_at": False}, "trusted_client_clock needs"),
        ({"http_client": "client"}, "http_client"),
        ({"timeout": -(10**400)}, "timeout"),
        ({"headers": {"x": "two\nlines"}}, "headers.*x"),
        ({"headers": {"x": "snow☃"}}, "headers.*x"),
        ({"headers": {"x y": "1"}}, "headers.*x y"),
        ({"cache_providers": [LocalCache]}, "cache_providers.*LocalCache"),
        ({"logger": "app"}, "logger"),
    ],
)
@pytest.mark.parametrize("kind", [Schematic, AsyncSchematic])
def test_a_wrong_setting_fails_at_construction_and_is_named(kind: Any, options: dict[str, Any], named: str) -> None:
    given = options if "api_key" in options or not options else {"api_key": "k", **options}

    with pytest.raises(ConfigurationError, match=named) as caught:
        kind(**given)

    assert isinstance(caught.value, (SchematicError, ValueError))


@pytest.mark.parametrize("variable", ["SCHEMATIC_API_URL", "SCHEMATIC_EVENT_CAPTURE_URL", "SCHEMATIC_OFFLINE"])
def test_a_wrong_setting_of_the_environment_is_named_by_its_variable(variable: str) -> None:
    with pytest.raises(ConfigurationError, match=variable):
        resolve("k", {}, environment={variable: "nonsense"})

    resolve(
        "k", {"base_url": "http://h", "event_capture_url": "http://c", "offline": False}, environment={variable: "x"}
    )


def test_two_http_clients_are_one_too_many() -> None:
    with httpx.Client() as one, pytest.raises(ConfigurationError, match="http_client and httpx_client"):
        Schematic("k", http_client=one, httpx_client=one)


def test_a_config_object_refuses_unknown_names_at_once() -> None:
    with pytest.raises(ConfigurationError, match="timout"):
        SchematicConfig(timout=3)  # type: ignore[call-arg]


def test_a_config_of_another_kind_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="config"):
        Schematic("k", {"timeout": 3})  # type: ignore[arg-type]


def test_an_async_http_client_is_refused_by_the_sync_face_and_the_other_way_round() -> None:
    with httpx.Client() as plain, pytest.raises(ConfigurationError, match="http_client"):
        AsyncSchematic("k", http_client=plain)
    with pytest.raises(ConfigurationError, match="http_client"):
        Schematic("k", http_client=httpx.AsyncClient())


def test_an_async_cache_is_refused_by_the_sync_face() -> None:
    with pytest.raises(ConfigurationError, match="cache_providers"):
        Schematic("k", cache_providers=[AsyncLocalCache()])

    AsyncSchematic("k", cache_providers=[AsyncLocalCache(), LocalCache()])


def test_offline_needs_no_key() -> None:
    assert Schematic(offline=True).check_flag("exports") is False
    assert Schematic("", SchematicConfig(offline=True, flag_defaults={"exports": True})).check_flag("exports") is True


def test_wrong_defaults_set_later_are_refused_too() -> None:
    client = Schematic(offline=True)
    with pytest.raises(ConfigurationError, match="exports"):
        client.set_flag_default("exports", "yes")  # type: ignore[arg-type]

    client.set_flag_defaults({"exports": True, "beta": lambda: True})
    assert client.check_flag("exports") is client.check_flag("beta") is True


def test_secrets_do_not_show() -> None:
    client = Schematic("sch_dev_verysecret", headers={"x-token": "hidden"})

    assert "verysecret" not in repr(client) + repr(client.settings) + repr(
        AsyncSchematicConfig(headers={"x": "verysecret"})
    )
    assert "hidden" not in repr(client.settings)
    proxied = Schematic("k", base_url="https://me:verysecret@proxy.test/api")
    assert "'https://proxy.test/api'" in repr(proxied)


def test_time_without_end_is_as_long_as_operating_systems_wait() -> None:
    assert resolve("k", {"check_timeout": 1e300, "timeout": 10**400}, environment={}).timeout == 1e9


@pytest.mark.parametrize("level", ["warning", "WARNING", logging.WARNING])
def test_a_client_may_log_less_than_its_logger(level: int | str, caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("an.application")
    client = Schematic("k", logger=logger, log_level=level)
    with caplog.at_level(logging.DEBUG, "an.application"):
        client._runtime.log.info("quiet")
        client._runtime.log.warning("loud")

    assert [record.getMessage() for record in caplog.records] == ["loud"]


def test_webhook_secrets_come_from_the_argument_or_the_environment() -> None:
    environment = {"SCHEMATIC_WEBHOOK_SECRET": "new, old ,"}

    assert webhook_secrets(None, environment) == ("new", "old")
    assert webhook_secrets("given", environment) == ("given",)
    assert webhook_secrets(["a", "b"], {}) == ("a", "b")
    assert webhook_secrets(None, {}) == ()


@pytest.mark.parametrize("empty", ["", "  ", [], ["a", ""], [b"a"], 5])
def test_an_empty_webhook_secret_is_refused(empty: Any) -> None:
    with pytest.raises(ConfigurationError, match="webhook_secret"):
        webhook_secrets(empty, {})
