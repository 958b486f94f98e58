"""One connection to one milter: negotiation, commands with their replies, the content of a message.

Everything that can go wrong is a MilterFailure, which carries the event that tells of it.  Whether a failure stops mail
is not decided here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable

from relayd.events import milter as events
from relayd.events.event import EventKind, Span
from relayd.filters import milter_wire as wire
from relayd.filters.endpoint import Endpoint
from relayd.filters.milter_wire import Code, Command, MilterReply, Negotiated, Steps
from relayd.filters.peer_tls import PeerTls, is_wrong_name, reason_of
from relayd.mail.header import HeaderBlock, HeaderField

_LEFT_OUT = {
    Command.CONNECT: Steps.NO_CONNECT,
    Command.HELO: Steps.NO_HELO,
    Command.MAIL: Steps.NO_MAIL,
    Command.RCPT: Steps.NO_RCPT,
    Command.DATA: Steps.NO_DATA,
    Command.HEADER: Steps.NO_HEADERS,
    Command.END_OF_HEADERS: Steps.NO_END_OF_HEADERS,
    Command.BODY: Steps.NO_BODY,
}
_QUIET = {
    Command.CONNECT: Steps.QUIET_CONNECT,
    Command.HELO: Steps.QUIET_HELO,
    Command.MAIL: Steps.QUIET_MAIL,
    Command.RCPT: Steps.QUIET_RCPT,
    Command.DATA: Steps.QUIET_DATA,
    Command.HEADER: Steps.QUIET_HEADERS,
    Command.END_OF_HEADERS: Steps.QUIET_END_OF_HEADERS,
    Command.BODY: Steps.QUIET_BODY,
}
_VERDICTS = frozenset(
    {
        Code.ACCEPT,
        Code.CONTINUE,
        Code.DISCARD,
        Code.REJECT,
        Code.TEMPORARY_FAILURE,
        Code.REPLY_CODE,
        Code.CONNECTION_FAILURE,
        Code.SHUTDOWN,
    }
)
_GOES_ON = MilterReply(Code.CONTINUE)
MAX_CHANGES = 10_000
"""Changes of one message that are taken."""
MAX_CHANGED = 128 << 20
"""Octets of all of them together."""


class MilterFailure(Exception):
    """The milter cannot be asked, or what it says cannot be understood.  kind: the event that tells so."""

    def __init__(self, kind: EventKind, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


class MilterConnection:
    """A milter that was connected to and negotiated with.  id: for events, stated in `span`."""

    def __init__(self, id: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, span: Span) -> None:
        self.id = id
        self.wants = Negotiated(wire.VERSION, wire.Actions(0), Steps(0))
        self._reader = reader
        self._writer = writer
        self._span = span
        self._in_message = False

    @classmethod
    async def open(
        cls, id: str, endpoint: Endpoint, timeout: float, span: Span, tls: PeerTls | None = None
    ) -> MilterConnection:
        """Connect, with TLS where that is asked for, and negotiate, each within `timeout` seconds.  MilterFailure."""
        try:
            async with asyncio.timeout(timeout):
                reader, writer = await endpoint.connect(tls=tls)
        except TimeoutError:
            raise MilterFailure(events.TIMEOUT, f"{endpoint}: no connection in {timeout:g} s") from None
        except OSError as error:
            kind = events.TLS_INVALID_NAME if is_wrong_name(error) else events.IO_ERROR
            raise MilterFailure(kind, f"{endpoint}: {reason_of(error)}") from error
        found = cls(id, reader, writer, span)
        try:
            found._write(wire.negotiate())
            found.wants = wire.read_negotiated(await found._read(timeout))
        except wire.WireError as error:
            found.drop()
            raise MilterFailure(events.FRAME_INVALID, str(error)) from error
        except BaseException:
            found.drop()
            raise
        return found

    def sees(self, command: Command) -> bool:
        """Whether it wants to be told of this."""
        return not self.wants.steps & _LEFT_OUT[command]

    async def tell(
        self, command: Command, octets: bytes, macros: Iterable[tuple[str, str]], timeout: float
    ) -> MilterReply:
        """Say something of the session or envelope, with the macros for it; the answer.  MilterFailure."""
        if not self.sees(command):
            return _GOES_ON
        self._in_message = self._in_message or command is Command.MAIL
        self._write(wire.macros(command, macros))
        return await self._say(command, octets, timeout)

    async def _say(self, command: Command, octets: bytes, timeout: float) -> MilterReply:
        self._write(octets)
        if self.wants.steps & _QUIET[command]:
            await self._drained(timeout)
            return _GOES_ON
        while (reply := await self._read(timeout)).code is Code.PROGRESS:
            pass
        if reply.code not in _VERDICTS and not (
            reply.code is Code.SKIP and command is Command.BODY and self.wants.steps & Steps.MAY_SKIP
        ):
            raise MilterFailure(events.UNEXPECTED_RESPONSE, f"{reply.code.name} to {command.name}")
        return reply

    async def header(self, block: HeaderBlock, macros: Iterable[tuple[str, str]], timeout: float) -> MilterReply:
        """Show the header and its end; the first answer that is more than to go on.  MilterFailure."""
        if self.sees(Command.HEADER):
            for field in block.fields:
                if not field.name:
                    continue
                octets = wire.header(field.name.encode("ascii"), _value(field, self._keeps_space))
                reply = await self._say(Command.HEADER, octets, timeout)
                if reply.code is not Code.CONTINUE:
                    return reply
        if not self.sees(Command.END_OF_HEADERS):
            return _GOES_ON
        self._write(wire.macros(Command.END_OF_HEADERS, macros))
        return await self._say(Command.END_OF_HEADERS, wire.frame(Command.END_OF_HEADERS), timeout)

    async def body(self, octets: AsyncIterator[bytes], timeout: float) -> MilterReply:
        """Show the body in pieces of any size; likewise."""
        if not self.sees(Command.BODY):
            return _GOES_ON
        async for piece in octets:
            for begin in range(0, len(piece), wire.MAX_CHUNK):
                chunk = wire.frame(Command.BODY, piece[begin : begin + wire.MAX_CHUNK])
                reply = await self._say(Command.BODY, chunk, timeout)
                if reply.code is Code.SKIP:
                    return _GOES_ON
                if reply.code is not Code.CONTINUE:
                    return reply
        return _GOES_ON

    async def end(self, macros: Iterable[tuple[str, str]], timeout: float) -> tuple[MilterReply, list[MilterReply]]:
        """End the message: (the verdict, the changes it wants, in their order).  MilterFailure."""
        self._in_message = False
        self._write(wire.macros(Command.END_OF_BODY, macros) + wire.frame(Command.END_OF_BODY))
        changes: list[MilterReply] = []
        octets = 0
        while True:
            reply = await self._read(timeout)
            if reply.code in _VERDICTS:
                return reply, changes
            if reply.code is Code.PROGRESS:
                continue
            needed = wire.NEEDS.get(reply.code)
            if needed is None or not self.wants.actions & needed:
                raise MilterFailure(events.UNEXPECTED_RESPONSE, f"{reply.code.name} was not negotiated")
            changes.append(reply)
            octets += len(reply.data)
            if len(changes) > MAX_CHANGES or octets > MAX_CHANGED:
                raise MilterFailure(events.FRAME_TOO_LARGE, f"more than {MAX_CHANGES} changes or {MAX_CHANGED} octets")

    @property
    def _keeps_space(self) -> bool:
        return bool(self.wants.steps & Steps.LEADING_SPACE)

    def abort(self) -> None:
        """The message ends without its end; the session goes on."""
        if self._in_message:
            self._in_message = False
            with contextlib.suppress(MilterFailure):
                self._write(wire.frame(Command.ABORT))

    def close(self) -> None:
        """The session is over."""
        with contextlib.suppress(MilterFailure):
            self._write(wire.frame(Command.QUIT))
        self._writer.close()

    def drop(self) -> None:
        """End the connection at once."""
        self._writer.transport.abort()

    def _write(self, octets: bytes) -> None:
        if self._writer.is_closing():
            raise MilterFailure(events.DISCONNECTED, "the connection is gone")
        events.WRITE(self._span, id=self.id, type_=chr(octets[4]), size=len(octets))
        self._writer.write(octets)

    async def _drained(self, timeout: float) -> None:
        try:
            async with asyncio.timeout(timeout):
                await self._writer.drain()
        except TimeoutError:
            raise MilterFailure(events.TIMEOUT, f"takes nothing for {timeout:g} s") from None
        except OSError as error:
            raise MilterFailure(events.DISCONNECTED, str(error) or type(error).__name__) from error

    async def _read(self, timeout: float) -> MilterReply:
        try:
            async with asyncio.timeout(timeout):
                await self._writer.drain()
                length = wire.frame_length(await self._reader.readexactly(4))
                reply = wire.read_reply(await self._reader.readexactly(length))
        except TimeoutError:
            raise MilterFailure(events.TIMEOUT, f"no answer in {timeout:g} s") from None
        except wire.FrameTooLarge as error:
            raise MilterFailure(events.FRAME_TOO_LARGE, str(error)) from error
        except wire.WireError as error:
            raise MilterFailure(events.FRAME_INVALID, str(error)) from error
        except (OSError, EOFError) as error:
            raise MilterFailure(events.DISCONNECTED, str(error) or type(error).__name__) from error
        events.READ(self._span, id=self.id, type_=reply.code.value.decode(), size=length)
        return reply


def _value(field: HeaderField, keeps_space: bool) -> bytes:
    """The value as milters get it: folds are LF, and one blank behind the colon is the server's own."""
    value = field.raw[field.raw.find(b":") + 1 :].removesuffix(b"\r\n").replace(b"\r\n", b"\n")
    return value if keeps_space else value.removeprefix(b" ")
