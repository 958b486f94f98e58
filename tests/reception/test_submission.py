"""What an account may send: as whom, and how much."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from relayd.directory.account import Account
from relayd.directory.address_book import AddressBook
from relayd.directory.directory import Directory
from relayd.directory.entry import Type
from relayd.directory.principals import Principals, open_principals
from relayd.events.event import Span
from relayd.mail.reply import Reply
from relayd.queue.usage import Ledger, period_end
from relayd.reception.receive import Parts, Reception
from relayd.reception.submission import owns
from relayd.reception.transaction import Transaction
from relayd.smtp.command import MailCommand
from tests.directory.test_principals import add, patch
from tests.queue.conftest import Rig
from tests.reception.house import House, outcome

SECRET = "{SHA256}XohImNooBHFR0OVvjcYpJ3NgPQ1qq73WKhHvch0VQtg="


@dataclass
class Office:
    """A house whose directory and queue are real, and jane who sends from it."""

    house: House
    rig: Rig
    principals: Principals
    ledger: Ledger

    async def send(self, *to: str, author: str = "jane@ours.test", sender: str = "jane@ours.test") -> Reply:
        """One message of jane's: the reply to the first command that is refused, else that to its end."""
        client = await self.house.stranger(role="submission")
        client.account, client.trusted = "jane", True
        tx = await self.house.reception.mail(client, MailCommand(return_path=sender))
        if not isinstance(tx, Transaction):
            return tx
        for each in to or ("b@far.example",):
            reply = await self.house.rcpt(tx, each)
            if not reply.is_positive:
                self.house.reception.abort(tx)
                return reply
        return await self.house.send(tx, f"From: Jane <{author}>\r\nSubject: x\r\n\r\nhello\r\n".encode())


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    house = House(tmp_path, submission={"allowances": ["recipients:4/hour", "recipients:6/day"]})
    rig = Rig(tmp_path / "queue")
    rig.directory.mkdir()
    rig.clock.now = house.now
    await rig.open()
    principals = await open_principals(tmp_path, Span(house.stream))
    await add(principals, Type.DOMAIN, "ours.test")
    await add(principals, Type.TENANT, "acme")
    await add(
        principals, Type.INDIVIDUAL, "jane", emails=["jane@ours.test", "j@ours.test"], secrets=SECRET, roles=["user"]
    )
    old = house.reception._parts
    ledger = Ledger(rig.o.queue.database, lambda: house.now)
    parts = Parts(
        queue=rig.o.queue,
        blobs=old.blobs,
        space=old.space,
        admission=old.admission,
        prober=old.prober,
        directory=Directory({}, lambda: house.now, [principals]),
        resolver=old.resolver,
        clock=old.clock,
        snowflakes=old.snowflakes,
        signing=old.signing,
        book=AddressBook(principals, old.clock),
        principals=principals,
        ledger=ledger,
    )
    house.reception = Reception(house.reception.policy, parts)
    yield Office(house, rig, principals, ledger)
    await principals.close()
    await rig.o.close()


async def test_what_is_over_is_refused_until_the_hour_ends(office: Office) -> None:
    assert (await office.send("a@far.example", "b@far.example", "c@far.example")).code == 250
    refused = await office.send("d@far.example", "e@far.example")
    assert outcome(refused) == (450, "4.7.1")
    assert "4 recipients an hour" in refused.text
    assert (await office.send("d@far.example")).code == 250
    office.house.now = period_end("hour", office.house.now)
    refused = await office.send("e@far.example", "f@far.example", "g@far.example")
    assert "6 recipients a day" in refused.text
    assert office.house.facts("limit.quota")[-1]["key"] == "account:jane"
    assert (await office.ledger.spent("account:jane"))["day"][:2] == (2, 4)


async def test_a_recipient_that_is_refused_or_repeated_does_not_count(office: Office) -> None:
    reply = await office.send("a@far.example", "a@far.example", "nobody@ours.test")
    assert outcome(reply) == (550, "5.1.1")
    assert (await office.send(*(f"{each}@far.example" for each in "abcd"))).code == 250


async def test_sessions_at_once_share_the_limit(office: Office) -> None:
    client = await office.house.stranger(role="submission")
    client.account, client.trusted = "jane", True
    first = await office.house.begin(client, "jane@ours.test")
    for each in "abc":
        assert (await office.house.rcpt(first, f"{each}@far.example")).is_positive
    assert outcome(await office.send("a@far.example", "b@far.example")) == (450, "4.7.1")
    office.house.reception.abort(first)
    assert (await office.send("a@far.example", "b@far.example")).code == 250


async def test_own_allowances_replace_the_usual_ones_and_those_of_domain_and_tenant_hold_beside(
    office: Office,
) -> None:
    await patch(office.principals, "ours.test", ("set", "allowances", ["recipients:8/day"]), ("set", "tenant", "acme"))
    await patch(office.principals, "jane", ("set", "allowances", ["messages:3/month"]), ("set", "tenant", "acme"))
    assert (await office.send(*(f"{each}@far.example" for each in "abcdef"))).code == 250
    assert (
        "domain ours.test may send 8 recipients"
        in (await office.send("a@far.example", "b@far.example", "c@far.example")).text
    )
    await patch(office.principals, "acme", ("set", "allowances", ["bytes:10/day"]))
    assert outcome(await office.send()) == (550, "5.7.1")
    await patch(office.principals, "acme", ("set", "allowances", ["bytes:1000000/day"]))
    assert (await office.send()).code == 250
    assert (await office.send()).code == 250
    assert "3 messages a month" in (await office.send()).text


async def test_who_sends_from_the_domain_of_a_tenant_counts_for_it(office: Office) -> None:
    await patch(office.principals, "ours.test", ("set", "tenant", "acme"))
    await patch(office.principals, "acme", ("set", "allowances", ["recipients:1/day"]))
    assert (await office.send()).code == 250
    assert "tenant acme may send 1 recipients" in (await office.send()).text


async def test_an_allowance_of_nothing_is_for_good(office: Office) -> None:
    await patch(office.principals, "jane", ("set", "allowances", ["recipients:0/day"]))
    assert outcome(await office.send()) == (550, "5.7.1")


@pytest.mark.parametrize(
    ("sender", "author", "code"),
    [
        ("jane@ours.test", "jane@ours.test", 250),
        ("j@ours.test", "J@OURS.TEST", 250),
        ("", "jane@ours.test", 250),
        ("boss@ours.test", "jane@ours.test", 550),
        ("jane@ours.test", "boss@ours.test", 550),
        ("", "boss@ours.test", 550),
        ("jane@ours.test", "jane@ours.test>, <boss@ours.test", 550),
        ("jane@ours.test", "jane@ours.test@far.example", 550),
    ],
)
async def test_it_writes_as_itself_alone(office: Office, sender: str, author: str, code: int) -> None:
    assert (await office.send(author=author, sender=sender)).code == code
    assert (await office.ledger.spent("account:jane"))["day"][0] == (code == 250)


async def test_further_senders_are_let(office: Office) -> None:
    await patch(office.principals, "jane", ("set", "senders", ["boss@ours.test"]))
    assert (await office.send(author="boss@ours.test", sender="boss@ours.test")).code == 250
    assert (await office.send(author="other@ours.test")).code == 550
    await patch(office.principals, "jane", ("set", "senders", ["*"]))
    assert (await office.send(author="anyone@far.example", sender="x@far.example")).code == 250


async def test_a_catch_all_lends_no_address_of_another(office: Office) -> None:
    await patch(office.principals, "jane", ("addItem", "emails", "@ours.test"))
    await add(office.principals, Type.INDIVIDUAL, "joe", emails=["joe@ours.test"])
    assert (await office.send(author="any@ours.test", sender="any@ours.test")).code == 250
    assert (await office.send(sender="joe@ours.test")).code == 550
    assert (await office.send(author="JOE@ours.test")).code == 550
    await patch(office.principals, "jane", ("set", "senders", ["joe@ours.test"]))
    assert (await office.send(author="joe@ours.test", sender="joe@ours.test")).code == 250


async def test_a_suspended_account_stops_within_its_session(office: Office) -> None:
    assert (await office.send()).code == 250
    await patch(office.principals, "jane", ("set", "suspended", "unpaid"))
    refused = await office.send()
    assert outcome(refused) == (550, "5.7.1")
    assert "unpaid" in refused.text
    await office.principals.delete("jane")
    assert outcome(await office.send()) == (550, "5.7.1")


def test_whose_an_address_is() -> None:
    account = Account(name="a", emails=("a@b.test", "@c.test"), senders=("d@e.test",))
    for address, own in {
        "A@B.test": True,
        "x@c.test": True,
        "x@y.c.test": False,
        "d@e.test": True,
        "e@e.test": False,
    }.items():
        assert owns(account, address) is own
