"""The octets of a job's message as one host needs them: from memory or streamed, as they are or in seven bits.

A message is signed as it was queued, which is right for every host with 8BITMIME, that is for nearly all.  Converted
for one without, it is signed again by the same keys: signing what is in seven bits from the start would change every
message for the few hosts that need it, and a signature that the conversion breaks would be worse than none.
"""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import BinaryIO, Protocol, cast

from relayd.delivery.exchange import ONE_WRITE, Content
from relayd.mail.transcode import to_seven_bit
from relayd.queue.message import Job

_IN_MEMORY = 1 << 20
_SIGNATURE = b"DKIM-Signature:"


class BodySource(Protocol):
    """A queued body as the store opens it.  data: the octets when they are few, else they are read in blocks."""

    @property
    def size(self) -> int: ...

    @property
    def data(self) -> bytes | None: ...

    async def read(self, n: int) -> bytes:
        """The next octets, at most `n`; b"" at the end."""

    def close(self) -> None:
        """Let go of the file."""


SignAgain = Callable[[bytes, BinaryIO], Awaitable[bytes]]
"""New signatures for a message that was converted, in place of those that are given (whole fields); it is read from
where the file stands now.  Raises KeyUnreadable."""

OpenBody = Callable[[int], Awaitable[BodySource]]
"""Opens the body of a message by its id."""


class QueuedContent:
    """The message of one job as it is queued; opened anew for each transaction that streams it."""

    def __init__(
        self, message_id: int, size: int, data: bytes | None, open_body: OpenBody, sign_again: SignAgain
    ) -> None:
        self._message_id = message_id
        self._open_body = open_body
        self._sign_again = sign_again
        self._converted: ConvertedContent | None = None
        self.size = size
        self.data = data

    @classmethod
    async def of(cls, job: Job, open_body: OpenBody, sign_again: SignAgain) -> QueuedContent:
        """What the job brings in memory, else what the store has."""
        body = job.body
        if body is not None and isinstance(body.content, bytes):
            content = body.content[body.offset :] if body.offset else body.content
            data = body.head + content if body.head else content
            return cls(job.message.id, len(data), data, open_body, sign_again)
        source = await open_body(job.message.id)
        try:
            return cls(job.message.id, source.size, source.data, open_body, sign_again)
        finally:
            source.close()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The octets in blocks."""
        if self.data is not None:
            for start in range(0, len(self.data), ONE_WRITE):
                yield self.data[start : start + ONE_WRITE]
            return
        source = await self._open_body(self._message_id)
        try:
            while block := await source.read(ONE_WRITE):
                yield block
        finally:
            source.close()

    async def in_seven_bits(self) -> Content | None:
        """The same message with its 8-bit parts encoded (RFC 6152 §3); None when it cannot be converted.

        Converted once for all hosts of the attempt; a temporary file holds what is larger than 1 MiB.  Signatures on
        top are ours (a Received field of ours stands above all others): they are made anew.  Raises KeyUnreadable.
        """
        if self._converted is None:
            source, target = _temporary(), _temporary()
            try:
                signatures: bytes | None = None
                async for chunk in self.chunks():
                    if signatures is None:
                        signatures, chunk = split_signatures(chunk)
                    await asyncio.to_thread(source.write, chunk)
                if not await asyncio.to_thread(to_seven_bit, source, target):
                    target.close()
                    return None
                target.seek(0)
                again = await self._sign_again(signatures, target) if signatures else b""
            except BaseException:
                target.close()
                raise
            finally:
                source.close()
            self._converted = ConvertedContent(target, again)
        return self._converted

    def close(self) -> None:
        """Let go of the temporary file."""
        if self._converted is not None:
            self._converted.close()


class ConvertedContent:
    """A message in a temporary file that is closed by whoever made it.  top: what stands above it."""

    def __init__(self, file: BinaryIO, top: bytes = b"") -> None:
        self._file = file
        self._top = top
        self._below = file.seek(0, io.SEEK_END)
        self.size = len(top) + self._below
        self.data: bytes | None = None
        if self.size <= ONE_WRITE:
            file.seek(0)
            self.data = top + file.read()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The octets in blocks."""
        if self._top:
            yield self._top
        for start in range(0, self._below, ONE_WRITE):
            yield await asyncio.to_thread(self._read, start)

    def close(self) -> None:
        """Delete the file."""
        self._file.close()

    def _read(self, start: int) -> bytes:
        self._file.seek(start)
        return self._file.read(ONE_WRITE)


def split_signatures(octets: bytes) -> tuple[bytes, bytes]:
    """(the signatures that a message begins with, the rest of its beginning)."""
    end = 0
    while octets.startswith(_SIGNATURE, end):
        place = octets.find(b"\r\n", end)
        while place >= 0 and octets[place + 2 : place + 3] in (b" ", b"\t"):
            place = octets.find(b"\r\n", place + 2)
        if place < 0:
            break
        end = place + 2
    return octets[:end], octets[end:]


def _temporary() -> BinaryIO:
    return cast(BinaryIO, tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY))
