"""Reading a message, from memory or from its head and file."""

from __future__ import annotations

from pathlib import Path

import pytest

from relayd.blobs.source import BodySource
from relayd.blobs.spool import BlobError


async def test_from_memory() -> None:
    source = BodySource(b"abcdef")
    assert source.data == b"abcdef"
    assert source.size == 6
    assert [await source.read(4), await source.read(4), await source.read(4)] == [b"abcd", b"ef", b""]
    source.close()


async def test_head_then_file_from_its_offset(tmp_path: Path) -> None:
    path = tmp_path / "body"
    path.write_bytes(b"gonekept")
    source = BodySource(b"head", path.open("rb", buffering=0), 4, 8)
    assert source.data is None
    assert source.size == 8
    assert [await source.read(10), await source.read(3), await source.read(3), await source.read(3)] == [
        b"head",
        b"kep",
        b"t",
        b"",
    ]
    source.seek(0)
    assert await source.read(2) == b"he"
    source.close()
    with pytest.raises(BlobError):
        await source.read(2)
        await source.read(2)
