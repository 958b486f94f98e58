"""What MAIL asks of a message's way, and the routing rules that it matches, as they are queued."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from relayd.mail.envelope import Notify
from relayd.mail.reply import Reply
from relayd.mail.terms import NO_TERMS, Terms
from relayd.reception.promise import AHEAD
from relayd.routing.rule import Rules
from relayd.routing.source_options import RuleOptions
from relayd.smtp.command import MailCommand
from relayd.smtp.urgency import DeliverBy
from tests.reception.house import NOW, House

SMALL = b"From: a@b.example\r\nMessage-ID: <7@b.example>\r\nDate: x\r\nX-Stream: bulk\r\n\r\nbody\r\n"
WEEK = 604800.0


async def test_most_messages_ask_for_nothing(tmp_path: Path) -> None:
    rig = House(tmp_path)
    message = await rig.deliver(await rig.trusted(), SMALL, "b@far.example")
    assert message.terms is NO_TERMS
    assert message.leased


@pytest.mark.parametrize("asked", [{"hold_for": 3600}, {"hold_until": NOW + 3600}])
async def test_a_message_is_held_until_its_release(asked: dict[str, Any], tmp_path: Path) -> None:
    rig = House(tmp_path)
    message = await rig.deliver(await rig.trusted(), SMALL, "b@far.example", **asked)
    assert message.terms == Terms(release=NOW + 3600)
    assert (message.leased, message.created) == (False, NOW)
    [recipient] = message.recipients
    assert recipient.next_attempt == NOW + 3600
    assert recipient.expires == NOW + 3600 + 432000
    assert recipient.next_notify == NOW + 3600 + 86400
    assert rig.facts("queue.queue-message-authenticated")[0]["next_retry"] == NOW + 3600


async def test_a_release_in_the_past_is_no_hold(tmp_path: Path) -> None:
    rig = House(tmp_path)
    message = await rig.deliver(await rig.trusted(), SMALL, "b@far.example", hold_until=NOW - 1)
    assert (message.terms, message.leased) == (NO_TERMS, True)


async def test_a_release_too_far_away_is_refused(tmp_path: Path) -> None:
    rig = House(tmp_path)
    command = MailCommand(return_path="a@b.example", hold_until=NOW + WEEK + 1)
    reply = await rig.reception.mail(await rig.trusted(), command)
    assert isinstance(reply, Reply)
    assert (reply.code, reply.enhanced) == (501, "5.5.4")
    assert rig.facts("smtp.future-release-invalid")


async def test_what_is_to_be_returned_when_late_expires_then(tmp_path: Path) -> None:
    rig = House(tmp_path)
    by = DeliverBy(seconds=60, returns=True)
    message = await rig.deliver(await rig.trusted(), SMALL, "b@far.example", by=by)
    assert message.terms == Terms(by=NOW + 60, returns=True)
    assert message.leased
    assert (message.recipients[0].expires, message.recipients[0].next_notify) == (NOW + 60, NOW + 86400)


async def test_the_deadline_counts_from_the_release(tmp_path: Path) -> None:
    rig = House(tmp_path)
    by = DeliverBy(seconds=60, returns=True)
    message = await rig.deliver(await rig.trusted(), SMALL, "b@far.example", by=by, hold_for=1000)
    assert message.terms.by == NOW + 1060


async def test_a_sender_who_wants_to_be_told_is_told_at_the_deadline(tmp_path: Path) -> None:
    rig = House(tmp_path)
    by = DeliverBy(seconds=60, returns=False)
    tx = await rig.begin(await rig.trusted(), by=by)
    await rig.rcpt(tx, "b@far.example")
    await rig.rcpt(tx, "c@far.example", notify=frozenset({Notify.FAILURE}))
    await rig.send(tx, SMALL)
    told, untold = rig.queue.messages[0].recipients
    assert (told.expires, told.next_notify) == (NOW + 432000, NOW + 60)
    assert untold.next_notify is None


async def test_urgent_mail_that_waits_on_disk_goes_before_other(tmp_path: Path) -> None:
    rig = House(tmp_path)
    rig.delivery.admits = False
    client = await rig.trusted()
    due = []
    for priority in (0, 5, -5):
        message = await rig.deliver(client, SMALL, "b@far.example", priority=priority)
        assert message.terms.priority == priority
        due.append(message.recipients[0].next_attempt - NOW)
    assert due == [0, -5 * AHEAD, 0]


async def test_only_the_trusted_are_offered_it_and_only_what_is_configured(tmp_path: Path) -> None:
    rig = House(tmp_path)
    offered = rig.reception.offered(await rig.trusted())
    assert (offered.future_release, offered.deliver_by, offered.mt_priority) == (604800, True, True)
    assert offered.latest_release == "2023-11-21T22:00:00Z"
    stranger = rig.reception.offered(await rig.stranger())
    assert (stranger.future_release, stranger.deliver_by, stranger.mt_priority) == (0, False, False)
    to_sign_in = rig.reception.offered(await rig.stranger(role="submission"))
    assert (to_sign_in.future_release, to_sign_in.dsn) == (604800, True)
    off = House(tmp_path, extensions={"future-release": "0", "deliver-by": False, "mt-priority": False})
    offered = off.reception.offered(await off.trusted())
    assert (offered.future_release, offered.deliver_by, offered.mt_priority) == (0, False, False)


async def test_the_rules_that_match_are_remembered_and_decide(tmp_path: Path) -> None:
    rig = House(tmp_path)
    rig.delivery.rules = Rules(
        {
            "r": RuleOptions(header=("X-Stream: bulk",), next_hop="hub"),
            "s": RuleOptions(sender=("x.example",), next_hop="hub"),
        }
    )
    message = await rig.deliver(await rig.trusted(), SMALL, "b@far.example", priority=3)
    assert message.terms == Terms(priority=3, rules=("r",))
    other = await rig.deliver(await rig.trusted(), SMALL, "b@far.example", sender="a@x.example")
    assert other.terms.rules == ("r",)  # by id; it asks nothing of the recipient, so it is the last
