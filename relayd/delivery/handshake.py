"""One run of aiosmtplib over one socket: greeting, EHLO, STARTTLS, AUTH.  Whatever fails is a ConnectionFailed."""

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

from relayd.delivery.endpoint import ConnectionFailed, Endpoint, Step, Watch, watched
from relayd.delivery.options import TimeoutOptions
from relayd.delivery.outcome import Stage, Trouble
from relayd.delivery.sign_in import NoMechanism, TokenFailed, TokenSource, sign_in
from relayd.delivery.tls import Demand, defect_of, presented_chain
from relayd.events import dane as dane_events
from relayd.events import delivery as events
from relayd.events.event import Span
from relayd.mail.reply import Reply
from relayd.routing.dane import verify
from relayd.routing.next_hop import NextHop, Protocol
from relayd.routing.tls_defect import Defect
from relayd.smtp.extension import PeerExtensions
from relayd.smtp.replies import ProtocolError, ReplyParser


@dataclass(frozen=True, slots=True)
class Caller:
    """Who we are to a peer.  hostname: for EHLO.  tokens: to sign in with."""

    hostname: str
    timeouts: TimeoutOptions
    tokens: TokenSource | None = None


class Handshake:
    """One run of aiosmtplib over one socket."""

    def __init__(
        self,
        caller: Caller,
        endpoint: Endpoint,
        next_hop: NextHop,
        demand: Demand,
        span: Span,
        watch: Watch | None,
    ) -> None:
        self._tokens = caller.tokens
        self._watch = watch
        self._timeouts = caller.timeouts
        self._endpoint = endpoint
        self._next_hop = next_hop
        self._demand = demand
        self._span = span
        self._name = "localhost" if endpoint.is_unix else (demand.sni or endpoint.host)
        self._client = aiosmtplib.SMTP(
            local_hostname=caller.hostname, hostname=self._name, timeout=caller.timeouts.greeting
        )
        self._connected = False

    async def run(self, sock: socket.socket, context: ssl.SSLContext | None) -> tuple[str | None, PeerExtensions]:
        """Greeting, EHLO, TLS, AUTH: the TLS version, and what the peer offers."""
        with watched(self._watch, Step.GREETING):
            await self._greet(sock, context)
        extensions = await self._ehlo(Stage.EHLO)
        version = self._version()
        if context is not None and version is None:
            with watched(self._watch, Step.STARTTLS):
                version = await self._starttls(context, offered=extensions.starttls)
            if version is not None:
                if self._watch is not None:
                    self._watch.showed(self._chain())
                extensions = await self._ehlo(Stage.STARTTLS)
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
                reason = reason_of(cause or error)
                events.IMPLICIT_TLS_ERROR(self._span, hostname=self._endpoint.host, reason=reason)
                raise ConnectionFailed(reason, trouble=Trouble.TLS, defect=defect_of(cause or error)) from error
            raise ConnectionFailed(reason_of(cause or error), trouble=Trouble.CONNECT) from error
        if implicit:
            self._started_tls(started)

    async def _ehlo(self, stage: Stage) -> PeerExtensions:
        """EHLO, or HELO where that is refused; LHLO for LMTP.  After STARTTLS its failure is one of TLS."""
        with watched(self._watch, Step.EHLO):
            return await self._hello(stage)

    async def _hello(self, stage: Stage) -> PeerExtensions:
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
            raise ConnectionFailed(reason_of(error), trouble=trouble) from error
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

    async def _starttls(self, context: ssl.SSLContext, *, offered: bool) -> str | None:
        """The TLS version; None where it is not offered and need not be."""
        if not offered:
            events.START_TLS_UNAVAILABLE(self._span, hostname=self._endpoint.host)
            if self._demand.may_be_plain:
                return None
            text = "STARTTLS is demanded and not offered"
            raise ConnectionFailed(text, trouble=Trouble.TLS, defect=Defect.NO_STARTTLS)
        started = time.monotonic()
        try:
            await self._client.starttls(tls_context=context, server_hostname=self._name, timeout=self._timeouts.tls)
        except errors.SMTPResponseException as error:
            raise self._tls_failure(str(_reply(error.code, error.message)), Defect.HANDSHAKE) from error
        except (errors.SMTPException, OSError, ValueError) as error:
            raise self._tls_failure(reason_of(error), defect_of(error)) from error
        return self._started_tls(started)

    def _tls_failure(self, reason: str, defect: Defect) -> ConnectionFailed:
        events.START_TLS_ERROR(self._span, hostname=self._endpoint.host, reason=reason)
        return ConnectionFailed(reason, trouble=Trouble.TLS, defect=defect)

    def _check_dane(self) -> None:
        """Hold the chain that the peer presented against its TLSA records."""
        chain, host = self._chain(), self._endpoint.host
        found = verify(self._demand.tlsa, chain, self._demand.names, time.time())
        if found.record is not None:
            dane_events.TLSA_RECORD_MATCH(self._span, hostname=host, details=str(found.record))
            dane_events.AUTHENTICATION_SUCCESS(self._span, hostname=host, details=str(found.record))
            return
        if not chain:
            dane_events.NO_CERTIFICATES_FOUND(self._span, hostname=host)
        elif found.unreadable:
            dane_events.CERTIFICATE_PARSE_ERROR(self._span, hostname=host, reason=found.reason)
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

    def _chain(self) -> list[bytes]:
        ssl_object = self._ssl_object()
        return presented_chain(ssl_object) if ssl_object is not None else []

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
        host = self._endpoint.host
        try:
            await sign_in(self._client, extensions, self._next_hop, self._tokens, self._span)
        except NoMechanism as error:
            reply = Reply(504, "5.7.4", str(error))
            raise ConnectionFailed(str(error), stage=Stage.AUTH, reply=reply) from error
        except TokenFailed as error:
            raise ConnectionFailed(str(error), trouble=Trouble.NO_TOKEN) from error
        except errors.SMTPResponseException as error:
            reply = _reply(error.code, error.message)
            events.AUTH_FAILED(self._span, hostname=host, code=reply.code, details=reply.text)
            raise ConnectionFailed(str(reply), stage=Stage.AUTH, reply=reply) from error
        except (errors.SMTPException, OSError) as error:
            raise ConnectionFailed(reason_of(error), trouble=Trouble.LOST) from error


def _reply(code: int, message: str) -> Reply:
    """aiosmtplib's response as our value; it leaves the enhanced code in the text."""
    text = message.encode("utf-8", "replace").decode("utf-8")
    wire = "".join(f"{code}-{line}\r\n" for line in text.split("\n")[:-1]) + f"{code} {text.split(chr(10))[-1]}\r\n"
    try:
        return ReplyParser().feed(wire.encode())[0]
    except (ProtocolError, IndexError):
        return Reply(code, "", text)


def reason_of(error: BaseException) -> str:
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
