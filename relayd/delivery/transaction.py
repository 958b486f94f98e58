"""The transaction protocol: MAIL, RCPT and the message on a connection that aiosmtplib set up.

One state machine takes the transport over (`transport.set_protocol`).  Replies are matched to commands in the order
sent (RFC 2920), in the callback that received them, so that a small message costs its sender one wake-up:

- PIPELINING and CHUNKING: MAIL, RCPT..., BDAT n LAST and the message in one write, one round trip (RFC 3030 §4.2; a
  peer that took no recipient answers BDAT with 503 and discards it).
- PIPELINING: MAIL, RCPT..., DATA in one write; the message when 354 comes.
- neither: one command at a time, each written when the reply to the one before comes.

Larger messages are streamed in writes of 64 KiB, held back while the transport is full.  There is one timer for each
connection; every phase moves its deadline (RFC 5321 §4.5.3.2).  LMTP gives one final reply per accepted recipient.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from enum import Enum

from relayd.delivery.deadline import Deadline
from relayd.delivery.exchange import NOTHING, Answers, Content, Transaction, in_one_write, stuffed
from relayd.delivery.options import TimeoutOptions
from relayd.events import delivery as events
from relayd.events.event import EventKind
from relayd.mail.reply import Reply
from relayd.smtp.framing import DotStuffer
from relayd.smtp.replies import ProtocolError, ReplyParser
from relayd.yielding import LARGE, let_others

_QUIT_WAIT = 5.0
_SHOWN = 1000
"""Octets of what is said that an event shows."""


class _Step(Enum):
    IDLE = 0
    RSET = 1
    MAIL = 2
    RCPT = 3
    DATA = 4
    BODY = 5
    FINAL = 6
    LAST_RSET = 7
    QUIT = 8
    COMMAND = 9


class TransactionProtocol(asyncio.Protocol):
    """One connection after its set-up.  pipelining, chunking, lmtp: how the peer is spoken to.

    on_gone: called once when the connection is lost or closed.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        timeouts: TimeoutOptions,
        *,
        pipelining: bool,
        chunking: bool,
        lmtp: bool = False,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._timeouts = timeouts
        self._pipelining = pipelining
        self._chunking = chunking and not lmtp  # how LMTP answers BDAT is written nowhere
        self._lmtp = lmtp
        self._parser = ReplyParser()
        self._step = _Step.IDLE
        self._answers = Answers()
        self._accepted = 0
        self._transaction: Transaction | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._paused = False
        self._deadline = Deadline(self._loop, self._on_deadline)
        self._reset_needed = False
        self._probing = False
        self._gone = self._loop.create_future()
        self.on_gone: Callable[[], None] | None = None
        self.is_usable = True
        """Whether another transaction may be started; False once anything unexpected happened."""

    # What is asked of the connection

    async def send(self, transaction: Transaction) -> Answers:
        """Run one transaction and return what was answered.  Never raises for what the peer does."""
        self._transaction = transaction
        self._probing = False
        small = in_one_write(transaction.content) if self._chunking else None
        last: list[bytes] = [] if self._chunking else [b"DATA\r\n"]
        if small is not None:
            last = [b"BDAT %d LAST\r\n" % len(small), small]
        return await self._run([transaction.mail, *transaction.rcpts, *last], small is not None)

    async def probe(self, mail: bytes, rcpt: bytes) -> Answers:
        """MAIL, RCPT and RSET: would this recipient be taken?"""
        self._transaction = Transaction(mail=mail, rcpts=[rcpt], content=NOTHING)
        self._probing = True
        return await self._run([mail, rcpt, b"RSET\r\n"], False)

    async def command(self, line: bytes, seconds: float) -> Reply | None:
        """One command outside of transactions, with its CRLF; None when the connection was lost, see `lost`."""
        self._answers = Answers()
        if self._transport.is_closing():
            self._lose("closed by the peer")
            return None
        self._step = _Step.COMMAND
        self._write(line, seconds)
        await self._wait()
        self._step = _Step.IDLE
        return self._answers.final[0] if self._answers.final else None

    @property
    def lost(self) -> str:
        """Why the connection was lost, "" while it was not."""
        return self._answers.lost

    async def check(self, seconds: float) -> bool:
        """Whether the peer still is there; one that does not answer within `seconds` is let go."""
        line = b"RSET\r\n" if self._reset_needed else b"NOOP\r\n"
        self._reset_needed = False
        await self.command(line, seconds)
        if self.lost:
            self._transport.abort()
        return not self.lost

    def park(self, seconds: float) -> None:
        """Nothing to do for now: close politely when that lasts `seconds`."""
        self._deadline.move(seconds)

    def quit(self) -> None:
        """Say QUIT and close; does not wait."""
        self.is_usable = False
        if self._transport.is_closing():
            return
        self._step = _Step.QUIT
        self._write(b"QUIT\r\n", _QUIT_WAIT)

    def abort(self) -> None:
        """Close at once, without a word."""
        self.is_usable = False
        self._transport.abort()

    async def wait_gone(self) -> None:
        """Wait until the connection is closed."""
        await asyncio.shield(self._gone)

    # Running a transaction

    async def _run(self, lines: list[bytes], whole: bool) -> Answers:
        """Send all `lines` at once, or without PIPELINING the first; `whole`: the end of the message is among them."""
        before = self._begin()
        if not self._answers.lost:
            if self._pipelining:
                self._answers.dot_sent = whole
                before += lines
            elif self._step is _Step.MAIL:
                before.append(lines[0])
            self._write(b"".join(before), self._timeouts.mail, len(lines[-1]) if whole and self._pipelining else 0)
        try:
            await self._wait()
            if self._step is _Step.BODY and not self._answers.lost and self._transaction is not None:
                await self._stream(self._transaction.content)
        except BaseException:  # cancelled, or the body could not be read: the peer must not take half of it
            self.abort()
            raise
        return self._finish()

    def _begin(self) -> list[bytes]:
        self._answers = Answers()
        self._accepted = 0
        if self._transport.is_closing():
            self._lose("closed by the peer")
            return []
        if self._reset_needed:
            self._reset_needed = False
            self._step = _Step.RSET
            return [b"RSET\r\n"]
        self._step = _Step.MAIL
        return []

    def _finish(self) -> Answers:
        answers = self._answers
        self._transaction = None
        if answers.lost:
            self.is_usable = False
        elif self._step is not _Step.QUIT:
            self._step = _Step.IDLE
        return answers

    async def _wait(self) -> None:
        if self._answers.lost:
            return
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _write(self, data: bytes, seconds: float, content: int = 0) -> None:
        """content: how many octets at the end are of the message."""
        if data and not self._transport.is_closing():
            self._transport.write(data)
            self._deadline.move(seconds)
            if events.RAW_OUTPUT.wanted:
                self._tell(events.RAW_OUTPUT, data[: len(data) - content], len(data))

    def _write_block(self, data: bytes) -> None:
        """A part of a message, of which there may be many."""
        if data and not self._transport.is_closing():
            self._transport.write(data)
            self._deadline.move(self._timeouts.block)

    def _tell(self, kind: EventKind, said: bytes, size: int) -> None:
        """To somebody who asks for what is said in transactions."""
        transaction = self._transaction
        if transaction is not None and transaction.span is not None:
            contents = said[:_SHOWN].decode("utf-8", "replace").rstrip("\r\n")
            kind(transaction.span, hostname=transaction.host, size=size, contents=contents)

    async def _stream(self, content: Content) -> None:
        """Write a message that is too large for one write; ends early when the peer answers or goes away."""
        stuffer = None if self._chunking else DotStuffer()
        if self._chunking:
            self._write(b"BDAT %d LAST\r\n" % content.size, self._timeouts.block)
        left = content.size
        async for chunk in content.chunks():
            if self._answers.lost or self._answers.data is not None:
                return
            left -= len(chunk)
            began = time.thread_time()
            self._write_block(chunk if stuffer is None else stuffer.feed(chunk))
            spent = time.thread_time() - began
            if self._paused:
                await self._until_writable()
            if content.size > LARGE:
                await let_others(spent)
        if self._answers.lost or self._answers.data is not None:
            return
        if stuffer is None and left:
            raise ValueError(f"the body is not of the size announced: {left} octets are missing")
        self._step = _Step.FINAL
        self._answers.dot_sent = True
        if events.RAW_OUTPUT.wanted:
            self._tell(events.RAW_OUTPUT, b"", content.size)
        if stuffer is not None:
            self._write(stuffer.finish(), self._timeouts.dot)
        else:
            self._deadline.move(self._timeouts.dot)
        await self._wait()

    async def _until_writable(self) -> None:
        self._writable = self._loop.create_future()
        try:
            await self._writable
        finally:
            self._writable = None

    # What the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport was given at creation."""

    def data_received(self, data: bytes) -> None:
        """Match replies to commands."""
        if self._step is _Step.QUIT:
            self._transport.close()
            return
        if events.RAW_INPUT.wanted:
            self._tell(events.RAW_INPUT, data, len(data))
        try:
            replies = self._parser.feed(data)
        except ProtocolError as error:
            self._answers.garbage = True
            if self._step is not _Step.FINAL:
                self._answers.dot_sent = False  # written, but to somebody who does not understand
            self._lose(str(error))
            return
        for reply in replies:
            if self._step is _Step.IDLE:  # most often a 421: the peer is closing
                self._lose(f"said {reply} without being asked")
                return
            self._answers.silent = False
            self._on_reply(reply)
            if self._answers.lost:
                return

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._lose(f"{exc}" if exc is not None and str(exc) else "closed by the peer")
        self._deadline.clear()
        if not self._gone.done():
            self._gone.set_result(None)
        if self.on_gone is not None:
            self.on_gone()

    def pause_writing(self) -> None:
        """The transport's buffer is full."""
        self._paused = True

    def resume_writing(self) -> None:
        """There is room again."""
        self._paused = False
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    # The state machine

    def _on_reply(self, reply: Reply) -> None:
        step, answers = self._step, self._answers
        if reply.code == 421:
            self._on_closing(reply)
        elif step is _Step.MAIL:
            answers.mail = reply
            self._step = _Step.RCPT
            self._after_mail(reply)
        elif step is _Step.RCPT:
            answers.rcpts.append(reply)
            if reply.is_positive:
                self._accepted += 1
            self._after_rcpt(len(answers.rcpts))
        elif step is _Step.FINAL:
            answers.final.append(reply)
            if self._chunking and not reply.is_positive:
                self._reset_needed = True  # RFC 3030 §3: a refused chunk leaves the transaction open
            if not self._lmtp or len(answers.final) >= self._accepted:
                self._wake()
        elif step is _Step.DATA:
            self._after_data(reply)
        elif step is _Step.BODY:
            answers.data = reply
            self._interrupt()
        elif step is _Step.RSET:
            self._step = _Step.MAIL
            if not self._pipelining and self._transaction is not None:
                self._write(self._transaction.mail, self._timeouts.mail)
        elif step is _Step.LAST_RSET:
            self._wake()
        elif step is _Step.COMMAND:
            answers.final.append(reply)
            self._wake()

    def _on_closing(self, reply: Reply) -> None:
        """421: belongs to the command it answers; nothing more will come."""
        step, answers = self._step, self._answers
        if step in (_Step.RSET, _Step.MAIL):
            answers.mail = reply
        elif step is _Step.RCPT:
            answers.rcpts.append(reply)
        elif step in (_Step.FINAL, _Step.COMMAND):
            answers.final.append(reply)
        elif step in (_Step.DATA, _Step.BODY):
            answers.data = reply
        self._lose(f"said {reply}")

    def _after_mail(self, reply: Reply) -> None:
        if self._pipelining:
            self._deadline.move(self._timeouts.rcpt)
        elif reply.is_positive and self._transaction is not None:
            self._write(self._transaction.rcpts[0], self._timeouts.rcpt)
        else:
            self._wake()

    def _after_rcpt(self, answered: int) -> None:
        transaction = self._transaction
        assert transaction is not None
        if answered < len(transaction.rcpts):
            if self._pipelining:
                self._deadline.move(self._timeouts.rcpt)
            else:
                self._write(transaction.rcpts[answered], self._timeouts.rcpt)
            return
        mail = self._answers.mail
        if self._probing:
            self._step = _Step.LAST_RSET
            if not self._pipelining:
                self._write(b"RSET\r\n", self._timeouts.mail)
        elif self._answers.dot_sent:
            self._step = _Step.FINAL
            self._reset_needed = self._accepted == 0 and mail is not None and mail.is_positive
            self._deadline.move(self._timeouts.dot)
        elif self._pipelining and not self._chunking:
            self._step = _Step.DATA
            self._deadline.move(self._timeouts.data)
        elif self._accepted == 0:
            self._reset_needed = mail is not None and mail.is_positive
            self._wake()
        elif self._chunking:
            self._begin_chunk(transaction.content)
        else:
            self._step = _Step.DATA
            self._write(b"DATA\r\n", self._timeouts.data)

    def _begin_chunk(self, content: Content) -> None:
        small = in_one_write(content)
        if small is None:
            self._step = _Step.BODY
            self._wake()
        else:
            self._send_whole(b"BDAT %d LAST\r\n" % len(small) + small, len(small))

    def _after_data(self, reply: Reply) -> None:
        transaction = self._transaction
        assert transaction is not None
        if reply.code != 354:
            if self._accepted:
                self._answers.data = reply
            mail = self._answers.mail
            self._reset_needed = mail is not None and mail.is_positive
            if reply.code < 400:
                self._answers.garbage = True
                self._lose(f"said {reply} to DATA")
            self._wake()
        elif self._accepted == 0:  # pipelined: the peer wants a message for nobody (RFC 2920 §3.1)
            self._step = _Step.FINAL
            self._write(b".\r\n", self._timeouts.dot)
        elif (small := in_one_write(transaction.content)) is not None:
            whole = stuffed(small)
            self._send_whole(whole, len(whole))
        else:
            self._step = _Step.BODY
            self._wake()

    def _send_whole(self, message: bytes, content: int) -> None:
        self._step = _Step.FINAL
        self._answers.dot_sent = True
        self._write(message, self._timeouts.dot, content)

    def _interrupt(self) -> None:
        """The peer answered in the middle of the message: there is no way back to commands."""
        self.is_usable = False
        self._transport.abort()
        self.resume_writing()

    def _lose(self, reason: str) -> None:
        """The connection can no longer be used; whoever waits is told why."""
        if not self._answers.lost:
            self._answers.lost = reason
        self.is_usable = False
        if not self._transport.is_closing():
            self._transport.close()
        self.resume_writing()
        self._wake()

    def _on_deadline(self) -> None:
        if self._step is _Step.IDLE:
            self.quit()
            return
        if self._step is not _Step.QUIT:
            self._lose(f"no answer to {self._step.name} in time")
        self._transport.abort()
