"""A login that fails is slowed, never locked, and never for who used it well."""

from __future__ import annotations

from relayd.directory.attempts import FORGOTTEN_AFTER, FREE, KNOWN_FOR, LONGEST, SHORTEST, Attempts


def fail(attempts: Attempts, times: int, now: float = 0.0) -> None:
    for _ in range(times):
        attempts.failed("ann", now)


def test_some_failures_are_free_then_each_try_waits_longer_up_to_a_bound() -> None:
    attempts = Attempts()
    fail(attempts, FREE - 1)
    assert attempts.wait("ann", "", 0) == 0
    waits = []
    now = 0.0
    for _ in range(8):
        attempts.failed("ann", now)
        now += 100  # nobody else waits
        attempts.wait("ann", "", now)
        waits.append(attempts.wait("ann", "", now))
    assert waits == [0.5, 1, 2, 4, 8, 8, 8, 8]
    assert (waits[0], waits[-1]) == (SHORTEST, LONGEST)
    assert attempts.wait("bob", "", now) == 0


def test_tries_at_once_stand_in_one_line() -> None:
    attempts = Attempts()
    fail(attempts, FREE)
    assert [attempts.wait("ann", "", 0) for _ in range(4)] == [0, 0.5, 1, 1.5]


def test_an_address_that_used_the_login_well_does_not_wait() -> None:
    attempts = Attempts()
    attempts.succeeded("ann", "192.0.2.1/32", 0)
    attempts.succeeded("ann", "", 0)
    fail(attempts, 50)
    for _ in range(3):
        assert attempts.wait("ann", "192.0.2.1/32", 1) == 0
    attempts.wait("ann", "192.0.2.2/32", 1)
    assert attempts.wait("ann", "192.0.2.2/32", 1) > 0
    assert attempts.wait("ann", "", 1) > 0
    assert attempts.is_known("ann", "192.0.2.1/32", 1)
    assert not attempts.is_known("bob", "192.0.2.1/32", 1)
    assert not attempts.is_known("ann", "192.0.2.1/32", KNOWN_FOR)


def test_after_a_while_without_failures_all_is_forgotten() -> None:
    attempts = Attempts()
    fail(attempts, 50)
    assert attempts.wait("ann", "", FORGOTTEN_AFTER + 1) == 0
    attempts.failed("ann", FORGOTTEN_AFTER + 1)
    assert [attempts.wait("ann", "", FORGOTTEN_AFTER + 2) for _ in range(2)] == [0, 0]
