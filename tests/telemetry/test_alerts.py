"""Alerts: once for each cause, with an all-clear, over restarts, and by mail as soon as one can be queued."""

from __future__ import annotations

import email
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from relayd.telemetry.alert_mail import AlertMail
from relayd.telemetry.alerts import MOST_CAUSES, Alerts, Causes, Memory, Watch
from relayd.telemetry.refusal_wave import WINDOW, RefusalWave
from tests.telemetry.conftest import NOW, Recorder


class Post:
    """The postmaster's mail."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, tuple[str, ...]]] = []
        self.broken = False

    async def mail(self, subject: str, lines: Sequence[str]) -> None:
        if self.broken:
            raise OSError("the queue is full")
        self.sent.append((subject, tuple(lines)))


class House:
    """Alerts with one watch, whose findings the test sets."""

    def __init__(self, path: Path, recorder: Recorder) -> None:
        self.path = path
        self.recorder = recorder
        self.post = Post()
        self.causes: Causes | Exception | None = {}
        self.looks = 0
        self.now = 0.0
        self.watches = [Watch("thing", "the thing", 60.0, self.look)]
        self.start()

    def start(self) -> None:
        self.alerts = Alerts(
            Memory(self.path / "alerts.json"),
            lambda: self.watches,
            lambda: self.post.mail,
            self.recorder.daemon,
            lambda: self.now,
        )

    async def look(self) -> Causes | None:
        self.looks += 1
        if isinstance(self.causes, Exception):
            raise self.causes
        return self.causes

    async def after(self, seconds: float, causes: Causes | Exception | None) -> list[tuple[str, Any]]:
        """The events of the next look."""
        self.now += seconds
        self.recorder.now += seconds
        self.causes = causes
        self.recorder.events.clear()
        await self.alerts.look()
        return [(each.kind.id.partition(".")[2], each.fields["id"]) for each in self.recorder.events]


@pytest.fixture
def house(tmp_path: Path, recorder: Recorder) -> House:
    return House(tmp_path, recorder)


async def test_once_for_each_cause_and_once_when_it_is_over(house: House) -> None:
    assert await house.after(0, {}) == []
    assert await house.after(60, {"thing:a": "a is wrong"}) == [("alert", "thing:a")]
    assert await house.after(60, {"thing:a": "a is wrong"}) == []
    assert await house.after(60, {"thing:a": "a is wrong", "thing:b": "b is wrong"}) == [("alert", "thing:b")]
    assert await house.after(60, {"thing:b": "b is wrong"}) == [("alert-cleared", "thing:a")]
    assert await house.after(60, {"thing:a": "a again", "thing:b": "b is wrong"}) == [("alert", "thing:a")]
    assert house.post.sent == [
        ("Alert: the thing", ("a is wrong",)),
        ("Alert: the thing", ("b is wrong",)),
        ("All clear: the thing", ("It is over: a is wrong",)),
        ("Alert: the thing", ("a again",)),
    ]


async def test_a_restart_tells_nothing_twice_and_remembers_what_to_clear(house: House) -> None:
    await house.after(0, {"thing:a": "a is wrong"})
    house.start()
    assert await house.after(0, {"thing:a": "a is wrong"}) == []
    assert await house.after(60, {}) == [("alert-cleared", "thing:a")]
    assert [subject for subject, _ in house.post.sent] == ["Alert: the thing", "All clear: the thing"]
    house.start()
    assert await house.after(0, {}) == []


async def test_what_is_seen_over_a_while_is_not_over_before_that_since_a_restart(house: House) -> None:
    house.watches = [Watch("thing", "the thing", 60.0, house.look, remembers=600.0)]
    await house.after(0, {"thing:a": "a is wrong"})
    house.start()
    assert await house.after(60, {}) == []
    assert await house.after(480, {"thing:b": "b is wrong"}) == [("alert", "thing:b")]
    assert await house.after(60, {"thing:b": "b is wrong"}) == [("alert-cleared", "thing:a")]


async def test_a_memory_that_is_damaged_is_begun_anew(house: House) -> None:
    (house.path / "alerts.json").write_bytes(b"{ no json")
    house.start()
    assert await house.after(0, {"thing:a": "a"}) == [("alert", "thing:a")]


async def test_a_mail_that_cannot_be_queued_is_tried_again_the_event_is_not_repeated(house: House) -> None:
    house.post.broken = True
    assert await house.after(0, {"thing:a": "a"}) == [("alert", "thing:a"), ("alert-error", "thing")]
    house.post.broken = False
    assert await house.after(60, {"thing:a": "a"}) == []
    assert house.post.sent == [("Alert: the thing", ("a",))]


async def test_an_all_clear_that_cannot_be_mailed_is_tried_again_over_a_restart(house: House) -> None:
    await house.after(0, {"thing:a": "a is wrong", "thing:b": "b is wrong"})
    house.post.broken = True
    assert await house.after(60, {}) == [
        ("alert-cleared", "thing:a"),
        ("alert-cleared", "thing:b"),
        ("alert-error", "thing"),
    ]
    assert house.alerts.open() == {"thing": 0}
    house.start()
    house.post.broken = False
    assert await house.after(0, {"thing:b": "b again"}) == [("alert", "thing:b")]
    assert house.post.sent[1:] == [
        ("Alert: the thing", ("b again",)),
        ("All clear: the thing", ("It is over: a is wrong",)),
    ]
    assert await house.after(60, {"thing:b": "b again"}) == []
    assert len(house.post.sent) == 3


async def test_what_could_not_be_looked_at_is_neither_wrong_nor_over(house: House) -> None:
    await house.after(0, {"thing:a": "a"})
    assert await house.after(60, None) == []
    assert await house.after(60, RuntimeError("no database")) == [("alert-error", "thing")]
    assert await house.after(60, {"thing:a": "a"}) == []


async def test_looks_are_as_seldom_as_they_are_said_to_be(house: House) -> None:
    for _ in range(7):
        await house.after(20, {})
    assert house.looks == 3
    house.watches = [Watch("later", "later", 60.0, house.look, at_once=False)]
    await house.after(20, {})
    assert house.looks == 3
    await house.after(60, {})
    assert house.looks == 4


async def test_a_watch_that_is_switched_off_forgets(house: House) -> None:
    await house.after(0, {"thing:a": "a"})
    watches, house.watches = house.watches, []
    assert await house.after(60, {}) == []
    house.watches = watches
    assert await house.after(60, {"thing:a": "a"}) == [("alert", "thing:a")]


async def test_a_flood_of_causes_is_cut(house: House) -> None:
    many = {f"thing:{number}": "x" for number in range(1000)}
    assert len(await house.after(0, many)) == MOST_CAUSES
    assert await house.after(60, many) == []
    assert [len(lines) for _, lines in house.post.sent] == [MOST_CAUSES]


def test_a_wave_of_refusals_and_its_end() -> None:
    wave = RefusalWave()
    counts = {("google", "delivered"): 1000, ("google", "bounced"): 400, ("other", "deferred"): 3}

    def look(now: float, **changes: int) -> set[str]:
        for name, more in changes.items():
            counts["google", name] = counts.get(("google", name), 0) + more
        return set(wave.look(counts, now, least=50, share=0.5))

    assert look(0) == set()
    assert look(60, bounced=49) == set()
    assert look(120, deferred=1) == {"google"}
    assert look(180, delivered=60) == {"google"}  # above half of what makes a wave
    assert look(180 + WINDOW, delivered=60) == set()
    assert look(240 + WINDOW, bounced=40, delivered=1) == set()


def test_a_wave_says_who_refuses() -> None:
    wave = RefusalWave()
    assert (
        wave.look({("google", "bounced"): 0, ("other", "bounced"): 0, ("none", "deferred"): 0}, 0, least=1, share=1)
        == {}
    )
    found = wave.look(
        {("google", "bounced"): 2, ("other", "bounced"): 3, ("none", "deferred"): 4}, 60, least=1, share=1
    )
    assert found == {
        "google": "google: 2 of 2 recipients were refused in the last 10 minutes",
        "other": "hosts of no known provider: 3 of 3 recipients were refused in the last 10 minutes",
        "none": "no host was reached for 4 of 4 recipients in the last 10 minutes",
    }


def test_the_mail_is_seven_bit_and_nothing_in_it_can_break_out() -> None:
    mail = AlertMail(
        hostname="relay.test",
        to=["postmaster@relay.test", "ops@relay.test"],
        now=NOW,
        message_id="<1@relay.test>",
        subject="Alert: caf\u00e9\r\nBcc: x@y",
        lines=["mail for evil\r\n.\r\nQUIT waits \u202e", "x" * 5000],
    )
    octets = mail.compose()
    parsed = email.message_from_bytes(octets)
    assert octets.isascii()
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    assert parsed["To"] == "postmaster@relay.test,\r\n ops@relay.test"
    assert parsed["Bcc"] is None
    assert parsed["Auto-Submitted"] == "auto-generated"
    assert b"\r\n.\r\n" not in octets
