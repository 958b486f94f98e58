"""Reading the log files back, newest line first.

The files of a tracer are taken from the newest to the oldest and each is read in blocks from its end, in a thread.
Never more is read than a page takes: a search that finds little ends when its time is up, with what it found, and says
that more may follow.  Blocks are small enough that the interpreter is given up every fraction of a millisecond.

Files that are rotated or removed meanwhile are read to their end as they were opened.  A last line without its end is
still being written, and is left out.  Lines that are no lines of ours count, and are left out too.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from relayd.telemetry.files import SUFFIX
from relayd.telemetry.parse import LogLine, parse_line

MOST = 10_000
"""Lines of a page at most."""

_BLOCK = 128 << 10
_LONGEST = 1 << 20
_PAGE_OCTETS = 32 << 20
_AT_ONCE = 2
_FLUSH = 0.5


class NoLogFiles(Exception):
    """There is no tracer that writes log files which can be read back."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tracer writes: the files in `directory` whose names begin with `prefix`."""

    directory: Path
    prefix: str


class LogPage(msgspec.Struct, frozen=True):
    """Lines, newest first.  total: the matches seen, and as many as the page may hold more when there may be more."""

    items: list[LogLine]
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Seconds that a search may take, and those that a full page may take to look whether there is another."""

    search: float = 3.0
    next_page: float = 0.05


class Logs:
    """The log files of the running daemon.

    place: where they are now, None without any.  flush: has what waits written, within seconds; blocks.  clock:
    monotonic seconds.
    """

    def __init__(
        self,
        place: Callable[[], Place | None],
        flush: Callable[[float], object],
        patience: Patience | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._place = place
        self._flush = flush
        self._patience = patience or Patience()
        self._clock = clock
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def page(self, filter: str, offset: int, limit: int) -> LogPage:
        """`limit` lines (1 to MOST) that hold `filter`, after the newest `offset`.  Raises NoLogFiles, OSError."""
        async with self._turns:
            return await asyncio.to_thread(self._read, filter, offset, limit)

    def _read(self, filter: str, offset: int, limit: int) -> LogPage:
        place = self._place()
        if place is None:
            raise NoLogFiles
        if "\n" in filter:
            return LogPage([], 0)  # no line holds one
        self._flush(_FLUSH)
        search = _Search(filter.encode("utf-8", "replace"), offset, limit)
        until = self._clock() + self._patience.search
        more = False
        for block in _blocks(place):
            search.take(block)
            if search.found > search.wanted:
                more = True
                break
            now = self._clock()
            if search.found == search.wanted:
                until = min(until, now + self._patience.next_page)
            if now >= until:
                more = True
                break
        lines = [line for octets in search.lines if (line := parse_line(octets)) is not None]
        return LogPage(lines, min(search.found, search.wanted) + (limit if more else 0))


class _Search:
    """Picks lines out of blocks that come newest first.  needle: b"" for every line."""

    def __init__(self, needle: bytes, offset: int, limit: int) -> None:
        self._needle = needle
        self._offset = offset
        self.wanted = offset + limit
        self.found = 0
        self.lines: list[bytes] = []
        self._octets = 0

    def take(self, block: bytes) -> None:
        """Look through whole lines."""
        if not self._needle:
            count = block.count(b"\n")
            if self.found + count <= self._offset:
                self.found += count
                return
            found = block.split(b"\n")[:-1]
        else:
            found = list(self._hits(block))
        for line in reversed(found):
            if self.found > self.wanted:
                return
            if self._offset <= self.found < self.wanted and self._octets + len(line) <= _PAGE_OCTETS:
                self.lines.append(line)
                self._octets += len(line)
            self.found += 1

    def _hits(self, block: bytes) -> Iterator[bytes]:
        hit = block.find(self._needle)
        while hit >= 0:
            end = block.find(b"\n", hit)
            yield block[block.rfind(b"\n", 0, hit) + 1 : end]
            hit = block.find(self._needle, end + 1)


def _blocks(place: Place) -> Iterator[bytes]:
    """Whole lines of all files, the newest block first.  Raises OSError."""
    seen = set()
    for path in _newest_first(place):
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            continue  # removed, or renamed to one that comes later
        try:
            state = os.fstat(handle)
            if (state.st_dev, state.st_ino) not in seen:
                seen.add((state.st_dev, state.st_ino))
                yield from _blocks_of(handle, state.st_size)
        finally:
            os.close(handle)


def _newest_first(place: Place) -> list[Path]:
    with os.scandir(place.directory) as entries:
        aged = [(age, each.name) for each in entries if (age := _age(place.prefix, each)) is not None]
    return [place.directory / name for _, name in sorted(aged, reverse=True)]


def _age(prefix: str, entry: os.DirEntry[str]) -> tuple[str, int] | None:
    """What sorts the files of a tracer by age, whatever its rotation was; None for another file."""
    if not entry.name.startswith(prefix) or not entry.is_file(follow_symlinks=False):
        return None
    rest = entry.name[len(prefix) :]
    if rest in ("", ".old"):  # no date in its name
        try:
            changed = entry.stat(follow_symlinks=False).st_mtime
        except FileNotFoundError:
            return None
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(changed)), int(not rest)
    if not rest.startswith(".") or not SUFFIX.fullmatch(rest, 1):
        return None
    date, _, part = rest[1:].partition(".")
    return date, int(part or 0)


def _blocks_of(handle: int, size: int) -> Iterator[bytes]:
    """Whole lines of one file from its end."""
    end = size
    rest = b""  # the end of a line whose beginning comes with the next block
    is_whole = False  # whether `rest` is the end of a line that has its end
    while end > 0:
        start = max(0, end - _BLOCK)
        block = os.pread(handle, end - start, start)
        if len(block) < end - start:
            return  # cut off meanwhile
        end = start
        if not is_whole:
            block = block[: block.rfind(b"\n") + 1]
            if not block:
                continue
            is_whole = True
        block += rest
        first = 0 if start == 0 else block.find(b"\n") + 1
        if start and first == len(block):
            rest = block if len(block) <= _LONGEST else b"\n"  # a line longer than that is none of ours
            continue
        rest = block[:first]
        yield block[first:]
