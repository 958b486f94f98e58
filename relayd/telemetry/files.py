"""Log files: named by date, rotated, bounded by age and by size.

`<path>/<prefix>.<suffix>`, the suffix `YYYY-MM-DD`, `YYYY-MM-DDThh` or `YYYY-MM-DDThh:mm` in UTC, none without
rotation.  A file over an eighth of the size bound goes on as `.001`, `.002` ... of the same suffix, so that removing
the oldest keeps all of them within the bound even in a burst; without rotation the full file becomes `<prefix>.old`.
Names sort by age.  Called from the log thread alone.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from relayd.telemetry.forgetting import UNFINISHED

_SUFFIXES = {"daily": "%Y-%m-%d", "hourly": "%Y-%m-%dT%H", "minutely": "%Y-%m-%dT%H:%M", "never": ""}
SUFFIX = re.compile(r"\d{4}-\d\d-\d\d(?:T\d\d(?::\d\d)?)?(?:\.\d{3,})?")
"""What follows the prefix and a dot in the names of dated files."""


class RotatingFile:
    """The sink of type `log`.  keep: seconds, 0 for ever; max_size: octets of all files, 0 without bound."""

    def __init__(self, directory: Path, prefix: str, rotate: str, keep: float, max_size: int) -> None:
        self.directory = directory
        self._prefix = prefix
        self._format = _SUFFIXES[rotate]
        self._keep = keep
        self._max_size = max_size
        self._part_size = max_size // 8 if self._format else max_size // 2
        self._handle: int | None = None
        self._suffix = ""
        self._part = 0
        self._size = 0
        self._minute = -1
        self._torn = False

    @property
    def name(self) -> str:
        """Where the lines go, for reports."""
        return str(self._path())

    def write(self, lines: bytes, now: float) -> None:
        """Append whole lines; raises OSError when they could not all be written."""
        minute = int(now // 60)
        if minute != self._minute or self._handle is None:
            suffix = time.strftime(self._format, time.gmtime(now)) if self._format else ""
            if suffix != self._suffix or self._handle is None:
                self._open(suffix, now)
            self._minute = minute
        if self._part_size and self._size and self._size + len(lines) > self._part_size:
            self._next_part(now)
        handle = self._handle
        if handle is None:
            raise OSError("the log file is not open")
        view = memoryview(b"\n" + lines if self._torn else lines)
        self._torn = True  # until the last octet is out: what comes after a failure starts a line of its own
        while view:
            written = os.write(handle, view)
            self._size += written
            view = view[written:]
        self._torn = False

    def files(self) -> list[Path]:
        """Every file of this log.  Raises OSError."""
        found = []
        for entry in os.scandir(self.directory):
            rest = entry.name.removeprefix(self._prefix)
            dated = rest.startswith(".") and rest != entry.name and SUFFIX.fullmatch(rest, 1)
            if entry.is_file(follow_symlinks=False) and (entry.name == self._prefix or rest == ".old" or dated):
                found.append(self.directory / entry.name)
        return found

    def reopen(self) -> None:
        """Close; the next line opens the file anew (it may have been moved away)."""
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)

    close = reopen

    def _path(self) -> Path:
        name = f"{self._prefix}.{self._suffix}" if self._suffix else self._prefix
        return self.directory / (f"{name}.{self._part:03d}" if self._part else name)

    def _open(self, suffix: str, now: float) -> None:
        self.reopen()
        self.directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        if suffix != self._suffix:
            self._suffix, self._part = suffix, 0
        while suffix and self._part_size and self._is_full(self._path()):
            self._part += 1
        self._handle = os.open(self._path(), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        self._size = os.fstat(self._handle).st_size
        self._remove_old(now)

    def _is_full(self, path: Path) -> bool:
        try:
            return path.stat().st_size >= self._part_size
        except FileNotFoundError:
            return False

    def _next_part(self, now: float) -> None:
        if self._suffix:
            self._part += 1
        else:
            os.replace(self._path(), self._path().with_name(self._prefix + ".old"))
        self._open(self._suffix, now)

    def _remove_old(self, now: float) -> None:
        """Remove what is over age or, oldest first, over the size bound; never the file in use."""
        mine = []
        current = self._path().name
        for entry in os.scandir(self.directory):
            name = entry.name.removesuffix(UNFINISHED)
            rest = name.removeprefix(self._prefix + ".")
            is_mine = name == self._prefix or (rest != name and (rest == "old" or SUFFIX.fullmatch(rest)))
            if name != entry.name and is_mine:
                (self.directory / entry.name).unlink(missing_ok=True)  # cut short: it is written by this thread alone
                continue
            if not is_mine or name in (self._prefix, current):
                continue
            state = entry.stat(follow_symlinks=False)
            mine.append((state.st_mtime, entry.name, state.st_size))
        total = self._part_size + sum(size for _, _, size in mine)
        for changed, name, size in sorted(mine):
            too_old = self._keep and changed < now - self._keep
            if too_old or (self._max_size and total > self._max_size):
                (self.directory / name).unlink(missing_ok=True)
                total -= size
