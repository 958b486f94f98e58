"""Each failed outcome says what the failure means and which rule says so; events carry it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from relayd.config.bounces import shipped_rules
from relayd.delivery.bounce import reported_recipients
from relayd.queue.message import Outcome, Result
from relayd.routing.bounce_rules import build_rules
from tests.delivery.setting import Setting, job, smarthost
from tests.rig.peer import Script, running


@pytest.fixture
async def setting() -> AsyncIterator[Setting]:
    one = Setting()
    one.road = replace(one.road, rules=build_rules(shipped_rules()))
    one.attempts.reconfigure(one.road, soft_bounce=False)
    yield one
    await one.pool.close()


async def attempt(setting: Setting, script: Script, *addresses: str) -> list[Outcome]:
    """Outcomes of one attempt at a peer that answers so."""
    async with running(script) as peer:
        return await setting.run(job(*addresses), smarthost(peer.port))


def why(outcome: Outcome) -> tuple[str, str, bool]:
    return outcome.class_, outcome.rule, outcome.hard


async def test_recipients_refused(setting: Setting) -> None:
    replies = ["250 2.1.5 Ok", "550 5.1.1 User unknown", "450 4.2.2 Mailbox full", "450 4.0.0 Hm"]
    outcomes = await attempt(setting, Script(rcpt=replies), *(f"{name}@x.example" for name in "abcd"))
    assert [why(each) for each in outcomes] == [
        ("", "", False),
        ("bad-mailbox", "mailbox-unknown", True),
        ("full", "mailbox-full", False),
        ("unknown", "", False),
    ]
    stated = [(event.fields["class_"], event.fields["rule"]) for event in setting.stated("delivery.rcpt-to-rejected")]
    assert stated == [("bad-mailbox", "mailbox-unknown"), ("full", "mailbox-full"), ("unknown", "")]


async def test_a_message_refused(setting: Setting) -> None:
    [outcome] = await attempt(setting, Script(dot="554 5.7.1 Message identified as SPAM"), "a@x.example")
    assert why(outcome) == ("content", "spam", False)
    [stated] = setting.stated("delivery.message-rejected")
    assert (stated.fields["class_"], stated.fields["rule"]) == ("content", "spam")


async def test_a_sender_refused(setting: Setting) -> None:
    [outcome] = await attempt(setting, Script(mail="553 5.1.8 Sender address rejected"), "a@x.example")
    assert why(outcome) == ("policy", "sender-refused", False)
    [stated] = setting.stated("delivery.mail-from-rejected")
    assert (stated.fields["class_"], stated.fields["rule"]) == ("policy", "sender-refused")


async def test_a_host_that_will_not_talk(setting: Setting) -> None:
    [outcome] = await attempt(setting, Script(banner="554 5.7.1 blocked using zen.spamhaus.org"), "a@x.example")
    assert (outcome.result, *why(outcome)) == (Result.DEFERRED, "reputation", "blocklisted", False)


async def test_what_we_found_ourselves_is_classified_by_its_code(setting: Setting) -> None:
    async with running(Script()) as peer:
        port = peer.port
    [outcome] = await setting.run(job("a@x.example"), smarthost(port))
    assert why(outcome) == ("network", "code-connect", False)


async def test_reports_know_why(setting: Setting) -> None:
    outcomes = await attempt(setting, Script(rcpt="550 5.1.1 User unknown"), "a@x.example")
    [reported] = reported_recipients(job("a@x.example").message, outcomes, 0.0, final=False)
    assert (reported.class_, reported.rule) == ("bad-mailbox", "mailbox-unknown")
