"""Those who know something of a message that its content does not say: the DNS, records, bans, scanners."""

from __future__ import annotations

import asyncio
import ipaddress
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from relayd.events import spam as events
from relayd.events.event import EventStream, Span
from relayd.filters.scan import Outcome, Scan
from relayd.mailauth.findings import DkimFinding, Findings, Result, SpfFinding
from relayd.reception.assessing import Subject
from relayd.reception.filtering import Filtering, ScannerTags
from relayd.reception.hosts_asked import HostsAsked
from relayd.reception.policy import Policy
from relayd.reception.replies import Replies
from relayd.reception.reputation import Reputations
from relayd.reception.strangers import Strangers
from relayd.reputation.bans import Bans
from relayd.reputation.options import BanOptions, ReplyOptions, ReputationOptions
from relayd.reputation.rate import Rate
from relayd.reputation.record import Records
from relayd.reputation.sent import SentMail
from relayd.resolver.zone import TIMEOUT, Zone
from relayd.spam.facts import Facts, Scanned
from tests.spam.house import scanner

DAY = 86400.0
NOW = 1_700_000_000.0
CLIENT = ipaddress.ip_address("198.51.100.7")
SPAN = Span(EventStream(lambda: NOW))
PROVED = Findings(
    spf_mail_from=SpfFinding(scope="mfrom", result=Result.PASS, domain="a.example", sender="x@a.example"),
    dkim=(DkimFinding(result=Result.PASS, domain="a.example"),),
)


def subject(queue_id: int = 1, *, findings: Findings = PROVED, is_trial: bool = False, **facts: Any) -> Subject:
    known = {"address": CLIENT, "helo": "mx.a.example", "return_path": "x@a.example", **facts}
    return Subject(
        facts=Facts(**known),
        findings=findings,
        scanned=Scanned(hops=("192.0.2.1", "no address")),
        content=b"",
        span=SPAN,
        queue_id=queue_id,
        is_trial=is_trial,
    )


ZONE = Zone(
    {
        "mx.a.example": {"AAAA": ["2001:db8::1"]},
        "a.example": {"MX": [(10, "mx.a.example")]},
        "dead.example": {"TXT": ["nothing"]},
        "ill.example": {"*": TIMEOUT},
    }
)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, []),
        (
            {"helo": "nowhere.example", "return_path": "x@dead.example"},
            ["HELO_NORES_A_OR_MX", "FROMHOST_NORES_A_OR_MX"],
        ),
        ({"helo": "ill.example", "return_path": "x@ill.example"}, []),
        ({"helo": "[192.0.2.1]", "return_path": ""}, []),
        ({"helo": "192.0.2.1", "return_path": "odd"}, []),
        ({"helo": "nowhere.example", "is_trusted": True}, []),
    ],
)
async def test_names_that_lead_nowhere(facts: dict[str, Any], expected: list[str]) -> None:
    source = HostsAsked(lambda: ZONE, lambda: True)
    assert [each.name for each in await source.tags(subject(**facts))] == expected
    assert not await HostsAsked(lambda: ZONE, lambda: False).tags(subject(**facts))


class Remembered:
    """Records that learn what is stated of messages."""

    def __init__(self) -> None:
        self.now = NOW
        stream = EventStream(lambda: self.now)
        self.source = Reputations(Records(ReputationOptions(enabled=True)), lambda: self.now)
        stream.subscribe(self.source.heard)
        self.span = Span(stream)

    async def comes(self, number: int, result: str, **given: Any) -> list[str]:
        found = await self.source.tags(subject(number, **given))
        events.CLASSIFY(self.span, queue_id=number, result=result)
        return [each.name for each in found]


@pytest.mark.parametrize(("result", "tag"), [("spam", "REPUTATION_BAD"), ("ham", "REPUTATION_GOOD")])
async def test_what_a_sender_sent_before_counts_and_fades(result: str, tag: str) -> None:
    world = Remembered()
    assert await world.comes(1, result) == []
    for number in range(2, 12):
        await world.comes(number, result)
    assert await world.comes(12, result) == [tag]
    assert len(world.source.records.all(world.now)) == 3  # address, domain, return path
    world.now += 120 * DAY
    assert await world.comes(13, result) == []
    world.source.records.sweep(world.now + 365 * DAY)
    assert world.source.records.all(world.now) == []


async def test_what_is_not_proved_counts_for_the_address_alone_and_a_trial_for_nothing() -> None:
    world = Remembered()
    await world.comes(1, "spam", findings=Findings())
    assert [each.key for each in world.source.records.all(world.now)] == ["ip:198.51.100.7/32"]
    await world.comes(2, "spam", is_trial=True)
    (record,) = world.source.records.all(world.now)
    assert record.spam == 1.0
    assert await world.comes(3, "spam", is_trusted=True) == []


async def test_an_address_on_the_way_that_is_shut_out() -> None:
    bans = Bans(BanOptions(abuse_rate=Rate(1, DAY)))
    strangers = Strangers(clock=lambda: NOW, policy=lambda: cast(Policy, None), bans=bans)
    assert await strangers.tags(subject()) == ()
    bans.offended("abuse", ipaddress.ip_address("192.0.2.1"), "", NOW)
    (tag,) = await strangers.tags(subject())
    assert (tag.name, tag.evidence) == ("IP_BLOCKED", "192.0.2.1")
    assert await strangers.tags(subject(is_trusted=True)) == ()


OURS = "<1@mx.ours.example>"


@pytest.mark.parametrize(
    ("field", "to", "later", "expected"),
    [
        (f"In-Reply-To: {OURS}", "Jane@ours.example", DAY, ["TRUSTED_REPLY"]),
        (f"References: <0@far.example> {OURS} <2@far.example>", "jane@ours.example", DAY, ["TRUSTED_REPLY"]),
        (f"In-Reply-To: {OURS}", "joe@ours.example", DAY, []),  # read somewhere
        (f"In-Reply-To: {OURS}", "jane@ours.example", 31 * DAY, []),
        ("In-Reply-To: <0@far.example>", "jane@ours.example", DAY, []),
        ("Subject: Re: lunch", "jane@ours.example", DAY, []),
    ],
)
async def test_answers_to_what_our_people_sent(field: str, to: str, later: float, expected: list[str]) -> None:
    sent = SentMail(ReplyOptions(enable=True))
    sent.note(OURS, "jane@ours.example", NOW)
    sent.note(OURS, "", NOW)
    scanned = scanner().scan(f"{field}\r\n\r\nhello\r\n".encode(), Facts())
    asked = msgspec.structs.replace(subject(recipients=("x@ours.example", to)), scanned=scanned)
    assert [each.name for each in await Replies(sent, lambda: NOW + later).tags(asked)] == expected
    sent.reconfigure(ReplyOptions())
    assert not await Replies(sent, lambda: NOW + later).tags(asked)
    assert sent.sweep(NOW + 31 * DAY) == 1


@pytest.mark.parametrize(
    ("scan", "expected"),
    [
        (Scan(outcome=Outcome.FOUND, type="clamd", is_virus=True, what="Eicar"), ("CLAM_VIRUS", "Eicar")),
        (Scan(outcome=Outcome.FOUND, type="spamd", symbols={"GTUBE": 0.0}), ("SPAMASSASSIN_SPAM", "GTUBE")),
        (Scan(outcome=Outcome.FOUND, type="rspamd", symbols={"A": 1.0, "B": 2.0}), ("RSPAMD_SPAM", "A, B")),
        (Scan(outcome=Outcome.FAILED, type="clamd", what="gone"), ("SCAN_FAILED", "gone")),
        (Scan(outcome=Outcome.PASSED, type="clamd"), None),
        (Scan(outcome=Outcome.SKIPPED, type="clamd"), None),
    ],
)
async def test_what_scanners_say(scan: Scan, expected: tuple[str, str] | None) -> None:
    async def scans_of(queue_id: int) -> list[Scan]:
        await asyncio.sleep(0)
        return [scan]

    source = ScannerTags(cast(Filtering, SimpleNamespace(scans_of=scans_of)))
    found = [(each.name, each.evidence) for each in await source.tags(subject())]
    assert found == ([] if expected is None else [expected])
