"""Making a new message ready for its transaction: its hash, and its body durable when it is a file."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

from blake3 import blake3

from relayd.blobs.spool import Blobs
from relayd.queue.enqueue import Prepared
from relayd.queue.message import NewMessage

_CHUNK = 1 << 20

_SLICE = 2047
"""The most octets that blake3 hashes without giving the interpreter up, which costs more than hashing a small mail."""

_SMALL = 16 << 10


def encode_hash(digest: bytes) -> str:
    """Base64url without padding: 43 characters for a BLAKE3 digest."""
    return base64.urlsafe_b64encode(digest)[:-1].decode()


def blob_hash(octets: bytes) -> str:
    """The hash by which the API finds a message."""
    if len(octets) > _SMALL:
        return encode_hash(blake3(octets).digest())
    digest = blake3()
    for start in range(0, len(octets), _SLICE):
        digest.update(octets[start : start + _SLICE])
    return encode_hash(digest.digest())


def hash_file(head: bytes, path: Path, offset: int) -> str:
    """The hash of `head` and the file from `offset` on; blocks.  Raises OSError."""
    digest = blake3(head)
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return encode_hash(digest.digest())


async def prepare(blobs: Blobs, message: NewMessage, *, inline_limit: int, node: int, until: float) -> Prepared:
    """Everything that comes before the rows.  Raises BlobError; then a file may be left for the sweep."""
    body = message.body
    content = body.content
    if isinstance(content, bytes) and body.size <= inline_limit:
        octets = body.head + (content[body.offset :] if body.offset else content)
        return Prepared(message, blob_hash(octets), octets, None, node, until)
    hashed = await asyncio.to_thread(_to_file, blobs, message)
    offset = body.offset if isinstance(content, Path) else 0
    return Prepared(message, hashed, body.head, offset, node, until)


def _to_file(blobs: Blobs, message: NewMessage) -> str:
    body = message.body
    if isinstance(body.content, Path):
        hashed = hash_file(body.head, body.content, body.offset)
        blobs.keep(body.content, message.id)
        return hashed
    octets = body.content[body.offset :]
    blobs.store(message.id, octets)
    return encode_hash(blake3(body.head).update(octets).digest())
