"""The event queue machine: when it sends, what it keeps, what it gives up."""

from __future__ import annotations

import pytest

from schematic_core.events.values import Done, Encode, Limits, Outcome, Send, Wait
from tests.events.support import ACKNOWLEDGED, REFUSED, REJECTED, UNAVAILABLE, Turned, entry, flag_check, track


def test_the_first_event_after_a_pause_is_sent_within_a_fifth_of_a_second() -> None:
    """A lone event waits 0.2 seconds for company, not the whole period."""
    turned = Turned()
    assert turned.waits() is None

    turned.tracks(0)

    assert turned.waits() == 0.2
    turned.run_until(turned.now + 0.2)
    assert turned.sent == [[0]]


def test_after_a_round_nobody_is_woken_for_single_events_until_the_period_is_over() -> None:
    """Nothing is due before then, so only a full batch is news; later a lone event is news again."""
    turned = Turned()
    assert turned.queue.appetite == 1
    turned.tracks(0)
    turned.run_until(turned.now + 0.2)

    assert turned.waits() == 5.0
    for number in range(1, 100):
        turned.tracks(number)
        assert turned.queue.is_patient
    turned.tracks(100)
    assert not turned.queue.is_patient


def test_the_rest_after_a_round_ends_early_when_a_small_queue_is_half_full() -> None:
    """A healthy service must not see events dropped because the queue is smaller than a batch."""
    turned = Turned(Limits(5.0, 7, 10_000, 60.0))
    turned.tracks(0)
    turned.run_until(turned.now + 0.2)

    for number in range(1, 31):
        turned.tracks(number)
        if not turned.queue.is_patient:
            turned.run()

    assert turned.acknowledged == list(range(31))
    assert dict(turned.queue.counts().dropped) == {}


def test_the_appetite_of_a_small_queue_ends_where_its_next_round_begins() -> None:
    """Callers look no further before that many are there."""
    turned = Turned(Limits(5.0, 7, 10_000, 60.0))
    turned.tracks(0)
    turned.run()

    assert turned.queue.appetite == 2


def test_a_lone_event_after_the_rest_is_news() -> None:
    """Then nobody is going to look by itself."""
    turned = Turned()
    turned.tracks(0)
    turned.run_until(turned.now + 0.2)
    turned.now += 5.0
    assert turned.waits() is None

    turned.tracks(1)

    assert not turned.queue.is_patient


def test_events_that_follow_wait_for_the_next_round() -> None:
    """After a round, further events are collected for a period."""
    turned = Turned()
    turned.tracks(0)
    turned.run_until(turned.now + 0.2)

    turned.now += 1.0
    turned.tracks(1)
    turned.tracks(2)

    assert turned.waits() == 4.0
    turned.run_until(turned.now + 4.0)
    assert turned.sent == [[0], [1, 2]]


def test_a_period_of_zero_sends_at_once() -> None:
    """With a period of 0 nothing waits."""
    turned = Turned(Limits(0.0, 100, 1000, 60.0))

    turned.tracks(0)

    turned.run()
    assert turned.sent == [[0]]


def test_a_full_batch_is_sent_at_once() -> None:
    """A hundred events make a round, and what came with them goes too."""
    turned = Turned()

    turned.tracks(*range(150))
    turned.run()

    assert [len(batch) for batch in turned.sent] == [100, 50]


def test_a_batch_holds_at_most_about_a_megabyte() -> None:
    """Batches are cut by size as well; one event alone may be larger."""
    turned = Turned(Limits(5.0, 1000, 10_000_000, 60.0), event_size=400_000)
    turned.tracks(0, 1, 2)
    turned.queue.urge(3)
    turned.run()
    turned.event_size = 2_000_000
    turned.tracks(3, 4)
    turned.queue.urge(5)
    turned.run()

    assert turned.sent == [[0, 1], [2], [3], [4]]


def test_an_event_pushed_during_a_round_does_not_wait_longer_than_a_period() -> None:
    """Events beyond a round's horizon that found room in its last batch leave no stale timer behind."""
    turned = Turned()
    turned.tracks(0)
    turned.run_until(turned.now + 0.2)
    turned.tracks(1)
    turned.queue.urge(2)
    turned.run()
    turned.now += 100.0

    turned.tracks(2)

    assert turned.waits() == 0.2


def test_flag_checks_and_usage_travel_in_the_order_of_their_numbers() -> None:
    """Batches merge both lanes."""
    turned = Turned()

    turned.push(track(0), flag_check(1), track(2), flag_check(3), flag_check(4))
    turned.queue.urge(5)
    turned.run()

    assert turned.sent == [[0, 1, 2, 3, 4]]


@pytest.mark.parametrize(("attempt", "ceiling"), [(0, 1.0), (1, 2.0), (5, 32.0), (6, 60.0), (40, 60.0)])
def test_waits_between_retries_double_up_to_a_minute_with_full_jitter(attempt: int, ceiling: float) -> None:
    """The wait is drawn from zero to a ceiling that doubles from 1 to 60 seconds."""
    turned = Turned(outcomes=[UNAVAILABLE] * (attempt + 1))
    turned.tracks(0)
    turned.queue.urge(1)
    turned.run()
    for _ in range(attempt):
        turned.now += 60.0
        turned.run()

    assert turned.waits() == 0.5 * ceiling


def test_an_outage_of_hours_loses_nothing_and_is_told_once() -> None:
    """There is no limit of attempts, and the log hears of the change only."""
    turned = Turned(outcomes=[UNAVAILABLE] * 60)
    turned.tracks(0)

    turned.run_until(turned.now + 3000.0)

    assert turned.acknowledged == [0]
    assert len(turned.sent) == 61
    assert turned.queue.counts().retried == 60
    assert turned.notices() == ["trouble", "recovered"]


def test_events_queued_during_an_outage_are_serialised_and_go_after_the_old_ones() -> None:
    """Order is kept through a failure; nothing is sent before its time."""
    turned = Turned(outcomes=[UNAVAILABLE])
    turned.tracks(0, 1)
    turned.queue.urge(2)
    turned.run()

    turned.tracks(2)

    assert turned.waits() == 0.5
    turned.run_until(turned.now + 0.5)
    assert turned.sent == [[0, 1], [0, 1, 2]]
    assert turned.acknowledged == [0, 1, 2]


def test_retry_after_is_obeyed_even_by_a_flush() -> None:
    """What the service asks for beats the backoff, up to five minutes, and a flush does not override it."""
    turned = Turned(outcomes=[Outcome("retry", 429, retry_after=42.0), Outcome("retry", 503, retry_after=9999.0)])
    turned.tracks(0)
    turned.queue.urge(1)
    turned.run()
    assert turned.waits() == 42.0

    turned.queue.urge(1)
    assert turned.waits() == 42.0
    turned.now += 42.0
    turned.run()

    assert turned.waits() == 300.0


def test_a_flush_cuts_a_backoff_short() -> None:
    """Without a wish of the service the next try comes at once."""
    turned = Turned(outcomes=[UNAVAILABLE])
    turned.tracks(0)
    turned.queue.urge(1)
    turned.run()

    turned.queue.urge(1)
    turned.run()

    assert turned.acknowledged == [0]


def test_a_refused_key_pauses_sending_and_probes_slowly() -> None:
    """401 keeps everything, is reported once, and is tried again only after minutes."""
    turned = Turned(outcomes=[REFUSED, REFUSED])
    turned.tracks(0)
    turned.queue.urge(1)
    turned.run()
    turned.queue.urge(1)

    assert turned.waits() == 150.0
    turned.run_until(turned.now + 299.0)
    assert turned.sent == [[0], [0]]
    turned.run_until(turned.now + 1.0)
    assert turned.acknowledged == [0]
    assert turned.notices() == ["refused", "recovered"]


def test_a_bad_event_is_isolated_and_the_rest_delivered() -> None:
    """A rejected batch is halved until the culprit stands alone."""
    turned = Turned()
    turned.tracks(*range(100))
    bad = {17, 80}
    while not isinstance(step := turned.queue.next(turned.now), Wait):
        if isinstance(step, Encode):
            turned.queue.store([entry(record, turned.now) for record in step.records])
        elif isinstance(step, Send):
            numbers = {e.number for e in step.batch.entries}
            turned.sent.append(sorted(numbers))
            turned.settle(REJECTED if numbers & bad else ACKNOWLEDGED)

    assert turned.acknowledged == sorted(set(range(100)) - bad)
    assert len(turned.sent) < 30
    assert dict(turned.queue.counts().dropped) == {"rejected": 2}
    assert turned.notices() == ["rejected", "rejected"]


def test_a_failure_while_isolating_keeps_the_halves() -> None:
    """Trouble in the middle of a search does not start it over."""
    turned = Turned(outcomes=[REJECTED, UNAVAILABLE, REJECTED])
    turned.tracks(0, 1)
    turned.queue.urge(2)
    turned.run()

    turned.now += 1.0
    turned.run()

    assert turned.sent == [[0, 1], [0], [0], [1]]
    assert turned.acknowledged == [1]


def test_too_many_events_halve_this_and_later_batches() -> None:
    """A service with a smaller limit is met by halving, and remembered."""
    turned = Turned(outcomes=[Outcome("too_many", 400)])
    turned.tracks(*range(100))
    turned.run()
    turned.tracks(*range(100, 200))
    turned.run()

    assert [len(batch) for batch in turned.sent] == [100, 50, 50, 50, 50]
    assert len(turned.acknowledged) == 200


def test_too_large_a_body_halves_the_bytes_of_later_batches() -> None:
    """413 teaches a smaller size."""
    turned = Turned(outcomes=[Outcome("too_large", 413)])
    turned.tracks(*range(100))
    turned.run()
    turned.tracks(*range(100, 200))
    turned.run()

    assert [len(batch) for batch in turned.sent[:3]] == [100, 50, 50]
    assert all(len(batch) <= 50 for batch in turned.sent[3:])
    assert len(turned.acknowledged) == 200


def test_an_event_too_large_by_itself_is_given_up() -> None:
    """What cannot be split any more is lost, visibly."""
    turned = Turned(outcomes=[Outcome("too_large", 413)])
    turned.tracks(0)
    turned.queue.urge(1)
    turned.run()

    assert dict(turned.queue.counts().dropped) == {"rejected": 1}
    assert turned.waits() == 5.0


def test_old_events_are_given_up_before_the_window_for_duplicates_closes() -> None:
    """An event older than the maximum age is never sent again."""
    turned = Turned(Limits(5.0, 1000, 10_000, 100.0), outcomes=[UNAVAILABLE] * 2)
    turned.jitter = 1.0
    turned.tracks(0)
    turned.queue.urge(1)
    turned.run()
    turned.now += 99.0
    turned.tracks(1)
    turned.queue.urge(2)
    turned.run()
    turned.now += 2.0
    turned.run()

    assert turned.sent == [[0], [0, 1], [1]]
    assert dict(turned.queue.counts().dropped) == {"expired": 1}
    assert turned.notices() == ["trouble", "expired", "recovered"]


def test_a_queue_whose_events_all_expired_rests() -> None:
    """When nothing is fresh there is nothing to send."""
    turned = Turned(Limits(5.0, 1000, 10_000, 100.0), outcomes=[UNAVAILABLE])
    turned.tracks(0)
    turned.queue.urge(1)
    turned.run()
    turned.now += 200.0

    assert turned.waits() == 5.0
    assert turned.queue.count == 0


def test_overflow_drops_flag_checks_first_then_the_oldest() -> None:
    """The newest usage survives; flag checks go silently, usage with one notice per episode."""
    turned = Turned(Limits(5.0, 4, 10_000, 60.0))

    turned.push(track(0), flag_check(1), track(2), flag_check(3), track(4), track(5), track(6), track(7))

    assert turned.notices() == ["overflow"]
    turned.push(track(8))
    assert turned.notices() == []
    assert dict(turned.queue.counts().dropped) == {"overflow_flag_check": 2, "overflow": 3}
    turned.queue.urge(9)
    turned.run()
    assert turned.sent == [[5, 6, 7, 8]]
    turned.tracks(*range(9, 14))
    assert turned.notices() == ["overflow"]


def test_an_episode_lasts_until_the_queue_is_half_empty() -> None:
    """A queue that stays nearly full does not report again and again."""
    turned = Turned(Limits(5.0, 4, 10_000, 60.0), outcomes=[UNAVAILABLE])
    turned.tracks(*range(6))
    turned.queue.urge(6)
    turned.run()
    assert turned.notices() == ["overflow", "trouble"]
    turned.now += 1.0
    turned.until_send()
    turned.tracks(6, 7, 8)
    turned.settle(ACKNOWLEDGED)

    turned.tracks(9, 10, 11, 12)

    assert "overflow" not in turned.notices()


def test_serialised_events_are_bounded_in_bytes() -> None:
    """The bound in bytes drops serialised flag checks first, then the oldest usage."""
    turned = Turned(Limits(5.0, 1000, 35, 60.0), outcomes=[UNAVAILABLE])
    turned.push(track(0), flag_check(1), track(2), track(3), track(4))
    turned.queue.urge(5)
    turned.run()

    assert dict(turned.queue.counts().dropped) == {"overflow_flag_check": 1, "overflow": 1}
    turned.now += 1.0
    turned.run()
    assert turned.acknowledged == [2, 3, 4]


def test_an_overflow_finds_serialised_flag_checks_too() -> None:
    """Whether serialised or not, flag checks go first."""
    turned = Turned(Limits(5.0, 6, 10_000, 60.0))
    turned.push(track(0), flag_check(1))
    turned.run()

    turned.tracks(2, 3, 4, 5, 6)

    assert dict(turned.queue.counts().dropped) == {"overflow_flag_check": 1}


def test_what_is_under_way_is_neither_dropped_nor_counted_twice() -> None:
    """A batch in a request stays; there may be no room for anything else."""
    turned = Turned(Limits(0.0, 2, 10_000, 60.0))
    turned.tracks(0, 1)
    batch = turned.until_send()
    assert turned.queue.appetite == 1

    turned.tracks(2)

    assert turned.queue.count == 2
    turned.settle(ACKNOWLEDGED)
    assert [e.number for e in batch.entries] == turned.acknowledged == [0, 1]
    assert dict(turned.queue.counts().dropped) == {"overflow": 1}


def test_appetite_says_how_many_events_matter() -> None:
    """One for an empty queue, what fills the batch for a waiting one, and never more than there is room for."""
    turned = Turned(Limits(5.0, 250, 1_000_000, 60.0), outcomes=[UNAVAILABLE])
    assert turned.queue.appetite == 1

    turned.tracks(0)
    assert turned.queue.appetite == 99
    turned.tracks(*range(1, 120))
    turned.run()
    assert turned.queue.appetite == 100
    turned.tracks(*range(120, 200))
    assert turned.queue.appetite == 50


def test_flush_is_settled_when_all_before_it_is_delivered_or_lost() -> None:
    """Only events below the number count, wherever they are."""
    turned = Turned()
    turned.tracks(0, 1)
    assert not turned.queue.is_settled(2)
    assert turned.queue.remaining(1) == 1
    step = turned.queue.next(turned.now)
    assert isinstance(step, Encode)
    assert not turned.queue.is_settled(2)
    assert turned.queue.remaining(2) == 2
    turned.queue.store([entry(record, turned.now) for record in step.records])
    assert turned.queue.remaining(2) == 2
    turned.queue.urge(2)
    turned.until_send()
    assert not turned.queue.is_settled(2)
    assert turned.queue.remaining(2) == 2
    turned.tracks(2)

    turned.settle(ACKNOWLEDGED)

    assert turned.queue.is_settled(2)
    assert not turned.queue.is_settled(3)
    assert turned.queue.remaining(2) == 0


def test_records_that_cannot_be_serialised_are_counted() -> None:
    """A record that the shell leaves out of `store` is lost, and nothing else is."""
    turned = Turned()
    turned.tracks(0, 1)
    step = turned.queue.next(turned.now)
    assert isinstance(step, Encode)

    turned.queue.store([entry(step.records[1], turned.now)])

    assert dict(turned.queue.counts().dropped) == {"unserialisable": 1}
    assert turned.queue.count == 1


def test_closing_sends_everything_at_once_and_ends() -> None:
    """No timer holds anything back, and the end is told as `Done`."""
    turned = Turned()
    turned.tracks(*range(3))

    turned.queue.close(turned.now + 5.0)

    assert isinstance(turned.run(), Done)
    assert turned.acknowledged == [0, 1, 2]
    assert turned.queue.left == 0
    assert turned.queue.is_settled(10)
    assert turned.queue.remaining(10) == 0


def test_closing_cuts_a_wait_short_for_one_last_try() -> None:
    """Whatever asked for the wait, the last try comes at once and is not repeated."""
    turned = Turned(outcomes=[Outcome("retry", 503, retry_after=60.0), UNAVAILABLE])
    turned.tracks(0)
    turned.queue.urge(1)
    turned.run()

    turned.queue.close(turned.now + 5.0)

    assert isinstance(turned.run(), Done)
    assert turned.sent == [[0], [0]]
    assert turned.queue.left == turned.queue.remaining(1) == 1
    assert dict(turned.queue.counts().dropped) == {"undelivered": 1}
    assert turned.notices() == ["trouble", "undelivered"]
    assert isinstance(turned.run(), Done)
    assert turned.queue.left == 1


def test_an_event_that_arrives_after_the_end_is_counted_as_lost() -> None:
    """A caller was on its way while the queue was closed; nothing is kept that nobody will send."""
    turned = Turned()
    turned.queue.close(turned.now + 5.0)
    assert isinstance(turned.run(), Done)

    turned.tracks(0)

    assert turned.queue.count == 0
    assert turned.queue.left == 1
    assert dict(turned.queue.counts().dropped) == {"undelivered": 1}
    assert turned.notices() == ["undelivered"]


def test_a_request_under_way_when_the_queue_closes_may_be_repeated_once() -> None:
    """The last try is one that began after the close."""
    turned = Turned()
    turned.tracks(0)
    turned.queue.urge(1)
    turned.until_send()
    turned.queue.close(turned.now + 5.0)
    turned.settle(UNAVAILABLE)

    assert isinstance(turned.run(), Done)
    assert turned.acknowledged == [0]


def test_closing_ends_at_its_deadline() -> None:
    """Past the deadline nothing is started any more; a later deadline of a second close counts."""
    turned = Turned()
    turned.tracks(0)
    turned.queue.close(turned.now + 5.0)
    turned.queue.close(turned.now + 1.0)
    turned.now += 1.0

    assert isinstance(turned.run(), Done)
    assert turned.sent == []
    assert turned.queue.left == 1


def test_a_shell_that_died_in_the_middle_loses_nothing() -> None:
    """`resume` takes back what was being serialised or sent, halves included."""
    turned = Turned(outcomes=[REJECTED])
    turned.tracks(0, 1)
    step = turned.queue.next(turned.now)
    assert isinstance(step, Encode)
    turned.queue.resume()
    turned.queue.urge(2)
    turned.until_send()
    turned.queue.resume()
    turned.step()
    turned.until_send()
    turned.queue.resume()

    turned.run()

    assert sorted(turned.acknowledged) == [0, 1]


def test_a_batch_reserves_a_place_for_whatever_is_serialised_first() -> None:
    """While less than a batch is serialised, records are serialised before anything is sent."""
    turned = Turned()
    turned.tracks(*range(250))
    turned.run()

    assert [len(batch) for batch in turned.sent] == [100, 100, 50]


def test_a_flood_of_flag_checks_makes_room_for_a_hundredth_of_the_queue_at_once() -> None:
    """Otherwise every further check would have to make room for itself; usage is never dropped for that."""
    turned = Turned(Limits(5.0, 200, 10_000, 60.0))
    turned.push(*(flag_check(number) for number in range(200)))

    turned.push(flag_check(200))

    assert dict(turned.queue.counts().dropped) == {"overflow_flag_check": 3}
    turned.push(*(track(number) for number in range(201, 500)))
    assert dict(turned.queue.counts().dropped) == {"overflow_flag_check": 201, "overflow": 99}
    assert turned.queue.count == 200
