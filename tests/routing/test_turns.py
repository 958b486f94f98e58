"""Senders take turns."""

from __future__ import annotations

import pytest

from relayd.routing.turns import PATIENCE, Turns


def test_one_after_another_round_robin() -> None:
    turns: Turns[int] = Turns()
    for item in range(4):
        turns.put("mass", item)
    turns.put("one", 100)
    turns.put("two", 200)
    turns.put("two", 201)
    assert [turns.take() for _ in range(len(turns))] == [0, 100, 200, 1, 201, 2, 3]


def test_a_sender_who_comes_back_waits_for_the_end_of_the_round() -> None:
    turns: Turns[str] = Turns()
    turns.put("a", "a1")
    turns.put("b", "b1")
    assert turns.take() == "a1"
    turns.put("a", "a2")
    assert [turns.take(), turns.take()] == ["b1", "a2"]


def test_counts() -> None:
    turns: Turns[int] = Turns()
    turns.put("a", 1)
    turns.put("a", 2)
    turns.put("b", 3)
    assert (len(turns), turns.senders, turns.waiting("a"), turns.waiting("c")) == (3, 2, 2, 0)
    assert turns.drain() == [1, 3, 2]
    assert (len(turns), turns.senders) == (0, 0)
    with pytest.raises(IndexError):
        turns.take()


def test_the_urgent_go_first() -> None:
    turns: Turns[int] = Turns()
    for priority in (0, -3, 9, 4, 0):
        turns.put("a", priority, priority)
    assert (len(turns), turns.waiting("a")) == (5, 5)
    assert turns.drain() == [9, 4, 0, 0, -3]
    with pytest.raises(IndexError):
        turns.take()


def test_nobody_starves_behind_urgent_mail() -> None:
    turns: Turns[str] = Turns()
    turns.put("patient", "slow", -9)
    turns.put("usual", "usual")
    taken = []
    for _ in range(2 * PATIENCE + 2):
        turns.put("mass", "urgent", 9)
        taken.append(turns.take())
    assert set(taken[:PATIENCE]) == {"urgent"}
    assert "slow" in taken[: PATIENCE + 2]
    assert "usual" in taken[: PATIENCE + 2]


def test_senders_of_one_priority_take_turns() -> None:
    turns: Turns[str] = Turns()
    for item in ("a1", "a2", "b1"):
        turns.put(item[0], item, 5)
    assert turns.drain() == ["a1", "b1", "a2"]
