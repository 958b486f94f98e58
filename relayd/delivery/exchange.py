"""What is sent in one transaction, and what comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from relayd.events.event import Span
from relayd.mail.reply import Reply
from relayd.smtp.framing import DotStuffer

ONE_WRITE = 65536
"""Messages up to this size go in one write; larger ones in blocks of it."""


class Content(Protocol):
    """The octets of a message.  data: all of them when they are in memory.  size: how many there are."""

    @property
    def data(self) -> bytes | None: ...

    @property
    def size(self) -> int: ...

    def chunks(self) -> AsyncIterator[bytes]:
        """All octets from the first, in blocks of about ONE_WRITE; may be asked for again."""


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent: complete command lines with CRLF, and the message.

    span, host: of the attempt, and the peer's name, for who asks for what is said; None: nobody may.
    """

    mail: bytes
    rcpts: Sequence[bytes]
    content: Content
    span: Span | None = None
    host: str = ""


@dataclass(slots=True)
class Answers:
    """What came back, as far as it came.

    mail, rcpts: in order sent.  data: a refusal of DATA, or one in the middle of the message.  final: to the end of
    the message: one, or with LMTP one per accepted recipient.  lost: why the connection broke, "" when it did not.
    garbage: it broke because the peer does not speak SMTP.  dot_sent: the end of the message was written, to a peer
    that may have understood it.
    silent: nothing at all came back.
    """

    mail: Reply | None = None
    rcpts: list[Reply] = field(default_factory=list)
    data: Reply | None = None
    final: list[Reply] = field(default_factory=list)
    lost: str = ""
    garbage: bool = False
    dot_sent: bool = False
    silent: bool = True


class Nothing:
    """The content of a probe."""

    data = b""
    size = 0

    async def chunks(self) -> AsyncIterator[bytes]:
        """None."""
        return
        yield b""


NOTHING = Nothing()


def in_one_write(content: Content) -> bytes | None:
    """All octets, when they are in memory and few enough for one write."""
    data = content.data
    return data if data is not None and len(data) <= ONE_WRITE else None


def stuffed(data: bytes) -> bytes:
    """A whole message as it stands between 354 and the final reply (RFC 5321 §4.5.2)."""
    if b"\n." not in data and data[:1] != b"." and data[-2:] == b"\r\n":
        return data + b".\r\n"
    stuffer = DotStuffer()
    return stuffer.feed(data) + stuffer.finish()
