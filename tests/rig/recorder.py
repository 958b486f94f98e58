"""A recorder of what a process did to its disk and its sockets, and the disk as a power cut would have left it.

`record` runs a command under strace and `read` turns the log into operations in order.  `Disk` then rebuilds a
directory as of any moment: what a completed fsync covers is there, what came later is lost, kept, or torn into
512-octet sectors, and changes of a directory that was not synced are lost from some point on.  The page cache of the
machine that runs the test plays no part, so this proves syncing where SIGKILL cannot.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

CALLS = (
    "openat,pwrite64,write,writev,sendto,sendmsg,ftruncate,fsync,fdatasync,rename,renameat,renameat2,"
    "unlink,unlinkat,mkdir,mkdirat,link,linkat"
)
SECTOR = 512


def strace_prefix(log: Path) -> tuple[str, ...]:
    """What to put in front of a command to have it recorded in `log`."""
    return ("strace", "-f", "-qq", "-y", "-xx", "-s", "400000", "--seccomp-bpf", "-e", f"trace={CALLS}", "-o", str(log))


@dataclass(slots=True)
class Operation:
    """One system call.  start, end: its places in the order of events; a call that never returned has end None.

    name: "write", "truncate", "sync", "create", "rename", "unlink", "mkdir", "link" or "send".  path: the file (the
    socket for "send").  target: new name of rename and link.  data, offset: of write and send; offset None appends.
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


def _path(text: str) -> str:
    """strace -xx also escapes the path behind a descriptor."""
    return re.sub(r"\\x([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), text)


def read(log: Path) -> list[Operation]:
    """The operations of a log, in the order in which they began; failed calls are left out."""
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
    if result.startswith("-1"):
        return
    descriptor = _FD.match(arguments)
    path = _path(descriptor[2]) if descriptor else ""
    strings = [_unhex(found) for found in _STRING.findall(arguments)]
    if name in ("pwrite64", "write", "writev", "sendto", "sendmsg"):
        data = b"".join(strings)
        if path.startswith("/"):
            offset = int(arguments.rpartition(", ")[2].rstrip(")")) if name == "pwrite64" else None
            yield Operation("write", start, end, path, data=data, offset=offset)
        else:
            yield Operation("send", start, end, path, data=data)
    elif name in ("fsync", "fdatasync"):
        yield Operation("sync", start, end, path)
    elif name == "ftruncate":
        yield Operation("truncate", start, end, path, offset=int(arguments.rpartition(", ")[2].rstrip(")")))
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


class Disk:
    """The directory `root` as the operations changed it, from an empty start."""

    def __init__(self, operations: Iterable[Operation], root: Path) -> None:
        self.root = str(root)
        self.last = 0
        self._files: dict[int, _File] = {}
        self._directory_changes: list[tuple[Operation, int]] = []
        self._directory_syncs: list[Operation] = []
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
                self._names[each.path] = self._new_file()
                self._directory_changes.append((each, self._names[each.path]))
        elif each.name in ("rename", "link"):
            file = self._names.pop(each.path) if each.name == "rename" else self._names[each.path]
            self._names[each.target] = file
            self._directory_changes.append((each, file))
        elif each.name == "unlink":
            self._directory_changes.append((each, self._names.pop(each.path, -1)))
        elif each.name == "mkdir":
            self._directory_changes.append((each, -1))
        elif each.name == "sync" and each.path not in self._names:
            self._directory_syncs.append(each)
        elif each.path in self._names:
            file_ = self._files[self._names[each.path]]
            (file_.syncs if each.name == "sync" else file_.changes).append(each)

    def _new_file(self) -> int:
        number = len(self._files)
        self._files[number] = _File()
        return number

    def rebuild(self, cut: int, target: Path, chance: random.Random) -> None:
        """Write into `target` what the disk held when the power went at place `cut` in the order of events."""
        names = self._entries(cut, chance)
        for path, number in names.items():
            destination = target / Path(path).relative_to(self.root)
            if number < 0:
                destination.mkdir(parents=True, exist_ok=True)
                continue
            destination.parent.mkdir(parents=True, exist_ok=True)
            destination.write_bytes(self._content(self._files[number], cut, chance))

    def _entries(self, cut: int, chance: random.Random) -> dict[str, int]:
        begun = [(each, number) for each, number in self._directory_changes if each.start < cut]
        sure = 0
        for place, (each, _) in enumerate(begun):
            directories = {str(Path(name).parent) for name in (each.path, each.target) if name}
            if all(self._directory_synced(name, each, cut) for name in directories):
                sure = place + 1
        # A journal keeps the order of what it commits, so an unsynced change survives only with all before it.
        kept = begun[: chance.randint(sure, len(begun))]
        names: dict[str, int] = {}
        for each, number in kept:
            if each.name == "unlink":
                names.pop(each.path, None)
            elif each.name in ("rename", "link"):
                if each.name == "rename":
                    names.pop(each.path, None)
                names[each.target] = number
            else:
                names[each.path] = number
        return names

    def _directory_synced(self, directory: str, change: Operation, cut: int) -> bool:
        return any(
            sync.path == directory and sync.end is not None and sync.end < cut and change.end is not None
            and change.end < sync.start
            for sync in self._directory_syncs
        )  # fmt: skip

    def _content(self, file: _File, cut: int, chance: random.Random) -> bytes:
        content = bytearray()
        covered = max((sync.start for sync in file.syncs if sync.end is not None and sync.end < cut), default=-1)
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
