"""`GET /api/store/blobs/{id}`: parts, ranges, and bodies that are large, gone, damaged, or read slowly."""

from __future__ import annotations

import asyncio
import os

import aiohttp
import pytest

from relayd.control import streaming
from relayd.queue.filter import Filter
from relayd.queue.message import NewMessage
from relayd.queue.prepare import blob_hash
from tests.control.conftest import Control

SMALL = b"Received: y\r\nSubject: x\r\n\r\nHello\r\n"
LARGE = b"Subject: large\r\n\r\n" + os.urandom(1 << 20)


def url(octets: bytes) -> str:
    return "/api/store/blobs/" + blob_hash(octets)


@pytest.fixture
async def small(control: Control) -> NewMessage:
    message = control.rig.new()
    await control.rig.o.queue.enqueue(message)
    return message


@pytest.fixture
async def large(control: Control) -> NewMessage:
    """A message whose body is a file."""
    message = control.rig.new(content=LARGE)
    await control.rig.o.queue.enqueue(message)
    assert control.rig.o.blobs.has(message.id)
    return message


WHOLE_LARGE = b"Received: y\r\n" + LARGE


async def test_the_octets_of_a_message(admin: aiohttp.ClientSession, control: Control, small: NewMessage) -> None:
    async with admin.get(url(SMALL)) as answer:
        assert answer.status == 200
        assert await answer.read() == SMALL
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Disposition"].startswith("attachment;")
        assert answer.headers["Content-Length"] == str(len(SMALL))
        assert answer.headers["Accept-Ranges"] == "bytes"
    (event,) = control.named("manage.action")
    assert event.fields["account_name"] == "admin"
    assert event.fields["type_"] == "message.read"
    assert str(small.id) in event.fields["details"]


async def test_head_says_how_many_and_reads_nothing(
    admin: aiohttp.ClientSession, control: Control, small: NewMessage
) -> None:
    async with admin.head(url(SMALL), headers={"Range": "bytes=0-1"}) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Length"] == str(len(SMALL))
        assert await answer.read() == b""
    assert control.named("manage.action") == []


@pytest.mark.parametrize("octets", [SMALL, WHOLE_LARGE], ids=["in the database", "in a file"])
@pytest.mark.parametrize(
    ("query", "start", "end"),
    [
        ({"limit": "5"}, 0, 5),
        ({"offset": "5"}, 5, None),
        ({"offset": "5", "limit": "10"}, 5, 15),
        ({"offset": "999999999999999999", "limit": "999999999999999999"}, 1 << 30, None),
        ({"offset": str(2**64 - 1), "limit": str(2**64 - 1)}, 1 << 30, None),
        ({"offset": "99999999999999999999", "limit": "-1"}, 0, None),
        ({"limit": "0", "offset": ""}, 0, None),
    ],
)
async def test_a_part(
    admin: aiohttp.ClientSession,
    small: NewMessage,
    large: NewMessage,
    octets: bytes,
    query: dict[str, str],
    start: int,
    end: int | None,
) -> None:
    async with admin.get(url(octets), params=query) as answer:
        assert answer.status == 200
        assert await answer.read() == octets[start:end]


async def test_a_range(admin: aiohttp.ClientSession, large: NewMessage) -> None:
    size = len(WHOLE_LARGE)
    async with admin.get(url(WHOLE_LARGE), headers={"Range": "bytes=10-600000"}) as answer:
        assert answer.status == 206
        assert answer.headers["Content-Range"] == f"bytes 10-600000/{size}"
        assert await answer.read() == WHOLE_LARGE[10:600001]
        etag = answer.headers["ETag"]
    # of a part chosen by offset and limit; of the same content
    query = {"offset": "100", "limit": "50"}
    async with admin.get(url(WHOLE_LARGE), params=query, headers={"Range": "bytes=-10", "If-Range": etag}) as answer:
        assert answer.status == 206
        assert answer.headers["Content-Range"] == "bytes 40-49/50"
        assert await answer.read() == WHOLE_LARGE[140:150]
    for headers in ({"Range": "bytes=0-1,3-4"}, {"Range": "bytes=0-1", "If-Range": '"other"'}, {"Range": "rows=1"}):
        async with admin.get(url(WHOLE_LARGE), headers=headers) as answer:
            assert answer.status == 200
            assert len(await answer.read()) == size
    async with admin.get(url(WHOLE_LARGE), headers={"Range": f"bytes={size}-"}) as answer:
        assert answer.status == 416
        assert answer.headers["Content-Range"] == f"bytes */{size}"
        assert answer.content_type == "application/problem+json"


@pytest.mark.parametrize("id", ["x", "%20", "a" * 42 + "!", "a" * 42 + "%2B", "A" * 42 + "B", "%FF"])
async def test_what_is_no_base64url_is_400(admin: aiohttp.ClientSession, id: str) -> None:
    async with admin.get(f"/api/store/blobs/{id}") as answer:
        assert answer.status == 400
        assert (await answer.json(content_type=None))["detail"] == "Base64 decoding failed"


@pytest.mark.parametrize("id", ["A" * 43, "AAAA", "%3D", blob_hash(b"nobody's")])
async def test_a_hash_of_nothing(admin: aiohttp.ClientSession, id: str) -> None:
    async with admin.get(f"/api/store/blobs/{id}") as answer:
        assert answer.status == 200
        assert await answer.json() == {"error": "notFound", "item": ""}


async def test_a_damaged_message_does_not_hide_another_of_the_same_octets(
    admin: aiohttp.ClientSession, control: Control, large: NewMessage
) -> None:
    await control.rig.o.queue.enqueue(control.rig.new(content=LARGE))
    control.rig.o.blobs.remove(large.id)
    async with admin.get(url(WHOLE_LARGE)) as answer:
        assert await answer.read() == WHOLE_LARGE


async def test_a_message_that_goes_while_it_is_sent_is_sent_to_its_end(
    admin: aiohttp.ClientSession, control: Control, large: NewMessage
) -> None:
    async with admin.get(url(WHOLE_LARGE)) as answer:
        first = await answer.content.read(1000)
        await control.rig.o.actions.remove(Filter(), "test")
        control.rig.o.blobs.remove(large.id)
        assert first + await answer.read() == WHOLE_LARGE


async def test_a_file_that_ends_early_ends_the_connection(
    admin: aiohttp.ClientSession, control: Control, large: NewMessage
) -> None:
    os.truncate(control.rig.o.blobs.path_of(large.id), 1000)
    async with admin.get(url(WHOLE_LARGE)) as answer:
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
    assert "octets early" in control.named("http.error")[-1].fields["reason"]
    assert control.named("http.handler-error") == []


async def test_a_reader_that_takes_nothing_is_cut_off(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "WRITE_TIMEOUT", 0.1)
    content = b"Subject: huge\r\n\r\n" + bytes(32 << 20)  # more than the buffers of a socket take
    await control.rig.o.queue.enqueue(control.rig.new(content=content))
    reader, writer = await asyncio.open_unix_connection(str(control.path), limit=1024)
    path = url(b"Received: y\r\n" + content)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    async with asyncio.timeout(10):
        while not control.named("http.request-url"):
            await asyncio.sleep(0.01)
    taken = 0
    try:
        while piece := await asyncio.wait_for(reader.read(1 << 16), 5):
            taken += len(piece)
    except ConnectionResetError:
        pass
    writer.close()
    assert taken < len(content)
    assert control.named("http.handler-error") == []
