"""Routers: what is registered where, in which order, and what includes what."""

from __future__ import annotations

import pytest

from schematic_core.errors import ConfigurationError
from schematic_core.webhooks import Router, WebhookEvent


def named(router: Router, type_: str) -> list[str]:
    return [handler.__name__ for handler in router.matching(type_)]


def test_an_included_router_runs_in_its_place() -> None:
    """Order is that of registration, an included router counting as one entry; what it is given later is there too."""
    outer, inner = Router(), Router()

    @outer.on("*")
    def first(event: WebhookEvent) -> None: ...

    outer.include(inner)

    @outer.on("company.*")
    def last(event: WebhookEvent) -> None: ...

    @inner.on("company.updated")
    def middle(event: WebhookEvent) -> None: ...

    assert named(outer, "company.updated") == ["first", "middle", "last"]
    assert named(outer, "plan.updated") == ["first"]
    assert named(inner, "company.updated") == ["middle"]
    assert [pattern for pattern, _ in outer.registered()] == ["*", "company.updated", "company.*"]
    assert (len(outer), len(inner), bool(Router())) == (3, 1, False)


def test_one_router_may_be_part_of_several() -> None:
    """Composition moves nothing."""
    shared, one, other = Router(), Router(), Router()
    shared.on("*")(print)
    for router in (one, other):
        router.include(shared)
        assert router.matching("user.created") == [print]


def test_a_circle_is_refused() -> None:
    """It would have no end."""
    one, two, three = Router(), Router(), Router()
    one.include(two)
    two.include(three)
    for outer, inner in ((one, one), (three, one), (two, one)):
        with pytest.raises(ConfigurationError, match="include itself"):
            outer.include(inner)
    assert three.matching("user.created") == []


def test_a_handler_may_be_registered_for_several_patterns() -> None:
    """It stays the function it is, and runs once for each that matches."""
    router = Router()

    @router.on("user.*")
    @router.on("company.*")
    def told(event: WebhookEvent) -> str:
        return event.type

    assert told(WebhookEvent("x", None, None, {}, {})) == "x"
    assert [len(router.matching(type_)) for type_ in ("user.created", "company.created", "flag.created")] == [1, 1, 0]
