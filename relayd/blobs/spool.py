"""The directory of bodies: writing one durably, opening, removing and sweeping.

`<data>/spool/` holds 64 directories of bodies and `incoming/` for those not yet complete.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

_FANOUT = 64


class BlobError(Exception):
    """A body could not be written or read."""


class BlobFull(BlobError):
    """There is no space left for a body."""


class BlobMissing(BlobError):
    """There is no such body."""


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable; blocks.  Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _error(error: OSError, path: Path) -> BlobError:
    text = f"{path}: {error.strerror or error}"
    return BlobFull(text) if error.errno in (errno.ENOSPC, errno.EDQUOT) else BlobError(text)


class SpoolFile:
    """A body that is coming in.  Close it before it is committed; discard it when it will not be."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        try:
            self._file: IO[bytes] = path.open("xb", buffering=0)
        except OSError as error:
            raise _error(error, path) from error

    def write(self, chunk: bytes) -> None:
        """Append octets; blocks.  Raises BlobError, BlobFull."""
        try:
            view = memoryview(chunk)
            while view:
                view = view[self._file.write(view) or 0 :]
        except OSError as error:
            raise _error(error, self.path) from error
        self.size += len(chunk)

    async def append(self, chunk: bytes) -> None:
        """`write` in a thread."""
        await asyncio.to_thread(self.write, chunk)

    def close(self) -> None:
        """No more octets come."""
        self._file.close()

    def discard(self) -> None:
        """Close and remove; once committed, nothing."""
        self._file.close()
        self.path.unlink(missing_ok=True)


class Blobs:
    """The bodies under `directory`, made when missing.  clock: Unix time.  Raises BlobError."""

    def __init__(self, directory: Path, clock: Callable[[], float]) -> None:
        self.directory = directory
        self._clock = clock
        self._incoming = directory / "incoming"
        self._serial = 0
        self._keeping = asyncio.Lock()
        self._put_off: list[Path] | None = None
        try:
            self._incoming.mkdir(parents=True, exist_ok=True, mode=0o700)
            for number in range(_FANOUT):
                (directory / f"{number:02x}").mkdir(exist_ok=True, mode=0o700)
            sync_directory(directory)
            sync_directory(directory.parent)
        except OSError as error:
            raise _error(error, directory) from error

    def path_of(self, id: int) -> Path:
        """Where the body of a queue id stands once committed."""
        # The low bits of an id are zero and its middle ones the node: take bits of the millisecond.
        return self.directory / f"{(id >> 21) % _FANOUT:02x}" / str(id)

    def create(self, id: int) -> SpoolFile:
        """A file for the body of `id` that comes in now."""
        self._serial += 1
        return SpoolFile(self._incoming / f"{id}.{os.getpid()}.{self._serial}")

    def again(self, path: Path, id: int) -> Path:
        """The octets of a complete file that comes in once more, as what comes in for `id`; blocks.

        Another name of the same file where the file system allows that: bodies are never changed, only removed.
        """
        self._serial += 1
        other = self._incoming / f"{id}.{os.getpid()}.{self._serial}"
        try:
            try:
                os.link(path, other)
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS):
                    raise
                shutil.copyfile(path, other)
        except OSError as error:
            other.unlink(missing_ok=True)
            raise _error(error, other) from error
        return other

    async def commit(self, path: Path, id: int) -> None:
        """`keep` in a thread."""
        await asyncio.to_thread(self.keep, path, id)

    def keep(self, path: Path, id: int) -> None:
        """Make the file at `path` the durable body of `id`; blocks.  Already committed: nothing."""
        target = self.path_of(id)
        if path == target:
            return
        try:
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
            path.rename(target)
            sync_directory(target.parent)
        except OSError as error:
            raise _error(error, path) from error

    def store(self, id: int, content: bytes) -> None:
        """Write `content` as the durable body of `id`; blocks."""
        spool = self.create(id)
        try:
            spool.write(content)
            spool.close()
            self.keep(spool.path, id)
        except BaseException:
            spool.discard()
            raise

    def open(self, id: int) -> IO[bytes]:
        """The body for reading, unbuffered.  Raises BlobMissing, BlobError."""
        path = self.path_of(id)
        try:
            return path.open("rb", buffering=0)
        except FileNotFoundError as error:
            raise BlobMissing(f"{path} is missing") from error
        except OSError as error:
            raise _error(error, path) from error

    def has(self, id: int) -> bool:
        """Whether there is a committed body."""
        return self.path_of(id).exists()

    def remove(self, id: int) -> None:
        """Remove the body; none is fine.  What cannot be removed is left to `sweep`."""
        path = self.path_of(id)
        if self._put_off is not None:
            self._put_off.append(path)
            return
        try:
            path.unlink(missing_ok=True)
        except OSError:
            return

    async def remove_many(self, ids: Sequence[int]) -> None:
        """`remove` for many, in a thread."""
        paths = [self.path_of(id) for id in ids]
        if self._put_off is not None:
            self._put_off += paths
            return
        await asyncio.to_thread(self.remove_paths, iter(paths))

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """While this lasts no body is removed; what should have been is removed at its end."""
        async with self._keeping:
            self._put_off = []
            try:
                yield
            finally:
                paths, self._put_off = self._put_off, None
                await asyncio.to_thread(self.remove_paths, iter(paths))

    def sweep(self, known: Collection[int], older_than: float = 0.0) -> int:
        """Remove files that belong to none of `known` and did not change for `older_than` seconds; blocks.

        At start `older_than` is 0: with the data directory locked nobody else is writing.  Returns how many.
        """
        return self.remove_paths(path for path, id in self.files(older_than) if id is None or id not in known)

    def files(self, older_than: float = 0.0) -> Iterator[tuple[Path, int | None]]:
        """Every file and the queue id it belongs to, None for one still coming in."""
        limit = self._clock() - older_than
        for directory in (self._incoming, *(self.directory / f"{number:02x}" for number in range(_FANOUT))):
            try:
                with os.scandir(directory) as entries:
                    for entry in entries:
                        if older_than and entry.stat().st_mtime > limit:
                            continue
                        is_body = directory is not self._incoming and entry.name.isdigit()
                        yield Path(entry.path), int(entry.name) if is_body else None
            except FileNotFoundError:
                continue  # removed meanwhile
            except OSError as error:
                raise _error(error, directory) from error

    def remove_paths(self, paths: Iterator[Path]) -> int:
        """Remove files; how many there were."""
        total = 0
        for path in paths:
            if self._put_off is not None:
                break  # a backup began: what is left here stays for the next sweep
            try:
                path.unlink()
                total += 1
            except OSError:
                continue  # the next sweep finds it
        return total
