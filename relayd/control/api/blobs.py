"""`GET /api/store/blobs/{blob_id}`: the octets of a message, found by the hash that the queue shows (operation 45).

`offset` and `limit` choose a part, and a Range header a part of that.  Bodies in files are sent piece by piece.  A
message that is delivered or removed meanwhile is sent to its end all the same: its octets are in memory, or its file is
open.  Who read what is an event: it is people's mail.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from relayd.blobs.source import BodySource
from relayd.blobs.spool import BlobError
from relayd.control.answers import Failure, Problem
from relayd.control.answers import problem as problem_answer
from relayd.control.queries import NUMBER, parameter
from relayd.control.ranges import Unsatisfiable, parse_range
from relayd.control.routes import OCTETS, Call, Route
from relayd.control.streaming import cut_off, write
from relayd.events import http, manage
from relayd.queue.failure import BodyMissing

_PIECE = 256 << 10
_HASH = 32
_BAD_HASH = (400, "Invalid parameters", "Base64 decoding failed")
_NOT_IN_IT = (416, "Range Not Satisfiable", "The body has none of the octets that the Range header asks for.")


class Bodies(Protocol):
    """What this asks of the queue (`relayd.queue.store.Queue`)."""

    async def with_hash(self, blob_hash: str) -> Sequence[int]: ...
    async def open_body(self, message_id: int) -> BodySource: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PartQuery:
    """Which part of a body."""

    offset: int | None = parameter(NUMBER, "Octets before the part.")
    limit: int | None = parameter(NUMBER, "Octets of the part; 0 or absent: to the end.")

    def of(self, size: int) -> tuple[int, int]:
        """Offset and number of octets, of a body of `size`."""
        start = min(self.offset or 0, size)
        return start, min(self.limit or size, size - start)


class BlobOperations:
    """The handler."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies

    def routes(self) -> Iterator[Route]:
        """Every operation of the area."""
        for method, summary in (("GET", "The octets of a message"), ("HEAD", "How many octets a message has")):
            yield Route(
                method=method,
                path="/store/blobs/{blob_id}",
                permission="blob-fetch",
                handler=self.fetch,
                summary=summary,
                area="store",
                query=PartQuery,
                answer=bytes,
                media=OCTETS,
                operation=45,
            )

    async def fetch(self, call: Call) -> web.StreamResponse:
        """45: by the hash of the content, base64url of 43 characters.  A Range header chooses a part (206, 416)."""
        blob_hash = _parse_hash(call.path["blob_id"])
        found = await self._open(blob_hash)
        if found is None:
            raise _not_found()
        id, source = found
        try:
            return await _send(call, blob_hash, id, source)
        finally:
            source.close()

    async def _open(self, blob_hash: str) -> tuple[int, BodySource] | None:
        """The first message of this hash whose octets are there."""
        for id in await self._bodies.with_hash(blob_hash):
            try:
                return id, await self._bodies.open_body(id)
            except BodyMissing:
                continue  # delivered since, or damaged: another may have the same octets
        return None


def _not_found() -> Failure:
    return Failure("notFound", item="")


def _parse_hash(text: str) -> str:
    """The hash, in its one spelling.  Raises Problem 400 for what is no base64, Failure for what is no hash."""
    try:
        # strictly: urlsafe_b64decode passes over what is not of the alphabet
        octets = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise Problem(*_BAD_HASH) from None
    if base64.urlsafe_b64encode(octets).rstrip(b"=").decode() != text:
        raise Problem(*_BAD_HASH)
    if len(octets) != _HASH:
        raise _not_found()
    return text


async def _send(call: Call, blob_hash: str, id: int, source: BodySource) -> web.StreamResponse:
    request = call.request
    start, length = call.query.of(source.size)
    headers = {
        "Content-Type": OCTETS,
        "Content-Disposition": f'attachment; filename="{blob_hash}.eml"',
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, no-store",
        "Accept-Ranges": "bytes",
        "ETag": f'"{blob_hash}"',
    }
    try:
        wanted = _range(request, headers["ETag"], length)
    except Unsatisfiable:
        answer = problem_answer(Problem(*_NOT_IN_IT))
        answer.headers["Content-Range"] = f"bytes */{length}"
        return answer
    if wanted is not None:
        first, count = wanted
        headers["Content-Range"] = f"bytes {first}-{first + count - 1}/{length}"
        start, length = start + first, count
    response = web.StreamResponse(status=200 if wanted is None else 206, headers=headers)
    response.content_length = length
    if request.method == "HEAD":
        length = 0
    else:
        _audit(call, blob_hash, id, length)
    await _stream(call, response, source, (start, length))
    return response


def _range(request: web.Request, etag: str, size: int) -> tuple[int, int] | None:
    headers = request.headers
    if request.method == "HEAD" or len(headers.getall("Range", [])) != 1 or headers.get("If-Range", etag) != etag:
        return None
    return parse_range(headers["Range"], size)


async def _stream(call: Call, response: web.StreamResponse, source: BodySource, part: tuple[int, int]) -> None:
    """Write a part (offset, octets) of a body; a client that does not read, or a file that ends early, is cut off."""
    start, left = part
    source.seek(start)
    try:
        await response.prepare(call.request)
        while left:
            piece = await source.read(min(left, _PIECE))
            if not piece:
                raise BlobError(f"a body ends {left} octets early")
            left -= len(piece)
            await write(response, piece)
        await response.write_eof()
    except (TimeoutError, ConnectionError):
        cut_off(call.request)
    except BlobError as error:
        cut_off(call.request)
        http.ERROR(call.span, reason=str(error), url=call.request.path)


def _audit(call: Call, blob_hash: str, id: int, octets: int) -> None:
    details = f"read body of {id}, {blob_hash}"
    manage.ACTION(
        call.span, account_name=call.caller.name, type_="message.read", details=details, total=octets, reason=""
    )
