"""Methods made from the table of endpoints, blocking and awaitable."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable
from typing import Any

import pytest

from schematic_core.api.call import Call, Endpoint, Response
from schematic_core.api.endpoints import ENDPOINTS
from schematic_core.api.methods import AsyncResource, RawResponse, Resource, decode
from schematic_core.api.resources import RESOURCE_NAMES
from schematic_core.errors import ParsingError
from schematic_core.types import CheckFlagRequestBody, CheckFlagResponse

CHECKED = {"data": {"flag": "f", "value": True, "reason": "r", "new": 1, "rule_type": "brand_new"}, "params": {}}


class Service:
    """Answers every call alike and remembers it."""

    def __init__(self, answer: object) -> None:
        self.calls: list[Call] = []
        self.body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()

    def run(self, call: Call) -> Response:
        self.calls.append(call)
        return Response(201, {"x-a": "1"}, self.body)

    async def arun(self, call: Call) -> Response:
        return self.run(call)


@pytest.fixture
def ask(face: str) -> Callable[..., Any]:
    """Call a method of a resource on the face under test."""

    def call(service: Service, resource: str, name: str, *args: object, raw: bool = False, **arguments: object) -> Any:
        made: Any = Resource(resource, service.run) if face == "sync" else AsyncResource(resource, service.arun)
        method = getattr(made.with_raw_response if raw else made, name)
        result = method(*args, **arguments)
        return asyncio.run(result) if inspect.iscoroutine(result) else result

    return call


def test_a_method_gives_its_model(ask: Callable[..., Any]) -> None:
    """Unknown members and values survive; models are accepted as arguments."""
    service = Service(CHECKED)

    answer = ask(service, "features", "check_flag", "f", company={"id": "acme"}, user=None)

    assert isinstance(answer, CheckFlagResponse)
    assert (answer.data.value, answer.data.rule_type, answer.data.model_extra) == (True, "brand_new", {"new": 1})
    assert service.calls[0].path == "/flags/f/check"
    assert json.loads(service.calls[0].body or b"") == {"company": {"id": "acme"}, "user": None}


def test_models_and_mappings_are_equal_arguments(ask: Callable[..., Any]) -> None:
    """A model is sent with the members that were set."""
    service = Service({"data": {"data": []}, "params": {}})

    ask(
        service,
        "features",
        "check_flags_bulk",
        contexts=[CheckFlagRequestBody(user={"id": "a"}), {"user": {"id": "b"}}],
    )

    assert json.loads(service.calls[0].body or b"") == {"contexts": [{"user": {"id": "a"}}, {"user": {"id": "b"}}]}


def test_a_raw_method_gives_status_and_headers_too(ask: Callable[..., Any]) -> None:
    """Beside the model."""
    answer: RawResponse[CheckFlagResponse] = ask(Service(CHECKED), "features", "check_flag", "f", raw=True)

    assert (answer.data.data.flag, answer.status_code, answer.headers) == ("f", 201, {"x-a": "1"})
    answer.close()


@pytest.mark.parametrize("body", [b"", b"{}", b"<html>", b'{"data":{"flag":"f","value":true},"params":{}}'])
def test_an_answer_out_of_shape_is_a_parsing_error(body: bytes, ask: Callable[..., Any]) -> None:
    """Empty ones included; status, headers and body are kept."""
    with pytest.raises(ParsingError, match=r"features\.check_flag") as caught:
        ask(Service(body), "features", "check_flag", "f")

    assert (caught.value.status_code, caught.value.body) == (201, body.decode())


def test_an_endpoint_without_payload_gives_none() -> None:
    """Whatever its body is."""
    endpoint = Endpoint("catalogs", "add_plan", "POST", "/catalogs/{catalog_id}/plans")

    assert decode(endpoint, Response(204, {}, b"")) is None


def test_wrong_arguments_are_type_errors(ask: Callable[..., Any]) -> None:
    """Before anything is sent."""
    service = Service(CHECKED)

    with pytest.raises(TypeError, match="colour"):
        ask(service, "features", "check_flag", "f", colour="red")
    assert service.calls == []


@pytest.mark.parametrize("kind", [Resource, AsyncResource])
def test_resources_list_and_describe_their_methods(kind: Any) -> None:
    """For people at a prompt: names, documentation, and no methods that are not there."""
    resource = kind("companies", Service(b"").run)

    assert {"get_company", "upsert_company", "with_raw_response"} <= set(dir(resource))
    assert "GET /companies/{company_id}" in resource.get_company.__doc__
    assert resource.get_company is resource.get_company
    assert "companies" in repr(resource)
    assert not hasattr(resource, "check_flag")
    assert not hasattr(resource, "_nothing")


def test_every_resource_has_a_name() -> None:
    """The names are those of the table."""
    assert set(RESOURCE_NAMES) == {endpoint.resource for endpoint in ENDPOINTS}
