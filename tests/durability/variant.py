"""relayd with one of its syncs taken out: the proofs of this package must notice each of them.

`python -m tests.durability.variant NAME serve --config FILE`.  Production code has no such switch: what is patched here
is patched before relayd's own main runs.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def without_database_sync() -> None:
    """PRAGMA synchronous = OFF."""
    from relayd.database import handle  # before anything that keeps `connect` as a default

    honest = handle.connect

    def connect(path: Path, read_only: bool) -> sqlite3.Connection:
        connection = honest(path, read_only)
        connection.execute("PRAGMA synchronous = OFF")
        return connection

    handle.connect = connect


def without_body_directory_sync() -> None:
    """The directory into which a body is renamed is not synced; those of the start are."""
    from relayd.blobs import spool

    honest = spool.sync_directory

    def sync_directory(path: Path) -> None:
        if path.parent.name != "spool":
            honest(path)

    spool.sync_directory = sync_directory


def without_data_directory_sync() -> None:
    """The directories made at the first start are not synced."""
    from relayd.blobs import spool

    honest = spool.sync_directory

    def sync_directory(path: Path) -> None:
        if path.parent.name == "spool":
            honest(path)

    spool.sync_directory = sync_directory


def without_body_sync() -> None:
    """The file of a body is not synced; its directory is."""
    from relayd.blobs import spool

    class Os:
        """The module os, but for files."""

        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

        def fsync(self, handle: int) -> None:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                os.fsync(handle)

    spool.__dict__["os"] = Os()


VARIANTS: dict[str, Callable[[], None]] = {
    "synchronous-off": without_database_sync,
    "no-body-directory-sync": without_body_directory_sync,
    "no-data-directory-sync": without_data_directory_sync,
    "no-body-sync": without_body_sync,
}


if __name__ == "__main__":
    VARIANTS[sys.argv.pop(1)]()
    from relayd.cli.program import main

    sys.exit(main(name="relayd"))
