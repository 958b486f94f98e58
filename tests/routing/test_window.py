"""How many deliveries a destination may have at once."""

from __future__ import annotations

from relayd.routing.window import Window


def test_failures_shrink_it_and_successes_open_it_again() -> None:
    window = Window(20)
    window.failed()
    assert window.limit == 10
    for _ in range(10):
        window.failed()
    assert window.limit == 5
    for _ in range(40):
        window.succeeded()
    assert window.limit == 20


def test_the_smallest_window_is_one() -> None:
    window = Window(1)
    window.failed()
    assert window.limit == 1
    assert window.allows(0, 0, 10)
    assert not window.allows(1, 1, 10)


def test_a_destination_takes_no_more_than_its_part_of_what_is_free() -> None:
    window = Window(20)
    assert window.allows(19, 19, 200)
    assert not window.allows(20, 20, 200)
    assert window.allows(9, 160, 200)
    assert not window.allows(10, 160, 200)


def test_one_that_has_nothing_running_starts_beside_the_shared_slots() -> None:
    window = Window(20)
    assert window.allows(0, 200, 200)
    assert not window.allows(1, 200, 200)
    assert window.allows(0, 999, 200)
    assert not window.allows(0, 1000, 200)


def test_resizing() -> None:
    window = Window(20)
    window.failed()
    window.resize(20)
    assert window.limit == 10
    window.resize(8)
    assert (window.limit, window.least) == (8, 2)
