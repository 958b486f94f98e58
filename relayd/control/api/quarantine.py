"""Held mail, looked at and decided about: `/api/quarantine`; not of the API that this one follows.

A message is shown as its header and its text parts, decoded, bounded and without controls: nothing of it is ever
markup here.  Releasing one tells the statistical model that it was ham, deleting one that it was spam, unless `report`
says otherwise.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypedDict

from relayd.blobs.source import BodySource
from relayd.control.answers import Failure, Problem
from relayd.control.api.steering import OwnersOf, everybodys
from relayd.control.queries import TEXT, PageQuery, parameter
from relayd.control.routes import Call, Route
from relayd.events import manage
from relayd.mail.reading import MAX_MESSAGE, Part, decode_words, read_parts
from relayd.mail.snowflake import parse_snowflake
from relayd.queue.failure import BodyMissing
from relayd.queue.filter import Filter, Kind
from relayd.queue.message import Message
from relayd.telemetry.render import rfc3339

Verdict = Literal["spam", "ham"]
Learn = Callable[[bytes, Verdict, bool], Awaitable[bool]]
"""Has the model learn a message.  The last argument: nobody asked for it in so many words.  False: it did not."""

MAX_FIELDS = 200
MAX_VALUE = 2000
MAX_PARTS = 20
MAX_TEXT = 20_000
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


class HeldItem(TypedDict):
    """A held message.  by: who holds it."""

    id: int
    since: str
    by: str
    reason: str
    sender: str
    recipients: list[str]
    size: int


class HeldItems(TypedDict):
    """Held messages, the oldest first."""

    items: list[HeldItem]
    total: int


class HeldField(TypedDict):
    """A header field, decoded."""

    name: str
    value: str


class HeldPart(TypedDict):
    """A part.  text: of text parts alone, null of others."""

    type: str
    name: str
    size: int
    text: str | None


class HeldContent(HeldItem):
    """A held message and what is in it.  is_cut: there is more of it than is shown."""

    header: list[HeldField]
    parts: list[HeldPart]
    is_cut: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportQuery:
    """What is learnt of it."""

    report: str | None = parameter(TEXT, "`spam`, `ham`, or `none`: nothing. Absent: as the decision implies.")


class QueueOfHeld(Protocol):
    """What this asks of the queue."""

    async def list(
        self, filter: Filter, offset: int, limit: int | None, max_total: int
    ) -> tuple[Sequence[int], int]: ...
    async def get_many(self, ids: Sequence[int]) -> Sequence[Message]: ...


class BodiesOfHeld(Protocol):
    """The octets of messages."""

    async def open_body(self, message_id: int) -> BodySource: ...


class ActionsOnHeld(Protocol):
    """What it asks to change."""

    async def remove(self, filter: Filter, by: str, reason: str = "", *, purge: bool = False) -> int: ...
    async def release(self, filter: Filter, by: str) -> int: ...


class QuarantineOperations:
    """The handlers.  learn: None: nothing is learnt; nor is what a tenant decides, for the model is everybody's.
    owners_of: whose mail a caller of a tenant may see.
    """

    def __init__(
        self,
        queue: QueueOfHeld,
        bodies: BodiesOfHeld,
        actions: ActionsOnHeld,
        learn: Learn | None,
        owners_of: OwnersOf = everybodys,
    ) -> None:
        self._queue = queue
        self._bodies = bodies
        self._actions = actions
        self._learn = learn
        self._owners_of = owners_of

    def routes(self) -> Iterator[Route]:
        """Every operation of the area."""
        yield Route(
            method="GET",
            path="/quarantine",
            handler=self.list,
            summary="Held messages",
            permission="message-queue-list",
            area="quarantine",
            query=PageQuery,
            answer=HeldItems,
        )
        yield Route(
            method="GET",
            path="/quarantine/{id}",
            permission="message-queue-get",
            handler=self.show,
            summary="What is in a held message",
            area="quarantine",
            answer=HeldContent,
        )
        for method, path, permission, handler, summary in (
            ("POST", "/quarantine/{id}/release", "message-queue-update", self.release, "Let a held message go"),
            ("DELETE", "/quarantine/{id}", "message-queue-delete", self.delete, "Delete a held message"),
            ("POST", "/quarantine/{id}/report", "message-queue-update", self.report, "Say what a held message is"),
        ):
            yield Route(
                method=method,
                path=path,
                permission=permission,
                handler=handler,
                summary=summary,
                area="quarantine",
                query=ReportQuery,
                answer=bool,
            )

    async def list(self, call: Call) -> HeldItems:
        """Held messages, the oldest first."""
        page: PageQuery = call.query
        filter = Filter(kind=Kind.HELD, owners=await self._owners_of(call.caller))
        ids, total = await self._queue.list(filter, page.offset, page.size, 0)
        return HeldItems(items=[_item(each) for each in await self._queue.get_many(ids)], total=total)

    async def show(self, call: Call) -> HeldContent:
        """Header and text parts; that they were read is noted."""
        message = await self._message(call)
        octets = await self._octets(message)
        self._note(call, "message.read", message, len(octets))
        header, parts = await asyncio.to_thread(_read, octets)
        return HeldContent(
            **_item(message), header=header, parts=parts, is_cut=message.size > MAX_MESSAGE or len(parts) == MAX_PARTS
        )

    async def release(self, call: Call) -> bool:
        """It goes out; learnt as ham."""
        message = await self._message(call)
        await self._report(call, message, "ham")
        done = await self._actions.release(Filter(ids=[message.id], kind=Kind.HELD), call.caller.name)
        self._note(call, "quarantine.release", message, done)
        return bool(done)

    async def delete(self, call: Call) -> bool:
        """It is removed; learnt as spam."""
        message = await self._message(call)
        await self._report(call, message, "spam")
        which = Filter(ids=[message.id], kind=Kind.HELD)
        done = await self._actions.remove(which, call.caller.name, "deleted from the quarantine")
        self._note(call, "quarantine.delete", message, done)
        return bool(done)

    async def report(self, call: Call) -> bool:
        """It stays; learnt as `report` says.  Whether it was learnt."""
        query: ReportQuery = call.query
        if query.report not in ("spam", "ham"):
            raise Problem(400, "Invalid parameters", "report: expected spam or ham")
        message = await self._message(call)
        learnt = await self._report(call, message, None)
        self._note(call, f"quarantine.report-{query.report}", message, int(learnt))
        return learnt

    async def _message(self, call: Call) -> Message:
        id = parse_snowflake(call.path["id"])
        ids: Sequence[int] = ()
        if id is not None and id < 1 << 63:
            filter = Filter(ids=[id], kind=Kind.HELD, owners=await self._owners_of(call.caller))
            ids, _ = await self._queue.list(filter, 0, 1, 0)
        found = await self._queue.get_many(ids) if ids else ()
        if not found or found[0].hold is None or found[0].deletion is not None:
            raise Failure("notFound", item=call.path["id"])
        return found[0]

    async def _octets(self, message: Message) -> bytes:
        try:
            body = await self._bodies.open_body(message.id)
        except BodyMissing:
            raise Failure("notFound", item=str(message.id)) from None
        try:
            octets = b""
            while len(octets) < MAX_MESSAGE and (more := await body.read(MAX_MESSAGE - len(octets))):
                octets += more
            return octets
        finally:
            body.close()

    async def _report(self, call: Call, message: Message, implied: Verdict | None) -> bool:
        query: ReportQuery = call.query
        given = query.report
        if given not in (None, "spam", "ham", "none"):
            raise Problem(400, "Invalid parameters", "report: expected spam, ham or none")
        verdict = implied if given is None else given
        if self._learn is None or call.caller.tenant or verdict in (None, "none"):
            return False
        octets = await self._octets(message)
        return await self._learn(octets, "spam" if verdict == "spam" else "ham", given is None)

    def _note(self, call: Call, action: str, message: Message, total: int) -> None:
        manage.ACTION(
            call.span,
            account_name=call.caller.name,
            type_=action,
            details=str(message.id),
            total=total,
            reason="" if message.hold is None else message.hold.reason,
        )


def _item(message: Message) -> HeldItem:
    hold = message.hold
    return HeldItem(
        id=message.id,
        since="" if hold is None else rfc3339(hold.since),
        by="" if hold is None else hold.by,
        reason="" if hold is None else hold.reason,
        sender=message.return_path,
        recipients=[each.address for each in message.recipients],
        size=message.size,
    )


def _read(octets: bytes) -> tuple[list[HeldField], list[HeldPart]]:
    parts = read_parts(octets)
    header = [
        HeldField(name=each.name, value=_plain(decode_words(each.value), MAX_VALUE))
        for each in parts[0].header.fields[:MAX_FIELDS]
        if each.name
    ] if parts else []  # fmt: skip
    return header, [_part(each) for each in parts[1 : MAX_PARTS + 1]]


def _part(part: Part) -> HeldPart:
    is_text = part.content_type.startswith("text/")
    disposition = part.header.first("Content-Disposition") or part.header.first("Content-Type") or b""
    return HeldPart(
        type=_plain(part.content_type, 100),
        name=_plain(decode_words(_name(disposition)), 200),
        size=len(part.body),
        text=_plain(part.text, MAX_TEXT) if is_text else None,
    )


_NAME = re.compile(rb"\b(?:file)?name\*?=(?:\"([^\"]{0,300})|([^\s;]{1,300}))", re.I)


def _name(value: bytes) -> bytes:
    found = _NAME.search(value[:4096])
    return (found[1] or found[2] or b"") if found else b""


def _plain(text: str, most: int) -> str:
    """Without controls and what turns text around."""
    return _CONTROLS.sub("\ufffd", text[:most])
