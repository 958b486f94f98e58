"""How strangers behave, beyond one message: bans, the tarpit, greylisting, and who is never banned.

A recipient that does not exist or is not ours counts against the session (`session.tarpit.recipients`, then 421) and
against the address (`server.auto-ban.abuse.rate`, then a ban).  Relay networks, trusted relays, hosts that a list in
the DNS knows for good mail, those whose mail was taken within a week and loopback are never banned by themselves.

Greylisting is decided at RCPT.  Where the domain of the return path was let in for its DKIM signatures, that shows only
at the end of data, and is decided there.  Nothing here waits for a disk; what is off costs a comparison.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from relayd.events import security, smtp
from relayd.mail.address import split_address
from relayd.mail.reply import Reply
from relayd.mailauth.findings import Findings, Result, plain_domain
from relayd.reception.assessing import Subject
from relayd.reception.client import Address, Client
from relayd.reception.policy import Policy, contains
from relayd.reception.transaction import Refused, Transaction
from relayd.reputation.bans import Bans
from relayd.reputation.good_hosts import GoodHosts
from relayd.reputation.greylist import Greylist
from relayd.reputation.options import TarpitOptions
from relayd.reputation.sent import SentMail
from relayd.spam.tag import Tag

SHUT_OUT = Reply(421, "4.7.0", "Your address is shut out for a while, for what came from it")
ENOUGH = Reply(421, "4.7.0", "Too many recipients that do not exist, closing the connection")


@dataclass(slots=True, kw_only=True)
class Strangers:
    """clock: Unix time.  policy: the one in force.  sleep: awaited in the tarpit."""

    clock: Callable[[], float]
    policy: Callable[[], Policy]
    bans: Bans
    good: GoodHosts = field(default_factory=GoodHosts)
    greylist: Greylist = field(default_factory=Greylist)
    sent: SentMail = field(default_factory=SentMail)
    tarpit: TarpitOptions = field(default_factory=TarpitOptions)
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    held_up: int = 0

    def spares(self, address: Address, now: float) -> bool:
        """Whether an address is never banned by itself; see `Bans.is_spared`."""
        if address.is_loopback or self.good.is_good(address, now):
            return True
        options = self.policy().options
        return (
            contains(options.rcpt.relay_networks, address)
            or contains(options.session.trusted_relays, address)
            or any(contains(each, address) for each in options.listener_networks.values())
        )

    def admit(self, client: Client) -> Reply | None:
        """At connect: why a stranger is shut out of a listener for mail."""
        address = client.address
        if address is None or client.trusted or client.role != "mx" or not len(self.bans):
            return None
        now = self.clock()
        ban = self.bans.banned(address, now)
        if ban is None or self.spares(address, now):
            return None
        security.IP_BLOCKED(client.span, remote_ip=client.address_text, reason=ban.reason, expires=ban.until)
        return Reply(SHUT_OUT.code, "", SHUT_OUT.text)

    async def refused(self, client: Client, recipient: str, reply: Reply) -> Reply:
        """A stranger asked for a recipient that does not exist or is not ours; the reply, after a while."""
        address = client.address
        if address is None or client.trusted or self._is_relay_of_ours(address):
            return reply
        client.offences += 1
        now = self.clock()
        evidence = f"{client.offences} in this session, the last <{recipient[:200]}>: {reply}"
        ban = self.bans.offended("abuse", address, evidence, now)
        if ban is not None:
            security.ABUSE_BAN(
                client.span,
                remote_ip=client.address_text,
                reason=ban.reason,
                expires=ban.until,
                details=ban.evidence,
                total=ban.times,
            )
        await self._hold_up(client)
        if ban is not None:
            return SHUT_OUT
        if client.offences >= self.tarpit.recipients and not address.is_loopback:
            smtp.TOO_MANY_INVALID_RCPT(client.span, limit=self.tarpit.recipients)
            return ENOUGH
        return reply

    def loitered(self, client: Client) -> None:
        """A session ended because nothing came."""
        address = client.address
        if address is None or client.trusted or client.messages or self._is_relay_of_ours(address):
            return
        evidence = f"nothing came on listener {client.listener}"
        ban = self.bans.offended("loiter", address, evidence, self.clock())
        if ban is not None:
            security.LOITER_BAN(
                client.span,
                remote_ip=client.address_text,
                reason=ban.reason,
                expires=ban.until,
                details=ban.evidence,
                total=ban.times,
            )

    async def _hold_up(self, client: Client) -> None:
        delay = self.tarpit.delay
        if not delay or self.held_up >= self.tarpit.slots:
            return
        self.held_up += 1
        try:
            smtp.HELD_UP(client.span, elapsed=delay, total=self.held_up)
            await self.sleep(delay)
        finally:
            self.held_up -= 1

    def _is_relay_of_ours(self, address: Address) -> bool:
        return contains(self.policy().options.session.trusted_relays, address)

    def greylisted(self, tx: Transaction, recipient: str) -> Reply | None:
        """At RCPT, of a recipient that would be taken: why it is not, for now."""
        address = tx.client.address
        if not self._greylists(tx) or address is None:
            return None
        now = self.clock()
        domain = _domain_of(tx.sender)
        sender = tx.sender_findings
        spf = sender.spf_mail_from if sender is not None else None
        if spf is not None and spf.result is Result.PASS and self.greylist.knows(f"spf:{domain}", now):
            return None
        wait = self.greylist.wait(address, tx.sender, recipient, now)
        if not wait:
            return None
        if domain and self.greylist.knows(f"dkim:{domain}", now):
            tx.greylisted = wait  # its signature may show who it is
            return None
        smtp.RCPT_TO_GREYLISTED(tx.client.span, to=recipient, from_=tx.sender, next_retry=now + wait)
        return _come_again(wait)

    def _greylists(self, tx: Transaction) -> bool:
        client = tx.client
        if not self.greylist.options.enabled or tx.trusted or tx.skip_checks or client.role != "mx":
            return False
        return client.address is not None and not self._is_relay_of_ours(client.address)

    def proved(self, tx: Transaction) -> None:
        """After the checks of content: whether what RCPT put off is proved.  Refused."""
        if not tx.greylisted:
            return
        now = self.clock()
        if any(self.greylist.knows(each, now) for each in proved_domains(tx) if each.startswith("dkim:")):
            return
        smtp.RCPT_TO_GREYLISTED(
            tx.client.span, to=", ".join(tx.given[:10]), from_=tx.sender, next_retry=now + tx.greylisted
        )
        raise Refused(_come_again(tx.greylisted))

    def taken(self, tx: Transaction) -> None:
        """A message was promised; what was discarded speaks for nobody."""
        address = tx.client.address
        if tx.trusted or address is None or tx.client.role != "mx" or tx.held is not None or not tx.recipients:
            return
        now = self.clock()
        self.good.note(address, now)
        if self._greylists(tx):
            self.greylist.taken(address, proved_domains(tx), now)

    async def tags(self, subject: Subject) -> Sequence[Tag]:
        """IP_BLOCKED where an address on the message's way is shut out, see `assessing.TagSource`."""
        if not len(self.bans) or subject.facts.is_trusted:
            return ()
        now = self.clock()
        for text in (str(subject.facts.address or ""), *subject.scanned.hops):
            with contextlib.suppress(ValueError):
                if self.bans.banned(ipaddress.ip_address(text), now) is not None:
                    return (Tag("IP_BLOCKED", "an address on its way is shut out here", text),)
        return ()

    def sweep(self) -> None:
        """Forget what is over."""
        now = self.clock()
        self.greylist.sweep(now)
        self.sent.sweep(now)
        self.good.sweep(now)


def proved_domains(tx: Transaction) -> list[str]:
    """The domains that the checks proved, "spf:" or "dkim:" in front."""
    found = []
    sender, findings = tx.sender_findings, tx.findings or Findings()
    spf = sender.spf_mail_from if sender is not None else None
    if spf is not None and spf.result is Result.PASS and tx.sender:
        found.append(f"spf:{_domain_of(tx.sender)}")
    for each in findings.dkim or ():
        if each.result is Result.PASS and each.domain:
            found.append(f"dkim:{plain_domain(each.domain)}")
    return list(dict.fromkeys(found))


def _domain_of(address: str) -> str:
    return plain_domain(split_address(address)[1]) if address else ""


def _come_again(wait: float) -> Reply:
    return Reply(451, "4.7.1", f"Greylisted, please try again in {math.ceil(wait)} seconds")
