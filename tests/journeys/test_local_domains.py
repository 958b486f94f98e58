"""Domains of the directory: who exists there, groups, lists, forwarded mail and what bounces of it."""

from __future__ import annotations

import re
import smtplib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.journeys.conftest import Proxied, StartRelay, message, send, wait_until
from tests.rig.daemon import Daemon
from tests.rig.peer import Peer, Script, Taken, running_in_thread

STRANGER = b"PROXY TCP4 198.51.100.7 192.0.2.1 4711 25\r\n"


@dataclass
class House:
    """A relay whose domain `ours.test` goes to `store` by LMTP and all else to `world`."""

    relay: Daemon
    store: Peer
    world: Peer

    def principal(self, type: str, name: str, **fields: Any) -> None:
        self.relay.data_of("POST", "/api/principal", {"type": type, "name": name, **fields})

    def stranger(self) -> smtplib.SMTP:
        client = Proxied(self.relay.smtp_port, STRANGER)
        client.ehlo()
        return client

    def send(self, to: str, sender: str = "jane@sender.test", subject: str = "hello") -> None:
        with self.stranger() as client:
            assert client.sendmail(sender, [to], message(subject)) == {}


def refuses_bouncing(line: str) -> str:
    return "550 5.1.1 nobody" if "bouncing@" in line else "250 2.1.5 ok"


@pytest.fixture(scope="module")
def house(module_relay: StartRelay) -> Iterator[House]:
    with (
        running_in_thread(Script(lmtp=True)) as store,
        running_in_thread(Script(rcpt=refuses_bouncing)) as world,
    ):
        relay = module_relay(
            world.port,
            {
                "queue.route.store.address": "127.0.0.1",
                "queue.route.store.port": store.port,
                "queue.route.store.protocol": "lmtp",
                "server.listener.smtp.proxy-protocol": ["127.0.0.0/8"],
                "server.postmaster": "ops@elsewhere.test",
            },
        )
        house = House(relay, store, world)
        house.principal("domain", "ours.test", nextHop="store")
        house.principal("individual", "joe", emails=["joe@ours.test", "j@ours.test"])
        house.principal("individual", "ann", emails=["ann@ours.test"])
        house.principal("group", "team", emails=["team@ours.test"], members=["joe"], externalMembers=["x@far.test"])
        house.principal("list", "dev", emails=["dev@ours.test"], members=["ann"], externalMembers=["y@far.test"])
        house.principal("group", "lost", emails=["lost@ours.test"], externalMembers=["bouncing@far.test"])
        yield house


def path_of(command: str) -> str:
    return command.partition("<")[2].partition(">")[0]


def recipients(taken: Taken) -> list[str]:
    return [path_of(each) for each in taken.rcpts]


def wait_taken(peer: Peer, subject: str) -> Taken:
    octets = f"Subject: {subject}\r\n".encode()
    found: Taken = wait_until(
        lambda: next((each for each in peer.taken if each.complete and octets in each.content), None),
        f"{subject} is taken",
    )
    return found


def test_aliases_and_sub_addresses_reach_the_mailbox_of_their_account(house: House) -> None:
    house.send("J+shop@ours.test", subject="alias")
    found = wait_taken(house.store, "alias")
    assert recipients(found) == ["joe+shop@ours.test"]
    assert path_of(found.mail) == "jane@sender.test"


def test_who_is_nobody_is_refused_at_rcpt(house: House) -> None:
    with house.stranger() as client:
        client.mail("jane@sender.test")
        assert client.rcpt("nobody@ours.test") == (550, b"5.1.1 Mailbox does not exist")
        assert client.rcpt("someone@far.test") == (550, b"5.7.1 Relaying denied")
        assert client.rcpt("joe%far.test@ours.test")[0] == 550


def test_a_group_keeps_the_return_path_at_home_and_gets_one_that_leads_back_elsewhere(house: House) -> None:
    house.send("team@ours.test", subject="to the team")
    assert path_of(wait_taken(house.store, "to the team").mail) == "jane@sender.test"
    outside = wait_taken(house.world, "to the team")
    assert recipients(outside) == ["x@far.test"]
    assert re.fullmatch(r"SRS0=[\w-]{6}=\w\w=sender\.test=jane@ours\.test", path_of(outside.mail))

    house.send(path_of(outside.mail), sender="", subject="a late bounce")
    assert recipients(wait_taken(house.world, "a late bounce")) == ["jane@sender.test"]
    with house.stranger() as client:
        client.mail("")
        assert client.rcpt(path_of(outside.mail).replace("jane", "mary"))[0] == 550


def test_a_list_sends_in_the_name_of_its_owner(house: House) -> None:
    house.send("dev@ours.test", subject="to the list")
    assert path_of(wait_taken(house.store, "to the list").mail) == "dev-owner@ours.test"
    assert path_of(wait_taken(house.world, "to the list").mail) == "dev-owner@ours.test"
    house.send("dev-owner@ours.test", sender="", subject="of the list")
    assert recipients(wait_taken(house.world, "of the list")) == ["ops@elsewhere.test"]


def test_our_own_report_of_forwarded_mail_goes_to_who_sent_it(house: House) -> None:
    house.send("lost@ours.test", sender="mary@sender.test", subject="forwarded in vain")

    def report() -> Taken | None:
        return next((each for each in house.world.taken if recipients(each) == ["mary@sender.test"]), None)

    assert path_of(wait_until(report, "the report").mail) == ""
    wait_until(lambda: house.relay.audit()["difference"] == 0, "all accounted for")


def test_what_a_change_of_the_directory_says_holds_at_once(house: House) -> None:
    house.principal("individual", "new", emails=["new@ours.test"])
    house.send("new@ours.test", subject="new here")
    wait_taken(house.store, "new here")
    house.relay.data_of("DELETE", "/api/principal/new")
    with house.stranger() as client:
        client.mail("jane@sender.test")
        assert client.rcpt("new@ours.test")[0] == 550


def test_mail_to_a_list_survives_a_kill(house: House, relay: StartRelay) -> None:
    daemon = relay(1)
    for each in (
        {"type": "domain", "name": "ours.test"},
        {"type": "list", "name": "dev", "emails": ["dev@ours.test"], "externalMembers": ["a@far.test", "b@far.test"]},
    ):
        daemon.data_of("POST", "/api/principal", each)
    send(daemon, to=["dev@ours.test", "c@far.test"])
    daemon.kill()
    daemon.start()
    queued = daemon.queued()
    assert {each["return_path"] for each in queued} == {"a@sender.test", "dev-owner@ours.test"}
    assert daemon.audit()["difference"] == 0


def test_vrfy_and_expn_are_for_who_may_send_anywhere(relay: StartRelay) -> None:
    daemon = relay(1)
    for each in (
        {"type": "domain", "name": "ours.test"},
        {"type": "individual", "name": "joe", "emails": ["joe@ours.test"]},
        {
            "type": "list",
            "name": "dev",
            "emails": ["dev@ours.test"],
            "members": ["joe"],
            "externalMembers": ["b@far.test"],
        },
    ):
        daemon.data_of("POST", "/api/principal", each)
    with smtplib.SMTP("127.0.0.1", daemon.smtp_port, "client.test") as client:
        client.ehlo()
        assert client.has_extn("expn")
        assert client.verify("joe@ours.test") == (250, b"2.1.5 <joe@ours.test>")
        assert client.verify("nobody@ours.test")[0] == 550
        assert client.expn("dev@ours.test") == (250, b"2.1.5 <joe@ours.test>\n2.1.5 <b@far.test>")
        assert client.expn("joe@ours.test")[0] == 550
        assert client.docmd("EXPN")[0] == 501
