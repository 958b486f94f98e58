"""Finding the octets of a queued message, and what is done when they are gone."""

from __future__ import annotations

from typing import Any

from relayd.blobs.source import BodySource
from relayd.blobs.spool import BlobMissing, Blobs
from relayd.database.interface import Connection, Database
from relayd.queue.failure import BodyMissing


async def find(database: Database, blobs: Blobs, message_id: int) -> BodySource:
    """The octets of a message.  Raises BodyMissing, DatabaseError, BlobError."""

    def row_of(connection: Connection) -> Any:
        return connection.execute(
            "SELECT size, octets, file_from FROM bodies, messages WHERE id = ? AND bodies.message_id = id",
            (message_id,),
        ).fetchone()

    row = await database.read(row_of)
    if row is None:
        raise BodyMissing(f"message {message_id} has no body")
    size, octets, file_from = row
    if file_from is None:
        return BodySource(octets)
    try:
        return BodySource(octets, blobs.open(message_id), file_from, size)
    except BlobMissing as error:
        raise BodyMissing(str(error)) from error


def with_hash(connection: Connection, blob_hash: str, most: int) -> list[int]:
    """Ids of at most `most` messages whose content has this hash, deleted ones that are kept included.

    No index: it would cost every message a page or two of writing, and this looks at rows without bodies, a hundred
    thousand of them in some twenty milliseconds.
    """
    found = connection.execute("SELECT id FROM messages WHERE blob_hash = ? LIMIT ?", (blob_hash, most))
    return [id for (id,) in found]


def mark_corrupt(connection: Connection, message_id: int) -> bool:
    """Take a message whose body is gone out of delivery; whether it was there, and not marked before."""
    changed = connection.execute("UPDATE messages SET corrupt = 1 WHERE id = ? AND corrupt = 0", (message_id,)).rowcount
    connection.execute("UPDATE recipients SET waiting = 0 WHERE message_id = ? AND waiting = 1", (message_id,))
    return bool(changed)
