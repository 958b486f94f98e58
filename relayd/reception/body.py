"""The content of a message while it arrives: in memory up to a limit, past it in a file that grows in large steps."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from relayd.mail.content import ContentScanner

MEMORY_LIMIT = 1 << 20
"""Octets of content that are held in memory at most, and the most a header block may have."""

SPOOL_BATCH = 256 << 10
"""Octets that are gathered before they are written to the file."""


class Spool(Protocol):
    """A file that takes the content of one message; see `relayd.blobs`."""

    @property
    def path(self) -> Path: ...

    async def append(self, data: bytes) -> None: ...

    async def close(self) -> None: ...

    async def discard(self) -> None: ...


class SpoolDirectory(Protocol):
    """Where such files are made."""

    async def create(self, id: int) -> Spool: ...


class HeaderTooLarge(Exception):
    """The header block does not end within MEMORY_LIMIT."""


class BodyBuffer:
    """Content as it comes.

    size: octets so far.  header: the header block up to its blank line, known once the content is in a file.
    """

    __slots__ = ("_chunks", "_id", "_pending", "_spool", "header", "scanner", "size", "spools")

    def __init__(self, id: int, spools: SpoolDirectory) -> None:
        self._id = id
        self._chunks: list[bytes] = []
        self._pending = 0
        self._spool: Spool | None = None
        self.spools = spools
        self.scanner = ContentScanner()
        self.header = b""
        self.size = 0

    @property
    def path(self) -> Path | None:
        """The file, when there is one."""
        return self._spool.path if self._spool is not None else None

    def take(self, chunks: list[bytes]) -> bool:
        """Take more content into memory; True: `spill` must be awaited before more is taken."""
        self._chunks += chunks
        added = 0
        for chunk in chunks:
            added += len(chunk)
        self.size += added
        self._pending += added
        return self._pending >= (MEMORY_LIMIT if self._spool is None else SPOOL_BATCH)

    async def spill(self) -> None:
        """Move what is in memory to the file.  OSError when it cannot be written; HeaderTooLarge."""
        data = b"".join(self._chunks)
        self._chunks.clear()
        self._pending = 0
        self.scanner.feed(data)
        if self._spool is None:
            if self.scanner.header_end is None:
                raise HeaderTooLarge
            self.header = data[: self.scanner.header_end]
            self._spool = await self.spools.create(self._id)
        await self._spool.append(data)

    async def complete(self) -> bytes | Path:
        """The whole content, scanned: bytes, or the path of the finished file."""
        if self._spool is not None:
            if self._chunks:
                await self.spill()
            await self._spool.close()
            return self._spool.path
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self.scanner.feed(data)
        end = self.scanner.header_end
        self.header = data if end is None else data[:end]
        return data

    async def discard(self) -> None:
        """Forget the content and remove the file."""
        self._chunks.clear()
        self._pending = 0
        spool, self._spool = self._spool, None
        if spool is not None:
            await spool.discard()
