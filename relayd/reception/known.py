"""Which recipients of the relay domains exist, asked before the 250.

A list or a file says it at once; otherwise the next hop is asked with RCPT, and its answer is remembered: good for
days, bad for an hour.  Good and bad answers have caches of their own, so that guessing at names pushes out no good one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from relayd.mail.address import mailbox_key
from relayd.mail.pattern import Names
from relayd.mail.reply import Reply
from relayd.options import OptionError
from relayd.reception.admission import Prober
from relayd.reception.options import KnownOptions, ProbeOptions

FILE_CHECK_INTERVAL = 5.0
"""Seconds between two looks at whether a file changed."""

MAX_FILE = 64 << 20
"""Octets; a larger file of recipients is refused."""


class Verdict(Enum):
    """Whether a recipient exists."""

    GOOD = "good"
    BAD = "bad"
    UNKNOWN = "unknown"


class NameList:
    """Names that exist: whole addresses, and bare names that exist in each domain; the case of letters is ignored."""

    __slots__ = ("_names",)

    def __init__(self, lines: Iterable[str]) -> None:
        names = set()
        for line in lines:
            words = line.partition("#")[0].split()
            if words:
                names.add(_folded(words[0].rstrip(":,")))
        self._names = frozenset(names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, address: str) -> bool:
        whole = _folded(address)
        return whole in self._names or whole.rpartition("@")[0] in self._names


def _folded(address: str) -> str:
    local, domain = mailbox_key(address)
    return f"{local.casefold()}@{domain}" if domain else local.casefold()


class NameFile:
    """A NameList read from a file, anew when the file changes; the disk is looked at off the loop."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._names: NameList | None = None
        self._stamp: tuple[int, int, int] | None = None
        self._looked: float | None = None
        self._lock = asyncio.Lock()

    async def contains(self, address: str, now: float) -> bool:
        """Whether the file lists the address; OSError when it could never be read.

        A file that was read once and cannot be read now goes on counting as it was.
        """
        if self._looked is None or not 0 <= now - self._looked < FILE_CHECK_INTERVAL:
            async with self._lock:
                if self._looked is None or not 0 <= now - self._looked < FILE_CHECK_INTERVAL:
                    await self._refresh()
                    self._looked = now
        return self._names is not None and address in self._names

    async def _refresh(self) -> None:
        try:
            read = await asyncio.to_thread(self._read)
        except (OSError, UnicodeDecodeError):
            if self._names is None:
                raise
            return
        if read is not None:
            self._names, self._stamp = read

    def _read(self) -> tuple[NameList, tuple[int, int, int]] | None:
        with open(self.path, encoding="utf-8") as file:
            status = os.fstat(file.fileno())
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp == self._stamp:
                return None
            if status.st_size > MAX_FILE:
                raise OSError(f"{self.path} is larger than {MAX_FILE} octets")
            return NameList(file), stamp


@dataclass(frozen=True, slots=True)
class KnownRecord:
    """One `session.rcpt.known.<id>`, ready to be asked."""

    id: str
    check: str
    names: NameList
    file: NameFile | None
    delimiter: str


class KnownTable:
    """Which record answers for which domain: the first by id."""

    def __init__(self, records: Mapping[str, KnownOptions]) -> None:
        self._records: list[tuple[Names, KnownRecord]] = []
        for id, options in sorted(records.items()):
            if options.check == "file" and not options.file:
                raise OptionError(f'session.rcpt.known.{id}.file: check = "file" needs a file')
            file = NameFile(options.file) if options.check == "file" and options.file else None
            record = KnownRecord(id, options.check, NameList(options.list_), file, options.delimiter)
            self._records.append((Names(options.domains), record))

    def record(self, domain: str) -> KnownRecord | None:
        """The record of a domain; None: it is probed."""
        for domains, record in self._records:
            if domains.matches(domain):
                return record
        return None


class _Answers:
    """A bounded cache of answers of one kind: the least recently used goes first."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._entries: OrderedDict[str, tuple[float, Reply]] = OrderedDict()

    def get(self, address: str) -> tuple[float, Reply] | None:
        """(when it was given, the reply)."""
        entry = self._entries.get(address)
        if entry is not None:
            self._entries.move_to_end(address)
        return entry

    def put(self, address: str, now: float, reply: Reply) -> None:
        self._entries[address] = (now, reply)
        self._entries.move_to_end(address)
        while len(self._entries) > self.size:
            self._entries.popitem(last=False)

    def drop(self, address: str) -> None:
        self._entries.pop(address, None)

    def __len__(self) -> int:
        return len(self._entries)


class Probes:
    """Asks next hops about recipients and remembers what they said.

    Sessions that ask about the same recipient at once share one probe; a session that goes away does not stop it for
    the others.  `close` ends those under way.
    """

    def __init__(self, options: ProbeOptions, prober: Prober, clock: Callable[[], float]) -> None:
        self.options = options
        self._prober = prober
        self._clock = clock
        self._good = _Answers(options.cache)
        self._bad = _Answers(options.cache)
        self._running: dict[str, asyncio.Task[Reply | None]] = {}

    def reconfigure(self, options: ProbeOptions) -> None:
        """Go on by other options; what is remembered stays."""
        self.options = options
        self._good.size = self._bad.size = options.cache

    async def ask(self, address: str) -> tuple[Verdict, Reply | None]:
        """The verdict, and the next hop's reply where there is one.

        A good answer that has grown old is asked for again, and goes on counting while the next hop cannot be asked.
        """
        key = _folded(address)
        now = self._clock()
        good = self._good.get(key)
        if good is not None and 0 <= now - good[0] < self.options.good:
            return Verdict.GOOD, good[1]
        bad = self._bad.get(key)
        if bad is not None and 0 <= now - bad[0] < self.options.bad:
            return Verdict.BAD, bad[1]
        reply = await self._probe(key, address)
        if reply is not None and reply.is_positive:
            self._good.put(key, now, reply)
            self._bad.drop(key)
            return Verdict.GOOD, reply
        if reply is not None and reply.is_permanent and reply.code != 552:  # 552 stands for 452 (RFC 5321 §4.5.3.1.10)
            self._bad.put(key, now, reply)
            self._good.drop(key)
            return Verdict.BAD, reply
        return (Verdict.GOOD, good[1]) if good is not None else (Verdict.UNKNOWN, reply)

    async def _probe(self, key: str, address: str) -> Reply | None:
        task = self._running.get(key)
        if task is None:
            if len(self._running) >= self.options.concurrency:
                return None
            task = asyncio.get_running_loop().create_task(self._prober.probe(address))
            self._running[key] = task
            task.add_done_callback(lambda done: self._finished(key, done))
        done, _ = await asyncio.wait({task}, timeout=self.options.timeout)
        if not done:
            task.cancel()
            return None
        return None if task.cancelled() or task.exception() is not None else task.result()

    def _finished(self, key: str, task: asyncio.Task[Reply | None]) -> None:
        if self._running.get(key) is task:
            del self._running[key]
        if not task.cancelled():
            task.exception()  # a failing prober is an unknown answer; each session that asked sees it as one

    async def close(self) -> None:
        """End the probes under way."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task


async def judge(record: KnownRecord | None, address: str, probes: Probes, now: float) -> tuple[Verdict, Reply | None]:
    """Whether a recipient of a relay domain exists, by its domain's record (None: probe).

    The reply is the next hop's, where one was asked.
    """
    check = record.check if record is not None else "probe"
    if record is None or check == "probe":
        return await probes.ask(address)
    if check == "any":
        return Verdict.GOOD, None
    for candidate in _candidates(address, record.delimiter):
        if candidate in record.names:
            return Verdict.GOOD, None
        if record.file is not None:
            try:
                if await record.file.contains(candidate, now):
                    return Verdict.GOOD, None
            except (OSError, UnicodeDecodeError):
                return Verdict.UNKNOWN, None
    return Verdict.BAD, None


def _candidates(address: str, delimiter: str) -> list[str]:
    """The address, and without its extension."""
    local, _, domain = address.rpartition("@")
    cuts = [place for place in (local.find(each, 1) for each in delimiter) if place > 0]
    return [address, f"{local[: min(cuts)]}@{domain}"] if cuts else [address]
