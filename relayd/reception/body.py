"""The content of a message while it arrives: in memory up to a limit, past it in a file that grows in large steps."""

from __future__ import annotations

import asyncio
import functools
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from relayd.blobs.spool import Blobs, SpoolFile
from relayd.mail.content import ContentScanner
from relayd.mail.transcode import shorten_lines, shorten_lines_bytes

T = TypeVar("T")

MEMORY_LIMIT = 1 << 20
"""Octets of content that are held in memory at most, and the most a header block may have."""

SPOOL_BATCH = 256 << 10
"""Octets that are gathered before they are written to the file."""


LOOP_LIMIT = 128 << 10
"""Octets that the loop looks at itself: a megabyte of empty lines would take it 20 ms."""


class HeaderTooLarge(Exception):
    """The header block does not end within MEMORY_LIMIT."""


class BodyBuffer:
    """Content as it comes.

    size: octets so far.  header: the header block up to its blank line, known once the content is in a file or
    complete.  scanner: what the content is like, as far as it was moved to the file, or complete.
    """

    __slots__ = ("_blobs", "_chunks", "_id", "_pending", "_spool", "_writing", "header", "scanner", "size")

    def __init__(self, id: int, blobs: Blobs) -> None:
        self._id = id
        self._blobs = blobs
        self._chunks: list[bytes] = []
        self._pending = 0
        self._spool: SpoolFile | None = None
        self._writing: asyncio.Future[Any] | None = None
        self.scanner = ContentScanner()
        self.header = b""
        self.size = 0

    def take(self, chunks: list[bytes]) -> bool:
        """Take more content into memory; True: `spill` must be awaited before more is taken."""
        self._chunks += chunks
        added = 0
        for chunk in chunks:
            added += len(chunk)
        self.size += added
        self._pending += added
        return self._pending > (MEMORY_LIMIT if self._spool is None else SPOOL_BATCH)

    async def spill(self) -> None:
        """Move what is in memory to the file.  BlobError when it cannot be written; HeaderTooLarge."""
        data = b"".join(self._chunks)
        self._chunks.clear()
        self._pending = 0
        if self._spool is None:
            end = data.find(b"\r\n\r\n", 0, MEMORY_LIMIT)
            if end < 0 and not data.startswith(b"\r\n"):
                raise HeaderTooLarge
            self._spool = self._blobs.create(self._id)
        await self._in_thread(self._append, self._spool, data)
        if not self.header and self.scanner.header_end:
            self.header = data[: self.scanner.header_end]

    def _append(self, spool: SpoolFile, data: bytes) -> None:
        spool.write(data)
        self.scanner.feed(data)

    async def complete(self) -> bytes | Path:
        """The whole content, scanned: bytes, or the path of the closed file.  Raises as `spill` does."""
        if self._spool is not None:
            if self._chunks:
                await self.spill()
            self._spool.close()
            return self._spool.path
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        if len(data) > LOOP_LIMIT:
            await self._in_thread(self.scanner.feed, data)
        else:
            self.scanner.feed(data)
        end = self.scanner.header_end
        self.header = data if end is None else data[:end]
        return data

    async def shorten(self, content: bytes | Path) -> bytes | Path:
        """The complete content with its over-long text lines re-encoded; as it is, where that cannot be done.

        `header`, `size` and `scanner` are then those of the new content.  BlobError.
        """
        if isinstance(content, bytes):
            shorter = await self._in_thread(shorten_lines_bytes, content)
            if shorter is None:
                return content
            self._restart()
            self._chunks.append(shorter)
            self.size = len(shorter)
            if self.size > MEMORY_LIMIT:
                await self.spill()
            return await self.complete()
        spool = self._blobs.create(self._id)
        target = _Target(spool)
        try:
            is_shorter = await self._in_thread(_shorten_file, content, target)
        except BaseException:
            self._drop(spool)
            raise
        if not is_shorter:
            spool.discard()
            return content
        self.forget()
        self._restart()
        self.header, self.scanner, self.size = target.header, target.scanner, target.scanner.size
        self._spool = spool
        spool.close()
        return spool.path

    async def put(self, content: bytes) -> bytes | Path:
        """Other content in the place of the complete one, which is dropped; likewise.  Raises as `spill` does."""
        self.forget()
        self._restart()
        self._chunks.append(content)
        self.size = len(content)
        if self.size > MEMORY_LIMIT:
            await self.spill()
        return await self.complete()

    def _restart(self) -> None:
        self.scanner = ContentScanner()
        self.header = b""

    async def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run what blocks; it goes on when the caller is cancelled, and `forget` waits for it."""
        writing = asyncio.get_running_loop().run_in_executor(None, functools.partial(work, *arguments))
        self._writing = writing
        return await asyncio.shield(writing)

    def forget(self) -> None:
        """Drop the content and remove the file; one that is being written to goes when that write ends."""
        self._chunks.clear()
        self._pending = 0
        spool, self._spool = self._spool, None
        if spool is not None:
            self._drop(spool)

    def _drop(self, spool: SpoolFile) -> None:
        if self._writing is not None and not self._writing.done():
            self._writing.add_done_callback(lambda _: spool.discard())
        else:
            spool.discard()


class _Target(io.RawIOBase):
    """A file that is scanned while it is written, its header kept."""

    def __init__(self, spool: SpoolFile) -> None:
        self._spool = spool
        self.scanner = ContentScanner()
        self.header = b""
        self._begin = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        octets = bytes(data)
        self._spool.write(octets)
        if self.scanner.header_end is None:
            self._begin += octets
        self.scanner.feed(octets)
        if self.scanner.header_end is not None and self._begin:
            self.header, self._begin = self._begin[: self.scanner.header_end], b""
        return len(octets)


def _shorten_file(path: Path, target: _Target) -> bool:
    with path.open("rb") as source:
        return shorten_lines(source, cast(BinaryIO, target))
