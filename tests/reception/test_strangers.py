"""What strangers do is remembered: bans for trying names out, the tarpit, greylisting at RCPT and after the content."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any

import pytest

from relayd.events.event import Event, EventStream, Span
from relayd.mail.reply import Reply
from relayd.mailauth.examine import SenderFindings
from relayd.mailauth.findings import DkimFinding, Findings, Result, SpfFinding
from relayd.options import parse_network
from relayd.reception.client import Client
from relayd.reception.options import RcptOptions, ReceptionOptions, TrustedRelayOptions
from relayd.reception.policy import Policy
from relayd.reception.strangers import Strangers
from relayd.reception.transaction import Accepted, Refused, Transaction
from relayd.reputation.bans import Bans
from relayd.reputation.greylist import Greylist
from relayd.reputation.options import BanOptions, GreylistOptions, TarpitOptions
from relayd.reputation.rate import Rate

UNKNOWN = Reply(550, "5.1.1", "Mailbox does not exist")
NOW = 1_700_000_000.0


@dataclass
class Scene:
    """Strangers, a clock, what was stated, how long was slept."""

    strangers: Strangers
    now: list[float]
    events: list[Event]
    slept: list[float]

    def client(self, address: str = "198.51.100.7", **given: Any) -> Client:
        span = Span(EventStream(lambda: self.now[0], [self.events.append]))
        return Client(span=span, session_id=1, listener="mx", address=ipaddress.ip_address(address), **given)

    def transaction(self, client: Client, sender: str = "a@b.test", **given: Any) -> Transaction:
        policy: Any = None
        body: Any = None
        return Transaction(
            client=client, policy=policy, id=1, started=0.0, sender=sender, return_path=sender, body=body,
            trusted=client.trusted, **{"recipients": [Accepted("to@x.test")], **given},
        )  # fmt: skip

    def ids(self) -> list[str]:
        return [each.kind.id for each in self.events]


@pytest.fixture
def scene() -> Scene:
    options = ReceptionOptions(
        hostname="mx.test",
        rcpt=RcptOptions(relay_networks=(parse_network("10.0.0.0/8"),)),
        session=TrustedRelayOptions(trusted_relays=(parse_network("203.0.113.0/24"),)),
    )
    policy = Policy(options)
    now, events, slept = [NOW], list[Event](), list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    bans = Bans(BanOptions(abuse_rate=Rate(5, 86400.0)))
    strangers = Strangers(
        clock=lambda: now[0],
        policy=lambda: policy,
        bans=bans,
        greylist=Greylist(GreylistOptions(enabled=True)),
        tarpit=TarpitOptions(recipients=100),
        sleep=sleep,
    )
    bans.is_spared = strangers.spares
    return Scene(strangers, now, events, slept)


async def try_names(scene: Scene, client: Client, times: int) -> list[Reply]:
    return [await scene.strangers.refused(client, f"{number}@x.test", UNKNOWN) for number in range(times)]


async def test_who_tries_names_out_is_banned_with_cause_and_evidence(scene: Scene) -> None:
    client = scene.client()
    replies = await try_names(scene, client, 5)
    assert [each.code for each in replies] == [550, 550, 550, 550, 421]
    (ban,) = scene.strangers.bans.standing(NOW)
    assert ban.reason == "recipients that do not exist"
    assert ban.evidence == "5 in this session, the last <4@x.test>: 550 5.1.1 Mailbox does not exist"
    assert "security.abuse-ban" in scene.ids()
    shut_out = scene.strangers.admit(scene.client())
    assert shut_out is not None
    assert (shut_out.code, shut_out.enhanced) == (421, "")
    assert scene.strangers.admit(scene.client("198.51.100.8")) is None
    scene.now[0] += 3601
    assert scene.strangers.admit(scene.client()) is None


@pytest.mark.parametrize("address", ["10.1.2.3", "127.0.0.1", "203.0.113.9"])
async def test_who_is_never_banned(scene: Scene, address: str) -> None:
    await try_names(scene, scene.client(address), 50)
    assert scene.strangers.bans.standing(NOW) == []


async def test_neither_are_hosts_whose_mail_was_taken_this_week(scene: Scene) -> None:
    client = scene.client()
    scene.strangers.taken(scene.transaction(client))
    await try_names(scene, client, 50)
    assert scene.strangers.bans.standing(NOW) == []
    scene.now[0] += 8 * 86400
    await try_names(scene, client, 50)
    assert len(scene.strangers.bans.standing(scene.now[0])) == 1
    scene.strangers.taken(scene.transaction(scene.client()))
    assert scene.strangers.admit(scene.client()) is None, "a ban of before does not hold against it"


def test_who_holds_connections_for_nothing_is_banned(scene: Scene) -> None:
    scene.strangers.bans.reconfigure(BanOptions(loiter_rate=Rate(3, 86400.0)))
    for number in range(3):
        scene.strangers.loitered(scene.client(messages=1))
        scene.strangers.loitered(scene.client("10.0.0.1"))
        assert len(scene.strangers.bans) == 0
        scene.strangers.loitered(scene.client())
        assert len(scene.strangers.bans) == (number == 2)
    assert scene.ids() == ["security.loiter-ban"]


async def test_trusted_clients_are_not_counted(scene: Scene) -> None:
    await try_names(scene, scene.client(trusted=True), 50)
    assert len(scene.strangers.bans) == 0


async def test_the_tarpit_has_so_many_slots(scene: Scene) -> None:
    scene.strangers.tarpit = TarpitOptions(delay=5.0, slots=1, recipients=3)
    client = scene.client("198.51.100.9")
    replies = await try_names(scene, client, 3)
    assert [each.code for each in replies] == [550, 550, 421]
    assert scene.slept == [5.0, 5.0, 5.0]
    assert "smtp.too-many-invalid-rcpt" in scene.ids()
    scene.strangers.held_up = 1
    await try_names(scene, client, 1)
    assert len(scene.slept) == 3


def spf(result: Result = Result.PASS) -> SenderFindings:
    return SenderFindings(spf_mail_from=SpfFinding(scope="mfrom", result=result, domain="b.test", sender="a@b.test"))


def greylisted(scene: Scene, tx: Transaction) -> int | None:
    reply = scene.strangers.greylisted(tx, "to@x.test")
    return None if reply is None else reply.code


def test_a_new_host_is_asked_to_come_again(scene: Scene) -> None:
    tx = scene.transaction(scene.client())
    reply = scene.strangers.greylisted(tx, "to@x.test")
    assert reply == Reply(451, "4.7.1", "Greylisted, please try again in 300 seconds")
    assert scene.ids() == ["smtp.rcpt-to-greylisted"]
    scene.now[0] += 301
    assert greylisted(scene, tx) is None
    assert greylisted(scene, scene.transaction(scene.client(trusted=True))) is None
    assert greylisted(scene, scene.transaction(scene.client(role="submission"))) is None
    assert greylisted(scene, scene.transaction(scene.client("198.51.99.1"), skip_checks=True)) is None
    assert greylisted(scene, scene.transaction(scene.client("203.0.113.9"))) is None
    scene.strangers.greylist.options = GreylistOptions()
    assert greylisted(scene, scene.transaction(scene.client("198.51.99.1"))) is None


def test_mail_that_was_discarded_lets_nobody_in(scene: Scene) -> None:
    client = scene.client()
    scene.strangers.taken(scene.transaction(client, recipients=[]))
    assert client.address is not None
    assert not scene.strangers.good.is_good(client.address, NOW)
    assert greylisted(scene, scene.transaction(client)) == 451


def test_a_domain_that_spf_proved_comes_from_anywhere(scene: Scene) -> None:
    scene.strangers.taken(scene.transaction(scene.client("192.0.2.1"), sender_findings=spf()))
    assert greylisted(scene, scene.transaction(scene.client(), sender_findings=spf())) is None
    assert greylisted(scene, scene.transaction(scene.client(), sender_findings=spf(Result.FAIL))) == 451
    assert greylisted(scene, scene.transaction(scene.client(), sender="a@other.test", sender_findings=spf())) == 451


def dkim(result: Result = Result.PASS) -> Findings:
    return Findings(dkim=(DkimFinding(result=result, domain="b.test"),))


def test_a_domain_that_dkim_proved_is_decided_at_the_end_of_data(scene: Scene) -> None:
    scene.strangers.taken(scene.transaction(scene.client("192.0.2.1"), findings=dkim()))
    tx = scene.transaction(scene.client())
    assert greylisted(scene, tx) is None
    assert tx.greylisted
    tx.findings = dkim()
    scene.strangers.proved(tx)
    tx.findings = dkim(Result.FAIL)
    with pytest.raises(Refused) as refused:
        scene.strangers.proved(tx)
    assert refused.value.reply.code == 451
