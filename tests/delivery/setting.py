"""What attempts need in tests: a job, a road over a zone in a dict, and the events stated on the way."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from relayd.delivery.attempt import Attempts, Road
from relayd.delivery.connection import Dialer
from relayd.delivery.content import BodySource
from relayd.delivery.hosts import Hosts
from relayd.delivery.options import ReuseOptions, TimeoutOptions
from relayd.delivery.pool import Pool
from relayd.delivery.sign_in import TokenSource
from relayd.delivery.tls import TlsContexts
from relayd.delivery.ways import Ways
from relayd.events.event import Event, EventStream, Span
from relayd.mail.envelope import Notify
from relayd.mail.snowflake import Snowflakes
from relayd.mailauth.signature_options import SignatureOptions
from relayd.queue.message import Body, Job, Message, Origin, Outcome, Recipient, State
from relayd.resolver.zone import Zone
from relayd.routing.next_hop import NextHop, TlsMode
from relayd.routing.options import OutboundOptions
from relayd.routing.route import Router
from relayd.routing.smarthost import Standings
from tests.rig.signing import signing_with

CONTENT = b"From: <a@sender.example>\r\nSubject: hello\r\n\r\nHello.\r\n.a line with a dot\r\n"


class Source:
    """A body that is streamed in small blocks, as one from a file is."""

    def __init__(self, octets: bytes, fail_at: int | None = None) -> None:
        self.size = len(octets)
        self.data: bytes | None = None
        self.closed = False
        self._octets = octets
        self._place = 0
        self._fail_at = fail_at

    async def read(self, n: int) -> bytes:
        """The next octets."""
        if self._fail_at is not None and self._place >= self._fail_at:
            raise OSError("disk is gone")
        block = self._octets[self._place : self._place + n]
        self._place += len(block)
        return block

    def close(self) -> None:
        """Done."""
        self.closed = True


@dataclass
class Setting:
    """A road to peers on loopback.  zone: names; own: names and addresses that are ourselves."""

    zone: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    own: set[str] = field(default_factory=set)
    reuse: ReuseOptions = field(default_factory=ReuseOptions)
    timeouts: TimeoutOptions = field(default_factory=TimeoutOptions)
    tls: TlsContexts = field(default_factory=TlsContexts)
    allow_private: bool = True
    soft_bounce: bool = False
    signatures: dict[str, SignatureOptions] = field(default_factory=dict)
    chance: Callable[[], float] = lambda: 0.0
    clock: Callable[[], float] = time.time
    router: Router = field(default_factory=lambda: Router(OutboundOptions()))
    suspended: dict[str, float] = field(default_factory=dict)
    tokens: TokenSource | None = None
    bodies: dict[int, Source] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stream = EventStream(self.clock, [self.events.append])
        self.pool = Pool(self.reuse, time.monotonic)
        hosts = Hosts(
            Zone(self.zone),
            self.reuse,
            allow_private=self.allow_private,
            is_self=lambda name, port: name in self.own,
            chance=self.chance,
        )
        dialer = Dialer("relay.example", self.timeouts, self.tls, tokens=self.tokens)
        self.ways = Ways(
            self.router,
            Standings((30.0, 60.0)),
            clock=self.clock,
            chance=self.chance,
            suspended_until=self.suspended.get,
        )
        self.road = Road(hosts=hosts, dialer=dialer, pool=self.pool, reuse=self.reuse, ways=self.ways)
        self.attempts = Attempts(
            self.road,
            self._open,
            self.stream,
            Snowflakes(),
            sign_again=signing_with(self.signatures, Span(self.stream)).again,
            soft_bounce=self.soft_bounce,
        )

    async def _open(self, message_id: int) -> BodySource:
        kept = self.bodies[message_id]
        return Source(kept._octets, kept._fail_at)

    async def run(self, job: Job, next_hop: NextHop) -> list[Outcome]:
        """One attempt; outcomes in the order of recipients."""
        return sorted(await self.attempts.run(job, next_hop), key=lambda outcome: outcome.number)

    def stated(self, id: str) -> list[Event]:
        """The events of a kind."""
        return [event for event in self.events if event.kind.id == id]


def recipient(
    number: int, address: str, notify: frozenset[Notify] | None = None, orcpt: str | None = None
) -> Recipient:
    """A queued recipient."""
    return Recipient(
        number=number,
        address=address,
        destination="x.example",
        state=State.SCHEDULED,
        attempts=1,
        next_attempt=0.0,
        next_notify=None,
        expires=1e12,
        notify=notify,
        orcpt=orcpt,
    )


def job(*addresses: str, content: bytes = CONTENT, in_memory: bool = True, **changes: Any) -> Job:
    """A job of one message; `changes` to the Message."""
    message = Message(
        id=4711,
        origin=Origin.SUBMITTED,
        return_path="a@sender.example",
        created=0.0,
        size=len(content),
        recipients=tuple(recipient(number, address) for number, address in enumerate(addresses or ("b@x.example",))),
        sender_key="a",
        trusted=True,
        smtputf8=False,
        ret=None,
        envid=None,
        account=None,
        listener="smtp",
        client="127.0.0.1",
        message_id="<1@x>",
        blob_hash="",
        eight_bit=not content.isascii(),
        utf8_header=False,
        signed=False,
    )
    body = Body(head=b"", content=content, size=len(content)) if in_memory else None
    return Job(message=replace(message, **changes), destination="x.example", until=1e12, body=body)


def smarthost(port: int, **changes: Any) -> NextHop:
    """A route to a peer on loopback."""
    hop = NextHop(key="route:hub", host="127.0.0.1", port=port, use_mx=False, tls=TlsMode.NONE, route="hub")
    return dataclasses.replace(hop, **changes)


def direct(port: int, domain: str = "x.example", **changes: Any) -> NextHop:
    """Direct MX delivery."""
    return dataclasses.replace(NextHop(key=domain, host=domain, port=port, tls=TlsMode.NONE), **changes)
