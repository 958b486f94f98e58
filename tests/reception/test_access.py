"""The access table and the stages at which its rules apply."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from relayd.mail.reply import Reply
from relayd.options import OptionError
from relayd.reception.access import AccessTable
from relayd.smtp.command import MailCommand
from tests.reception.house import House, options, outcome

RELAY: dict[str, Any] = {
    "rcpt": {"relay-domains": ["here.example"]},
    "known": {"all": {"domains": ["here.example"], "check": "any"}},
}


def house(tmp_path: Path, **rules: dict[str, Any]) -> House:
    return House(tmp_path, access=rules, **RELAY)


async def test_a_client_is_refused_at_the_connection_without_an_enhanced_code(tmp_path: Path) -> None:
    rig = house(tmp_path, bad={"client": ["203.0.113.0/24"], "code": 554, "text": "Go away"})
    assert await rig.reception.connect(rig.client()) == Reply(554, "", "Go away")
    assert await rig.reception.connect(rig.client("198.51.100.1")) is None
    assert rig.facts("smtp.access-rule") == [{"id": "bad", "policy": "reject", "reason": "Go away"}]


async def test_an_ehlo_name_is_refused_at_ehlo(tmp_path: Path) -> None:
    rig = house(tmp_path, bad={"ehlo": ["*dynamic*", ".bot.example"], "action": "defer"})
    client = rig.client(helo="host-dynamic-7.example")
    assert await rig.reception.connect(client) is None
    assert outcome(await rig.reception.helo(client)) == (450, "")
    client.helo = "fine.example"
    assert await rig.reception.helo(client) is None


async def test_a_sender_is_refused_at_mail(tmp_path: Path) -> None:
    rig = house(tmp_path, bad={"sender": ["spam.example", "<>"]})
    client = await rig.stranger()
    for sender in ("x@spam.example", ""):
        refused = await rig.reception.mail(client, MailCommand(return_path=sender))
        assert isinstance(refused, Reply)
        assert outcome(refused) == (550, "5.7.1")
    await rig.begin(client, "x@good.example")


async def test_a_recipient_is_refused_at_rcpt_and_the_others_are_kept(tmp_path: Path) -> None:
    rig = house(tmp_path, gone={"recipient": ["old@here.example"], "text": "Moved away"})
    tx = await rig.begin(await rig.stranger())
    assert await rig.rcpt(tx, "old@here.example") == Reply(550, "5.7.1", "Moved away")
    assert outcome(await rig.rcpt(tx, "new@here.example")) == (250, "2.1.5")
    assert [each.address for each in tx.recipients] == ["new@here.example"]


async def test_all_conditions_of_a_rule_must_hold(tmp_path: Path) -> None:
    rig = house(tmp_path, bad={"sender": ["a@s.example"], "recipient": ["b@here.example"], "listener": ["mx*"]})
    for listener, sender, recipient, code in (
        ("mx1", "a@s.example", "b@here.example", 550),
        ("lan", "a@s.example", "b@here.example", 250),
        ("mx1", "c@s.example", "b@here.example", 250),
        ("mx1", "a@s.example", "c@here.example", 250),
    ):
        tx = await rig.begin(await rig.stranger(listener=listener), sender)
        assert (await rig.rcpt(tx, recipient)).code == code


async def test_the_first_rule_that_matches_wins_by_order_then_id(tmp_path: Path) -> None:
    rig = house(
        tmp_path,
        a={"sender": ["*@s.example"], "text": "a", "order": 2},
        b={"sender": ["good@s.example"], "action": "skip-checks", "order": 1},
        c={"sender": ["s.example"], "text": "c", "order": 2},
    )
    tx = await rig.begin(await rig.stranger(), "good@s.example")
    assert tx.skip_checks
    refused = await rig.reception.mail(await rig.stranger(), MailCommand(return_path="bad@s.example"))
    assert isinstance(refused, Reply)
    assert refused.text == "a"


async def test_an_account_is_matched(tmp_path: Path) -> None:
    rig = House(
        tmp_path,
        {"app": {"secret": "s", "emails": ["@a.example"]}},
        access={"no": {"account": ["app"], "action": "defer", "code": 421}},
    )
    client = await rig.stranger()
    await rig.begin(client)
    assert outcome(await rig.reception.authenticate(client, "app", "s")) == (235, "2.7.0")
    refused = await rig.reception.mail(client, MailCommand(return_path="x@a.example"))
    assert isinstance(refused, Reply)
    assert outcome(refused) == (421, "4.7.1")


async def test_hold_keeps_the_message_from_going_out(tmp_path: Path) -> None:
    rig = house(tmp_path, wait={"client": ["203.0.113.5"], "action": "hold", "text": "to be looked at"})
    message = await rig.deliver(await rig.stranger(), b"Subject: x\r\n\r\n", "b@here.example")
    assert message.held == "to be looked at"
    assert not message.leased
    assert rig.delivery.jobs == []
    assert rig.facts("queue.held")


async def test_redirect_of_one_recipient_leaves_the_others(tmp_path: Path) -> None:
    rig = house(tmp_path, move={"recipient": ["sales@here.example"], "action": "redirect", "to": ["boss@Far.example"]})
    message = await rig.deliver(await rig.stranger(), b"Subject: x\r\n\r\n", "sales@here.example", "info@here.example")
    assert [each.address for each in message.recipients] == ["boss@far.example", "info@here.example"]
    assert message.counts == {"accepted": 2, "replaced": 1, "expanded": 1}


async def test_redirect_of_a_sender_moves_all_recipients_but_lends_no_right_to_relay(tmp_path: Path) -> None:
    rig = house(tmp_path, move={"sender": ["s.example"], "action": "redirect", "to": ["abuse@far.example"]})
    tx = await rig.begin(await rig.stranger(), "x@s.example")
    assert outcome(await rig.rcpt(tx, "b@elsewhere.example")) == (550, "5.7.1")
    assert (await rig.rcpt(tx, "b@here.example")).is_positive
    assert [each.address for each in tx.recipients] == ["abuse@far.example"]


async def test_redirect_to_a_local_name_goes_where_the_name_leads(tmp_path: Path) -> None:
    rules = {"move": {"recipient": ["sales@here.example"], "action": "redirect", "to": ["root", "boss@far.example"]}}
    server = {"origin": "here.example", "aliases": ["root: ops@far.example, boss@far.example"]}
    rig = House(tmp_path, access=rules, server=server, **RELAY)
    tx = await rig.begin(await rig.stranger())
    assert (await rig.rcpt(tx, "sales@here.example")).is_positive
    assert [each.address for each in tx.recipients] == ["ops@far.example", "boss@far.example"]


@pytest.mark.parametrize(
    "rule",
    [
        {"action": "reject", "code": 450},
        {"action": "defer", "code": 550},
        {"action": "redirect"},
    ],
)
def test_a_rule_that_contradicts_itself_is_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=r"access\.x"):
        AccessTable(options(access={"x": rule}).access, "org.example")
