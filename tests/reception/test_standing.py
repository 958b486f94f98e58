"""Recipients at domains of the directory, and return paths of what is forwarded from there."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from relayd.directory.address_book import AddressBook
from relayd.directory.directory import Directory
from relayd.directory.entry import Type
from relayd.directory.principals import Principals, open_principals
from relayd.events.event import Span
from relayd.mail.reply import Reply
from relayd.mail.srs import SrsKeys
from relayd.queue.message import NewMessage
from relayd.reception.client import Client
from relayd.reception.receive import Reception
from relayd.reception.strangers import Strangers
from relayd.reputation.bans import Bans
from relayd.reputation.greylist import Greylist
from relayd.reputation.options import BanOptions, GreylistOptions, TarpitOptions
from relayd.routing.next_hop import MessageTls
from tests.directory.test_principals import add, patch
from tests.reception.house import House, outcome

CONTENT = b"From: a@sender.example\r\nSubject: x\r\n\r\nhello\r\n"


@dataclass
class Town:
    """A house whose directory has a domain, a group, and a list that reach outside."""

    house: House
    principals: Principals

    async def paths(self, client: Client, *to: str, sender: str, requiretls: bool = False) -> dict[str, str]:
        """Return path by recipient of what one message becomes."""
        return {
            recipient.address: message.return_path
            for message in await self.sent(client, *to, sender=sender, requiretls=requiretls)
            for recipient in message.recipients
        }

    async def sent(self, client: Client, *to: str, sender: str, requiretls: bool = False) -> list[NewMessage]:
        before = len(self.house.queue.messages)
        await self.house.deliver(client, CONTENT, *to, sender=sender, requiretls=requiretls)
        return self.house.queue.messages[before:]


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    house = House(tmp_path, rcpt={"relay-domains": ["relayed.example"]})
    house.prober.answers["b@relayed.example"] = Reply(250, "2.1.5", "ok")
    principals = await open_principals(tmp_path, Span(house.stream))
    await add(principals, Type.DOMAIN, "ours.test")
    await add(principals, Type.INDIVIDUAL, "joe", emails=["joe@ours.test"])
    await add(
        principals,
        Type.GROUP,
        "team",
        emails=["team@ours.test"],
        members=["joe"],
        externalMembers=["x@far.test", "b@relayed.example"],
    )
    await add(principals, Type.LIST, "dev", emails=["dev@ours.test"], externalMembers=["y@far.test"])

    async def sleep(seconds: float) -> None:
        pass

    strangers = Strangers(
        clock=lambda: house.now,
        policy=lambda: house.reception.policy,
        bans=Bans(BanOptions()),
        greylist=Greylist(GreylistOptions()),
        tarpit=TarpitOptions(),
        sleep=sleep,
    )
    book = AddressBook(principals, lambda: house.now, srs=SrsKeys((b"key",)))
    directory = Directory({}, lambda: house.now, [principals])
    parts = replace(house.reception._parts, directory=directory, book=book, principals=principals, strangers=strangers)
    house.reception = Reception(house.reception.policy, parts)
    yield Town(house, principals)
    await principals.close()


REWRITTEN = re.compile(r"SRS0=[\w-]{6}=\w\w=sender\.example=a@ours\.test")


async def test_a_foreign_return_path_leads_back_where_mail_leaves_for_a_foreign_domain(town: Town) -> None:
    paths = await town.paths(await town.house.stranger(), "team@ours.test", sender="a@sender.example")
    assert REWRITTEN.fullmatch(paths.pop("x@far.test"))
    assert paths == {"joe@ours.test": "a@sender.example", "b@relayed.example": "a@sender.example"}


async def test_what_a_trusted_session_sends_keeps_its_return_path(town: Town) -> None:
    paths = await town.paths(await town.house.trusted(), "team@ours.test", sender="a@sender.example")
    assert set(paths.values()) == {"a@sender.example"}


@pytest.mark.parametrize("sender", ["", "joe@ours.test", "b@relayed.example", "root@mx.relay.example"])
async def test_a_return_path_of_ours_or_none_stays(town: Town, sender: str) -> None:
    paths = await town.paths(await town.house.stranger(), "team@ours.test", sender=sender)
    assert set(paths.values()) == {sender}


async def test_what_is_only_relayed_keeps_its_return_path(town: Town) -> None:
    paths = await town.paths(await town.house.trusted(), "z@far.test", "b@relayed.example", sender="a@sender.example")
    assert set(paths.values()) == {"a@sender.example"}


async def test_mail_of_a_list_has_its_owner_alone(town: Town) -> None:
    assert await town.paths(await town.house.stranger(), "dev@ours.test", sender="a@sender.example") == {
        "y@far.test": "dev-owner@ours.test"
    }
    assert await town.paths(await town.house.stranger(), "dev@ours.test", sender="") == {"y@far.test": ""}


async def test_every_copy_asks_for_tls_as_the_message_did(town: Town) -> None:
    sent = await town.sent(
        await town.house.stranger(),
        "team@ours.test",
        "dev@ours.test",
        sender="a@sender.example",
        requiretls=True,
    )
    assert len(sent) == 3
    assert {each.body.size for each in sent} == {sent[0].body.size}
    assert {each.tls for each in sent} == {MessageTls.REQUIRED}


async def test_names_and_return_paths_that_are_tried_out_count(town: Town) -> None:
    client = await town.house.stranger()
    tx = await town.house.begin(client, "")
    guessed = "SRS0=abcdef=AA=far.test=victim@ours.test"
    for each in ("nobody@ours.test", guessed):
        assert outcome(await town.house.rcpt(tx, each)) == (550, "5.1.1")
    assert client.offences == 2


async def test_vrfy_and_expn_are_offered_and_answered_by_permission(town: Town) -> None:
    await add(town.principals, Type.INDIVIDUAL, "ann", emails=["ann@ours.test"], roles=["user"])
    reception = town.house.reception
    for granted in (False, True):
        if granted:
            await patch(town.principals, "ann", ("set", "disabledPermissions", []))
            await patch(town.principals, "ann", ("set", "enabledPermissions", ["email-expand"]))
        else:
            await patch(town.principals, "ann", ("set", "disabledPermissions", ["email-verify"]))
        client = await town.house.stranger(role="submission")
        account = await reception._parts.directory.get("ann")
        assert account is not None
        client.sign_in(account, 0)
        client.trusted = True
        offered = reception.offered(client)
        assert (offered.vrfy, offered.expn) == (granted, granted)
        assert (await reception.vrfy(client, "joe@ours.test")).code == (250 if granted else 252)
        assert (await reception.expn(client, "dev@ours.test")).code == (250 if granted else 502)
    stranger = await town.house.stranger()
    assert not reception.offered(stranger).vrfy
    assert (await reception.vrfy(stranger, "joe@ours.test")).code == 252
    assert (await reception.expn(stranger, "dev@ours.test")).code == 502
    trusted = await town.house.trusted()
    assert (await reception.vrfy(trusted, "nobody@ours.test")).code == 550
    assert (await reception.vrfy(trusted, "dev-owner@ours.test")).code == 250
    assert "y@far.test" in (await reception.expn(trusted, "dev@ours.test")).text
