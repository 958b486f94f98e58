"""Setting a connection up: our own socket, then aiosmtplib for greeting, EHLO, STARTTLS and AUTH.

The socket is ours so that each address has a time limit of its own.  Then the transaction protocol takes the transport
over, and aiosmtplib is done.  Whatever fails is a ConnectionFailed that says at which stage, with the reply or the
trouble.  Opportunistic TLS that fails is tried again in plain text, on a new connection.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from dataclasses import dataclass

from relayd.delivery.endpoint import ConnectionFailed, Endpoint, Step, TlsWitness, Watch, watched
from relayd.delivery.handshake import Caller, Handshake, reason_of
from relayd.delivery.host_policy import configured
from relayd.delivery.options import TimeoutOptions
from relayd.delivery.outcome import Trouble
from relayd.delivery.sign_in import TokenSource
from relayd.delivery.tls import Demand, TlsContexts, in_the_clear, lesser
from relayd.delivery.transaction import TransactionProtocol
from relayd.events import delivery as events
from relayd.events.event import Span
from relayd.routing.next_hop import NextHop, Protocol
from relayd.routing.source import Source as MailSource
from relayd.routing.tls_policy import Consequence, Source, TlsPolicy, consequence
from relayd.smtp.extension import PeerExtensions


@dataclass(slots=True, kw_only=True)
class Connection:
    """A connection ready for transactions.  opened: monotonic seconds.  messages: transactions begun on it.

    local: our address.  parked: when it was last put into the pool, monotonic seconds.  subject: under whose limit of
    connections it counts while idle, "" for nobody's.
    """

    endpoint: Endpoint
    next_hop: NextHop
    extensions: PeerExtensions
    protocol: TransactionProtocol
    tls: str | None
    opened: float
    local: str = ""
    messages: int = 0
    parked: float = 0.0
    subject: str = ""

    @property
    def host(self) -> str:
        """The peer's name."""
        return self.endpoint.host


class Dialer:
    """Makes connections.

    hostname: ours, for EHLO where the source has no name of its own.  witness: who remembers what hosts' TLS came to.
    tokens: to sign in with.
    """

    def __init__(
        self,
        hostname: str,
        timeouts: TimeoutOptions,
        tls: TlsContexts,
        witness: TlsWitness | None = None,
        tokens: TokenSource | None = None,
    ) -> None:
        self._hostname = hostname
        self._timeouts = timeouts
        self._tls = tls
        self._witness = witness
        self._tokens = tokens

    async def connect(self, endpoint: Endpoint, next_hop: NextHop, span: Span) -> Connection:
        """A connection to `endpoint` with the TLS that it must give; raises ConnectionFailed.

        What its policy does not demand is tried first and left out, on a new connection, where it fails.
        """
        policy = endpoint.policy or configured(next_hop, endpoint.host)
        demand = wanted = Demand.of(policy.tls, policy.names)
        witness = self._witness
        if witness is not None and demand.encrypt and not next_hop.implicit_tls:
            broken = witness.broken(endpoint.host, policy)
            if broken:
                events.START_TLS_DISABLED(span, hostname=endpoint.host, reason=broken)
                demand = in_the_clear(demand)
        while True:
            try:
                connection = await self.connect_once(endpoint, next_hop, demand, span)
            except ConnectionFailed as failure:
                less = None
                if failure.defect is not None and not next_hop.implicit_tls:
                    less = lesser(demand, consequence(policy.tls, failure.defect))
                if witness is not None and failure.defect is not None:
                    witness.failed(endpoint, policy, failure.defect, failure, span)
                if less is None:
                    raise _blamed(policy.tls, failure) from failure
                if not less.encrypt:
                    events.DOWNGRADED(span, hostname=endpoint.host, reason=str(failure))
                demand = less
            else:
                if witness is not None and not endpoint.is_unix:
                    met = demand is wanted and demand.encrypt
                    witness.connected(connection, policy, span, met=met)
                return connection

    async def connect_once(
        self, endpoint: Endpoint, next_hop: NextHop, demand: Demand, span: Span, watch: Watch | None = None
    ) -> Connection:
        """One try with exactly the TLS that is demanded; watch: who follows its steps.  Raises ConnectionFailed."""
        started = time.monotonic()
        with watched(watch, Step.CONNECT):
            sock = await self._open_socket(endpoint, next_hop.source, span)
        local = "" if endpoint.is_unix else str(sock.getsockname()[0])
        hostname = (next_hop.source.ehlo if next_hop.source is not None else None) or self._hostname
        caller = Caller(hostname, self._timeouts, self._tokens)
        handshake = Handshake(caller, endpoint, next_hop, demand, span, watch)
        try:
            context = await self._context(next_hop, demand)
            tls, extensions = await handshake.run(sock, context)
            transport = handshake.take_transport()
        except BaseException as error:
            handshake.close(sock)
            if isinstance(error, ConnectionFailed):
                error.local = local
            raise
        protocol = TransactionProtocol(
            transport,
            self._timeouts,
            pipelining=extensions.pipelining,
            chunking=extensions.chunking,
            lmtp=next_hop.protocol is Protocol.LMTP,
        )
        transport.set_protocol(protocol)
        if transport.is_closing():
            raise ConnectionFailed("closed by the peer", trouble=Trouble.LOST)
        return Connection(
            endpoint=endpoint,
            next_hop=next_hop,
            extensions=extensions,
            protocol=protocol,
            tls=tls,
            opened=started,
            local=local,
        )

    async def _context(self, next_hop: NextHop, demand: Demand) -> ssl.SSLContext | None:
        if not demand.encrypt and not next_hop.implicit_tls:
            return None
        try:
            return await self._tls.context(next_hop.route, verified=demand.pkix, minimum=next_hop.tls_minimum)
        except OSError as error:
            raise ConnectionFailed(f"certificates cannot be loaded: {error}", trouble=Trouble.TLS) from error

    async def _open_socket(self, endpoint: Endpoint, source: MailSource | None, span: Span) -> socket.socket:
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in endpoint.address else socket.AF_INET
        if source is not None and not endpoint.is_unix and _address_of(source, family) is None:
            version = "IPv6" if family == socket.AF_INET6 else "IPv4"
            raise ConnectionFailed(f"the source {source.id} has no {version} address")
        sock = socket.socket(socket.AF_UNIX if endpoint.is_unix else family, socket.SOCK_STREAM)
        started = time.monotonic()
        try:
            sock.setblocking(False)
            if not endpoint.is_unix:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if source is not None:
                    _bind(sock, source, family, span)
            target = endpoint.address if endpoint.is_unix else (endpoint.address, endpoint.port)
            await asyncio.wait_for(loop.sock_connect(sock, target), self._timeouts.connect)
        except BaseException as error:
            sock.close()
            if not isinstance(error, OSError | TimeoutError):
                raise
            reason = reason_of(error)
            events.CONNECT_ERROR(
                span,
                hostname=endpoint.host,
                remote_ip=endpoint.address,
                remote_port=endpoint.port,
                reason=reason,
                elapsed=time.monotonic() - started,
            )
            raise ConnectionFailed(reason) from error
        local = sock.getsockname()
        events.CONNECT(
            span,
            domain=span.keys.get("domain"),
            hostname=endpoint.host,
            local_ip=local[0] if not endpoint.is_unix else "unix",
            remote_ip=endpoint.address,
            remote_port=endpoint.port,
            elapsed=time.monotonic() - started,
        )
        return sock


def _address_of(source: MailSource, family: int) -> str | None:
    return source.address_v6 if family == socket.AF_INET6 else source.address


def _bind(sock: socket.socket, source: MailSource, family: int, span: Span) -> None:
    """Leave from the source's address; the kernel chooses the port when it knows the peer, so ports do not run out."""
    address = _address_of(source, family)
    if hasattr(socket, "IP_BIND_ADDRESS_NO_PORT"):
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
    try:
        sock.bind((address, 0))
    except OSError as error:
        reason = reason_of(error)
        events.SOURCE_FAILED(span, id=source.id, local_ip=address, reason=reason)
        raise ConnectionFailed(f"the source {source.id} ({address}) cannot be used: {reason}") from error


def _blamed(policy: TlsPolicy, failure: ConnectionFailed) -> ConnectionFailed:
    """The failure under the name of who demanded what the host did not give."""
    if failure.defect is None:
        return failure
    trouble = failure.trouble
    if consequence(policy, failure.defect) is Consequence.BOUNCE:
        trouble = Trouble.REQUIRETLS
    elif policy.source is Source.DANE:
        trouble = Trouble.DANE
    elif policy.source is Source.MTA_STS:
        trouble = Trouble.MTA_STS
    return ConnectionFailed(str(failure), trouble=trouble, defect=failure.defect)
