"""A next hop that misbehaves on cue, and remembers what it was told.

`Script` says how: what it offers, its replies by place, and where it drops the line.  The default is a good server
with everything offered.  Every session and transaction is kept for the test to look at.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field

ALL = ("PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "DSN", "CHUNKING", "ENHANCEDSTATUSCODES")
PLAIN = ("PIPELINING", "SIZE 52428800", "8BITMIME", "ENHANCEDSTATUSCODES")

DROP = "DROP"
"""In place of a reply: close the connection."""

SILENT = "SILENT"
"""In place of a reply: say nothing more, keep the line open."""

CHALLENGE = base64.b64encode(b"<1896.697170952@postoffice.example>").decode()
"""Of CRAM-MD5."""

Replies = str | list[str] | Callable[[str], str]
"""One reply for always, one after the other (the last repeats), or by the command line."""


@dataclass(slots=True, kw_only=True)
class Script:
    """How the peer behaves.  Replies may have several lines (CRLF between) and are sent as they are.

    data: to DATA.  dot: to the end of the message; with LMTP `dot` is asked for each accepted recipient, with its
    address.  drop_in_data: close after that many octets of the message.  starttls: reply to STARTTLS; broken_tls:
    talk nonsense in place of the handshake.  idle: what to say (or DROP) after a transaction, unasked.
    max_messages: 421 to a further MAIL.
    """

    banner: str = "220 peer.example ESMTP"
    ehlo: str = ""
    helo: str = "250 peer.example"
    offers: tuple[str, ...] = ALL
    mail: Replies = "250 2.1.0 Ok"
    rcpt: Replies = "250 2.1.5 Ok"
    data: Replies = "354 Go ahead"
    dot: Replies = "250 2.0.0 Taken"
    rset: Replies = "250 2.0.0 Ok"
    noop: Replies = "250 2.0.0 Ok"
    starttls: str = "220 2.0.0 Ready"
    auth: Replies = "235 2.7.0 Welcome"
    broken_tls: bool = False
    drop_in_data: int | None = None
    idle: str = ""
    max_messages: int = 0
    lmtp: bool = False


@dataclass(slots=True)
class Taken:
    """One transaction that came to its end (or broke in the message: `complete` is False)."""

    mail: str
    rcpts: list[str] = field(default_factory=list)
    content: bytes = b""
    complete: bool = False
    chunked: bool = False
    tls: bool = False


class Peer:
    """A running peer.  taken: transactions; commands: every line by session; connections: how many came."""

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None, *, implicit: bool = False) -> None:
        self.script = script
        self.taken: list[Taken] = []
        self.commands: list[list[str]] = []
        self.writes: list[int] = []
        self.tls = tls
        self.implicit = implicit
        self.port = 0
        self.address = "127.0.0.1"
        self._server: asyncio.Server | None = None
        self._sessions: set[asyncio.Task[None]] = set()
        self._counts: dict[str, int] = {}

    @property
    def connections(self) -> int:
        """Connections that came."""
        return len(self.commands)

    @property
    def verbs(self) -> list[str]:
        """The first words of every command of every session."""
        return [line.split(" ")[0].split(":")[0].upper() for session in self.commands for line in session]

    async def start(self, address: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; the kernel chooses the port unless one is given.  "unix:/path" listens there."""
        context = self.tls if self.implicit else None
        if address.startswith("unix:"):
            self._server = await asyncio.start_unix_server(self._session, address[5:], ssl=context)
            self.address = address
            return
        self._server = await asyncio.start_server(self._session, address, port, ssl=context)
        self.address = address
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close everything."""
        assert self._server is not None
        self._server.close()
        for task in list(self._sessions):
            task.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)
        await self._server.wait_closed()

    def reply(self, place: str, replies: Replies, line: str) -> str:
        """The reply for this time."""
        if isinstance(replies, str):
            return replies
        if callable(replies):
            return replies(line)
        number = self._counts.get(place, 0)
        self._counts[place] = number + 1
        return replies[min(number, len(replies) - 1)]

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._sessions.add(task)
        session = _Session(self, reader, writer)
        self.commands.append(session.lines)
        try:
            await session.run()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, asyncio.CancelledError, TimeoutError):
            writer.transport.abort()
        finally:
            self._sessions.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError, asyncio.CancelledError, TimeoutError):
                async with asyncio.timeout(0.5):  # a handshake that failed leaves some transports unfinished
                    await writer.wait_closed()


class _Dropped(ConnectionError):
    """The script says to close here."""


class _Session:
    def __init__(self, peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.peer = peer
        self.reader = reader
        self.writer = writer
        self.lines: list[str] = []
        self.secure = peer.implicit
        self.messages = 0
        self.mail: Taken | None = None
        self.accepted: list[str] = []

    async def run(self) -> None:
        """Until QUIT or the script's end of it."""
        await self.say(self.peer.script.banner)
        while True:
            line = await self.reader.readline()
            if not line:
                return
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            self.lines.append(text)
            verb = text.split(" ")[0].split(":")[0].upper()
            if verb == "QUIT":
                await self.say("221 2.0.0 Bye")
                return
            handler = getattr(self, f"on_{verb.lower()}", None)
            if handler is None:
                await self.say("500 5.5.2 What?")
            else:
                await handler(text)

    async def say(self, reply: str) -> None:
        if reply == DROP:
            raise _Dropped
        if reply == SILENT:
            await asyncio.Event().wait()
        self.writer.write(reply.encode() + b"\r\n")
        await self.writer.drain()

    async def answer(self, place: str, replies: Replies, line: str) -> str:
        reply = self.peer.reply(place, replies, line)
        await self.say(reply)
        if reply.startswith("421"):
            raise _Dropped
        return reply

    async def on_ehlo(self, line: str) -> None:
        script = self.peer.script
        if script.ehlo:
            await self.answer("ehlo", script.ehlo, line)
            return
        offers = list(script.offers)
        if self.peer.tls is not None and not self.secure:
            offers.append("STARTTLS")
        rows = ["peer.example", *offers]
        await self.say("\r\n".join(f"250{'-' if n < len(rows) - 1 else ' '}{row}" for n, row in enumerate(rows)))

    async def on_lhlo(self, line: str) -> None:
        await self.on_ehlo(line)

    async def on_helo(self, line: str) -> None:
        await self.answer("helo", self.peer.script.helo, line)

    async def on_starttls(self, line: str) -> None:
        reply = await self.answer("starttls", self.peer.script.starttls, line)
        if not reply.startswith("220"):
            return
        if self.peer.script.broken_tls:
            self.writer.write(b"this is no handshake\r\n" * 4)
            await self.writer.drain()
            raise _Dropped
        assert self.peer.tls is not None
        await self.writer.start_tls(self.peer.tls)
        self.secure = True

    async def on_auth(self, line: str) -> None:
        """LOGIN and CRAM-MD5 are prompted once; a scripted 334 is a challenge that tells why a token is refused."""
        mechanism = line.upper().split(" ")[1]
        if mechanism in ("LOGIN", "CRAM-MD5"):
            await self.say("334 UGFzc3dvcmQ6" if mechanism == "LOGIN" else f"334 {CHALLENGE}")
            self.lines.append((await self.reader.readline()).decode().strip())
        reply = await self.answer("auth", self.peer.script.auth, line)
        if reply.startswith("334"):
            self.lines.append((await self.reader.readline()).decode().strip())
            await self.say("535 5.7.8 The token is not valid")

    async def on_mail(self, line: str) -> None:
        script = self.peer.script
        self.messages += 1
        if script.max_messages and self.messages > script.max_messages:
            await self.say("421 4.7.0 Enough")
            raise _Dropped
        if self.mail is not None:
            await self.say("503 5.5.1 Nested MAIL")
            return
        reply = await self.answer("mail", script.mail, line)
        if reply.startswith("2"):
            self.mail = Taken(line, tls=self.secure)
            self.accepted = []

    async def on_rcpt(self, line: str) -> None:
        if self.mail is None:
            await self.say("503 5.5.1 MAIL first")
            return
        reply = await self.answer("rcpt", self.peer.script.rcpt, line)
        if reply.startswith("2"):
            self.mail.rcpts.append(line)
            self.accepted.append(line)

    async def on_rset(self, line: str) -> None:
        self.mail = None
        await self.answer("rset", self.peer.script.rset, line)

    async def on_noop(self, line: str) -> None:
        await self.answer("noop", self.peer.script.noop, line)

    async def on_data(self, line: str) -> None:
        if self.mail is None or not self.accepted:
            await self.say("503 5.5.1 No valid recipients")
            return
        reply = await self.answer("data", self.peer.script.data, line)
        if reply.startswith("354"):
            await self.take(await self.read_data())

    async def read_data(self) -> bytes:
        limit = self.peer.script.drop_in_data
        content = bytearray()
        while (line := await self.reader.readline()) != b".\r\n":
            if not line:
                raise ConnectionResetError
            content += line[1:] if line.startswith(b".") else line
            if limit is not None and len(content) >= limit:
                assert self.mail is not None
                self.mail.content = bytes(content)
                self.peer.taken.append(self.mail)
                raise _Dropped
        return bytes(content)

    async def on_bdat(self, line: str) -> None:
        size = int(line.split(" ")[1])
        content = await self.reader.readexactly(size)
        if self.mail is None or not self.accepted:
            await self.say("503 5.5.1 No valid recipients")
            return
        self.mail.chunked = True
        await self.take(content)

    async def take(self, content: bytes) -> None:
        script, taken = self.peer.script, self.mail
        assert taken is not None
        taken.content = content
        taken.complete = True
        self.peer.taken.append(taken)
        self.mail = None
        for recipient in self.accepted if script.lmtp else [""]:
            await self.answer("dot", script.dot, recipient)
        if script.idle:
            await self.say(script.idle)
            raise _Dropped


@contextlib.asynccontextmanager
async def running(
    script: Script | None = None,
    *,
    tls: ssl.SSLContext | None = None,
    implicit: bool = False,
    address: str = "127.0.0.1",
    port: int = 0,
) -> AsyncIterator[Peer]:
    """A peer for the time of a test."""
    peer = Peer(script or Script(), tls, implicit=implicit)
    await peer.start(address, port)
    try:
        yield peer
    finally:
        await peer.stop()


@contextlib.contextmanager
def running_in_thread(
    script: Script | None = None,
    *,
    tls: ssl.SSLContext | None = None,
    implicit: bool = False,
    address: str = "127.0.0.1",
    port: int = 0,
) -> Iterator[Peer]:
    """The same for tests that run no loop of their own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    peer = Peer(script or Script(), tls, implicit=implicit)
    asyncio.run_coroutine_threadsafe(peer.start(address, port), loop).result(10)
    try:
        yield peer
    finally:
        asyncio.run_coroutine_threadsafe(peer.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
