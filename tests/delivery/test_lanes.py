"""What is let into memory, and which job starts next."""

from __future__ import annotations

import dataclasses

from msgspec.structs import replace

from relayd.delivery.lanes import Lanes
from relayd.queue.message import Body, Job
from relayd.routing.options import ConcurrencyOptions
from tests.delivery.test_due import job, recipient

OPTIONS = ConcurrencyOptions(total=10, per_destination=4, waiting=20, waiting_per_destination=8)


def work(destination: str = "a.example", sender: str = "mass", octets: int = 0) -> Job:
    made = job(recipient(destination=destination))
    body = Body(head=b"", content=b"x" * octets, size=octets) if octets else None
    return replace(made, destination=destination, message=replace(made.message, sender_key=sender), body=body)


def fill(lanes: Lanes, count: int, destination: str = "a.example", sender: str = "mass") -> None:
    for _ in range(count):
        lanes.enter(work(destination, sender))


def started(lanes: Lanes) -> list[str]:
    """Start all that may start; the senders in that order."""
    found = []
    while (next := lanes.start_next()) is not None:
        found.append(next[1].message.sender_key)
    return found


def test_a_sender_may_have_half_of_a_lane_and_newcomers_are_let_in() -> None:
    lanes = Lanes(OPTIONS)
    assert lanes.admits("a.example", "mass")
    fill(lanes, 4)
    assert not lanes.admits("a.example", "mass")
    assert lanes.lane("a.example").overflow
    assert lanes.admits("a.example", "other")
    assert lanes.admits("b.example", "mass")


def test_while_more_is_on_disk_new_mail_goes_there_too() -> None:
    """Else what came later would be delivered first, and what is on disk never."""
    lanes = Lanes(OPTIONS)
    fill(lanes, 4)
    assert not lanes.admits("a.example", "mass")
    started(lanes)
    assert not lanes.admits("a.example", "mass")
    lanes.lane("a.example").overflow = False
    assert lanes.admits("a.example", "mass")


def test_all_lanes_together_are_bounded_newcomers_a_little_later() -> None:
    lanes = Lanes(OPTIONS)
    for number in range(2):
        fill(lanes, 5, f"{number}.example")
    assert lanes.room == 0
    assert not lanes.admits("0.example", "mass")
    assert lanes.admits("new.example", "mass")
    for number in range(15):
        assert lanes.admits(f"new{number}.example", "mass")
        fill(lanes, 1, f"new{number}.example")
    assert not lanes.admits("newer.example", "mass")


def test_a_mass_of_those_never_tried_does_not_keep_a_new_one_from_being_tried() -> None:
    """Its first message is let in past their part of memory; the others wait on disk until it answers, not longer."""
    asked = []
    lanes = Lanes(OPTIONS)
    lanes.on_low = lambda: asked.append(lanes.hungry())
    for number in range(4):
        fill(lanes, 4, f"{number}.example")
    assert lanes.room == 0
    assert lanes.admits("new.example", "mass")
    slot = lanes.start_at_once(work("new.example"))
    assert slot is not None
    for number in range(9):
        fill(lanes, 1, f"dead{number}.example")
    assert not lanes.admits("new.example", "mass")
    lanes.judge("0.example", answered=True)
    assert asked == []
    lanes.judge("new.example", answered=True)
    lanes.judge("new.example", answered=True)
    assert asked == [{"new.example"}]


def test_mail_for_who_answers_has_room_beside_mail_for_who_does_not() -> None:
    lanes = Lanes(OPTIONS)
    answering(lanes, "live.example")
    for number in range(4):
        fill(lanes, 4, f"{number}.example")
    assert not lanes.admits("0.example", "other")
    assert lanes.admits("live.example", "mass")
    fill(lanes, 1, "live.example")
    assert lanes.admits("live.example", "mass")
    assert lanes.waiting == 17
    lanes.drain()
    assert (lanes.waiting, lanes.room) == (0, 10)


def answering(lanes: Lanes, destination: str) -> None:
    """A destination whose hosts answer."""
    lanes.judge(destination, answered=True)


def test_who_does_not_answer_takes_no_slot_from_who_does() -> None:
    now = 100.0
    lanes = Lanes(OPTIONS, clock=lambda: now)
    dead = [lanes.start_at_once(work(f"{number}.example")) for number in range(60)]
    assert sum(slot is not None for slot in dead) == 20, "of those never tried not all at once"
    answering(lanes, "live.example")
    live = [lanes.start_at_once(work("live.example")) for _ in range(3)]
    assert sum(slot is not None for slot in live) >= 2
    now += 6.0
    fill(lanes, 1, "late.example")
    assert lanes.start_next() is not None, "what hangs holds no slot"
    for slot in (*dead, *live):
        if slot is not None:
            lanes.end(slot)
    assert lanes.running == 1


def test_what_hangs_is_bounded_and_then_few_more_are_tried_each_second() -> None:
    now = 100.0
    lanes = Lanes(OPTIONS, clock=lambda: now)

    def at_once() -> int:
        """How many of those never tried may start at this moment."""
        slots = [lanes.start_at_once(work(f"{now}-{number}.example")) for number in range(100)]
        return sum(slot is not None for slot in slots)

    assert at_once() == 20
    now += 1.0
    assert at_once() == 0
    now += 2.0
    assert lanes.start_next() is None
    assert at_once() == 1, "so many hang that the next is tried later"
    fill(lanes, 1, "late.example")
    assert lanes.next_release() == now + 0.8
    answering(lanes, "live.example")
    assert lanes.start_at_once(work("live.example")) is not None
    for _ in range(300):
        now += 1.0
        lanes.start_next()
        at_once()
    assert lanes.running == 10 * 4 + 50


def test_a_lane_that_begins_to_answer_waits_among_those_that_do() -> None:
    lanes = Lanes(OPTIONS)
    fill(lanes, 4, "a.example")
    (slot, _), (other, _) = lanes.start_next() or (None, None), lanes.start_next() or (None, None)
    assert slot is not None
    assert other is not None
    lanes.judge("a.example", answered=True)
    lanes.end(slot)
    assert lanes.start_next() is not None
    lanes.judge("a.example", answered=False)
    assert len(lanes.drain()) == 1
    assert lanes.room == 10


def test_a_suspended_destination_neither_lets_in_nor_starts() -> None:
    lanes = Lanes(OPTIONS)
    fill(lanes, 2)
    lanes.suspended = {"a.example"}
    assert not lanes.admits("a.example", "other")
    assert lanes.start_at_once(work()) is None
    assert lanes.start_next() is None
    assert len(lanes.drain("a.example")) == 2
    assert lanes.waiting == 0


def test_lanes_and_senders_take_turns() -> None:
    lanes = Lanes(OPTIONS)
    fill(lanes, 6, "a.example", "mass")
    fill(lanes, 1, "a.example", "one")
    fill(lanes, 2, "b.example", "two")
    assert started(lanes)[:4] == ["two", "mass", "two", "one"]


def test_slots_come_back() -> None:
    lanes = Lanes(OPTIONS)
    begun = [lanes.start_at_once(work()) for _ in range(4)]
    running = [slot for slot in begun if slot is not None]
    assert 1 <= len(running) < 4  # no more than its part of the shared slots
    fill(lanes, 1)
    assert lanes.start_next() is None
    lanes.end(running[0])
    assert lanes.start_next() is not None
    assert lanes.running == len(running)


def test_bodies_are_let_go_past_the_bound() -> None:
    lanes = Lanes(dataclasses.replace(OPTIONS, waiting_octets=100))
    lanes.enter(work(octets=60))
    lanes.enter(work(octets=60))
    first, second = lanes.drain()
    assert first.body is not None
    assert second.body is None
    assert lanes.octets == 0


def test_idle_lanes_are_swept() -> None:
    lanes = Lanes(OPTIONS)
    for number in range(5000):
        lanes.lane(f"{number}.example")
    assert len(lanes.stats([f"{number}.example" for number in range(5000)])) < 4096
