"""The scheduler under limits: who waits, who is suspended, what is stated; waiting is no attempt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from relayd.mail.reply import Reply
from relayd.queue.message import Job, Outcome, Result
from relayd.routing.next_hop import NextHop
from relayd.routing.options import RouteOptions
from relayd.routing.shaping.options import ShapingOptions
from relayd.routing.shaping.pace import Rate
from relayd.routing.shaping.rules import ShapingRules, read_rules
from tests.delivery.stage import Stage, delivered, outcomes_of, router, settings, stage

RESPONSES = """
[[response]]
id = "busy"
codes = [421]
text = ["come back in an hour"]
action = "suspend"
for = "1h"
[[response]]
id = "slow-down"
codes = [451]
action = "slow"
for = "10m"
"""

DEFAULT = {"default": ShapingOptions(concurrency=40)}


def rules(**records: ShapingOptions) -> ShapingRules:
    """Own rules, and the responses."""
    registrable = lambda name: ".".join(name.split(".")[-2:])  # noqa: E731
    return ShapingRules((read_rules(RESPONSES, "own.toml"),), DEFAULT | records, registrable=registrable)


def hosted(it: Stage, provider: str, *domains: str) -> None:
    """These domains have their mail hosts at a provider."""
    for each in domains:
        it.attempts.mx[each] = [f"mx1.{provider}", f"mx2.{provider}"]


def refusing(code: int, text: str, *domains: str) -> object:
    """Answers that are refusals at some domains."""

    def answer(job: Job, hop: NextHop) -> Sequence[Outcome]:
        if job.destination in domains:
            return outcomes_of(job, Result.DEFERRED, Reply(code, f"{code // 100}.7.0", text))
        return delivered(job, hop)

    return answer


async def test_a_421_suspends_its_provider_and_no_other(tmp_path: Path) -> None:
    async with stage(tmp_path, using=settings(shaping=rules())) as it:
        hosted(it, "big.example", "a.example", "b.example")
        hosted(it, "other.example", "c.example")
        it.attempts.answer = refusing(421, "busy, come back in an hour", "a.example")  # type: ignore[assignment]
        await it.send("x@b.example")
        await it.send("x@a.example")
        await it.attempts_made(2)
        (event,) = it.of_kind("delivery.suspended")
        assert event.fields["id"] == "provider:big.example"
        assert event.fields["account_name"] == "response busy"
        assert event.fields["due"] == it.clock.now + 3600
        (kept,) = it.queue.suspensions()
        assert (kept.destination, kept.reason) == ("provider:big.example", "421 4.7.0 busy, come back in an hour")
        it.attempts.answer = delivered
        held = await it.send("x@b.example")
        await it.send("x@c.example")
        await it.attempts_made(3)
        await it.pass_time(300)
        await it.idle()
        assert [job.destination for job in it.attempts.started] == ["b.example", "a.example", "c.example"]
        assert (await it.rows(held))[0].attempts == 0, "waiting is no attempt"
        await it.queue.unsuspend("provider:big.example")
        await it.attempts_made(5)
        assert [event.fields["id"] for event in it.of_kind("delivery.resumed")] == ["provider:big.example"]


async def test_a_domain_that_is_met_later_is_held_by_its_providers_suspension(tmp_path: Path) -> None:
    async with stage(tmp_path, using=settings(shaping=rules())) as it:
        hosted(it, "big.example", "new.example")
        await it.queue.suspend("provider:big.example", None, "ann", "")
        await it.until(lambda: bool(it.looks))
        id = await it.send("x@new.example")
        await it.until(lambda: it.scheduler.throttle.is_suspended("new.example"))
        await it.idle()
        assert it.attempts.started == []
        assert (await it.rows(id))[0].attempts == 0
        assert not it.scheduler.admit("new.example", "a", 1)
        await it.queue.unsuspend("provider:big.example")
        await it.attempts_made(1)


async def test_a_suspended_account_waits_in_memory_and_on_disk(tmp_path: Path) -> None:
    async with stage(tmp_path) as it:
        it.attempts.close("slow.example")
        for _ in range(30):
            await it.send("x@slow.example", sender_key="ann")
        await it.until(lambda: it.scheduler.stats().waiting == 10)
        await it.queue.suspend("account:ann", it.clock.now + 600, "ops", "abused")
        await it.until(lambda: it.scheduler.stats().waiting == 0)
        await it.send("y@slow.example", sender_key="ann")
        await it.send("z@fast.example", sender_key="bob")
        await it.until(lambda: len(it.attempts.started) == 21)
        it.attempts.open("slow.example")
        await it.idle()
        assert it.attempts.senders()[-1] == "bob"
        await it.pass_time(601)
        await it.attempts_made(32)


async def test_a_rate_holds_and_is_told_once(tmp_path: Path) -> None:
    one = ShapingOptions(mx=("big.example",), rate=(Rate(30, 1.0),))
    async with stage(tmp_path, using=settings(shaping=rules(big=one))) as it:
        hosted(it, "big.example", "a.example", "b.example")
        ids = [await it.send(f"x{number}@{'ab'[number % 2]}.example") for number in range(6)]
        for number in range(1, 6):
            assert len(it.attempts.started) <= number
            await it.until(lambda number=number: it.scheduler.stats().waiting <= 6 - number)  # type: ignore[misc]
            await it.pass_time(0.04)
        await it.attempts_made(6)
        assert all([await it.rows(id) == () for id in ids])
        (event,) = it.of_kind("delivery.rate-limit-exceeded")
        assert event.fields["id"] == "provider:big"
        assert event.fields["limit"] == "rate"


async def test_a_daily_cap_lasts_until_midnight_and_over_a_restart(tmp_path: Path) -> None:
    capped = settings(shaping=rules(big=ShapingOptions(mx=("big.example",), daily=3)))
    async with stage(tmp_path, using=capped) as it:
        hosted(it, "big.example", "a.example", "b.example")
        for number in range(5):
            await it.send(f"x{number}@{'ab'[number % 2]}.example")
        await it.until(lambda: len(it.attempts.started) == 3)
        await it.until(lambda: it.scheduler.stats().waiting == 0)
        await it.idle()
        clock = it.clock
    async with stage(tmp_path, using=capped, clock=clock) as it:
        hosted(it, "big.example", "a.example", "b.example")
        await it.send("other@c.example")
        await it.attempts_made(1)
        await it.until(lambda: it.scheduler.stats().waiting == 0)
        await it.idle()
        assert [job.destination for job in it.attempts.started] == ["c.example"]
        await it.pass_time(86400)
        await it.attempts_made(3)
        assert (await it.queue.audit()).queued == 0


async def test_who_complains_is_given_half(tmp_path: Path) -> None:
    big = ShapingOptions(mx=("big.example",), concurrency=8)
    async with stage(tmp_path, using=settings(shaping=rules(big=big))) as it:
        hosted(it, "big.example", "a.example", "b.example")
        it.attempts.answer = refusing(451, "not so fast", "a.example")  # type: ignore[assignment]
        await it.send("x@a.example")
        await it.attempts_made(1)
        (event,) = it.of_kind("delivery.slowed")
        assert (event.fields["id"], event.fields["value"]) == ("provider:big", 0.5)
        it.attempts.close("b.example")
        for _ in range(20):
            await it.send("x@b.example")
        assert it.attempts.running["b.example"] == 4
        found = it.scheduler.throttle.limits_of("b.example")
        assert found.provider == "big"
        assert found.slowed[0].startswith("provider:big to 50% for 10m by slow-down: 451")
        assert [(each.limit, each.value, each.used) for each in found.limits] == [("concurrency", "8", "4")]
        await it.pass_time(601)
        await it.until(lambda: it.attempts.running["b.example"] == 8)
        it.attempts.open("b.example")


async def test_a_destination_of_no_provider_is_slowed_by_itself(tmp_path: Path) -> None:
    async with stage(tmp_path, using=settings(shaping=ShapingRules((read_rules(RESPONSES, "own.toml"),)))) as it:
        it.attempts.answer = refusing(451, "not so fast", "a.example")  # type: ignore[assignment]
        await it.send("x@a.example")
        await it.attempts_made(1)
        assert it.of_kind("delivery.slowed")[0].fields["id"] == "domain:a.example"
        it.attempts.close("a.example")
        for _ in range(30):
            await it.send("x@a.example")
        assert it.attempts.running["a.example"] == 10


async def test_a_reload_changes_limits_at_once(tmp_path: Path) -> None:
    before = settings(shaping=rules(big=ShapingOptions(mx=("big.example",), concurrency=2)))
    after = settings(shaping=rules(big=ShapingOptions(mx=("big.example",), concurrency=6)))
    async with stage(tmp_path, using=before) as it:
        hosted(it, "big.example", "a.example", "b.example")
        it.attempts.close("a.example")
        it.attempts.close("b.example")
        for number in range(12):
            await it.send(f"x@{'ab'[number % 2]}.example")
        await it.until(lambda: it.scheduler.stats().running == 2)
        it.scheduler.reload(after, it.scheduler.router)
        await it.until(lambda: it.scheduler.stats().running == 6)
        it.attempts.open("a.example")
        it.attempts.open("b.example")
        await it.attempts_made(12)
        assert it.scheduler.stats().waiting == 0


async def test_hosts_that_cannot_be_had_hold_nothing_up(tmp_path: Path) -> None:
    async with stage(tmp_path, using=settings(shaping=rules())) as it:
        it.attempts.mx["lost.example"] = None
        await it.send("x@lost.example")
        await it.attempts_made(1)
        assert it.scheduler.shaping.shape("lost.example").provider == ""


@pytest.mark.parametrize("backlog", [2500])
async def test_mail_that_a_rate_holds_back_leaves_memory_to_others(tmp_path: Path, backlog: int) -> None:
    big = ShapingOptions(mx=("big.example",), rate=(Rate(60, 3600.0),))
    async with stage(tmp_path, using=settings(shaping=rules(big=big))) as it:
        domains = [f"d{number}.example" for number in range(50)]
        hosted(it, "big.example", *domains)
        for number in range(backlog):
            await it.send(f"x@{domains[number % 50]}", sender_key=f"s{number % 7}")
        await it.until(lambda: it.looks > 2)
        assert it.scheduler.stats().waiting < 500
        made = len(it.attempts.started)
        for number in range(20):
            await it.send(f"x@free{number}.example")
        await it.until(lambda: len(it.attempts.started) >= made + 20)
        assert (await it.queue.audit()).difference == 0


async def test_a_suspended_domain_waits_where_others_go_by_the_same_route(tmp_path: Path) -> None:
    routing = router({"smart": RouteOptions(address="smtp.example")}, default="smart")
    async with stage(tmp_path, routing=routing) as it:
        await it.queue.suspend("held.example", None, "ann", "")
        await it.until(lambda: bool(it.looks))
        id = await it.send("x@held.example", "y@free.example")
        await it.send("z@held.example")
        await it.attempts_made(1)
        await it.idle()
        assert [[to.address for to in job.message.recipients] for job in it.attempts.started] == [["y@free.example"]]
        (left,) = [row for row in await it.rows(id) if row.state.is_pending]
        assert (left.address, left.attempts) == ("x@held.example", 0)
        await it.queue.unsuspend("held.example")
        await it.pass_time(301)
        await it.attempts_made(3)


async def test_the_mail_of_a_suspended_route_moves_when_a_reload_takes_the_route_away(tmp_path: Path) -> None:
    routes = {"old": RouteOptions(address="old.example"), "new": RouteOptions(address="new.example")}
    async with stage(tmp_path, routing=router(routes, default="old")) as it:
        await it.queue.suspend("route:old", None, "ann", "it is down")
        await it.until(lambda: bool(it.looks))
        await it.send("x@any.example")
        await it.idle()
        assert not it.attempts.started
        it.scheduler.reload(settings(), router(routes, default="new"))
        await it.idle()
        assert not it.attempts.started, "while it is there its suspension counts"
        del routes["old"]
        it.scheduler.reload(settings(), router(routes, default="new"))
        await it.attempts_made(1)
        assert [job.destination for job in it.attempts.started] == ["route:new"]
        assert not it.queue.suspensions()
