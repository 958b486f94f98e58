"""Reception with everything around it in memory, and a client that speaks to it."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relayd.blobs.spool import Blobs
from relayd.directory.directory import Directory
from relayd.directory.options import AccountOptions
from relayd.events.event import Event, EventStream, Span
from relayd.mail.options import ServerOptions
from relayd.mail.reply import Reply
from relayd.mail.snowflake import Snowflakes
from relayd.mailauth.options import AuthOptions
from relayd.options import Raw, section_of
from relayd.queue.message import Job, NewMessage
from relayd.reception.admission import Plan
from relayd.reception.client import Client
from relayd.reception.filtering import Filtering
from relayd.reception.options import (
    AccessOptions,
    DataLimits,
    DataOptions,
    EhloOptions,
    ExtensionOptions,
    KnownOptions,
    ProbeOptions,
    RcptOptions,
    ReceivedOptions,
    ReceptionOptions,
    RedirectOptions,
    RewriteOptions,
    SubmissionOptions,
    TrustedRelayOptions,
)
from relayd.reception.policy import Policy
from relayd.reception.receive import Parts, Reception
from relayd.reception.transaction import Transaction
from relayd.resolver.answer import Resolver
from relayd.resolver.zone import Zone
from relayd.routing.rule import Rules
from relayd.smtp.command import MailCommand, RcptCommand
from tests.rig.reception import NO_CHECKS
from tests.rig.signing import signing_with

NOW = 1_700_000_000.0
HOSTNAME = "mx.relay.example"

_SECTIONS: dict[str, type[Any]] = {
    "server": ServerOptions,
    "session": TrustedRelayOptions,
    "auth": AuthOptions,
    "extensions": ExtensionOptions,
    "rcpt": RcptOptions,
    "probe": ProbeOptions,
    "ehlo": EhloOptions,
    "data": DataOptions,
    "limits": DataLimits,
    "received": ReceivedOptions,
    "redirect": RedirectOptions,
    "submission": SubmissionOptions,
}
_RECORDS: dict[str, type[Any]] = {"known": KnownOptions, "access": AccessOptions, "rewrite": RewriteOptions}


def options(**given: dict[str, Any]) -> ReceptionOptions:
    """Options as they are written in TOML: options(rcpt={"relay-domains": ["a.example"]}, access={"1": {...}})."""
    values: dict[str, Any] = {}
    for name, raw in given.items():
        if name in _RECORDS:
            values[name] = {id: section_of(_RECORDS[name]).build(each) for id, each in raw.items()}
        elif name in _SECTIONS:
            values[name] = section_of(_SECTIONS[name]).build(raw)
        else:
            values[name] = raw
    values.setdefault("auth", NO_CHECKS)
    return ReceptionOptions(hostname=HOSTNAME, **values)


@dataclass
class FakeQueue:
    """Remembers what was enqueued, or fails."""

    messages: list[NewMessage] = field(default_factory=list)
    failure: Exception | None = None
    discarded: list[Mapping[str, int]] = field(default_factory=list)

    async def discard(self, counts: Mapping[str, int]) -> None:
        """Note it."""
        if self.failure is not None:
            raise self.failure
        self.discarded.append(counts)

    async def enqueue(self, message: NewMessage, *others: NewMessage) -> None:
        if self.failure is not None:
            raise self.failure
        self.messages += [message, *others]


@dataclass
class FakeDelivery:
    """Takes every job that it is told to admit."""

    admits: bool = True
    jobs: list[Job] = field(default_factory=list)
    asked: list[tuple[str, str, int]] = field(default_factory=list)
    failure: Exception | None = None
    rules: Rules = field(default_factory=Rules)

    def destination(self, address: str, rules: Sequence[str] = ()) -> str:
        return address.rpartition("@")[2]

    def admit(self, destination: str, sender_key: str, recipients: int) -> bool:
        self.asked.append((destination, sender_key, recipients))
        return self.admits

    def take(self, job: Job) -> None:
        if self.failure is not None:
            raise self.failure
        self.jobs.append(job)

    def plan(self, now: float) -> Plan:
        return Plan(
            leased_until=now + 600,
            due_again=now + 120,
            first_attempt=now,
            next_notify=now + 86400,
            expires=now + 432000,
        )


@dataclass
class FakeProber:
    """Answers by address; an address without an answer cannot be asked."""

    answers: dict[str, Reply] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def probe(self, address: str) -> Reply | None:
        self.asked.append(address)
        return self.answers.get(address)


@dataclass
class FakeSpace:
    reply: Reply | None = None
    sizes: list[int] = field(default_factory=list)

    def check(self, announced_size: int) -> Reply | None:
        self.sizes.append(announced_size)
        return self.reply


class House:
    """Everything, by name."""

    def __init__(
        self,
        tmp_path: Path,
        accounts: dict[str, dict[str, Raw]] | None = None,
        *,
        resolver: Resolver | None = None,
        filtering: Filtering | None = None,
        **given: Any,
    ) -> None:
        """No checks of strangers' mail, unless `auth` or a resolver is given."""
        if resolver is not None:
            given.setdefault("auth", {})
        self.resolver = resolver or Zone({})
        signatures = given.pop("signatures", {})
        self.now = NOW
        self.events: list[Event] = []
        self.stream = EventStream(lambda: self.now, [self.events.append])
        self.queue = FakeQueue()
        self.delivery = FakeDelivery()
        self.prober = FakeProber()
        self.space = FakeSpace()
        self.blobs = Blobs(tmp_path / "spool", lambda: self.now)
        self.directory = Directory(
            {name: section_of(AccountOptions).build(raw) for name, raw in (accounts or {}).items()}, lambda: self.now
        )
        self.reception = Reception(
            Policy(options(**given)),
            Parts(
                queue=self.queue,
                blobs=self.blobs,
                space=self.space,
                admission=self.delivery,
                prober=self.prober,
                directory=self.directory,
                resolver=self.resolver,
                clock=lambda: self.now,
                snowflakes=Snowflakes(1),
                signing=signing_with(signatures, Span(self.stream)),
                filtering=filtering,
            ),
        )

    def incoming_files(self) -> list[Path]:
        """Spool files of messages that are not complete, discarded or committed."""
        return list((self.blobs.directory / "incoming").iterdir())

    def facts(self, id: str) -> list[dict[str, Any]]:
        """Fields of every event of a kind."""
        return [event.fields for event in self.events if event.kind.id == id]

    def client(self, address: str | None = "203.0.113.5", **fields: Any) -> Client:
        """A client that has connected to nothing yet."""
        values: dict[str, Any] = {
            "span": Span(self.stream, 7),
            "session_id": 7,
            "listener": "smtp",
            "address": ipaddress.ip_address(address) if address is not None else None,
            "local_address": "192.0.2.25",
            "name": "client.example",
            "helo": "client.example",
            "esmtp": True,
        }
        return Client(**(values | fields))

    async def stranger(self, **fields: Any) -> Client:
        """A client of no relay network, greeted."""
        return await self._greeted(self.client(**fields))

    async def trusted(self, **fields: Any) -> Client:
        """A client on loopback, greeted."""
        return await self._greeted(self.client("127.0.0.1", **fields))

    async def _greeted(self, client: Client) -> Client:
        assert await self.reception.connect(client) is None
        assert await self.reception.helo(client) is None
        return client

    async def begin(self, client: Client, sender: str = "a@sender.example", **fields: Any) -> Transaction:
        """A transaction whose MAIL was accepted."""
        tx = await self.reception.mail(client, MailCommand(return_path=sender, **fields))
        assert isinstance(tx, Transaction), tx
        return tx

    async def rcpt(self, tx: Transaction, address: str, **fields: Any) -> Reply:
        """One recipient."""
        return await self.reception.rcpt(tx, RcptCommand(address=address, **fields))

    async def send(self, tx: Transaction, content: bytes, step: int = 65536) -> Reply:
        """The content, in pieces, and the end of data."""
        assert await self.reception.begin_data(tx) is None
        for place in range(0, len(content), step):
            await self.reception.write(tx, [content[place : place + step]])
        reply = await self.reception.finish(tx)
        assert isinstance(reply, Reply)
        return reply

    async def deliver(
        self, client: Client, content: bytes, *to: str, sender: str = "a@sender.example", **fields: Any
    ) -> NewMessage:
        """One message, all accepted."""
        tx = await self.begin(client, sender, **fields)
        for address in to or ("b@far.example",):
            reply = await self.rcpt(tx, address)
            assert reply.is_positive, reply
        reply = await self.send(tx, content)
        assert reply.code == 250, reply
        return self.queue.messages[-1]


def octets(message: NewMessage) -> bytes:
    """All of a queued message."""
    body = message.body
    content = body.content if isinstance(body.content, bytes) else body.content.read_bytes()
    assert body.size == len(body.head) + len(content) - body.offset
    return body.head + content[body.offset :]


def outcome(reply: Reply | None) -> tuple[int, str]:
    """Code and enhanced code."""
    assert reply is not None
    return reply.code, reply.enhanced
