"""A recorder of what a process did to its disk and its sockets, and the disk as a power cut would have left it.

`record` runs a command under strace and `read` turns the log into operations in order.  `Disk` then rebuilds a
directory as of any moment: what a completed fsync covers is there, what came later is lost, kept, or torn into
512-octet sectors, and changes of a directory that came after its last fsync are lost from some point on, each directory
by itself (POSIX promises no more; a journal often keeps more).  The page cache of the machine that runs the test plays
no part, so this proves syncing where SIGKILL cannot.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

CALLS = (
    "openat,pwrite64,write,writev,sendto,sendmsg,read,recvfrom,ftruncate,fsync,fdatasync,rename,renameat,renameat2,"
    "unlink,unlinkat,mkdir,mkdirat,link,linkat"
)
SECTOR = 512


OPTIONS = ("-f", "-qq", "-y", "-xx", "-s", "400000")


def strace_prefix(log: Path) -> tuple[str, ...]:
    """What to put in front of a command to have it recorded in `log`."""
    return ("strace", *OPTIONS, "--seccomp-bpf", "-e", f"trace={CALLS}", "-o", str(log))


@dataclass(slots=True)
class Operation:
    """One system call.  start, end: its places in the order of events; a call that never returned has end None.

    name: "write", "truncate", "sync", "failed" (a sync that was answered with an error), "create", "rename", "unlink",
    "mkdir", "link", "send" or "receive".  path: the file (the socket for "send" and "receive").  target: new name of
    rename and link.  data, offset: of write and send; offset None appends.
    """

    name: str
    start: int
    end: int | None
    path: str
    target: str = ""
    data: bytes = b""
    offset: int | None = None


_LINE = re.compile(r"^(\d+)\s+(.*)$")
_RESUMED = re.compile(r"^<\.\.\. (\w+) resumed>(.*)$")
_CALL = re.compile(r"^(\w+)\((.*)$", re.DOTALL)
_FD = re.compile(r"^(-?\d+|AT_FDCWD)<((?:[^>\\]|\\.)*)>")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


def _unhex(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def _last_number(arguments: str) -> int:
    return int(arguments.rpartition(", ")[2].strip(" )"))


def _path(text: str) -> str:
    """strace -xx also escapes the path behind a descriptor."""
    return re.sub(r"\\x([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), text)


def read(log: Path) -> list[Operation]:
    """The operations of a log, in the order in which they began; of failed calls only the syncs."""
    pending: dict[str, tuple[int, str]] = {}
    found: list[Operation] = []
    with log.open(encoding="ascii", errors="replace") as lines:
        for number, line in enumerate(lines):
            match = _LINE.match(line.rstrip("\n"))
            if match is None:
                continue
            thread, rest = match[1], match[2]
            resumed = _RESUMED.match(rest)
            if resumed is not None:
                start, begun = pending.pop(thread, (number, ""))
                found.extend(_operations(begun + resumed[2], start, number))
            elif rest.endswith("<unfinished ...>"):
                pending[thread] = (number, rest.removesuffix("<unfinished ...>"))
            else:
                found.extend(_operations(rest, number, number))
    for start, begun in pending.values():
        found.extend(_operations(begun + ") = ?", start, None))
    found.sort(key=lambda each: each.start)
    return found


def _operations(text: str, start: int, end: int | None) -> Iterator[Operation]:
    match = _CALL.match(text)
    if match is None:
        return
    name, rest = match[1], match[2]
    arguments, _, result = rest.rpartition(" = ")
    descriptor = _FD.match(arguments)
    path = _path(descriptor[2]) if descriptor else ""
    if result.startswith("-1"):
        if name in ("fsync", "fdatasync"):
            yield Operation("failed", start, end, path)
        return
    strings = [_unhex(found) for found in _STRING.findall(arguments)]
    if name in ("pwrite64", "write", "writev", "sendto", "sendmsg"):
        data = b"".join(strings)
        if path.startswith("/"):
            offset = _last_number(arguments) if name == "pwrite64" else None
            yield Operation("write", start, end, path, data=data, offset=offset)
        else:
            yield Operation("send", start, end, path, data=data)
    elif name in ("read", "recvfrom"):
        if path.startswith("socket:"):
            yield Operation("receive", start, end, path, data=b"".join(strings))
    elif name in ("fsync", "fdatasync"):
        yield Operation("sync", start, end, path)
    elif name == "ftruncate":
        yield Operation("truncate", start, end, path, offset=_last_number(arguments))
    elif name == "openat" and "O_CREAT" in arguments:
        opened = re.search(r"<((?:[^>\\]|\\.)*)>$", result)
        if opened:
            yield Operation("create", start, end, _path(opened[1]))
            if "O_TRUNC" in arguments:
                yield Operation("truncate", start, end, _path(opened[1]), offset=0)
    elif name in ("rename", "renameat", "renameat2", "link", "linkat") and len(strings) >= 2:
        kind = "link" if name.startswith("link") else "rename"
        yield Operation(kind, start, end, strings[0].decode(), target=strings[1].decode())
    elif name in ("unlink", "unlinkat") and strings:
        yield Operation("unlink", start, end, strings[0].decode())
    elif name in ("mkdir", "mkdirat") and strings:
        yield Operation("mkdir", start, end, strings[0].decode())


@dataclass(slots=True)
class _File:
    """One inode: every write and truncation, and the syncs that cover them."""

    changes: list[Operation] = field(default_factory=list)
    syncs: list[Operation] = field(default_factory=list)


@dataclass(slots=True)
class _Directory:
    """One directory: what its names came to stand for in order (None: removed), and its syncs."""

    changes: list[tuple[Operation, str, int | None]] = field(default_factory=list)
    syncs: list[Operation] = field(default_factory=list)


_A_DIRECTORY = -1


class Disk:
    """The directory `root`, which was there and empty, as the operations changed it.  last: where they end."""

    def __init__(self, operations: Iterable[Operation], root: Path) -> None:
        self.root = str(root)
        self.last = 0
        self._files: list[_File] = []
        self._directories: dict[str, _Directory] = {self.root: _Directory()}
        self._names: dict[str, int] = {}
        for each in operations:
            self.last = max(self.last, each.end or each.start)
            if each.path.startswith(self.root + "/") or each.path == self.root:
                self._note(each)

    def _note(self, each: Operation) -> None:
        if each.path.endswith("-shm"):
            return  # SQLite's index of the WAL: rebuilt by whoever opens the database first
        if each.name == "create":
            if each.path not in self._names:
                self._files.append(_File())
                self._name(each, each.path, len(self._files) - 1)
        elif each.name == "mkdir":
            self._directories[each.path] = _Directory()
            self._name(each, each.path, _A_DIRECTORY)
        elif each.name in ("rename", "link"):
            self._name(each, each.target, self._names[each.path])
            if each.name == "rename":
                self._name(each, each.path, None)
        elif each.name == "unlink":
            self._name(each, each.path, None)
        elif each.path in self._directories:
            self._directories[each.path].syncs.append(each)
        elif each.path in self._names:
            file = self._files[self._names[each.path]]
            (file.syncs if each.name == "sync" else file.changes).append(each)

    def _name(self, each: Operation, path: str, number: int | None) -> None:
        if number is None:
            self._names.pop(path, None)
        else:
            self._names[path] = number
        self._directories[str(Path(path).parent)].changes.append((each, path, number))

    def rebuild(self, cut: int, target: Path, chance: random.Random) -> None:
        """Write into `target` what the disk held when the power went at place `cut` in the order of events."""
        self._rebuild_directory(self.root, cut, target, chance)

    def _rebuild_directory(self, path: str, cut: int, target: Path, chance: random.Random) -> None:
        target.mkdir(exist_ok=True)
        for name, number in self._entries(self._directories[path], cut, chance).items():
            destination = target / Path(name).name
            if number == _A_DIRECTORY:
                self._rebuild_directory(name, cut, destination, chance)
            else:
                destination.write_bytes(self._content(self._files[number], cut, chance))

    @staticmethod
    def _entries(directory: _Directory, cut: int, chance: random.Random) -> dict[str, int]:
        covered = _covered(directory.syncs, cut)
        begun = [change for change in directory.changes if change[0].start < cut]
        sure = 0
        for place, (each, _, _) in enumerate(begun):
            if each.end is not None and each.end < covered:
                sure = place + 1
        names: dict[str, int] = {}
        for _, path, number in begun[: chance.randint(sure, len(begun))]:
            if number is None:
                names.pop(path, None)
            else:
                names[path] = number
        return names

    @staticmethod
    def _content(file: _File, cut: int, chance: random.Random) -> bytes:
        content = bytearray()
        covered = _covered(file.syncs, cut)
        end = 0
        for each in file.changes:
            if each.start >= cut:
                break
            durable = each.end is not None and each.end < covered
            fate = "kept" if durable else chance.choice(("kept", "lost", "torn"))
            if each.name == "truncate":
                size = each.offset or 0
                if fate == "kept":
                    del content[size:]
                    content.extend(bytes(size - len(content)))
                end = size
                continue
            place = end if each.offset is None else each.offset
            end = place + len(each.data)
            if fate != "lost":
                _write(content, place, each.data, chance if fate == "torn" else None)
        return bytes(content)


def _covered(syncs: Iterable[Operation], cut: int) -> int:
    """What had ended before this place is durable at `cut`: where the last sync began that had returned by then."""
    return max((sync.start for sync in syncs if sync.end is not None and sync.end < cut), default=-1)


def _write(content: bytearray, place: int, data: bytes, tear: random.Random | None) -> None:
    """Put `data` at `place`; with `tear`, only some of its sectors reach the disk."""
    if len(content) < place:
        content.extend(bytes(place - len(content)))
    for start in range(0, len(data), SECTOR):
        if tear is not None and tear.random() < 0.5:
            continue
        piece = data[start : start + SECTOR]
        if len(content) < place + start:
            content.extend(bytes(place + start - len(content)))
        content[place + start : place + start + len(piece)] = piece
