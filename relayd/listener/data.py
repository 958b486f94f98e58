"""DATA (RFC 5321 §4.1.1.4) and BDAT (RFC 3030): content from the socket to reception.

A message that breaks a rule of transport is read to its end and then refused with the rule: a reply in the middle of
it would be taken for the reply to something else.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from relayd.events import smtp
from relayd.listener.protocol import NEVER, SessionOver
from relayd.mail.reply import Reply
from relayd.smtp.framing import ChunkDecoder, DataDecoder

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
    pace = _Pace(session)
    failure: Exception | None = None
    rest: bytes | None = None
    while rest is None:
        received = await session.chunk()
        content, rest = decoder.feed(received)
        if content and failure is None and decoder.violation is None:
            try:
                await session.reception.write(tx, [content])
            except Exception as error:  # the peer must hear of it after the final dot, not before
                failure = error
        pace.received(len(received))
    pace.end()
    if rest:
        session.put_back(rest)
    await _finish(session, decoder, failure)


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
            session.chunks = ChunkDecoder(normalise=session.tx.normalise, max_line=session.tx.max_line)
    if refusal is not None:
        await _read(session, size, None)
        session.refuse(refusal)
        if session.tx is not None:
            session.drop_transaction()
        return
    decoder = session.chunks
    assert decoder is not None
    failure = await _read(session, size, decoder)
    if last:
        held = decoder.finish()
        if held and failure is None and decoder.violation is None:
            await session.reception.write(session.tx, [held])
        await _finish(session, decoder, failure)
    elif failure is not None:
        session.write(session.report(failure).encode())
        session.drop_transaction()
    else:
        session.write(f"250 2.0.0 {size} octets received\r\n".encode())


async def _read(session: RelaySMTP, size: int, decoder: ChunkDecoder | None) -> Exception | None:
    """The octets of one chunk, to reception or nowhere."""
    failure: Exception | None = None
    pace = _Pace(session)
    while size:
        received = await session.chunk(size)
        size -= len(received)
        if decoder is not None:
            content = decoder.feed(received)
            if content and failure is None and decoder.violation is None:
                try:
                    await session.reception.write(session.tx, [content])
                except Exception as error:  # the octets of the chunk are on their way, whatever we say
                    failure = error
        pace.received(len(received))
    pace.end()
    return failure


async def _finish(session: RelaySMTP, decoder: DataDecoder | ChunkDecoder, failure: Exception | None) -> None:
    """The end of data: reception promises the message or refuses it."""
    tx = session.tx
    if decoder.violation is not None:
        smtp.SMUGGLING_ATTEMPT(session.client.span, reason=decoder.violation.value)
        tx.refusal = Reply(550, "5.6.0", f"Message refused: {decoder.violation.value}")
    elif decoder.line_too_long:
        smtp.MESSAGE_PARSE_FAILED(session.client.span, reason="line too long", queue_id=tx.id)
        tx.refusal = Reply(554, "5.6.0", f"Message refused: a line is longer than {tx.max_line} octets")
    try:
        if failure is not None:
            raise failure
        refusal = await _ask_plugins(session) if session.plugins else None
        if refusal is not None:
            tx.refusal = refusal
        replies = await session.reception.finish(tx)
    except SessionOver:
        raise
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


async def _ask_plugins(session: RelaySMTP) -> Reply | None:
    if session.tx.refusal is not None or not session.plugins.wants("DATA"):
        return None
    envelope = session.envelope
    assert envelope is not None
    content = session.reception.content(session.tx)
    envelope.content = envelope.original_content = content  # type: ignore[assignment]  # mmap: reads like bytes
    try:
        return await session.plugins.ask(session, "DATA")
    finally:
        envelope.content = envelope.original_content = None
        if not isinstance(content, bytes):
            content.close()


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
