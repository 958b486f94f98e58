"""Hashes and where bodies go."""

from __future__ import annotations

from pathlib import Path

from blake3 import blake3

from relayd.blobs.spool import Blobs
from relayd.queue.message import Body, NewMessage, Origin
from relayd.queue.prepare import blob_hash, encode_hash, hash_file, prepare


def _message(body: Body) -> NewMessage:
    return NewMessage(id=5 << 21, origin=Origin.RELAYED, return_path="", recipients=(), body=body, created=0.0)


def test_a_file_hashes_as_its_octets(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"skip" + b"content" * 300_000)
    assert hash_file(b"head", path, 4) == blob_hash(b"head" + b"content" * 300_000)
    assert len(encode_hash(blake3(b"").digest())) == 43


async def test_up_to_the_limit_bodies_stay_in_the_database(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "spool", lambda: 0.0)
    at = _message(Body(head=b"h", content=b"x" * 9, size=10))
    over = _message(Body(head=b"h", content=b"x" * 10, size=11))
    small = await prepare(blobs, at, inline_limit=10, node=1, until=0.0)
    assert (small.octets, small.file_from) == (b"h" + b"x" * 9, None)
    assert not blobs.has(at.id)
    large = await prepare(blobs, over, inline_limit=10, node=1, until=0.0)
    assert (large.octets, large.file_from) == (b"h", 0)
    assert blobs.path_of(over.id).read_bytes() == b"x" * 10
    assert large.blob_hash == blob_hash(b"h" + b"x" * 10)
