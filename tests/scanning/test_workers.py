"""Worker processes: what they answer, and that nothing a message does hurts more than its own scan."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_address
from pathlib import Path

import msgspec
import pytest

from relayd.config.spam import delivered_rules
from relayd.scanning.frames import Setup
from relayd.scanning.workers import Busy, Overrun, Workers
from relayd.spam.facts import Facts
from relayd.spam.origin import Origin
from tests.spam.hostile import HOSTILE

ROOT = Path(__file__).parents[2]
"""Where this package of tests lies, which an installed relayd does not know."""
PLAIN = b"Subject: hello\r\n\r\nhello\r\n"


def setup(*plugins: str) -> Setup:
    return Setup(ruleset=delivered_rules(), plugins=plugins, places=(str(ROOT),), cpu=2.0, memory=200 << 20)


@pytest.fixture
def ended() -> list[str]:
    return []


@pytest.fixture
async def workers(ended: list[str]) -> AsyncIterator[Callable[..., Workers]]:
    made: list[Workers] = []

    def make(*plugins: str, patience: float = 20.0, cpu: float = 2.0) -> Workers:
        one = msgspec.structs.replace(setup(*plugins), cpu=cpu)
        made.append(Workers(1, one, patience, lambda pid, reason: ended.append(reason)))
        return made[-1]

    yield make
    for each in made:
        await each.close()


async def test_a_worker_finds_what_the_engine_finds(workers: Callable[..., Workers], tmp_path: Path) -> None:
    pool = workers()
    facts = Facts(recipients=("b@b.example",), return_path="a@a.example")
    found = await pool.scan(PLAIN, facts, len(PLAIN))
    file = tmp_path / "message"
    file.write_bytes(PLAIN)
    assert await pool.scan(file, facts, len(PLAIN)) == found
    assert "MISSING_FROM" in {tag.name for tag in found.tags}


async def test_rules_in_a_worker_know_where_the_client_is(workers: Callable[..., Workers]) -> None:
    facts = Facts(
        address=ip_address("2001:db8::25"), origin=Origin(asn=64500, country="DE", network="2001:db8::/32", holder="Ex")
    )
    found = await workers("tests.scanning.odd_rules:place").scan(PLAIN, facts, len(PLAIN))
    (tag,) = [tag for tag in found.tags if tag.name == "PLACE"]
    assert tag.evidence == f"{facts.address} {facts.origin}"


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("spin", "CPU time"),
        ("crash", "crashed"),
        ("eat", "memory"),
        ("end", "status 3"),
    ],
)
async def test_what_goes_over_a_limit_is_ended_and_the_next_is_scanned(
    rule: str, reason: str, workers: Callable[..., Workers], ended: list[str]
) -> None:
    pool = workers(f"tests.scanning.odd_rules:{rule}", cpu=0.2 if rule == "spin" else 5.0)
    with pytest.raises(Overrun, match=reason):
        await pool.scan(b"Subject: odd\r\n\r\nx\r\n", Facts(), 18)
    assert await pool.scan(PLAIN, Facts(), len(PLAIN))
    assert len(ended) == (rule != "eat")


async def test_a_bug_in_a_rule_is_said_and_costs_nothing_else(workers: Callable[..., Workers]) -> None:
    found = await workers("tests.scanning.odd_rules:fail").scan(PLAIN, Facts(), len(PLAIN))
    tag = next(each for each in found.tags if each.name == "RULE_FAILED")
    assert "ValueError" in tag.reason


async def test_a_worker_that_hangs_is_killed_by_the_clock(workers: Callable[..., Workers], ended: list[str]) -> None:
    pool = workers("tests.scanning.odd_rules:wait", patience=0.5, cpu=0.1)
    await pool.scan(PLAIN, Facts(), len(PLAIN))
    with pytest.raises(Overrun, match="too long"):
        await pool.scan(b"Subject: odd\r\n\r\nx\r\n", Facts(), 18)
    assert ended == ["it took too long"]


async def test_who_finds_no_worker_free_is_told_that_it_is_our_fault(workers: Callable[..., Workers]) -> None:
    pool = workers("tests.scanning.odd_rules:wait", patience=0.3, cpu=1.0)
    await pool.scan(PLAIN, Facts(), len(PLAIN))
    slow = asyncio.create_task(pool.scan(b"Subject: odd\r\n\r\nx\r\n", Facts(), 18))
    await asyncio.sleep(0)
    with pytest.raises(Busy):
        await pool.scan(PLAIN, Facts(), len(PLAIN))
    with pytest.raises(Overrun):
        await slow


async def test_a_killed_worker_is_replaced(workers: Callable[..., Workers]) -> None:
    pool = workers()
    await pool.scan(PLAIN, Facts(), len(PLAIN))
    pid = pool.pids[0]
    os.kill(pid, signal.SIGKILL)
    for _ in range(2):  # it may have answered before it was seen to be gone
        try:
            assert await pool.scan(PLAIN, Facts(), len(PLAIN))
            break
        except Overrun:
            continue
    assert pool.pids[0] != pid


async def test_hostile_mail_is_scanned_within_the_limits(workers: Callable[..., Workers], ended: list[str]) -> None:
    pool = workers()
    facts = Facts(recipients=("b@b.example",))
    for name, make in HOSTILE.items():
        content = make()
        assert (await pool.scan(content, facts, len(content))).tags, name
        assert ended == [], name  # it would have been killed at 2 s of CPU time or 200 MB
