"""Reading the octets of a message, wherever they are."""

from __future__ import annotations

import asyncio
from typing import IO

from relayd.blobs.spool import BlobError

SMALL = 1 << 20
"""Up to this many octets a body may be held in memory whole."""


class BodySource:
    """The octets of one message in order: `head`, then the file from `offset` on.

    size: octets in all.  data: all of them when they are few and already in memory, else None.
    """

    def __init__(self, head: bytes, file: IO[bytes] | None = None, offset: int = 0, size: int | None = None) -> None:
        self.size = len(head) if size is None else size
        self.data: bytes | None = head if file is None else None
        self._head = head
        self._file = file
        self._offset = offset
        self._position = 0

    async def read(self, n: int) -> bytes:
        """The next octets, at most `n`; b"" at the end.  Raises BlobError."""
        start = self._position
        if start < len(self._head):
            chunk = self._head[start : start + n]
        elif self._file is not None:
            chunk = await asyncio.to_thread(self._read, start - len(self._head), n)
        else:
            chunk = b""
        self._position += len(chunk)
        return chunk

    def _read(self, start: int, n: int) -> bytes:
        assert self._file is not None
        try:
            self._file.seek(self._offset + start)
            return self._file.read(n) or b""
        except (OSError, ValueError) as error:
            raise BlobError(f"a body cannot be read: {error}") from error

    def seek(self, position: int) -> None:
        """Go on with the octet at `position`, counted from 0."""
        self._position = position

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
