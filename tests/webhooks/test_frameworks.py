"""`verify_webhook_signature` with real requests of real frameworks, in plain and in async code."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import flask
import pytest
import quart
from aiohttp import web
from aiohttp.test_utils import TestServer
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.routing import Route
from werkzeug.test import Client, EnvironBuilder
from werkzeug.wrappers import Request as WerkzeugRequest
from werkzeug.wrappers import Response as WerkzeugResponse

from schematic_core.errors import WebhookSignatureError
from schematic_core.webhook_utils import verify_webhook_signature
from schematic_core.webhooks import sign
from tests.webhooks import django_requests

SECRET = "whsec_test"
BODY = '{"action":"company.updated","body":{"name":"Käfer"}}'.encode()
PATH = "/hook"

Answer = tuple[int, str]
Post = Callable[[bytes, dict[str, str]], Answer]
"""Send a request through the framework; gives status and text."""


def verdict(request: Any, *body: bytes) -> Answer:
    """What every view here answers."""
    try:
        verify_webhook_signature(request, SECRET, *body)
    except WebhookSignatureError as error:
        return 400, f"{error.code}: {error}"
    return 200, "genuine"


def run(work: Callable[[], Awaitable[Answer]]) -> Answer:
    async def working() -> Answer:
        return await work()

    return asyncio.run(working())


def with_flask(view: Callable[[], Any]) -> Post:
    app = flask.Flask("hooks")
    app.add_url_rule(PATH, view_func=view, methods=["POST"], endpoint="hook")

    def post(body: bytes, headers: dict[str, str]) -> Answer:
        answer = app.test_client().post(PATH, data=body, headers=headers)
        return answer.status_code, answer.text

    return post


def flask_plain() -> Post:
    def view() -> Any:
        status, text = verdict(flask.request)
        assert (
            status != 200 or flask.request.get_json(force=True)["action"] == "company.updated"
        )  # the body is still there
        return text, status

    return with_flask(view)


def flask_with_body() -> Post:
    return with_flask(lambda: verdict(flask.request, flask.request.get_data())[::-1])


def flask_async() -> Post:
    def in_async_code() -> Any:
        async def view() -> Any:
            return verdict(flask.request)[::-1]

        return asyncio.run(view())

    return with_flask(in_async_code)


def werkzeug_plain() -> Post:
    @WerkzeugRequest.application
    def app(request: WerkzeugRequest) -> WerkzeugResponse:
        status, text = verdict(request)
        return WerkzeugResponse(text, status)

    def post(body: bytes, headers: dict[str, str]) -> Answer:
        answer = Client(app).post(PATH, data=body, headers=headers)
        return answer.status_code, answer.text

    return post


def django_plain() -> Post:
    def post(body: bytes, headers: dict[str, str]) -> Answer:
        request = django_requests.post(PATH, body, headers)
        answer = verdict(request)
        assert request.body == body
        return answer

    return post


def django_async() -> Post:
    def post(body: bytes, headers: dict[str, str]) -> Answer:
        request = django_requests.async_post(PATH, body, headers)

        async def view() -> Answer:
            return verdict(request)

        return run(view)

    return post


def starlette_with_body() -> Post:
    async def view(request: Request) -> PlainTextResponse:
        status, text = verdict(request, await request.body())
        return PlainTextResponse(text, status)

    return _asgi(Starlette(routes=[Route(PATH, view, methods=["POST"])]))


def fastapi_with_body() -> Post:
    app = FastAPI()

    @app.post(PATH)
    async def view(request: Request) -> PlainTextResponse:
        status, text = verdict(request, await request.body())
        return PlainTextResponse(text, status)

    return _asgi(app)


def fastapi_plain_endpoint() -> Post:
    """A ``def`` endpoint runs on a thread; the body comes by a dependency."""
    from fastapi import Depends

    app = FastAPI()

    async def raw(request: Request) -> bytes:
        return await request.body()

    def view(request: Request, body: bytes = Depends(raw)) -> PlainTextResponse:
        status, text = verdict(request, body)
        return PlainTextResponse(text, status)

    app.post(PATH, response_model=None)(view)
    return _asgi(app)


def _asgi(app: Any) -> Post:
    def post(body: bytes, headers: dict[str, str]) -> Answer:
        answer = TestClient(app).post(PATH, content=body, headers=headers)
        return answer.status_code, answer.text

    return post


def quart_with_body() -> Post:
    async def body() -> Any:
        return await quart.request.get_data()

    return _quart(body)


def _quart(body: Callable[[], Any] | None) -> Post:
    app = quart.Quart("hooks")

    @app.post(PATH)
    async def view() -> Any:
        given = [await body()] if body is not None else []
        return verdict(quart.request, *given)[::-1]

    def post(raw: bytes, headers: dict[str, str]) -> Answer:
        async def work() -> Answer:
            answer = await app.test_client().post(PATH, data=raw, headers=headers)
            return answer.status_code, await answer.get_data(as_text=True)

        return run(work)

    return post


def aiohttp_with_body() -> Post:
    return _aiohttp(with_body=True)


def _aiohttp(*, with_body: bool) -> Post:
    async def view(request: web.Request) -> web.Response:
        status, text = verdict(request, *([await request.read()] if with_body else []))
        return web.Response(text=text, status=status)

    def post(body: bytes, headers: dict[str, str]) -> Answer:
        async def work() -> Answer:
            app = web.Application()
            app.router.add_post(PATH, view)
            async with (
                TestServer(app) as server,
                aiohttp.ClientSession() as session,
                session.post(server.make_url(PATH), data=body, headers=headers) as answer,
            ):
                return answer.status, await answer.text()

        return run(work)

    return post


def mapping_of_lambda() -> Post:
    return lambda body, headers: verdict({"headers": headers, "body": body.decode(), "isBase64Encoded": False})


def mapping_in_base64() -> Post:
    return lambda body, headers: verdict(
        {"headers": headers, "body": b64encode(body).decode(), "isBase64Encoded": True}
    )


def mapping_of_headers() -> Post:
    return lambda body, headers: verdict({name.lower(): value for name, value in headers.items()}, body)


def mapping_of_asgi() -> Post:
    def post(body: bytes, headers: dict[str, str]) -> Answer:
        pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        return verdict({"type": "http", "headers": pairs}, body)

    return post


FRAMEWORKS: tuple[Callable[[], Post], ...] = (
    flask_plain,
    flask_with_body,
    flask_async,
    werkzeug_plain,
    django_plain,
    django_async,
    starlette_with_body,
    fastapi_with_body,
    fastapi_plain_endpoint,
    quart_with_body,
    aiohttp_with_body,
    mapping_of_lambda,
    mapping_in_base64,
    mapping_of_headers,
    mapping_of_asgi,
)


@pytest.fixture(params=FRAMEWORKS, ids=lambda make: make.__name__)
def post(request: pytest.FixtureRequest) -> Post:
    made: Post = request.param()
    return made


def test_a_genuine_delivery_passes_and_others_do_not(post: Post) -> None:
    """Through the framework's own request object."""
    headers = sign(BODY, SECRET)

    assert post(BODY, headers) == (200, "genuine")
    assert post(BODY + b" ", headers)[1].startswith("mismatch")
    assert post(BODY, sign(BODY, "other"))[1].startswith("mismatch")
    assert post(BODY, sign(BODY, SECRET, now=1))[1].startswith("outside_tolerance")
    assert post(BODY, {})[1].startswith("missing_header")


def starlette_alone() -> Post:
    async def view(request: Request) -> PlainTextResponse:
        status, text = verdict(request)
        return PlainTextResponse(text, status)

    return _asgi(Starlette(routes=[Route(PATH, view, methods=["POST"])]))


@pytest.mark.parametrize(
    ("post", "what"),
    [
        (starlette_alone(), "pass body=await request.body()"),
        (_quart(None), "pass body=await request.get_data()"),
        (_aiohttp(with_body=False), "pass body=await request.read()"),
    ],
    ids=["starlette", "quart", "aiohttp"],
)
def test_a_body_that_must_be_awaited_is_asked_for_by_its_method(post: Post, what: str) -> None:
    """The error says what to pass, in the words of the framework, and no coroutine is left unawaited."""
    status, text = post(BODY, sign(BODY, SECRET))
    assert (status, text.startswith("no_body"), what in text) == (400, True, True)


def test_a_body_that_django_has_given_away_is_named() -> None:
    """Whoever reads the request as a stream has the only copy."""
    request = django_requests.post(PATH, BODY, sign(BODY, SECRET))
    request.read(1)
    assert verdict(request) == (400, "no_body: the request's body can no longer be read")


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (lambda: {"headers": sign(BODY, SECRET)}, "no_body: the mapping has no body"),
        (lambda: {"headers": sign(BODY, SECRET), "body": "%%", "isBase64Encoded": True}, "malformed_body: "),
        (lambda: {"headers": sign(BODY, SECRET), "body": 7, "isBase64Encoded": True}, "malformed_body: "),
        (lambda: {"headers": sign(BODY, SECRET), "body": {"action": "x"}}, "malformed_body: "),
        (lambda: {"headers": 7, "body": ""}, "malformed_header: "),
        (lambda: {"headers": None, "body": ""}, "missing_header: "),
        (dict, "missing_header: "),
    ],
)
def test_a_mapping_that_lacks_something_is_refused(request_: Callable[[], Any], said: str) -> None:
    """With what it lacks."""
    status, text = verdict(request_())
    assert (status, text.startswith(said)) == (400, True)


class Bare:
    @property
    def headers(self) -> dict[str, str]:
        return sign(BODY, SECRET)


class Method(Bare):
    def body(self) -> bytes:
        raise AssertionError("plain code cannot know what this does")


class Data(Bare):
    data = BODY


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (Method(), "no_body: the request has no body that can be read here"),
        (Bare(), "no_body: the request has no body that can be read here"),
        (Data(), "genuine"),
    ],
)
def test_objects_of_other_kinds_are_read_if_they_can_be(request_: Any, said: str) -> None:
    """No method is called but ``get_data``."""
    assert verdict(request_)[1].startswith(said)


def test_a_form_that_was_parsed_first_is_no_body() -> None:
    """Werkzeug has nothing left then, which is another body, not a crash."""
    form = b"a=1"
    builder = EnvironBuilder(
        method="POST",
        data=form,
        content_type="application/x-www-form-urlencoded",
        headers=list(sign(form, SECRET).items()),
    )
    request = WerkzeugRequest(builder.get_environ())
    assert request.form["a"] == "1"
    assert verdict(request)[1].startswith("mismatch")
