"""The life of the connection: dials, losses, refusals, silence, flags, reloads."""

from __future__ import annotations

import random

import pytest

from schematic_core.datastream.connection import ConnectionLimits, Dial, HangUp, Loss, Ping, State
from tests.datastream.driving import DROPPED, FLAGS, Turned

RESTART = Loss(1012, None, "the service closed with code 1012")
REFUSALS = [Loss(4001, None, "unauthorized"), Loss(None, 401, "refused"), Loss(None, 403, "refused")]


def test_the_first_use_dials_once() -> None:
    """The first dial goes at once, without jitter; starting again does nothing."""
    turned = Turned()

    assert (turned.connection.state, turned.wait) == ("idle", None)
    turned.connection.start(turned.now)
    turned.connection.start(turned.now)

    assert turned.connection.state == "dialling"
    assert turned.take() == [Dial(1)]
    assert turned.take() == []


def test_flags_are_asked_for_first_and_make_it_live() -> None:
    """After the handshake there is one request, and the connection is live when the flags have come, not before."""
    turned = Turned()
    turned.dial()

    turned.connection.opened(turned.now)

    assert (turned.connection.state, turned.take()) == ("loading", [FLAGS])
    received = turned.hear("rulesengine.Flags", "full", [{"key": "a"}])
    assert (received.update, received.is_live_now, len(received.pages)) == ("flags", True, 1)
    assert turned.connection.state == "live"
    assert not turned.hear("rulesengine.Flags", "full", []).is_live_now


def test_pages_are_asked_for_when_limits_say_so() -> None:
    """The size of pages is a setting."""
    turned = Turned(ConnectionLimits(page_size=100))
    turned.dial()

    turned.connection.opened(turned.now)

    assert '"page_size":100' in str(turned.take())


def test_a_dial_that_takes_too_long_is_given_up() -> None:
    """A handshake that hangs, a look-up of a name included, is hung up, and the next dial follows."""
    turned = Turned()
    turned.dial()
    assert turned.wait == 30.0

    (hang_up,) = turned.wake(30.0)

    assert isinstance(hang_up, HangUp)
    assert turned.connection.state == "waiting"
    assert turned.connection.loss is not None
    assert turned.wait == 0.5
    assert turned.wake(0.5) == [Dial(2)]
    assert turned.connection.attempt == 2


@pytest.mark.parametrize("state", ["idle", "waiting", "closed"])
def test_a_socket_that_nobody_waits_for_is_hung_up(state: State) -> None:
    """A handshake that succeeds after the machine gave the dial up leaves no socket open."""
    turned = Turned()
    if state != "idle":
        turned.dial()
    if state == "waiting":
        turned.lose()
    if state == "closed":
        turned.connection.close(turned.now)
        turned.take()

    turned.connection.opened(turned.now)

    assert turned.connection.state == state
    assert turned.take() == [HangUp(1000, "")]


def test_opened_twice_is_opened_once() -> None:
    """It neither asks for flags again nor hangs up the socket in use."""
    turned = Turned()
    turned.go_live()

    turned.connection.opened(turned.now)

    assert turned.connection.state == "live"
    assert turned.take() == []


@pytest.mark.parametrize("loss", [DROPPED, RESTART, Loss(1000, None, "bye"), Loss(1001, None, ""), Loss(None, 503, "")])
def test_a_loss_is_followed_by_dials_for_ever(loss: Loss) -> None:
    """The window doubles up to its bound; no number of failures ends it."""
    turned = Turned()
    turned.dial()
    waits = []

    for _ in range(40):
        turned.lose(loss)
        waits.append(turned.wait)
        assert turned.wake((waits[-1] or 0.0) - 0.001) == []
        assert [type(action) for action in turned.wake(0.001)] == [Dial]

    assert waits[:7] == pytest.approx([0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0])
    assert waits[-1] == pytest.approx(15.0)
    assert turned.connection.loss is loss


def test_even_the_first_retry_is_jittered() -> None:
    """A fleet that lost its server together comes back over the whole window."""
    waits = []
    for seed in range(50):
        turned = Turned(random=random.Random(seed).random)
        turned.go_live()
        turned.lose(RESTART)
        waits.append(turned.wait or 0.0)

    assert min(waits) < 0.2
    assert max(waits) > 0.8
    assert all(0.0 <= wait < 1.0 for wait in waits)


def test_a_handshake_alone_does_not_shorten_the_pause() -> None:
    """A service that accepts and drops at once is not healthy: the window goes on doubling."""
    turned = Turned()
    waits = []
    for _ in range(4):
        turned.connection.start(turned.now)
        turned.connection.opened(turned.now)
        turned.hear("rulesengine.Flags", "full", [])
        turned.lose()
        waits.append(turned.wait)
        turned.wake(waits[-1] or 0.0)

    assert waits == pytest.approx([0.5, 1.0, 2.0, 4.0])


@pytest.mark.parametrize("is_by_message", [True, False])
def test_health_shortens_the_pause(is_by_message: bool) -> None:
    """A message after it was live, or half a minute, proves health."""
    turned = Turned()
    turned.dial()
    for _ in range(3):
        turned.lose()
        turned.wake(turned.wait or 0.0)
    turned.connection.opened(turned.now)
    turned.hear("rulesengine.Flags", "full", [])

    if is_by_message:
        turned.hear("rulesengine.Flag", "full", {"key": "a"})
    else:
        turned.now += 30.0
    turned.lose()

    assert turned.wait == 0.5


@pytest.mark.parametrize("loss", REFUSALS)
@pytest.mark.parametrize("chance", [0.0, 0.5, 0.99])
def test_a_refusal_is_retried_slowly(loss: Loss, chance: float) -> None:
    """A key that is not taken is tried again after minutes, however often, and then as any other."""
    turned = Turned(random=lambda: chance)
    turned.go_live()

    for attempt in range(2, 5):
        turned.lose(loss)
        assert turned.connection.state == "refused"
        assert 225.0 <= (turned.wait or 0.0) < 375.0
        assert turned.wake((turned.wait or 0.0) - 1.0) == []
        assert turned.wake(1.0) == [Dial(attempt)]

    turned.connection.opened(turned.now)
    assert turned.take() == [FLAGS]


@pytest.mark.parametrize("state", ["idle", "waiting", "refused", "closed"])
def test_a_loss_of_nothing_is_nothing(state: State) -> None:
    """A second report of one loss, or one after the end, neither lengthens the pause nor dials."""
    turned = Turned()
    if state != "idle":
        turned.go_live()
    if state == "closed":
        turned.connection.close(turned.now)
    elif state != "idle":
        turned.lose(REFUSALS[0] if state == "refused" else DROPPED)
    wait, loss = turned.wait, turned.connection.loss
    turned.take()

    turned.lose(RESTART)

    assert turned.connection.state == state
    assert (turned.wait, turned.connection.loss) == (wait, loss)
    assert turned.take() == []


def test_silence_is_answered_by_a_ping_and_then_by_hanging_up() -> None:
    """Pings after 30 seconds, the end after 40, and in between looks for the pong."""
    turned = Turned()
    turned.go_live()
    waited = []

    assert turned.wait == 30.0
    assert turned.wake(29.9) == []
    assert turned.wake(0.1) == [Ping()]
    while turned.connection.state == "live":
        waited.append(turned.wait)
        actions = turned.wake(turned.wait or 0.0)

    assert waited == [1.0] * 10
    assert [type(action) for action in actions] == [HangUp]
    assert turned.connection.state == "waiting"


def test_anything_that_is_heard_is_life() -> None:
    """A pong, an unreadable frame, any message: each ends the silence."""
    turned = Turned()
    turned.go_live()
    for _ in range(5):
        assert turned.wake(30.0) == [Ping()]
        turned.connection.heard(turned.now + 5.0)
        assert turned.wake(10.0) == []
        turned.now += 24.0
        turned.hear("what", "ever")
        assert turned.wake(29.0) == []

    assert turned.connection.state == "live"


def test_whoever_overslept_asks_before_hanging_up() -> None:
    """A process that stood still for long was silent itself: the other end gets its time to answer."""
    turned = Turned()
    turned.go_live()

    assert turned.wake(500.0) == [Ping()]
    assert turned.wake(9.9) == []
    assert [type(action) for action in turned.wake(0.1)] == [HangUp]


def test_flags_that_do_not_come_end_the_connection() -> None:
    """A service that pings and chats, but sends no flags, is left."""
    turned = Turned()
    turned.open()
    for _ in range(3):
        turned.now += 19.0
        turned.hear("rulesengine.Flags", "full", None)
        assert turned.wake() == []

    (hang_up,) = turned.wake(3.0)

    assert isinstance(hang_up, HangUp)
    assert turned.connection.state == "waiting"
    assert turned.connection.counts["no_flags"] == 3


def test_every_page_gives_the_load_more_time() -> None:
    """A slow service that goes on sending pages is not left."""
    turned = Turned()
    turned.open()
    for number in range(1, 6):
        turned.now += 50.0
        turned.connection.heard(turned.now)
        assert not turned.page(number, "a", has_more=number < 5).is_reload
        turned.wake()

    assert turned.connection.state == "live"


@pytest.mark.parametrize("numbers", [(1, 2, 3), (None, None, None), (1, 7, 7)])
def test_pages_are_one_set(numbers: tuple[int | None, ...]) -> None:
    """Only the last page, which says that no more follow, completes the set; later numbers do not matter."""
    turned = Turned()
    turned.open()

    first = turned.page(numbers[0], "a", has_more=True)
    second = turned.page(numbers[1], "b", has_more=True)
    last = turned.page(numbers[2], "c", has_more=False)

    assert first.update is second.update is None
    assert (last.update, last.is_live_now) == ("flags", True)
    assert [element.value["key"] for page in last.pages for element in page.elements()] == ["a", "b", "c"]


def keys(received: object) -> list[str]:
    pages = getattr(received, "pages", ())
    return [element.value["key"] for page in pages for element in page.elements()]


def test_changes_between_pages_are_applied_after_them() -> None:
    """A flag may have been read for a page before it changed: the change is applied at once, and again after the set."""
    turned = Turned()
    turned.open()
    assert turned.hear("rulesengine.Flag", "full", {"key": "before"}).update == "flag"
    turned.page(1, "a", has_more=True)

    change = turned.hear("rulesengine.Flag", "full", {"key": "a"})
    deletion = turned.hear("rulesengine.Flag", "delete", {"key": "b"})
    last = turned.page(2, "b", has_more=False)

    assert change.update == deletion.update == "flag"
    assert [(m.message_type, m.data.value["key"]) for m in last.later if m.data] == [("full", "a"), ("delete", "b")]
    assert turned.hear("rulesengine.Flags", "full", []).later == ()


def test_pages_of_a_lost_connection_are_no_part_of_the_next_set() -> None:
    """The next connection begins with its own first page."""
    turned = Turned()
    turned.open()
    turned.page(1, "old", has_more=True)
    turned.lose()

    assert turned.page(2, "late", has_more=False).update is None
    turned.wake(turned.wait or 0.0)
    turned.connection.opened(turned.now)
    turned.page(1, "a", has_more=True)

    assert keys(turned.page(2, "b", has_more=False)) == ["a", "b"]
    assert turned.connection.counts["late"] == 1


def test_a_new_first_page_begins_a_new_set() -> None:
    """A set whose end never came is no part of the next."""
    turned = Turned()
    turned.open()
    turned.page(1, "old", has_more=True)
    turned.hear("rulesengine.Flag", "full", {"key": "old"})

    turned.page(1, "a", has_more=True)
    last = turned.page(2, "b", has_more=False)

    assert keys(last) == ["a", "b"]
    assert last.later == ()


def test_all_flags_in_one_piece_replace_the_pages_that_were_coming() -> None:
    """The rest of these pages is no set of its own."""
    turned = Turned()
    turned.open()
    turned.page(1, "old", has_more=True)

    assert keys(turned.hear("rulesengine.Flags", "full", [{"key": "whole"}])) == ["whole"]
    assert turned.page(2, "old", has_more=True).update is None
    assert turned.page(3, "old", has_more=False).update is None
    assert turned.page(3, "old", has_more=False).update is None
    assert keys(turned.page(1, "new", has_more=False)) == ["new"]


def test_a_page_without_flags_is_a_page() -> None:
    """Go writes an empty list as null: on the last page it still ends the set."""
    turned = Turned()
    turned.open()
    turned.page(1, "a", has_more=True)

    received = turned.hear("rulesengine.Flags", "full", None, pagination={"has_more": False, "page": 2})

    assert (received.update, keys(received)) == ("flags", ["a"])


@pytest.mark.parametrize("data", [None, {}, "text", 7])
def test_flags_without_a_list_say_nothing(data: object) -> None:
    """Null is neither an empty set nor the answer that makes the connection live."""
    turned = Turned()
    turned.open()

    assert turned.hear("rulesengine.Flags", "full", data).update is None
    assert turned.connection.state == "loading"
    turned.hear("rulesengine.Flags", "full", [])
    assert turned.hear("rulesengine.Flags", "full", data).update is None
    assert turned.connection.counts == {"no_flags": 2}


def test_a_reload_asks_for_all_flags_again() -> None:
    """Until they have come the connection is not live; whatever the reload is about."""
    turned = Turned()
    turned.go_live()
    turned.now += 10.0

    received = turned.hear("what", "reload")

    assert (received.is_reload, received.update) == (True, None)
    assert turned.connection.state == "loading"
    assert turned.take() == [FLAGS]
    assert turned.connection.ask("company", (("id", "a"),), turned.now) is None
    assert turned.hear("rulesengine.Flags", "full", []).is_live_now


def test_a_reload_between_pages_leaves_the_rest_of_them_out() -> None:
    """Pages that were on their way are not taken for the new set, whether or not their end comes."""
    turned = Turned()
    for has_end in (True, False):
        turned.open()
        turned.now += 10.0
        turned.page(1, "old", has_more=True)
        assert turned.hear("rulesengine.Flags", "reload").is_reload

        assert turned.page(2, "old", has_more=True).update is None
        if has_end:
            assert turned.page(3, "old", has_more=False).update is None
        turned.page(1, "a", has_more=True)

        assert keys(turned.page(2, "b", has_more=False)) == ["a", "b"]
        assert turned.connection.state == "live"
        turned = Turned()


def test_reloads_in_a_row_do_not_multiply_requests() -> None:
    """However many come, all flags are asked for every five seconds at most, also after they came in between."""
    turned = Turned()
    turned.open()
    sent = []
    for _ in range(100):
        turned.now += 0.1
        turned.hear("rulesengine.Flags", "reload")
        sent += turned.wake()
    assert sent == [FLAGS, FLAGS]

    turned.now += 0.1
    turned.hear("rulesengine.Flags", "reload")
    assert turned.hear("rulesengine.Flags", "full", []).is_live_now
    assert turned.wait == pytest.approx(4.9)
    assert turned.wake(4.9) == [FLAGS]


@pytest.mark.parametrize(
    "frame",
    [("rulesengine.Flags", {"error": "oops"}), ("unknown", {"error": "oops", "entity_type": "rulesengine.Flags"})],
)
def test_an_error_instead_of_flags_is_answered_by_asking_again(frame: tuple[str, object]) -> None:
    """After a pause, and the pages that had come are dropped; an error while nothing is awaited is only counted."""
    turned = Turned()
    turned.open()
    turned.page(1, "old", has_more=True)

    turned.hear(frame[0], "error", frame[1])

    assert turned.wake(4.9) == []
    assert turned.wake(0.2) == [FLAGS]
    turned.page(1, "a", has_more=True)
    assert keys(turned.page(2, "b", has_more=False)) == ["a", "b"]
    turned.hear(frame[0], "error", frame[1])
    assert turned.wake(10.0) == []
    turned.page(1, "old", has_more=True)
    turned.hear(frame[0], "error", frame[1])
    assert turned.wake() == [FLAGS]


@pytest.mark.parametrize(
    ("entity_type", "message_type", "name"),
    [
        ("rulesengine.Companies", "full", "bulk"),
        ("rulesengine.Users", "full", "bulk"),
        ("rulesengine.Company", "unknown", "unknown_message"),
        ("rulesengine.User", "invented", "unknown_message"),
        ("rulesengine.Flag", "", "unknown_message"),
        ("rulesengine.Flags", "partial", "unknown_message"),
        ("rulesengine.Flags", "delete", "unknown_message"),
        ("rulesengine.flags", "full", "unknown_type"),
        ("", "full", "unknown_type"),
        ("invented", "full", "unknown_type"),
    ],
)
def test_what_is_not_understood_is_counted_and_ignored(entity_type: str, message_type: str, name: str) -> None:
    """It is no replacement of anything, and the connection stays."""
    turned = Turned()
    turned.go_live()
    turned.ask("company", id="a")

    received = turned.hear(entity_type, message_type, {"keys": {"id": "a"}})

    assert (received.update, received.requests, received.missing) == (None, (), ())
    assert turned.connection.counts == {name: 1}
    assert turned.connection.state == "live"


@pytest.mark.parametrize("kind", ["full", "partial", "delete"])
@pytest.mark.parametrize("entity_type", ["rulesengine.Company", "rulesengine.User", "rulesengine.Flag"])
def test_changes_are_applied_while_loading_and_while_live(kind: str, entity_type: str) -> None:
    """Whether somebody asked for it or not, whatever its data."""
    turned = Turned()
    turned.open()
    expected = "flag" if entity_type == "rulesengine.Flag" else "entity"

    assert turned.hear(entity_type, kind, {"id": "a"}).update == expected
    turned.hear("rulesengine.Flags", "full", [])
    assert turned.hear(entity_type, kind, None, entity_id="a").update == expected


@pytest.mark.parametrize("state", ["idle", "dialling", "waiting"])
def test_messages_without_a_connection_are_late(state: State) -> None:
    """They are counted and change nothing."""
    turned = Turned()
    if state != "idle":
        turned.dial()
    if state == "waiting":
        turned.lose()

    assert turned.hear("rulesengine.Flags", "full", []).update is None
    assert turned.hear("rulesengine.Flags", "reload").is_reload is False
    assert turned.connection.state == state
    assert turned.connection.counts == {"late": 2}


@pytest.mark.parametrize("state", ["idle", "dialling", "live", "waiting"])
def test_closing_is_for_good(state: State) -> None:
    """It hangs up what there is; nothing is dialled, sent or waited for afterwards."""
    turned = Turned()
    if state == "dialling":
        turned.connection.start(turned.now)
    elif state != "idle":
        turned.go_live()
        turned.ask("company", id="a")
    if state == "waiting":
        turned.lose()
        turned.wake(0.1)

    turned.run(turned.connection.close(turned.now))
    turned.run(turned.connection.close(turned.now))
    turned.connection.start(turned.now)

    assert turned.take() == ([HangUp(1000, "")] if state in {"dialling", "live"} else [])
    assert len(turned.called) == (state in {"live", "waiting"})
    assert turned.wait is None
    assert turned.wake(1000.0) == []
    assert turned.connection.state == "closed"


def test_what_was_to_be_written_dies_with_the_connection() -> None:
    """A request that was not sent yet is not sent on the next connection, where nobody waits for it."""
    turned = Turned()
    turned.go_live()
    turned.ask("company", id="a")

    turned.lose()

    assert turned.take() == []
    assert turned.wake(turned.wait or 0.0) == [Dial(2)]


def test_pages_without_end_are_given_up() -> None:
    """They are not kept for ever: the connection is left, and the next one asks again."""
    turned = Turned(ConnectionLimits(max_set_size=100))
    turned.open()
    turned.page(1, *("flag" for _ in range(20)), has_more=True)

    (action,) = turned.wake()

    assert isinstance(action, HangUp)
    assert turned.connection.state == "waiting"
