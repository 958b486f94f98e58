"""One daemon for one data directory."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class DirectoryInUse(Exception):
    """Another process holds the data directory."""


class DirectoryLock:
    """Holds `directory` for this process until `release` or its end, however it ends (flock)."""

    def __init__(self, directory: Path) -> None:
        """Take the lock.  Raises DirectoryInUse with a text for people, OSError."""
        self.path = directory / "lock"
        self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(self._handle, 32).decode("ascii", "replace").strip()
            os.close(self._handle)
            raise DirectoryInUse(
                f"{directory} is in use by another relayd" + (f", process {owner}" if owner else "")
            ) from None
        except BaseException:
            os.close(self._handle)
            raise
        os.ftruncate(self._handle, 0)
        os.write(self._handle, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Let another process have it."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
