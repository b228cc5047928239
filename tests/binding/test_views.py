"""One view, two faces: what a request asks once, remembers, loads and reports."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from schematic_core.binding import Features, Identity, SyncFeatures, View
from schematic_core.errors import FeatureDenied
from schematic_core.values import CheckFlagOptions
from tests.support.fake_client import FakeClient, answer

ACME = Identity(company={"id": "acme"}, user={"id": "ada"})


class Face:
    """Either face of a view, called as if it were plain."""

    def __init__(self, kind: str, client: FakeClient, **more: Any) -> None:
        self.view = View(client, **more)
        self.features: Any = Features(self.view) if kind == "async" else SyncFeatures(self.view)

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            async def run() -> Any:
                value = getattr(self.features, name)(*arguments, **options)
                return await value if inspect.isawaitable(value) else value

            return asyncio.run(run())

        return call


@pytest.fixture
def client() -> FakeClient:
    return FakeClient().allow("exports", "reports").deny("seats")


Open = Callable[..., Face]


@pytest.fixture
def open_view(face: str, client: FakeClient) -> Open:
    def open_view(identity: Identity | None = ACME, **more: Any) -> Face:
        return Face(face, client, identity=identity, **more)

    return open_view


def test_nothing_is_asked_before_the_first_question(open_view: Open, client: FakeClient) -> None:
    """A request that asks nothing costs nothing."""
    open_view()
    assert client.asked == []


def test_each_flag_is_decided_once(open_view: Open, client: FakeClient) -> None:
    """Later asks give the first answer, whatever the service says by then."""
    view = open_view()
    assert view.flag("exports")
    client.deny("exports")
    assert view.flag("exports")
    assert view.entitlement("exports").value
    assert client.asked == [("exports", {"id": "acme"}, {"id": "ada"}, None)]


def test_a_preflight_is_another_question(open_view: Open, client: FakeClient) -> None:
    """Asking with usage does not answer for asking without."""
    view = open_view()
    view.flag("exports")
    view.entitlement("exports", usage=5)
    view.entitlement("exports", usage=5)
    assert [options for *_, options in client.asked] == [None, CheckFlagOptions(usage=5)]


def test_a_long_lived_scope_asks_each_time(open_view: Open, client: FakeClient) -> None:
    """A connection that lives for hours must see changes; what it loaded is still there to peek at."""
    view = open_view(remembers=False)
    assert view.flag("exports")
    client.deny("exports")
    assert not view.flag("exports")
    view.load("reports")
    assert view.features.peek("reports")


def test_load_asks_once_for_what_is_missing(open_view: Open, client: FakeClient) -> None:
    """One request for several flags; known ones are not asked again."""
    view = open_view()
    view.flag("exports")
    view.load("exports", "seats", "reports", "seats")
    view.load("seats", "reports")
    assert [keys for keys, *_ in client.asked] == ["exports", ("seats", "reports")]
    assert (view.features.peek("seats"), view.features.peek("reports")) == (False, True)


def test_load_without_keys_loads_everything(open_view: Open, client: FakeClient) -> None:
    """All flags of the context come with one request."""
    view = open_view()
    view.load()
    assert view.features.peek("exports")
    assert [keys for keys, *_ in client.asked] == [("exports", "reports", "seats")]


def test_peek_never_asks(open_view: Open, client: FakeClient, caplog: pytest.LogCaptureFixture) -> None:
    """What is not loaded gives the default: the caller's, then the flag's; the log says so once."""
    client.defaults["reports"] = True
    view = open_view()
    with caplog.at_level(logging.WARNING, "schematic"):
        assert view.features.peek("reports")
        assert not view.features.peek("exports")
        assert view.features.peek("exports", default=True)
    assert client.asked == []
    assert len(caplog.records) == 1


def test_the_callers_default_decides_where_nothing_could_answer(open_view: Open, client: FakeClient) -> None:
    """Two callers may have different defaults for one outage; an answer of the service stands."""
    view = open_view()
    assert view.flag("unknown", default=True)
    assert not view.flag("unknown", default=False)
    assert not view.flag("unknown")
    assert not view.flag("seats", default=True)
    assert len(client.asked) == 2


def test_refresh_forgets_here_and_in_the_client(open_view: Open, client: FakeClient) -> None:
    """The next ask reaches the service."""
    view = open_view()
    view.flag("exports")
    client.deny("exports")
    view.refresh()
    assert client.purged == [{"company": {"id": "acme"}}, {"user": {"id": "ada"}}]
    assert not view.flag("exports")


def test_usage_is_reported_when_settled(open_view: Open, client: FakeClient) -> None:
    """What is tracked waits for the outcome, then carries the identity."""
    view = open_view()
    view.track("export_created")
    view.track("page_rendered", 3)
    assert client.tracked == []
    view.view.meter.settle()
    assert client.tracked == [
        ("export_created", {"id": "acme"}, {"id": "ada"}, 1),
        ("page_rendered", {"id": "acme"}, {"id": "ada"}, 3),
    ]


def test_a_long_lived_scope_reports_at_once(open_view: Open, client: FakeClient) -> None:
    """There is no outcome to wait for."""
    open_view(remembers=False).track("message_sent")
    assert client.events == [("message_sent", 1)]


def test_a_gate_gives_the_answer_or_raises(open_view: Open) -> None:
    """An open gate gives the whole answer; a shut one raises the denial."""
    view = open_view()
    assert view.require("exports").flag_key == "exports"
    with pytest.raises(FeatureDenied) as caught:
        view.require("seats", status=404)
    assert (caught.value.feature, caught.value.code, caught.value.status) == ("seats", "not_entitled", 404)


def test_a_gate_fails_open_or_shut_as_declared(open_view: Open) -> None:
    """In an outage the gate's own default decides."""
    view = open_view()
    assert view.require("unknown", default=True).value
    with pytest.raises(FeatureDenied) as caught:
        view.require("unknown", default=False)
    assert (caught.value.code, caught.value.status) == ("unavailable", 503)


def test_the_identity_is_found_when_first_needed(open_view: Open, client: FakeClient) -> None:
    """The application's function is called once, at the first question."""
    calls: list[int] = []

    def resolve() -> Identity:
        calls.append(1)
        return ACME

    view = open_view(None, resolve=resolve)
    view.track("export_created")
    assert calls == []
    view.flag("exports")
    view.flag("seats")
    assert calls == [1]
    assert view.features.identity == ACME


def test_the_identity_can_be_asked_for(open_view: Open) -> None:
    """Code that needs to know who it is asks the view, found already or not."""
    assert open_view().identify() == ACME
    assert open_view(None, resolve=lambda: ACME).identify() == ACME


def test_refresh_before_anybody_is_known_forgets_here_only(open_view: Open, client: FakeClient) -> None:
    """There is nothing of anybody's to drop in the client."""
    open_view(None, resolve=lambda: ACME).refresh()
    open_view(Identity(user={"id": "ada"})).refresh()
    assert client.purged == [{"user": {"id": "ada"}}]


def test_nobody_is_an_answer(open_view: Open, client: FakeClient) -> None:
    """Without an identity function, or when it gives None, questions are asked about nobody."""
    open_view(None).flag("exports")
    open_view(None, resolve=lambda: None).flag("exports")
    assert client.asked == [("exports", None, None, None)] * 2


def test_an_identity_of_another_type_is_a_programming_error(open_view: Open) -> None:
    """A dictionary in place of an Identity says so."""
    with pytest.raises(TypeError, match="must give an Identity"):
        open_view(None, resolve=lambda: {"company": {"id": "acme"}}).flag("exports")


def test_another_identity_forgets_the_answers(open_view: Open, client: FakeClient) -> None:
    """No answer about one company is ever given to another."""
    view = open_view()
    view.flag("exports")
    view.view.identify(Identity(company={"id": "other"}))
    view.flag("exports")
    assert [company for _, company, *_ in client.asked] == [{"id": "acme"}, {"id": "other"}]


def test_an_asynchronous_identity_serves_both_faces(client: FakeClient) -> None:
    """The awaited face awaits it, the plain one needs a way to wait for it."""

    async def resolve() -> Identity:
        return ACME

    assert Face("async", client, resolve=resolve).flag("exports")
    with pytest.raises(RuntimeError, match="identity function is async"):
        _without_wait(client, resolve)


def test_plain_code_waits_for_an_asynchronous_identity_where_it_can(client: FakeClient) -> None:
    """An adapter that knows the event loop hands in how to wait for it."""

    async def resolve() -> Identity:
        return ACME

    async def result(found: Awaitable[Identity | None]) -> Identity | None:
        return await found

    features = SyncFeatures(View(client, resolve=resolve, wait=lambda found: asyncio.run(result(found))))

    assert features.flag("exports")
    assert features.flag("reports")
    assert [who for _, *who, _ in client.asked] == [[{"id": "acme"}, {"id": "ada"}]] * 2


def _without_wait(client: FakeClient, resolve: Any) -> None:
    pending: list[Any] = []

    def remembered() -> Any:
        pending.append(resolve())
        return pending[-1]

    try:
        SyncFeatures(View(client, resolve=remembered)).flag("exports")
    finally:
        for coroutine in pending:
            coroutine.close()


def test_the_faces_share_one_view(client: FakeClient) -> None:
    """What one face asked the other knows."""
    features = Features(View(client, ACME))
    assert features.sync.flag("exports")
    assert asyncio.run(features.sync.aio.flag("exports"))
    assert len(client.asked) == 1


def test_two_tasks_that_ask_at_once_get_one_answer(client: FakeClient) -> None:
    """The answer that came first counts for both."""
    answers = iter([answer("exports"), answer("exports", False)])
    client.check_flag_with_entitlement = lambda *_: next(answers)  # type: ignore[method-assign]  # the test's own fake
    view = View(client, ACME)
    first = view.remember(client.check_flag_with_entitlement("exports"))
    second = view.remember(client.check_flag_with_entitlement("exports"))
    assert first is second
