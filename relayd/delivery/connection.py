"""Setting a connection up: our own socket, then aiosmtplib for greeting, EHLO, STARTTLS and AUTH.

The socket is ours so that each address has a time limit of its own.  Then the transaction protocol takes the transport
over, and aiosmtplib is done.  Whatever fails is a ConnectionFailed that says at which stage, with the reply or the
trouble.  Opportunistic TLS that fails is tried again in plain text, on a new connection.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import time
from dataclasses import dataclass

import aiosmtplib
from aiosmtplib import errors

from relayd.delivery.host_policy import HostPolicy, configured
from relayd.delivery.options import TimeoutOptions
from relayd.delivery.outcome import Stage, Trouble
from relayd.delivery.tls import Demand, TlsContexts, defect_of, lesser, presented_chain
from relayd.delivery.transaction import TransactionProtocol
from relayd.events import dane as dane_events
from relayd.events import delivery as events
from relayd.events.event import Span
from relayd.mail.reply import Reply
from relayd.routing.dane import verify
from relayd.routing.next_hop import NextHop, Protocol
from relayd.routing.tls_defect import Defect
from relayd.routing.tls_policy import Consequence, Source, TlsPolicy, consequence
from relayd.smtp.extension import PeerExtensions
from relayd.smtp.replies import ProtocolError, ReplyParser


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of one host.  host: the name for TLS and reports.  address: IP address, or the path of a socket.

    policy: what TLS the host must give; None: what the next hop says.
    """

    host: str
    address: str
    port: int
    is_unix: bool = False
    policy: HostPolicy | None = None


class ConnectionFailed(Exception):
    """No connection: `reply` at `stage`, or `trouble` without one; the text says what happened.

    defect: what is wrong with the host's TLS, when that is it.
    """

    def __init__(
        self,
        text: str,
        *,
        trouble: Trouble = Trouble.CONNECT,
        stage: Stage | None = None,
        reply: Reply | None = None,
        defect: Defect | None = None,
    ) -> None:
        super().__init__(text)
        self.trouble = trouble
        self.stage = stage
        self.reply = reply
        self.defect = defect


@dataclass(slots=True, kw_only=True)
class Connection:
    """A connection ready for transactions.  opened: monotonic seconds.  messages: transactions begun on it.

    subject: under whose limit of connections it counts while idle, "" for nobody's.
    """

    endpoint: Endpoint
    next_hop: NextHop
    extensions: PeerExtensions
    protocol: TransactionProtocol
    tls: str | None
    opened: float
    messages: int = 0
    subject: str = ""

    @property
    def host(self) -> str:
        """The peer's name."""
        return self.endpoint.host


class Dialer:
    """Makes connections.  hostname: ours, for EHLO."""

    def __init__(self, hostname: str, timeouts: TimeoutOptions, tls: TlsContexts) -> None:
        self._hostname = hostname
        self._timeouts = timeouts
        self._tls = tls

    async def connect(self, endpoint: Endpoint, next_hop: NextHop, span: Span) -> Connection:
        """A connection to `endpoint` with the TLS that it must give; raises ConnectionFailed.

        What its policy does not demand is tried first and left out, on a new connection, where it fails.
        """
        policy = endpoint.policy or configured(next_hop, endpoint.host)
        demand = Demand.of(policy.tls, policy.names)
        while True:
            try:
                return await self._connect(endpoint, next_hop, demand, span)
            except ConnectionFailed as failure:
                less = None
                if failure.defect is not None and not next_hop.implicit_tls:
                    less = lesser(demand, consequence(policy.tls, failure.defect))
                if less is None:
                    raise _blamed(policy.tls, failure) from failure
                if not less.encrypt:
                    events.DOWNGRADED(span, hostname=endpoint.host, reason=str(failure))
                demand = less

    async def _connect(self, endpoint: Endpoint, next_hop: NextHop, demand: Demand, span: Span) -> Connection:
        started = time.monotonic()
        sock = await self._open_socket(endpoint, span)
        setup = _Setup(self._hostname, self._timeouts, endpoint, next_hop, demand, span)
        try:
            context = await self._context(next_hop, demand)
            tls, extensions = await setup.run(sock, context)
            transport = setup.take_transport()
        except BaseException:
            setup.close(sock)
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
        )

    async def _context(self, next_hop: NextHop, demand: Demand) -> ssl.SSLContext | None:
        if not demand.encrypt and not next_hop.implicit_tls:
            return None
        try:
            return await self._tls.context(next_hop.route, verified=demand.pkix)
        except OSError as error:
            raise ConnectionFailed(f"authorities cannot be loaded: {error}", trouble=Trouble.TLS) from error

    async def _open_socket(self, endpoint: Endpoint, span: Span) -> socket.socket:
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in endpoint.address else socket.AF_INET
        sock = socket.socket(socket.AF_UNIX if endpoint.is_unix else family, socket.SOCK_STREAM)
        started = time.monotonic()
        try:
            sock.setblocking(False)
            if not endpoint.is_unix:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            target = endpoint.address if endpoint.is_unix else (endpoint.address, endpoint.port)
            await asyncio.wait_for(loop.sock_connect(sock, target), self._timeouts.connect)
        except BaseException as error:
            sock.close()
            if not isinstance(error, OSError | TimeoutError):
                raise
            reason = _reason(error)
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


class _Setup:
    """One run of aiosmtplib over one socket."""

    def __init__(
        self,
        hostname: str,
        timeouts: TimeoutOptions,
        endpoint: Endpoint,
        next_hop: NextHop,
        demand: Demand,
        span: Span,
    ) -> None:
        self._timeouts = timeouts
        self._endpoint = endpoint
        self._next_hop = next_hop
        self._demand = demand
        self._span = span
        self._name = "localhost" if endpoint.is_unix else endpoint.host
        if demand.tlsa and not demand.pkix:
            self._name = demand.names[0]  # the TLSA records' name is the one to ask for (RFC 7672 §8.1)
        self._client = aiosmtplib.SMTP(local_hostname=hostname, hostname=self._name, timeout=timeouts.greeting)
        self._connected = False

    async def run(self, sock: socket.socket, context: ssl.SSLContext | None) -> tuple[str | None, PeerExtensions]:
        """Greeting, EHLO, TLS, AUTH: the TLS version, and what the peer offers."""
        await self._greet(sock, context)
        extensions = await self._ehlo(Stage.EHLO)
        version = self._version()
        if context is not None and version is None:
            if extensions.starttls:
                version = await self._starttls(context)
                extensions = await self._ehlo(Stage.STARTTLS)
            else:
                events.START_TLS_UNAVAILABLE(self._span, hostname=self._endpoint.host)
                if not self._demand.may_be_plain:
                    raise ConnectionFailed(
                        "STARTTLS is demanded and not offered", trouble=Trouble.TLS, defect=Defect.NO_STARTTLS
                    )
        if self._demand.requiretls and "REQUIRETLS" not in extensions.keywords:
            text = "REQUIRETLS is demanded and not offered"
            raise ConnectionFailed(text, trouble=Trouble.REQUIRETLS, defect=Defect.NO_REQUIRETLS)
        if self._next_hop.username is not None:
            await self._authenticate(extensions)
        return version, extensions

    def take_transport(self) -> asyncio.Transport:
        """The transport; from now on it is not aiosmtplib's."""
        transport = self._client.transport
        if transport is None:
            raise ConnectionFailed("closed by the peer", trouble=Trouble.LOST)
        return transport  # type: ignore[return-value]  # a stream transport, uvloop's too

    def close(self, sock: socket.socket) -> None:
        """Give up."""
        transport = self._client.transport
        self._client.close()
        if transport is not None:
            transport.abort()  # type: ignore[attr-defined]  # uvloop's is no WriteTransport
        if not self._connected:
            sock.close()

    async def _greet(self, sock: socket.socket, context: ssl.SSLContext | None) -> None:
        implicit = context is not None and self._next_hop.implicit_tls
        self._client.tls_context = context
        started = time.monotonic()
        try:
            await self._client.connect(
                sock=sock, use_tls=implicit, start_tls=False, hostname=self._name, timeout=self._timeouts.greeting
            )
            self._connected = True
        except errors.SMTPConnectResponseError as error:
            reply = _reply(error.code, error.message)
            events.GREETING_FAILED(self._span, hostname=self._endpoint.host, code=reply.code, details=reply.text)
            raise ConnectionFailed(str(reply), stage=Stage.BANNER, reply=reply) from error
        except errors.SMTPResponseException as error:  # no number, or no end
            raise ConnectionFailed(error.message, trouble=Trouble.PROTOCOL) from error
        except (errors.SMTPException, OSError, ValueError) as error:
            cause = error.__cause__
            if implicit and (cause is None or isinstance(cause, OSError)):
                reason = _reason(cause or error)
                events.IMPLICIT_TLS_ERROR(self._span, hostname=self._endpoint.host, reason=reason)
                raise ConnectionFailed(reason, trouble=Trouble.TLS, defect=defect_of(cause or error)) from error
            raise ConnectionFailed(_reason(cause or error), trouble=Trouble.CONNECT) from error
        if implicit:
            self._started_tls(started)

    async def _ehlo(self, stage: Stage) -> PeerExtensions:
        """EHLO, or HELO where that is refused; LHLO for LMTP.  After STARTTLS its failure is one of TLS."""
        started = time.monotonic()
        trouble = Trouble.TLS if stage is Stage.STARTTLS else Trouble.LOST
        try:
            if self._next_hop.protocol is Protocol.LMTP:
                name = (self._client.local_hostname or "").encode("ascii")
                response = await self._client.execute_command(b"LHLO", name)
                if response.code != 250:
                    raise errors.SMTPHeloError(response.code, response.message)
            else:
                response = await self._helo()
        except errors.SMTPHeloError as error:
            reply = _reply(error.code, error.message)
            events.EHLO_REJECTED(self._span, hostname=self._endpoint.host, code=reply.code, details=reply.text)
            raise ConnectionFailed(str(reply), stage=Stage.EHLO, reply=reply) from error
        except errors.SMTPResponseException as error:
            raise ConnectionFailed(error.message, trouble=Trouble.PROTOCOL) from error
        except (errors.SMTPException, OSError) as error:
            raise ConnectionFailed(_reason(error), trouble=trouble) from error
        lines = response.message.split("\n")
        events.EHLO(self._span, hostname=self._endpoint.host, details=lines[1:], elapsed=time.monotonic() - started)
        return PeerExtensions.parse(lines)

    async def _helo(self) -> aiosmtplib.SMTPResponse:
        try:
            return await self._client.ehlo()
        except errors.SMTPHeloError as error:
            if error.code < 500 or not self._client.is_connected:
                raise
        response = await self._client.helo()
        return aiosmtplib.SMTPResponse(response.code, response.message.partition("\n")[0])  # offers nothing

    async def _starttls(self, context: ssl.SSLContext) -> str:
        started = time.monotonic()
        try:
            await self._client.starttls(tls_context=context, server_hostname=self._name, timeout=self._timeouts.tls)
        except errors.SMTPResponseException as error:
            raise self._tls_failure(str(_reply(error.code, error.message)), Defect.HANDSHAKE) from error
        except (errors.SMTPException, OSError, ValueError) as error:
            raise self._tls_failure(_reason(error), defect_of(error)) from error
        return self._started_tls(started)

    def _tls_failure(self, reason: str, defect: Defect) -> ConnectionFailed:
        events.START_TLS_ERROR(self._span, hostname=self._endpoint.host, reason=reason)
        return ConnectionFailed(reason, trouble=Trouble.TLS, defect=defect)

    def _check_dane(self) -> None:
        """Hold the chain that the peer presented against its TLSA records."""
        ssl_object = self._ssl_object()
        chain = presented_chain(ssl_object) if ssl_object is not None else []
        found = verify(self._demand.tlsa, chain, self._demand.names, time.time())
        host = self._endpoint.host
        if found.record is not None:
            dane_events.AUTHENTICATION_SUCCESS(self._span, hostname=host, details=str(found.record))
            return
        dane_events.AUTHENTICATION_FAILURE(self._span, hostname=host, reason=found.reason)
        raise ConnectionFailed(found.reason, trouble=Trouble.DANE, defect=found.defect)

    def _started_tls(self, started: float) -> str:
        version = self._version() or "TLS"
        events.START_TLS(
            self._span,
            hostname=self._endpoint.host,
            version=version,
            details=self._cipher(),
            elapsed=time.monotonic() - started,
        )
        if self._demand.tlsa:
            self._check_dane()
        return version

    def _ssl_object(self) -> ssl.SSLObject | None:
        transport = self._client.transport
        found = transport.get_extra_info("ssl_object") if transport is not None else None
        return found if isinstance(found, ssl.SSLObject) else None

    def _version(self) -> str | None:
        found = self._ssl_object()
        return found.version() if found is not None else None

    def _cipher(self) -> str:
        found = self._ssl_object()
        cipher = found.cipher() if found is not None else None
        return cipher[0] if cipher else ""

    async def _authenticate(self, extensions: PeerExtensions) -> None:
        """AUTH PLAIN, else LOGIN; only reached over verified TLS."""
        started = time.monotonic()
        username, password = self._next_hop.username or "", self._next_hop.password or ""
        host = self._endpoint.host
        try:
            if "PLAIN" in extensions.auth:
                await self._client.auth_plain(username, password)
            elif "LOGIN" in extensions.auth:
                await self._client.auth_login(username, password)
            else:
                raise ConnectionFailed(
                    "AUTH PLAIN or LOGIN is not offered",
                    stage=Stage.AUTH,
                    reply=Reply(504, "5.7.4", "AUTH PLAIN or LOGIN is not offered"),
                )
        except errors.SMTPResponseException as error:
            reply = _reply(error.code, error.message)
            events.AUTH_FAILED(self._span, hostname=host, code=reply.code, details=reply.text)
            raise ConnectionFailed(str(reply), stage=Stage.AUTH, reply=reply) from error
        except (errors.SMTPException, OSError) as error:
            raise ConnectionFailed(_reason(error), trouble=Trouble.LOST) from error
        events.AUTH(self._span, hostname=host, elapsed=time.monotonic() - started)


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


def _reply(code: int, message: str) -> Reply:
    """aiosmtplib's response as our value; it leaves the enhanced code in the text."""
    text = message.encode("utf-8", "replace").decode("utf-8")
    wire = "".join(f"{code}-{line}\r\n" for line in text.split("\n")[:-1]) + f"{code} {text.split(chr(10))[-1]}\r\n"
    try:
        return ReplyParser().feed(wire.encode())[0]
    except (ProtocolError, IndexError):
        return Reply(code, "", text)


def _reason(error: BaseException) -> str:
    """A failure in few words that do not change with the platform."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate not valid: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"handshake failed: {error.reason or error}"
    if isinstance(error, TimeoutError | errors.SMTPTimeoutError):
        return "timed out"
    if isinstance(error, OSError) and error.errno is not None:
        return f"{os.strerror(error.errno)} ({errno.errorcode.get(error.errno, error.errno)})"
    return str(error) or type(error).__name__
