"""Who is bounced untried, and what fills the suppression list: nothing that is said of us or of the way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from relayd.config.bounces import shipped_rules
from relayd.delivery.permit import Permit
from relayd.delivery.suppressing import Suppressing
from relayd.events.event import Event, EventStream, Span
from relayd.mail.reply import Reply
from relayd.queue.message import Job, Origin, Outcome, Result
from relayd.reputation.options import SuppressionOptions
from relayd.reputation.suppression import SuppressionList
from relayd.reputation.suppression_rows import Entry, Filter
from relayd.routing.bounce_class import classify_reply
from relayd.routing.bounce_rules import build_rules
from relayd.routing.next_hop import NextHop, Protocol
from tests.delivery.setting import job, smarthost
from tests.queue.conftest import START, Clock

RULES = build_rules(shipped_rules())
HOP = smarthost(25)


@dataclass
class Attempts:
    """Notes who is tried; `answer` says what becomes of each."""

    answer: Callable[[str], Outcome] | None = None
    tried: list[str] = field(default_factory=list)

    async def mx_hosts(self, next_hop: NextHop) -> list[str] | None:
        return None

    async def run(self, job: Job, next_hop: NextHop, permit: Permit | None = None) -> list[Outcome]:
        found = []
        for each in job.message.recipients:
            self.tried.append(each.address)
            given = self.answer(each.address) if self.answer else delivered()
            found.append(replace(given, number=each.number, address=each.address))
        return found


def delivered() -> Outcome:
    return Outcome(number=0, address="", result=Result.DELIVERED, reply=Reply(250, "2.0.0", "ok"))


def refused(reply: Reply, result: Result = Result.BOUNCED) -> Callable[[str], Outcome]:
    """Everybody is refused with `reply` in answer to RCPT, as the shipped rules class it."""
    finding = classify_reply(reply, RULES, step="RCPT", host="mx.x.example")

    def answer(address: str) -> Outcome:
        return Outcome(
            number=0,
            address=address,
            result=result,
            reply=reply,
            host="mx.x.example",
            class_=finding.class_.value,
            rule=finding.rule,
            hard=finding.hard,
        )

    return answer


@dataclass
class Stage:
    suppressions: SuppressionList
    attempts: Attempts
    suppressing: Suppressing
    events: list[Event]

    async def run(self, given: Job, hop: NextHop = HOP) -> Sequence[Outcome]:
        return sorted(await self.suppressing.run(given, hop), key=lambda each: each.number)

    async def suppress(self, address: str, scope: str = "global") -> None:
        await self.suppressions.add(
            Entry(scope=scope, address=address, cause="complaint", since=START, until=None, by="ann")
        )

    async def listed(self) -> Sequence[Entry]:
        return (await self.suppressions.list(Filter()))[0]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    clock, events = Clock(), list[Event]()
    span = Span(EventStream(clock, [events.append]))
    suppressions = SuppressionList(tmp_path, clock, span)
    await suppressions.reconfigure(SuppressionOptions(enable=True))
    attempts = Attempts()
    suppressing = Suppressing(attempts, suppressions, lambda address: address.endswith("@ours.example"), clock, span)
    yield Stage(suppressions, attempts, suppressing, events)
    await suppressions.close()


async def test_a_suppressed_recipient_is_bounced_and_the_others_are_tried(stage: Stage) -> None:
    await stage.suppress("dead@x.example")
    found = await stage.run(job("a@x.example", "dead@x.example", "b@x.example"))
    assert stage.attempts.tried == ["a@x.example", "b@x.example"]
    assert [each.result for each in found] == [Result.DELIVERED, Result.BOUNCED, Result.DELIVERED]
    bounced = found[1]
    assert (bounced.reply.code, bounced.reply.enhanced) == (550, "5.7.1")
    assert bounced.reply.text == "The recipient is suppressed since 2027-01-15: complaint"
    assert (bounced.class_, bounced.hard, bounced.ours, bounced.uncounted) == ("suppressed", False, True, True)
    assert [each.kind.id for each in stage.events][-1] == "suppression.bounced"


async def test_when_all_are_suppressed_no_attempt_is_made(stage: Stage) -> None:
    await stage.suppress("dead@x.example")
    (outcome,) = await stage.run(job("dead@x.example"))
    assert outcome.result is Result.BOUNCED
    assert stage.attempts.tried == []


@pytest.mark.parametrize(
    ("changes", "hop"),
    [
        ({"origin": Origin.RELAYED, "trusted": False}, HOP),
        ({"origin": Origin.DSN, "return_path": ""}, HOP),
        ({"origin": Origin.ALERT, "return_path": ""}, HOP),
        ({"return_path": ""}, HOP),
        ({}, smarthost(25, protocol=Protocol.LMTP)),
    ],
)
async def test_other_mail_passes_and_fills_nothing(stage: Stage, changes: dict[str, Any], hop: NextHop) -> None:
    await stage.suppress("dead@x.example")
    stage.attempts.answer = refused(Reply(550, "5.1.1", "User unknown"))
    await stage.run(job("dead@x.example", "other@x.example", **changes), hop)
    assert stage.attempts.tried == ["dead@x.example", "other@x.example"]
    assert len(await stage.listed()) == 1


async def test_recipients_of_ours_pass_and_fill_nothing(stage: Stage) -> None:
    await stage.suppress("@ours.example")
    stage.attempts.answer = refused(Reply(550, "5.1.1", "User unknown"))
    await stage.run(job("jane@ours.example"))
    assert stage.attempts.tried == ["jane@ours.example"]
    assert len(await stage.listed()) == 1


async def test_a_dead_mailbox_comes_on_the_list_with_its_evidence(stage: Stage) -> None:
    stage.attempts.answer = refused(Reply(550, "5.1.1", "User\nunknown"))
    await stage.run(job("dead@x.example"))
    (entry,) = await stage.listed()
    assert (entry.scope, entry.address, entry.cause) == ("domain:sender.example", "dead@x.example", "bad-mailbox")
    assert (entry.since, entry.until) == (START, START + 30 * 86400)
    why = entry.evidence
    assert (why.queue_id, why.host, why.code, why.enhanced) == (4711, "mx.x.example", 550, "5.1.1")
    assert (why.reply, why.rule) == ("User unknown", "mailbox-unknown")


@pytest.mark.parametrize(
    ("scope", "account", "expected"),
    [
        ("global", "ann", "global"),
        ("account", "ann", "account:ann"),
        ("account", None, "domain:sender.example"),
        ("domain", "ann", "domain:sender.example"),
    ],
)
async def test_the_scope_of_what_follows_from_a_refusal(
    stage: Stage, scope: str, account: str | None, expected: str
) -> None:
    await stage.suppressions.reconfigure(SuppressionOptions(enable=True, scope=scope))
    stage.attempts.answer = refused(Reply(550, "5.1.1", "User unknown"))
    await stage.run(job("dead@x.example", account=account))
    assert [each.scope for each in await stage.listed()] == [expected]


@pytest.mark.parametrize(
    "reply",
    [
        Reply(550, "5.7.1", "Service unavailable; client host blocked using Spamhaus"),
        Reply(550, "5.7.1", "Our system has detected that this message is likely unsolicited mail"),
        Reply(550, "5.7.26", "This mail has been blocked because the sender is unauthenticated"),
        Reply(554, "5.7.1", "Message identified as SPAM"),
        Reply(550, "5.7.606", "Access denied, banned sending IP"),
        Reply(552, "5.2.2", "Mailbox full"),
        Reply(552, "5.3.4", "Message size exceeds fixed limit"),
        Reply(550, "5.7.1", "Relaying denied"),
        Reply(550, "5.7.10", "Encryption needed"),
        Reply(554, "5.4.6", "Mail loop"),
        Reply(550, "5.4.5", "Daily sending quota exceeded"),
        Reply(550, "", "No"),
    ],
    ids=lambda reply: reply.text[:30],
)
async def test_what_is_said_of_us_or_of_the_mail_fills_nothing(stage: Stage, reply: Reply) -> None:
    stage.attempts.answer = refused(reply)
    await stage.run(job("a@x.example"))
    assert await stage.listed() == []


async def test_what_is_not_final_fills_nothing(stage: Stage) -> None:
    stage.attempts.answer = refused(Reply(550, "5.1.1", "User unknown"), Result.DEFERRED)  # queue.soft-bounce
    await stage.run(job("a@x.example"))
    assert await stage.listed() == []


async def test_a_list_that_cannot_be_read_defers_who_may_be_on_it(stage: Stage) -> None:
    await stage.suppress("dead@x.example")
    await stage.suppressions._database.close()  # type: ignore[union-attr]
    found = await stage.run(job("dead@x.example", "alive@x.example"))
    assert [each.result for each in found] == [Result.DEFERRED, Result.DELIVERED]
    assert found[0].uncounted
