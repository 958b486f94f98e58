"""The questions of one message: their time, their number, their record."""

from __future__ import annotations

import asyncio

import pytest

from relayd.resolver.answer import Answer, NoName, ResolveError, Temporary
from relayd.resolver.budget import BudgetResolver
from relayd.resolver.zone import FORGED, TIMEOUT, Zone

ZONE = Zone(
    {
        "a.example": {"A": ["192.0.2.1"], "TXT": ["v=spf1 \xe4 -all"], "MX": [(0, "")], "AAAA": TIMEOUT},
        "b.example": {"A": FORGED},
        "1.2.0.192.in-addr.arpa": {"PTR": ["a.example"]},
    },
    ttl=60,
    secure=True,
)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Dead(Zone):
    """Nobody answers, ever."""

    def __init__(self) -> None:
        super().__init__({})
        self.asked = 0

    async def txt(self, name: str) -> Answer[bytes]:
        self.asked += 1
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_dead_server_costs_the_time_given_and_no_more() -> None:
    dead = Dead()
    resolver = BudgetResolver(dead, 0.02)
    async with asyncio.timeout(5):
        for _ in range(3):
            with pytest.raises(Temporary):
                await resolver.txt("a.example")
    assert dead.asked == 1


async def test_when_the_time_is_over_nothing_is_asked() -> None:
    clock = Clock()
    resolver = BudgetResolver(ZONE, 10, clock=clock, keep=True)
    clock.now = 9.9
    assert (await resolver.addresses("a.example", 4)).records == ("192.0.2.1",)
    clock.now = 10.0
    with pytest.raises(Temporary, match="time"):
        await resolver.addresses("a.example", 4)
    assert [question.outcome for question in resolver.asked] == ["answer", "temporary"]


async def test_questions_are_numbered() -> None:
    resolver = BudgetResolver(ZONE, 10, questions=2)
    for _ in range(2):
        with pytest.raises(NoName):
            await resolver.txt("nowhere.example")
    with pytest.raises(Temporary, match="too many"):
        await resolver.txt("a.example")


async def test_whoever_gives_up_is_not_answered_by_the_budget() -> None:
    task = asyncio.create_task(BudgetResolver(Dead(), 60).txt("a.example"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_every_question_is_kept_with_what_came_of_it() -> None:
    resolver = BudgetResolver(ZONE, 10, keep=True, clock=Clock())
    await resolver.mx("a.example")
    await resolver.txt("a.example")
    await resolver.ptr("192.0.2.1")
    for name, family in (("a.example", 6), ("b.example", 4), ("c.example", 4), ("1.2.0.192.in-addr.arpa", 4)):
        with pytest.raises(ResolveError):
            await resolver.addresses(name, family)
    assert [(each.type, each.name, each.outcome, each.records) for each in resolver.asked] == [
        ("MX", "a.example", "answer", ("0 .",)),
        ("TXT", "a.example", "answer", ("v=spf1 \xe4 -all",)),
        ("PTR", "192.0.2.1", "answer", ("a.example",)),
        ("AAAA", "a.example", "temporary", ()),
        ("A", "b.example", "bogus", ()),
        ("A", "c.example", "no-name", ()),
        ("A", "1.2.0.192.in-addr.arpa", "no-data", ()),
    ]
    assert resolver.asked[0].secure
    assert resolver.asked[0].ttl == 60
    assert "does not exist" in resolver.asked[5].problem


async def test_nothing_is_kept_unless_asked_for() -> None:
    resolver = BudgetResolver(ZONE, 10)
    await resolver.mx("a.example")
    assert resolver.asked == []
