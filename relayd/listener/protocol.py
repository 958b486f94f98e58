"""The octets of a session: the one place where relayd departs from aiosmtpd's code.

`RelaySMTP` stays an `aiosmtpd.smtp.SMTP` - handlers written for aiosmtpd get one as `server`, with the `session` and
`envelope` objects they know - but of the class only the interface is used.  Replaced here, and why:

* `__init__`: aiosmtpd walks over all methods of itself and of the handler for each connection (40 % of the time of a
  short session) and may ask the DNS for the own host name.  Our tables are built once for the class.
* `data_received`, `readuntil`: its StreamReader costs a future for each line, limits lines by pausing the transport,
  and knows no chunk larger than a line.  Here a line is a slice of what the transport gave, a chunk is all of it, and
  the task sleeps only when there is neither.
* `push`: one write and one drain for each reply.  Here replies are gathered until the input is used up (RFC 2920
  §3.2 asks for it), then written at once.
* the timer: one handle for each command.  Here a deadline that a sweep looks at (see the package).
* `connection_lost`, `eof_received`: both cancel the task, also between the final dot and the reply.  Here they leave a
  reason that is raised where the task next waits for the peer.
* STARTTLS: built on asyncio's private SSLProtocol.  Here `loop.start_tls`, which uvloop has too.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from abc import abstractmethod
from collections.abc import Callable
from typing import cast

from aiosmtpd.smtp import SMTP, Envelope, Session

from relayd.events.smtp import RAW_OUTPUT
from relayd.mail.reply import Reply

NEVER = math.inf
MAX_LINE = 12288
"""Longest line at all, AUTH's (RFC 4954 §4); what a verb may have is looked at when the verb is known."""
HIGH_WATER = 1 << 16
"""Octets received ahead of their use at which reading pauses."""
MAX_UNSENT = 1 << 15
"""Octets of gathered replies that are written although input is left."""


class SessionOver(Exception):
    """The session ends: `reason` for the log, `reply` for the peer when it can still hear one."""

    def __init__(self, reason: str, reply: Reply | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.reply = reply


class LineTooLong(Exception):
    """A line over MAX_LINE; it was read to its end and dropped."""


class SessionProtocol(SMTP):
    """Input, output and end of one session; subclasses say what the task does.

    monotonic: seconds, for deadlines.  idle: longest wait for the peer, seconds.  total: longest session.
    """

    # What aiosmtpd's constructor would have set and a handler may read.
    session: Session | None = None
    envelope: Envelope | None = None
    tls_context: ssl.SSLContext | None = None
    enable_SMTPUTF8 = True

    def __init__(  # not super().__init__: see above
        self, loop: asyncio.AbstractEventLoop, monotonic: Callable[[], float], idle: float, total: float
    ) -> None:
        self.loop = loop
        self.transport: asyncio.Transport | None = None
        self.deadline = NEVER
        self.at_boundary = False
        self.timed_out_as = "idle"
        self._monotonic = monotonic
        self._idle = idle
        self._ends_at = monotonic() + total
        self._slow_at = NEVER
        self._buffer = b""
        self._at = 0
        self._waiter: asyncio.Future[None] | None = None
        self._reading_paused = False
        self._write_paused = False
        self._lingering = False
        self.at_eof = False
        self._over: SessionOver | None = None
        self._unsent: list[bytes] = []
        self._unsent_size = 0
        self.task: asyncio.Task[None] | None = None

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the session's task."""
        self.transport = cast(asyncio.Transport, transport)
        self.task = self.loop.create_task(self._handle_client())

    def data_received(self, data: bytes) -> None:
        """Keep `data` until the task takes it."""
        if self._lingering:
            return
        if self._at < len(self._buffer):
            self._buffer = self._buffer[self._at :] + data
        else:
            self._buffer = data
        self._at = 0
        if self._waiter is not None:
            self._wake()
        elif len(self._buffer) > HIGH_WATER and not self._reading_paused and self.transport is not None:
            self._reading_paused = True
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        """The peer sends no more; what it sent is still answered (over TLS the transport cannot stay half open)."""
        self.at_eof = True
        self._wake()
        return self.transport is not None and self.transport.can_write_eof()

    def connection_lost(self, error: Exception | None) -> None:
        """Nothing can be sent or received any more."""
        self.transport = None
        self.interrupt(SessionOver("connection lost"))

    def pause_writing(self) -> None:
        """The peer reads too slowly."""
        self._write_paused = True

    def resume_writing(self) -> None:
        """The peer has caught up."""
        self._write_paused = False
        self._wake()

    # What others call.

    def interrupt(self, over: SessionOver) -> None:
        """End the session where it next waits for its peer (or now waits); the first reason counts."""
        if self._over is None:
            self._over = over
        self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    # Input.

    @property
    def has_input(self) -> bool:
        """Octets that were received and not yet used."""
        return self._at < len(self._buffer)

    def take_line(self) -> bytes | None:
        """The next line with its line end when it is here as a whole."""
        end = self._buffer.find(b"\n", self._at)
        if end < 0:
            return None
        line = self._buffer[self._at : end + 1]
        self._at = end + 1
        return line

    async def line(self) -> bytes:
        """The next line with its line end; LineTooLong, SessionOver."""
        too_long = False
        while (line := self.take_line()) is None:
            if len(self._buffer) - self._at > MAX_LINE:
                too_long = True
                self._buffer = b""
                self._at = 0
            await self._more()
        if too_long or len(line) > MAX_LINE:
            raise LineTooLong
        return line

    async def chunk(self, limit: int = 0) -> bytes:
        """Some octets, at least one; at most `limit` when it is not 0."""
        while self._at >= len(self._buffer):
            await self._more()
        data = self._buffer[self._at :] if self._at else self._buffer
        if limit and len(data) > limit:
            self._at += limit
            return data[:limit]
        self._buffer = b""
        self._at = 0
        return data

    def put_back(self, data: bytes) -> None:
        """Octets that `chunk` gave and that were not for its caller."""
        self._buffer = data + self._buffer[self._at :] if self.has_input else data
        self._at = 0

    def drop_input(self) -> None:
        """Forget what was received (RFC 3207 §4.2: nothing from before TLS may be used after it)."""
        self._buffer = b""
        self._at = 0

    def expect_rate(self, slow_at: float) -> None:
        """From now on waiting ends at `slow_at` (monotonic; NEVER to lift it) at the latest."""
        self._slow_at = slow_at

    async def _more(self) -> None:
        """Write what is gathered and wait for the peer; SessionOver."""
        self.flush()
        while self._write_paused:
            await self._wait()
        if self.at_eof:
            raise self._over or SessionOver("closed by the client")
        if self._reading_paused and self.transport is not None:
            self._reading_paused = False
            self.transport.resume_reading()
        await self._wait()

    async def _wait(self) -> None:
        if self._over is not None:
            raise self._over
        deadline = self._monotonic() + self._idle
        self.timed_out_as = "idle"
        if self._slow_at < deadline:
            deadline = self._slow_at
            self.timed_out_as = "rate"
        if self._ends_at < deadline:
            deadline = self._ends_at
            self.timed_out_as = "total"
        self.deadline = deadline
        self._waiter = self.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
            self.deadline = NEVER
        if self._over is not None:
            raise self._over

    # Output.

    def write(self, data: bytes) -> None:
        """Give `data` to the peer together with the replies before it, at the latest when more input is needed."""
        self._unsent.append(data)
        self._unsent_size += len(data)
        if self._unsent_size > MAX_UNSENT:
            self.flush()

    def flush(self) -> None:
        """Write what is gathered."""
        if self._unsent:
            data = self._unsent[0] if len(self._unsent) == 1 else b"".join(self._unsent)
            self._unsent.clear()
            self._unsent_size = 0
            if self.transport is not None:
                self.transport.write(data)
                if RAW_OUTPUT.wanted:
                    self._was_sent(data)

    @abstractmethod
    def _was_sent(self, data: bytes) -> None:
        """Somebody asks for what is sent."""

    async def push(self, status: str | bytes) -> None:
        """aiosmtpd's way to reply, for plug-ins: `status` without line end."""
        self.write((status.encode("utf-8", "replace") if isinstance(status, str) else status) + b"\r\n")

    async def upgrade(self, context: ssl.SSLContext, handshake_timeout: float) -> ssl.SSLObject:
        """TLS from here on; input from before is gone.  Raises OSError (ssl.SSLError among them) when it fails."""
        self.flush()
        if self.transport is None:
            raise ConnectionResetError("connection lost")
        self.drop_input()
        transport = await self.loop.start_tls(
            self.transport, self, context, server_side=True, ssl_handshake_timeout=handshake_timeout
        )
        if transport is None:
            raise ConnectionResetError("connection lost")
        self.transport = transport
        self._reading_paused = False
        return cast(ssl.SSLObject, transport.get_extra_info("ssl_object"))

    @abstractmethod
    async def _handle_client(self) -> None:
        """The session, from its first octet to its last."""

    async def hang_up(self, linger: float) -> None:
        """Close.  Octets of the peer that nobody read would make the kernel drop our last reply with a reset, so wait
        at most `linger` seconds (by the sweep) for the peer to close first.
        """
        self.flush()
        transport = self.transport
        if transport is None:
            return
        try:
            if linger and not self.at_eof and transport.can_write_eof():
                self._lingering = True
                self._over = None
                self._ends_at = self._monotonic() + linger
                transport.write_eof()
                while not self.at_eof:
                    await self._wait()
        except SessionOver:
            pass  # the time is up, or the connection lost
        finally:
            transport.close()
            if transport.get_write_buffer_size():
                self.loop.call_later(10, transport.abort)  # a peer that never reads must not keep the socket
