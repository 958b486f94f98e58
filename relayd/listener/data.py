"""DATA (RFC 5321 §4.1.1.4) and BDAT (RFC 3030): content from the socket to reception.

A message that breaks a rule of transport is read to its end and then refused with the rule: a reply in the middle of
it would be taken for the reply to something else.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from relayd.events import smtp
from relayd.listener.plugins import ContentCopy
from relayd.listener.protocol import NEVER
from relayd.mail.reply import Reply
from relayd.smtp.framing import ChunkDecoder, DataDecoder
from relayd.yielding import LARGE, let_others

if TYPE_CHECKING:
    from relayd.listener.session import RelaySMTP

GO_AHEAD = b"354 End data with <CR><LF>.<CR><LF>\r\n"
NO_MAIL = Reply(503, "5.5.1", "Send MAIL first")
NO_RECIPIENT = Reply(503, "5.5.1", "Send RCPT first")
NO_VALID_RECIPIENT = Reply(554, "5.5.1", "No valid recipients")
MIXED = Reply(503, "5.5.1", "DATA cannot be mixed with BDAT")
_BDAT = re.compile(r"([0-9]{1,19})(?: +(LAST))?", re.I | re.A)


async def receive_data(session: RelaySMTP, argument: str) -> None:
    """DATA"""
    if argument:
        session.refuse(Reply(501, "5.5.4", "Syntax: DATA"))
        return
    refusal = _out_of_order(session)
    if refusal is None and session.chunks is not None:
        refusal = MIXED
    if refusal is not None:
        session.refuse(refusal)
        return
    session.must_be_last("after DATA")
    tx = session.tx
    refusal = await session.reception.begin_data(tx)
    if refusal is not None:
        session.refuse(refusal)
        return
    session.write(GO_AHEAD)
    decoder = DataDecoder(normalise=tx.normalise, max_line=tx.max_line)
    sink = Sink(session, decoder)
    try:
        pace = _Pace(session)
        rest: bytes | None = None
        size = 0
        while rest is None:
            received = await session.chunk()
            began = time.thread_time()
            content, rest = decoder.feed(received)
            await sink.take(content, began)
            size += len(received)
            pace.received(len(received))
        pace.end()
        if rest:
            session.put_back(rest)
        if smtp.RAW_INPUT.wanted:
            smtp.RAW_INPUT(session.client.span, size=size - len(rest), contents="")
        await _finish(session, sink)
    finally:
        sink.close()


async def receive_chunk(session: RelaySMTP, argument: str) -> None:
    """BDAT.  The octets of a refused chunk are read and dropped (RFC 3030 §2)."""
    match = _BDAT.fullmatch(argument)
    if match is None:
        session.must_be_last("after a BDAT without a size")  # whatever follows may be content, never commands
        session.refuse(Reply(501, "5.5.4", "Syntax: BDAT size [LAST]"))
        return
    size, last = int(match[1]), match[2] is not None
    refusal = _out_of_order(session)
    if refusal is None and session.chunks is None:
        refusal = await session.reception.begin_data(session.tx)
        if refusal is None:
            decoder = ChunkDecoder(normalise=session.tx.normalise, max_line=session.tx.max_line)
            session.chunks = Sink(session, decoder)
    if refusal is not None:
        await _read(session, size, None)
        session.refuse(refusal)
        if session.tx is not None:
            session.drop_transaction()
        return
    sink = session.chunks
    assert sink is not None
    await _read(session, size, sink)
    if last:
        assert isinstance(sink.decoder, ChunkDecoder)
        await sink.write(sink.decoder.finish())
        await _finish(session, sink)
    elif sink.failure is not None:
        session.write(session.report(sink.failure).encode())
        session.drop_transaction()
    else:
        session.write(f"250 2.0.0 {size} octets received\r\n".encode())


async def _read(session: RelaySMTP, size: int, sink: Sink | None) -> None:
    """The octets of one chunk, to reception or nowhere."""
    pace = _Pace(session)
    announced = size
    while size:
        received = await session.chunk(size)
        size -= len(received)
        if sink is not None:
            assert isinstance(sink.decoder, ChunkDecoder)
            began = time.thread_time()
            await sink.take(sink.decoder.feed(received), began)
        pace.received(len(received))
    pace.end()
    if announced and smtp.RAW_INPUT.wanted:
        smtp.RAW_INPUT(session.client.span, size=announced, contents="")


class Sink:
    """Where decoded content goes: to reception, and to a copy when a plug-in wants to see it.

    failure: what went wrong; the rest is dropped then, and the peer hears of it at the end of data, not before.
    """

    __slots__ = ("_copy", "_session", "decoder", "failure")

    def __init__(self, session: RelaySMTP, decoder: DataDecoder | ChunkDecoder) -> None:
        self._session = session
        self.decoder = decoder
        self.failure: Exception | None = None
        self._copy = ContentCopy() if session.plugins.wants("DATA") else None

    async def take(self, content: bytes, began: float) -> None:
        """Write what was decoded since `began` (CPU time), and let others go ahead of a large message."""
        spent = time.thread_time() - began
        await self.write(content)
        if self.decoder.total > LARGE:
            await let_others(spent)

    async def write(self, content: bytes) -> None:
        """Never raises."""
        if not content or self.failure is not None or self.decoder.violation is not None:
            return
        try:
            await self._session.reception.write(self._session.tx, [content])
            if self._copy is not None and self._session.tx.refusal is None:
                await self._copy.write(content)
        except Exception as error:
            self.failure = error

    async def ask_plugins(self) -> Reply | None:
        """What plug-ins say to the complete content."""
        envelope = self._session.envelope
        if self._copy is None or envelope is None:
            return None
        content: Any = self._copy.view()  # a map reads like bytes
        envelope.content = envelope.original_content = content
        try:
            return await self._session.plugins.ask(self._session, "DATA")
        finally:
            envelope.content = envelope.original_content = None

    def close(self) -> None:
        """The transaction is over."""
        if self._copy is not None:
            self._copy.close()


async def _finish(session: RelaySMTP, sink: Sink) -> None:
    """The end of data: reception promises the message or refuses it."""
    tx = session.tx
    decoder = sink.decoder
    if decoder.violation is not None:
        smtp.SMUGGLING_ATTEMPT(session.client.span, reason=decoder.violation.value)
        tx.refusal = Reply(550, "5.6.0", f"Message refused: {decoder.violation.value}")
    elif decoder.line_too_long and tx.refusal is None:
        smtp.MESSAGE_PARSE_FAILED(session.client.span, reason="line too long", queue_id=tx.id)
        tx.refusal = Reply(554, "5.6.0", f"Message refused: a line is longer than {tx.max_line} octets")
    try:
        if sink.failure is not None:
            raise sink.failure
        if session.plugins and tx.refusal is None:
            tx.refusal = await sink.ask_plugins()
        replies = await session.reception.finish(tx)
    except Exception as error:
        replies = session.report(error)
        if session.client.protocol == "lmtp":
            replies = [replies] * len(tx.given)
        session.drop_transaction()
    session.end_transaction()
    for reply in (replies,) if isinstance(replies, Reply) else replies:
        session.write(reply.encode())
        if reply.is_positive:
            session.errors = 0
    if session.has_input:
        session.flush()  # the promise is made: the peer shall know before we look at its next commands


def _out_of_order(session: RelaySMTP) -> Reply | None:
    tx = session.tx
    if tx is None:
        smtp.MAIL_FROM_MISSING(session.client.span)
        return NO_MAIL
    if not tx.given:
        smtp.RCPT_TO_MISSING(session.client.span)
        return NO_VALID_RECIPIENT if session.refused else NO_RECIPIENT
    return None


class _Pace:
    """Holds a message to the minimum rate: after the grace it must have come at so many octets a second."""

    __slots__ = ("_count", "_grace_ends", "_rate", "_session")

    def __init__(self, session: RelaySMTP) -> None:
        timeouts = session.setting.timeouts
        self._session = session
        self._rate = timeouts.data_rate
        self._grace_ends = session.setting.monotonic() + timeouts.data_grace
        self._count = 0
        self.received(0)

    def received(self, octets: int) -> None:
        """So many more came."""
        if self._rate:
            self._count += octets
            self._session.expect_rate(self._grace_ends + self._count / self._rate)

    def end(self) -> None:
        """The message is complete."""
        self._session.expect_rate(NEVER)
