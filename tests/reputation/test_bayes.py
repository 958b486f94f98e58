"""The models at rest: learnt, forgotten once, kept over a restart, expired, bounded."""

from __future__ import annotations

from array import array
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from relayd.events.event import Event, EventStream, Span
from relayd.reputation.bayes import EVERYBODY, Bayes
from relayd.spam.bayes import Learnt
from relayd.spam.options import BayesOptions

DAY = 86400.0


class House:
    """The models of a directory, with a clock that is moved."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.now = 1_700_000_000.0
        self.events: list[Event] = []
        self.bayes = self._bayes()

    def _bayes(self) -> Bayes:
        span = Span(EventStream(lambda: self.now, [self.events.append]))
        bayes = Bayes(self.directory, lambda: self.now, span)
        bayes.options = BayesOptions(min_learns=3)
        return bayes

    async def restart(self) -> None:
        await self.bayes.close()
        self.bayes = self._bayes()
        await self.bayes.open()

    async def learn(self, times: int = 3, account: str = EVERYBODY) -> None:
        for number in range(times):
            await self.bayes.train(words(0, 20), b"s%d" % number, spam=True, account=account)
            await self.bayes.train(words(100, 20), b"h%d" % number, spam=False, account=account)

    async def probability(self, tokens: bytes, account: str = EVERYBODY) -> float | None:
        found = await self.bayes.estimate(tokens, account)
        return None if found is None else found[0].probability


def words(first: int, number: int) -> bytes:
    """Tokens."""
    return array(
        "Q", [(each + 1) * 0x9E3779B97F4A7C15 & (1 << 64) - 1 for each in range(first, first + number)]
    ).tobytes()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    found = House(tmp_path)
    await found.bayes.open()
    yield found
    await found.bayes.close()


async def test_it_speaks_when_it_has_learnt_enough_of_either_kind(house: House) -> None:
    await house.learn(2)
    assert await house.probability(words(0, 20)) is None
    await house.learn(1)
    assert (await house.probability(words(0, 20)) or 0) > 0.95
    assert (await house.probability(words(100, 20)) or 1) < 0.05
    assert await house.probability(words(500, 20)) is None
    mixed = await house.probability(words(0, 20) + words(100, 20))
    assert mixed is not None
    assert 0.3 < mixed < 0.7


async def test_what_was_learnt_outlives_a_restart(house: House) -> None:
    await house.learn()
    before = await house.probability(words(0, 20))
    await house.restart()
    assert await house.probability(words(0, 20)) == before


async def test_learning_twice_counts_twice_and_each_is_forgotten_once(house: House) -> None:
    for _ in range(2):
        await house.bayes.train(words(0, 5), b"m", spam=True)
    assert house.bayes.learnt[EVERYBODY] == Learnt(2, 0)
    assert not await house.bayes.forget(words(0, 5), b"m", spam=False)
    assert [await house.bayes.forget(words(0, 5), b"m", spam=True) for _ in range(3)] == [True, True, False]
    assert house.bayes.learnt[EVERYBODY] == Learnt(0, 0)
    await house.restart()
    model = await house.bayes.load(EVERYBODY)
    assert model is not None
    assert not model.tokens


async def test_an_account_has_a_model_of_its_own_and_everybodys_until_then(house: House) -> None:
    await house.learn()
    assert (await house.bayes.estimate(words(0, 20), "ann") or ("", "?"))[1] == EVERYBODY
    for number in range(3):  # what is spam to all is wanted by Ann
        await house.bayes.train(words(0, 20), b"a%d" % number, spam=False, account="ann")
        await house.bayes.train(words(200, 20), b"b%d" % number, spam=True, account="ann")
    assert (await house.probability(words(0, 20), "ann") or 1) < 0.05
    assert (await house.probability(words(0, 20)) or 0) > 0.95
    assert await house.bayes.reset("ann") == 1
    assert (await house.probability(words(0, 20), "ann") or 0) > 0.95


async def test_what_nobody_asked_to_learn_keeps_the_balance(house: House) -> None:
    for number in range(10):
        await house.bayes.train(words(0, 5), b"%d" % number, spam=True)
    assert not await house.bayes.train(words(0, 5), b"x", spam=True, automatic=True)
    assert await house.bayes.train(words(9, 5), b"y", spam=False, automatic=True)
    assert [event.kind.id for event in house.events].count("spam.train-balance") == 1


async def test_tokens_expire_and_are_bounded_the_rarest_go_first(house: House) -> None:
    await house.bayes.train(words(0, 5), b"old", spam=True)
    house.now += 100 * DAY
    await house.bayes.train(words(10, 5), b"new", spam=True)
    await house.bayes.train(words(10, 5), b"again", spam=True)
    await house.bayes.train(words(20, 5), b"once", spam=True)
    house.now += 100 * DAY
    await house.bayes.sweep()
    model = await house.bayes.load(EVERYBODY)
    assert model is not None
    assert len(model.tokens) == 10
    house.bayes.options = replace(house.bayes.options, max_tokens=5)
    house.now += DAY
    await house.bayes.sweep()
    model = await house.bayes.load(EVERYBODY)
    assert model is not None
    assert set(model.tokens.values()) == {2 << 16}


async def test_without_its_file_mail_goes_on(tmp_path: Path) -> None:
    (tmp_path / "bayes.db").write_bytes(b"no database" * 500)
    house = House(tmp_path)
    await house.bayes.open()
    assert "store.broken" in {event.kind.id for event in house.events}
    assert await house.probability(words(0, 20)) is None
    await house.bayes.close()
