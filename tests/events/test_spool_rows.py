"""What the spool's file holds, and whose rows may be taken."""

from __future__ import annotations

import pytest

from schematic_core.events.spool_rows import Here, Owner, Row, fingerprint, records, takable

HERE = Here("web-1", 100)


def test_a_fingerprint_tells_keys_apart_and_does_not_tell_them() -> None:
    """The same key always gives the same text."""
    assert fingerprint("sk_a") == fingerprint("sk_a")
    assert fingerprint("sk_a") != fingerprint("sk_b")
    assert "sk_a" not in fingerprint("sk_a")
    assert len(fingerprint("sk_a")) == 32


@pytest.mark.parametrize(
    ("owner", "is_taken"),
    [
        (Owner(1, "web-1", 200, 1060.0), False),  # alive, and its lease holds
        (Owner(1, "web-1", 200, 1000.0), True),  # alive, but it did not renew: paused, or its number in use again
        (Owner(1, "web-1", 300, 1060.0), True),  # killed a moment ago
        (Owner(1, "web-2", 300, 1060.0), False),  # another host: only the lease can tell
        (Owner(1, "web-2", 300, 999.0), True),
        (Owner(1, "web-1", 100, 1060.0), False),  # another client of this process, or a container's 1 before a restart
        (Owner(1, "web-1", 200, 0.0), True),  # closed
    ],
)
def test_rows_of_the_dead_are_taken_and_those_of_the_living_are_not(owner: Owner, *, is_taken: bool) -> None:
    """A process of this host is asked for; the others' leases must end."""
    assert takable([owner], HERE, 1000.0, lambda pid: pid != 300) == ([owner] if is_taken else [])


def test_rows_become_records_that_know_their_company() -> None:
    """The company of a `track` is read back, for who has to hear that its usage was taken in."""
    used = Row(7, "track", 5.0, '{"event":"used","company":{"id":"acme"}},"sent_at":"x"}', 6.0)
    bare = Row(8, "track", 5.0, '{"event":"used"}}')
    known = Row(9, "identify", 5.0, '{"keys":{"id":"ada"}}}')

    assert list(records([used, bare, known])) == [
        ("spooled", 7, 5.0, "track", used.tail, {"id": "acme"}, 6.0, None),
        ("spooled", 8, 5.0, "track", bare.tail, None, None, None),
        ("spooled", 9, 5.0, "identify", known.tail, None, None, None),
    ]


@pytest.mark.parametrize("tail", ["nonsense", "5}", '{"company":5}}'])
def test_a_row_that_says_nothing_sensible_is_left_to_the_service(tail: str) -> None:
    """It has no company to tell of; bisecting finds it."""
    assert next(records([Row(1, "track", 0.0, tail)]))[5] is None
