"""Deadlines and priority on the way out: what is passed on, what comes back, and when."""

from __future__ import annotations

import time

import pytest
from msgspec.structs import replace

from relayd.delivery.bounce import reported_recipients
from relayd.delivery.due import conclude, failed
from relayd.mail.dsn import Action
from relayd.mail.reply import Reply
from relayd.mail.terms import Terms
from relayd.queue.message import Outcome, Result
from relayd.routing.next_hop import Protocol
from relayd.routing.options import ScheduleOptions
from relayd.routing.schedule import Schedule
from tests.delivery.setting import CONTENT, Setting, job, smarthost
from tests.rig.peer import ALL, Script, running

NOW = 1_800_000_000.0
SIZE = f"SIZE={len(CONTENT)}"


@pytest.mark.parametrize(
    ("terms", "parameters"),
    [
        (Terms(priority=4), "MT-PRIORITY=4"),
        (Terms(priority=-4), "MT-PRIORITY=-4"),
        (Terms(by=NOW + 90.7), "BY=90;N"),
        (Terms(by=NOW + 90.7, traces=True, priority=1), "BY=90;NT MT-PRIORITY=1"),
        (Terms(by=NOW - 90), "BY=-90;N"),
        (Terms(release=NOW - 1, rules=("r",)), ""),
    ],
)
async def test_passed_on_to_who_offers_it(terms: Terms, parameters: str) -> None:
    async with running(Script(offers=(*ALL, "DELIVERBY 30", "MT-PRIORITY"))) as able, running() as unable:
        for peer in (able, unable):
            setting = Setting(clock=lambda: NOW)
            [outcome] = await setting.run(job(terms=terms), smarthost(peer.port))
            assert outcome.result in (Result.DELIVERED, Result.RELAYED)
            await setting.pool.close()
        assert able.taken[0].mail.partition(SIZE)[2].strip() == parameters
        assert unable.taken[0].mail.endswith(SIZE)


@pytest.mark.parametrize(
    ("offers", "left", "parameters"),
    [
        ("DELIVERBY", 90.7, "BY=90;R"),
        ("DELIVERBY 90", 90.7, "BY=90;R"),
        ("DELIVERBY 91", 90.7, ""),
        ("DELIVERBY", 0.5, "BY=1;R"),
        ("XNOTHING", 90.7, ""),
    ],
)
async def test_late_mail_that_must_come_back_goes_to_who_promises_the_time(
    offers: str, left: float, parameters: str
) -> None:
    async with running(Script(offers=(*ALL, offers))) as peer:
        setting = Setting(clock=lambda: NOW)
        [outcome] = await setting.run(job(terms=Terms(by=NOW + left, returns=True)), smarthost(peer.port))
        await setting.pool.close()
    if parameters:
        assert outcome.result is Result.DELIVERED
        assert peer.taken[0].mail.endswith(parameters)
    else:
        assert (outcome.result, outcome.reply.enhanced) == (Result.BOUNCED, "5.3.3")
        assert not peer.taken


async def test_a_mail_store_takes_it_without_a_promise() -> None:
    async with running(Script(lmtp=True)) as peer:
        setting = Setting(clock=lambda: NOW)
        hop = smarthost(peer.port, protocol=Protocol.LMTP)
        [outcome] = await setting.run(job(terms=Terms(by=NOW + 90, returns=True)), hop)
        await setting.pool.close()
        assert outcome.result is Result.DELIVERED


async def test_what_is_late_goes_back_without_an_attempt() -> None:
    async with running() as peer:
        setting = Setting(clock=lambda: NOW)
        late = job(terms=Terms(by=NOW, returns=True))
        [outcome] = await setting.run(late, smarthost(peer.port))
        assert (outcome.result, outcome.reply.enhanced) == (Result.BOUNCED, "5.4.7")
        assert not peer.connections
        [reported] = reported_recipients(late.message, [outcome], NOW, final=False)
        assert (reported.action, reported.reply and reported.reply.enhanced) == (Action.FAILED, "5.4.7")


async def test_what_only_its_sender_is_to_be_told_of_goes_on() -> None:
    async with running() as peer:
        setting = Setting(clock=time.time)
        [outcome] = await setting.run(job(terms=Terms(by=NOW - 1e9)), smarthost(peer.port))
        assert outcome.result is Result.DELIVERED
        await setting.pool.close()


def deferred(terms: Terms, now: float, **changes: object) -> Outcome:
    made = job(terms=terms, created=NOW)
    recipient = replace(made.message.recipients[0], **({"expires": NOW + 432000} | changes))
    made = replace(made, message=replace(made.message, recipients=(recipient,)))
    outcome = Outcome(
        number=0, address=recipient.address, result=Result.DEFERRED, reply=Reply(450, "4.2.0", "later"), status="later"
    )
    [concluded] = conclude(made, [outcome], Schedule(ScheduleOptions()), now, lambda: 0.0)
    return concluded


def test_the_deadline_is_looked_at_when_it_comes() -> None:
    assert deferred(Terms(by=NOW + 60, returns=True), NOW).next_attempt == NOW + 60
    assert deferred(Terms(by=NOW + 60), NOW).next_attempt == NOW + 60
    assert deferred(Terms(by=NOW + 60), NOW + 61).next_attempt == NOW + 61 + 120
    assert deferred(Terms(by=NOW + 6000), NOW).next_attempt == NOW + 120


def test_an_attempt_that_was_not_made_keeps_no_deadline_waiting() -> None:
    def postponed(terms: Terms, now: float = NOW) -> float | None:
        made = job(terms=terms, created=NOW)
        outcome = replace(failed(made.message.recipients[0], Reply(451, "4.4.5", "x")), next_attempt=NOW + 86400)
        outcome = replace(outcome, uncounted=True)
        [concluded] = conclude(made, [outcome], Schedule(ScheduleOptions()), now, lambda: 0.0)
        return concluded.next_attempt

    assert postponed(Terms(by=NOW + 60, returns=True)) == NOW + 60
    assert postponed(Terms(by=NOW + 60)) == NOW + 60
    assert postponed(Terms(by=NOW - 60, returns=True)) == NOW + 86400


@pytest.mark.parametrize(
    ("terms", "due", "told"),
    [
        (Terms(by=NOW), NOW + 86400, True),
        (Terms(by=NOW), NOW, False),  # it only moves to another next hop
        (Terms(), NOW + 86400, False),
    ],
)
def test_who_set_a_deadline_hears_of_it_though_no_attempt_was_made(terms: Terms, due: float, told: bool) -> None:
    made = job(terms=terms, created=NOW - 60)
    recipient = replace(made.message.recipients[0], next_notify=NOW, expires=NOW + 432000)
    made = replace(made, message=replace(made.message, recipients=(recipient,)))
    outcome = replace(failed(recipient, Reply(451, "4.4.5", "x")), next_attempt=due, uncounted=True)
    concluded = conclude(made, [outcome], Schedule(ScheduleOptions()), NOW, lambda: 0.0)
    reported = reported_recipients(made.message, concluded, NOW, final=False)
    assert [each.action for each in reported] == ([Action.DELAYED] if told else [])
    assert concluded[0].next_notify == (NOW - 60 + 86400 if told else None)


def test_notices_count_from_the_release() -> None:
    release = NOW + 500000
    told = deferred(Terms(release=release), release + 86400, next_notify=release + 86400, expires=release + 432000)
    assert told.next_notify == release + 3 * 86400


def test_expired_by_a_deadline_is_5_4_7() -> None:
    late = job(terms=Terms(by=NOW, returns=True))
    expired = Outcome(
        number=0, address="b@x.example", result=Result.EXPIRED, reply=Reply(450, "4.2.0", "later"), status="later"
    )
    [reported] = reported_recipients(late.message, [expired], NOW, final=False)
    assert reported.status == "5.4.7"
    [usual] = reported_recipients(job().message, [expired], NOW, final=False)
    assert usual.status == "4.4.7"


async def test_a_traced_message_is_reported_where_nobody_promises_the_time() -> None:
    async with running(Script(offers=(*ALL, "DELIVERBY"))) as able, running() as unable:
        found = []
        for peer in (able, unable):
            setting = Setting(clock=lambda: NOW)
            traced = job(terms=Terms(by=NOW + 90, traces=True))
            outcomes = await setting.run(traced, smarthost(peer.port))
            found.append([each.action for each in reported_recipients(traced.message, outcomes, NOW, final=False)])
            await setting.pool.close()
        assert found == [[], [Action.RELAYED]]
