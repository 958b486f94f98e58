"""A consistent copy of a running relay's queue.

The rows are copied in one read transaction, which holds up nobody.  Bodies that are removed while the copy is made stay
until it is done, so every row of the copy finds its file; files never change once they are in place, so they are
linked where the copy is on the same file system.  The copy starts paused: it and the original would both deliver.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from relayd.blobs.spool import Blobs, sync_directory
from relayd.database.interface import Connection, DatabaseError
from relayd.database.sqlite import edit_copy
from relayd.events import store as events
from relayd.events.event import Span
from relayd.queue import leases, pause
from relayd.queue.opening import DATABASE, SPOOL, OpenQueue
from relayd.queue.pause import Pause


class BackupError(Exception):
    """The copy could not be made; what there is of it is no backup."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A copy that is complete.  size: octets of its files.  bodies: files among them."""

    directory: Path
    size: int
    bodies: int


CopyTo = Callable[[Path], Awaitable[None]]
"""Writes a consistent, synced copy of a database to a new file.  Raises DatabaseError, OSError."""


async def backup(
    opened: OpenQueue,
    directory: Path,
    clock: Callable[[], float],
    span: Span,
    *,
    beside: Mapping[str, CopyTo] = MappingProxyType({}),
) -> Backup:
    """Copy rows and bodies to `directory`, which must be empty or not there.  Raises BackupError.

    beside: further databases of the data directory, by the name of their file.

    Only one runs at a time; a second one waits.
    """
    now = clock()
    try:
        await asyncio.to_thread(_prepare, directory)
        async with opened.blobs.kept():
            partial = directory / f"{DATABASE}.partial"  # so that an incomplete copy never starts
            await opened.database.copy_to(partial)
            ids = await asyncio.to_thread(edit_copy, partial, lambda connection: _mark(connection, now))
            size = await asyncio.to_thread(_copy_bodies, opened.blobs, directory / SPOOL, ids, clock)
            for name, copy_to in beside.items():
                await copy_to(directory / name)
                size += (directory / name).stat().st_size
            size += await asyncio.to_thread(_complete, partial, directory / DATABASE)
    except (OSError, DatabaseError) as error:
        raise BackupError(f"{directory}: {error}") from error
    events.BACKUP(span, path=str(directory), size=size, total=len(ids))
    return Backup(directory=directory, size=size, bodies=len(ids))


def _prepare(directory: Path) -> None:
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise BackupError(f"{directory} is there and not an empty directory")
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)


def _mark(connection: Connection, now: float) -> list[int]:
    """Make the copied rows those of a relay that is paused and works on nothing; the ids that have a file."""
    leases.void(connection, "1", ())
    moment = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    pause.keep(connection, Pause(since=now, by="relayd", reason=f"restored from a backup of {moment}"))
    return [id for (id,) in connection.execute("SELECT message_id FROM bodies WHERE file_from IS NOT NULL")]


def _copy_bodies(blobs: Blobs, spool: Path, ids: list[int], clock: Callable[[], float]) -> int:
    """Put the bodies beside the rows, synced; their octets."""
    copy = Blobs(spool, clock)
    touched = set()
    size = 0
    for id in ids:
        source, target = blobs.path_of(id), copy.path_of(id)
        try:
            os.link(source, target)
        except FileNotFoundError:
            continue  # was missing before: start-up marks it corrupt, here as there
        except OSError:
            _copy_file(source, target)
        size += target.stat().st_size
        touched.add(target.parent)
    for parent in touched:
        sync_directory(parent)
    return size


def _complete(partial: Path, path: Path) -> int:
    partial.rename(path)
    sync_directory(path.parent)
    sync_directory(path.parent.parent)
    return path.stat().st_size


def _copy_file(source: Path, target: Path) -> None:
    with source.open("rb") as read, target.open("xb") as write:
        shutil.copyfileobj(read, write, 1 << 20)
        write.flush()
        os.fsync(write.fileno())
