"""The real reception over a queue in a list: relay domain example.org with the names a, b, c; account ann."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from relayd.blobs.spool import Blobs
from relayd.directory.directory import Directory
from relayd.directory.options import AccountOptions
from relayd.mail.envelope import domain_of
from relayd.mail.options import ServerOptions
from relayd.mail.reply import Reply
from relayd.mail.snowflake import Snowflakes
from relayd.mailauth.options import AuthOptions
from relayd.options import parse_network
from relayd.queue.message import Job, NewMessage
from relayd.reception.admission import Plan
from relayd.reception.options import DataLimits, DataOptions, KnownOptions, RcptOptions, ReceptionOptions
from relayd.reception.policy import Policy
from relayd.reception.receive import Parts, Reception
from relayd.resolver.zone import Zone
from relayd.routing.rule import Rules
from tests.rig.signing import signing_with

NO_CHECKS = AuthOptions(
    spf_ehlo="disabled",
    spf_mail_from="disabled",
    dkim="disabled",
    arc="disabled",
    dmarc="disabled",
    iprev="disabled",
)


@dataclass
class ListQueue:
    """Keeps what is enqueued."""

    messages: list[NewMessage] = field(default_factory=list)

    async def discard(self, counts: Mapping[str, int]) -> None:
        """Nothing is kept of it."""

    async def enqueue(self, message: NewMessage, *others: NewMessage) -> None:
        self.messages += [message, *others]


class NoDelivery:
    """A delivery side that takes nothing in memory and can probe nobody."""

    @property
    def rules(self) -> Rules:
        return Rules()

    def destination(self, address: str, rules: Sequence[str] = ()) -> str:
        return domain_of(address)

    def admit(self, destination: str, sender_key: str, recipients: int) -> bool:
        return False

    def take(self, job: Job) -> None:
        raise AssertionError("nothing was admitted")

    def plan(self, now: float) -> Plan:
        return Plan(leased_until=now + 60, due_again=now + 120, first_attempt=now, next_notify=None, expires=now + 3600)

    async def probe(self, address: str) -> Reply | None:
        return None


class Space:
    """Always enough."""

    def check(self, announced_size: int) -> Reply | None:
        return None


def real_reception(
    directory: Path, *, trusted: bool = False, normalise: bool = False, max_line: int = 65536
) -> tuple[Reception, ListQueue]:
    """trusted: loopback may relay."""
    options = ReceptionOptions(
        hostname="mx.example.org",
        auth=NO_CHECKS,
        server=ServerOptions(postmaster="ops@example.org"),
        rcpt=RcptOptions(
            relay_networks=(parse_network("127.0.0.0/8"),) if trusted else (), relay_domains=("example.org",)
        ),
        known={"all": KnownOptions(domains=("example.org",), check="list", list_=("a", "b", "c"))},
        data=DataOptions(bare_newlines="normalise" if normalise else "reject"),
        limits=DataLimits(line=max_line),
    )
    queue = ListQueue()
    delivery = NoDelivery()
    account = AccountOptions(secret="secret", emails=("ann@example.org",))
    parts = Parts(
        queue=queue,
        blobs=Blobs(directory, time.time),
        space=Space(),
        admission=delivery,
        prober=delivery,
        directory=Directory({"ann": account}, time.time),
        resolver=Zone({}),
        clock=time.time,
        snowflakes=Snowflakes(1),
        signing=signing_with(),
    )
    return Reception(Policy(options), parts), queue
