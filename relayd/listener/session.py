"""One SMTP or LMTP session: how it begins, its loop of commands, how it ends."""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import select
import socket
import ssl
import struct
import traceback
from typing import Any

import aiosmtpd.smtp

from relayd.events import limit, smtp, tls
from relayd.events.event import Span
from relayd.listener.commands import LINE_LIMITS, VERBS, unknown
from relayd.listener.data import Sink
from relayd.listener.protocol import LineTooLong, SessionOver, SessionProtocol
from relayd.listener.raw import raw_replies, state_command
from relayd.listener.refused_lines import shown, state_refused
from relayd.listener.setting import Setting
from relayd.listener.xclient import UNKNOWN
from relayd.mail.reply import Reply
from relayd.reception.client import Address, Client
from relayd.smtp.command import SyntaxRefused, parse_command
from relayd.smtp.extension import Extensions
from relayd.smtp.proxy import ProxyHeader

LINGER = 3.0
"""Seconds to wait for the peer to close after we said goodbye to it."""

READ_SIZE = 1 << 16
"""asyncio would allocate 256 KiB for each read, which malloc gets from and gives back to the kernel every time."""

TOO_LONG = Reply(500, "5.5.2", "Command line too long")
NOT_CRLF = Reply(500, "5.5.2", "Command lines must end in <CR><LF>")
EARLY = Reply(554, "5.5.0", "Client spoke before the greeting")
SYNCHRONIZATION = Reply(503, "5.5.0", "Client sent data before it was its turn")
SHUTDOWN = Reply(421, "4.3.2", "Server is shutting down, please try again later")
TOO_MANY_ERRORS = Reply(421, "4.7.0", "Too many errors, closing the connection")
FULL = Reply(421, "4.3.2", "Too many connections, please try again later")
FULL_FOR_ADDRESS = Reply(421, "4.7.0", "Too many connections from your address")
TIMED_OUT = {
    "idle": Reply(421, "4.4.2", "Timeout, closing the connection"),
    "total": Reply(421, "4.4.2", "Session took too long, closing the connection"),
    "rate": Reply(421, "4.4.2", "Message comes too slowly, closing the connection"),
}

_PEERCRED = struct.Struct("3i")


class RelaySMTP(SessionProtocol):
    """A session.  `server` of aiosmtpd handlers; `session` and `envelope` are set when plug-ins are configured.

    offered: what EHLO said, or would say.  tx: the open transaction, None when there is none.  chunks: where content
    goes while BDAT chunks are under way.  refused: recipients refused in the transaction.
    """

    def __init__(self, setting: Setting, loop: asyncio.AbstractEventLoop, proxied: ProxyHeader | None = None) -> None:
        super().__init__(loop, setting.monotonic, setting.timeouts.idle, setting.timeouts.total)
        self.setting = setting
        self.hostname = setting.hostname
        self.reception = setting.reception
        self.plugins = setting.plugins
        self.client: Client
        self.offered = Extensions()
        self.tx: Any = None
        self.chunks: Sink | None = None
        self.refused = 0
        self.errors = 0
        self.auth_failures = 0
        self.auth_tried = False
        self.greeted = False
        self.draining = False
        self.may_send_mail = True
        self.may_xclient = False
        self.is_local = False
        self._proxied = proxied
        self._counted = False
        self._counted_address: Address | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection and start its task."""
        setting = self.setting
        self._counted = setting.counts.enter(setting.options.max_connections)
        if hasattr(transport, "max_size"):
            transport.max_size = READ_SIZE
        super().connection_made(transport)
        setting.sessions.add(self)

    # The life of a session.

    async def _handle_client(self) -> None:
        linger = 0.0
        is_idle = False
        self.client = self._new_client()
        span = self.client.span
        try:
            await self._open()
            await self._converse()
        except SessionOver as over:
            is_idle = over.reply is TIMED_OUT["idle"]
            if over.reply is not None:
                self.write(over.reply.encode())
                linger = 0.0 if self.draining else LINGER
            elif over.reason:
                smtp.ERROR(span, reason=over.reason)
        except Exception as error:
            self.write(self.report(error).encode())
        finally:
            try:
                self.drop_transaction()
                self.reception.leave(self.client, idle=is_idle)
                await self.hang_up(linger)
            finally:
                self._count_out()
                self.setting.sessions.discard(self)
                smtp.CONNECTION_END(span, elapsed=int((span.stream.clock() - span.started) * 1000))

    def _new_client(self) -> Client:
        """What the socket and the PROXY header tell."""
        setting = self.setting
        stream = setting.stream
        session_id = setting.snowflakes.issue(stream.clock())
        address: Address | None = None
        port = local_port = 0
        local_address = ""
        uid: int | None = None
        transport = self.transport
        peer = transport.get_extra_info("peername") if transport is not None else None
        if transport is not None and isinstance(peer, tuple):
            local = transport.get_extra_info("sockname")
            address, port = to_address(peer[0]), peer[1]
            local_address, local_port = str(to_address(local[0])), local[1]
            self.is_local = address.is_loopback
        elif transport is not None:
            uid = _peer_uid(transport)
            self.is_local = True
        proxied = self._proxied
        if proxied is not None:
            if proxied.source is None:
                self.may_send_mail = False  # a health check: the proxy's own address counts for nothing
            else:
                address, port = to_address(proxied.source), proxied.source_port
                local_address, local_port = proxied.destination or "", proxied.destination_port
                self.is_local = self.is_local and address.is_loopback
        elif transport is None:
            address = UNKNOWN
        remote = str(address) if address is not None else "unix"
        keys = {"listenerId": setting.id, "localPort": local_port, "remoteIp": remote, "remotePort": port}
        if uid is not None:
            keys["uid"] = uid
        span = Span(stream, session_id, keys)
        smtp.CONNECTION_START(span, listener_id=setting.id, local_port=local_port, remote_ip=remote, remote_port=port)
        return Client(
            span=span,
            session_id=session_id,
            listener=setting.id,
            role=setting.options.role,
            protocol=setting.options.protocol,
            address=address,
            port=port,
            local_address=local_address,
            local_port=local_port,
            uid=uid,
            from_proxy=proxied is not None and proxied.source is not None,
        )

    async def _open(self) -> None:
        """From the accepted socket to the greeting: TLS, limits, early talkers."""
        options = self.setting.options
        client = self.client
        if not self._counted:
            limit.CONCURRENT_CONNECTION(
                client.span, listener_id=client.listener, limit=options.max_connections, remote_ip=client.address_text
            )
            raise SessionOver("", FULL)
        connection = self.transport.get_extra_info("ssl_object") if self.transport is not None else None
        if connection is not None:
            self._note_tls(connection)
        if self.plugins:
            await self._open_for_plugins()
        if options.xclient and client.address is not None:
            self.may_xclient = any(client.address in network for network in options.xclient)
        await self._admit()
        if self.has_input or self._is_readable():
            smtp.UNAUTHORIZED_PIPELINING(client.span, reason="before the greeting")
            raise SessionOver("", EARLY)
        self.greet()

    async def _admit(self) -> None:
        client = self.client
        limit = self.setting.options.max_connections_per_address
        refusal = await self.reception.connect(client)
        if not self.may_send_mail:
            client.trusted = False
        if not client.trusted and client.address is not None:
            if not self.setting.counts.enter_address(client.address, limit):
                smtp.CONCURRENCY_LIMIT_EXCEEDED(client.span, limit=limit, remote_ip=client.address_text)
                raise SessionOver("", FULL_FOR_ADDRESS)
            self._counted_address = client.address
        if refusal is not None:
            raise SessionOver("", refusal)

    def _count_out(self) -> None:
        if self._counted:
            self.setting.counts.leave()
        if self._counted_address is not None:
            self.setting.counts.leave_address(self._counted_address)

    def greet(self) -> None:
        """220; RFC 2034 wants no enhanced code in it."""
        protocol = "LMTP" if self.client.protocol == "lmtp" else "ESMTP"
        self.write(f"220 {self.hostname} {protocol} relayd\r\n".encode())

    def _is_readable(self) -> bool:
        """Whether the kernel has input that asyncio has not yet read."""
        handle = self.transport.get_extra_info("socket") if self.transport is not None else None
        if handle is None or self.client.tls is not None:
            return False
        poll = select.poll()
        poll.register(handle.fileno(), select.POLLIN)
        return bool(poll.poll(0)) and not self.at_eof

    # Commands.

    async def _converse(self) -> None:
        budget = self.setting.errors.errors
        while True:
            if self.draining and self.chunks is None:
                raise SessionOver("", SHUTDOWN)
            line = self.take_line()
            if line is None:
                self.at_boundary = self.chunks is None
                try:
                    line = await self.line()
                except LineTooLong:
                    smtp.REQUEST_TOO_LARGE(self.client.span, limit=512)
                    self.refuse(TOO_LONG)
                    continue
                finally:
                    self.at_boundary = False
            if smtp.RAW_INPUT.wanted:
                state_command(self.client.span, line, VERBS)
            await self._command(line)
            if self.errors >= budget:
                smtp.TOO_MANY_INVALID_RCPT(self.client.span, limit=budget)
                raise SessionOver("", TOO_MANY_ERRORS)

    async def _command(self, line: bytes) -> None:
        if line[-2:] != b"\r\n":
            smtp.SYNTAX_ERROR(self.client.span, contents=shown(line, after_auth=self.auth_tried))
            self.refuse(NOT_CRLF)
            return
        try:
            verb, argument = parse_command(line[:-2])
            command = VERBS.get(verb)
            if command is None:
                unknown(self, verb, line)
            elif len(line) > 512 and len(line) > LINE_LIMITS.get(verb, 512):
                smtp.REQUEST_TOO_LARGE(self.client.span, limit=LINE_LIMITS.get(verb, 512))
                self.refuse(TOO_LONG)
            else:
                await command(self, argument)
        except SyntaxRefused as refused:
            state_refused(self.client.span, refused, line, after_auth=self.auth_tried)
            self.refuse(refused.reply)
        except SessionOver:
            raise
        except Exception as error:  # unknown failure is temporary, and its text is not for the peer
            self.refuse(self.report(error))
            self.drop_transaction()

    def _was_sent(self, data: bytes) -> None:
        smtp.RAW_OUTPUT(self.client.span, size=len(data), contents=raw_replies(data))

    def drain(self) -> None:
        """End at the next boundary between commands; what is past DATA is finished first."""
        self.draining = True
        if self.at_boundary:
            self.interrupt(SessionOver("", SHUTDOWN))

    def expire(self) -> None:
        """The deadline has passed."""
        smtp.TIME_LIMIT_EXCEEDED(self.client.span, reason=self.timed_out_as)
        self.interrupt(SessionOver("", TIMED_OUT[self.timed_out_as]))

    def refuse(self, reply: Reply) -> None:
        """Answer a command that was wrong; it counts against the error budget."""
        self.errors += 1
        self.write(reply.encode())

    def report(self, error: Exception) -> Reply:
        """State a bug as an event; the reply holds only the number under which it can be found."""
        frames = traceback.extract_tb(error.__traceback__)
        place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
        number = self.setting.snowflakes.issue(self.setting.stream.clock())
        reason = f"{number}: {type(error).__name__}: {error}{place}"
        smtp.HANDLER_ERROR(self.client.span, reason=reason)
        return Reply(451, "4.3.0", f"Internal error, please try again later (error {number})")

    def must_be_last(self, what: str) -> None:
        """RFC 2920 §3.1: nothing may be sent behind this command before its reply."""
        if self.has_input:
            smtp.UNAUTHORIZED_PIPELINING(self.client.span, reason=what)
            raise SessionOver("", SYNCHRONIZATION)

    def drop_transaction(self) -> None:
        """Forget the open transaction, if there is one."""
        if self.tx is not None:
            self.reception.abort(self.tx)
        self.end_transaction()

    def end_transaction(self) -> None:
        """The transaction was settled by reception."""
        self.tx = None
        if self.chunks is not None:
            self.chunks.close()
            self.chunks = None
        self.refused = 0
        if self.plugins:
            self.envelope = aiosmtpd.smtp.Envelope()

    # TLS.

    def server_context(self) -> ssl.SSLContext | None:
        """For this session; None when it cannot have TLS."""
        return self.setting.certificates.for_role(self.client.role)

    async def begin_tls(self, context: ssl.SSLContext) -> None:
        """Handshake; the session ends when it fails."""
        client = self.client
        try:
            connection = await self.upgrade(context, self.setting.timeouts.tls_handshake)
        except OSError as error:
            reason = str(error) or type(error).__name__
            tls.HANDSHAKE_ERROR(client.span, listener_id=client.listener, reason=reason)
            raise SessionOver("") from error
        self._note_tls(connection)

    def _note_tls(self, connection: ssl.SSLObject) -> None:
        client = self.client
        client.tls = connection.version()
        cipher = connection.cipher()
        client.tls_cipher = cipher[0] if cipher else ""
        tls.HANDSHAKE(client.span, listener_id=client.listener, version=client.tls, details=client.tls_cipher)

    # What aiosmtpd's handlers expect.

    async def _open_for_plugins(self) -> None:
        session = aiosmtpd.smtp.Session(self.loop)
        session.peer = (self.client.address_text, self.client.port)  # type: ignore[assignment]
        self.session = session
        self.envelope = aiosmtpd.smtp.Envelope()
        if self._proxied is not None:
            refusal = await self.plugins.ask(self, "PROXY", self._proxied)
            if refusal is not None:
                raise SessionOver("", refusal)


@functools.lru_cache(1024)  # a busy client connects again and again
def to_address(text: str) -> Address:
    """An address as the socket names it: a zone is dropped, IPv4-mapped IPv6 is IPv4."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _peer_uid(transport: asyncio.Transport) -> int | None:
    handle = transport.get_extra_info("socket")
    if handle is None:
        return None
    credentials = handle.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEERCRED.size)
    return int(_PEERCRED.unpack(credentials)[1])
