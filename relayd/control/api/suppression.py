"""The suppression list: `/api/suppression`; no operations of the API that this one follows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypedDict

import msgspec

from relayd.control.answers import NOT_FOUND, Failure, Problem, other
from relayd.control.queries import FLAG, NUMBER, TEXT, TIME, PageQuery, parameter, parse_time
from relayd.control.routes import Call, Route
from relayd.database.interface import DatabaseError
from relayd.events import manage
from relayd.mail.address import AddressError, check_domain, parse_address
from relayd.reputation.suppression import ListFull, SuppressionList
from relayd.reputation.suppression_rows import GLOBAL, OPERATOR, Entry, Filter
from relayd.telemetry.render import rfc3339

_SAMPLE = 10
_CAUSE = re.compile(r"[a-z][a-z0-9-]{0,40}", re.A)
_MAX_NOTE = 500
_MAX_NAME = 255


class EvidenceItem(TypedDict):
    """The refusal that an entry rests on; empty where somebody made it by hand."""

    queue_id: int
    host: str
    code: int
    enhanced: str
    reply: str
    rule: str


class SuppressionItem(TypedDict):
    """One entry.  until: null when it does not end by itself.  by: who made it, "" for relayd."""

    id: int
    scope: str
    address: str
    cause: str
    since: str
    until: str | None
    times: int
    by: str
    note: str
    evidence: EvidenceItem


class SuppressionItems(TypedDict):
    """Entries in force, the newest first.  enabled: whether the list is put to use."""

    items: list[SuppressionItem]
    total: int
    enabled: bool


class Undone(TypedDict):
    """How many entries were, or with dry-run would be, undone; a sample of the latter."""

    matched: int
    sample: list[SuppressionItem]


class NewSuppression(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """An entry to make.  address: a mailbox, or "@domain".  scope: "global", "account:NAME" or "domain:NAME".

    until: an RFC 3339 time, null for an entry that does not end by itself.
    """

    address: str
    scope: str = GLOBAL
    cause: str = OPERATOR
    note: str = ""
    until: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionQuery(PageQuery):
    """Which entries; all conditions given must hold."""

    address: str | None = parameter(TEXT, 'This address, or "@domain".')
    text: str | None = parameter(TEXT, "In the address.", aliases=("filter",))
    scope: str | None = parameter(TEXT, 'Of this scope: "global", "account:NAME" or "domain:NAME".')
    cause: str | None = parameter(TEXT, "Of this cause.")
    rule: str | None = parameter(TEXT, "Made because of this rule of bounces.")
    host: str | None = parameter(TEXT, "Made because of what this host, or one in this domain, said.")
    since: float | None = parameter(TIME, "Made or renewed at this time or later.")
    until: float | None = parameter(TIME, "Made or renewed before this time.")
    id: int | None = parameter(NUMBER, "Of this id.")

    def filter(self) -> Filter:
        """The conditions, without the page."""
        return Filter(
            id=self.id,
            address=self.address,
            text=self.text,
            scope=self.scope,
            cause=self.cause,
            rule=self.rule,
            host=self.host,
            since=self.since,
            until=self.until,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoQuery(SuppressionQuery):
    """Which entries are undone: at least one condition, or `all`."""

    dry_run: bool = parameter(FLAG, "Only say what would be undone.")
    all: bool = parameter(FLAG, "The whole list.")


class SuppressionOperations:
    """The handlers.  suppressions: None where this relay keeps none.  clock: Unix time."""

    def __init__(self, suppressions: SuppressionList | None, clock: Callable[[], float]) -> None:
        self._given = suppressions
        self._clock = clock

    def routes(self) -> Iterator[Route]:
        """Every operation of the area."""
        yield Route(
            method="GET",
            path="/suppression",
            permission="suppression-list",
            handler=self.list,
            summary="The recipients that are not sent to",
            area="suppression",
            query=SuppressionQuery,
            answer=SuppressionItems,
        )
        yield Route(
            method="POST",
            path="/suppression",
            permission="suppression-create",
            handler=self.add,
            summary="Suppress a recipient",
            area="suppression",
            body=NewSuppression,
            answer=SuppressionItem,
            explains=True,
        )
        yield Route(
            method="DELETE",
            path="/suppression",
            permission="suppression-delete",
            handler=self.undo,
            summary="Undo entries by cause, rule, host, time or address",
            area="suppression",
            query=UndoQuery,
            answer=Undone,
            strict=True,
        )
        yield Route(
            method="GET",
            path="/suppression/{id}",
            permission="suppression-list",
            handler=self.get,
            summary="One entry with its evidence",
            area="suppression",
            answer=SuppressionItem,
        )
        yield Route(
            method="DELETE",
            path="/suppression/{id}",
            permission="suppression-delete",
            handler=self.remove,
            summary="Undo one entry",
            area="suppression",
            answer=bool,
        )

    @property
    def _list(self) -> SuppressionList:
        if self._given is None:
            raise Failure("unsupported", details="This relay keeps no suppression list")
        return self._given

    async def list(self, call: Call) -> SuppressionItems:
        """The entries in force, the newest first."""
        query: SuppressionQuery = call.query
        try:
            found, total = await self._list.list(query.filter(), query.offset, query.size)
        except DatabaseError as error:
            raise _unusable(error) from error
        return SuppressionItems(items=[_item(each) for each in found], total=total, enabled=self._list.is_active)

    async def get(self, call: Call) -> SuppressionItem:
        """One entry."""
        try:
            found, _ = await self._list.list(Filter(id=_id(call)), limit=1)
        except DatabaseError as error:
            raise _unusable(error) from error
        if not found:
            raise Problem(*NOT_FOUND)
        return _item(found[0])

    async def add(self, call: Call) -> SuppressionItem:
        """Make an entry; one that is there for the same address and scope is replaced."""
        given: NewSuppression = call.body
        now = self._clock()
        entry = Entry(
            scope=_scope(given.scope),
            address=_address(given.address),
            cause=_word(given.cause),
            since=now,
            until=_end(given.until, now),
            by=call.caller.name,
            note=" ".join(given.note.split())[:_MAX_NOTE],
        )
        try:
            made = await self._list.add(entry)
        except ListFull as error:
            raise other(str(error), "raise queue.suppression.max-entries, or undo entries") from error
        except DatabaseError as error:
            raise _unusable(error) from error
        assert made is not None  # only what relayd finds out gives way to what is there
        return _item(made)

    async def undo(self, call: Call) -> Undone:
        """Undo what matches, in one transaction."""
        query: UndoQuery = call.query
        filter = query.filter()
        if filter.is_empty and not query.all:
            raise Problem(400, "Invalid parameters", "give a condition such as cause, or all=1")
        try:
            if query.dry_run:
                found, total = await self._list.list(filter, limit=_SAMPLE)
                return Undone(matched=total, sample=[_item(each) for each in found])
            matched = await self._list.remove(filter, call.caller.name, "")
        except DatabaseError as error:
            raise _unusable(error) from error
        manage.ACTION(
            call.span,
            account_name=call.caller.name,
            type_="undo-suppression",
            details=filter.where()[0],
            total=matched,
            reason="",
        )
        return Undone(matched=matched, sample=[])

    async def remove(self, call: Call) -> bool:
        """Undo one entry."""
        try:
            matched = await self._list.remove(Filter(id=_id(call)), call.caller.name, "")
        except DatabaseError as error:
            raise _unusable(error) from error
        if not matched:
            raise Problem(*NOT_FOUND)
        return True


def _item(entry: Entry) -> SuppressionItem:
    why = entry.evidence
    return SuppressionItem(
        id=entry.id,
        scope=entry.scope,
        address=entry.address,
        cause=entry.cause,
        since=rfc3339(entry.since),
        until=rfc3339(entry.until) if entry.until is not None else None,
        times=entry.times,
        by=entry.by,
        note=entry.note,
        evidence=EvidenceItem(
            queue_id=why.queue_id,
            host=why.host,
            code=why.code,
            enhanced=why.enhanced,
            reply=why.reply,
            rule=why.rule,
        ),
    )


def _id(call: Call) -> int:
    text = call.path["id"]
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Problem(*NOT_FOUND)
    return int(text)


def _address(text: str) -> str:
    text = text.strip()
    try:
        if text.startswith("@"):
            check_domain(text[1:], True)
            return text
        address = parse_address(text, smtputf8=True)
    except AddressError as error:
        raise Problem(400, "Invalid parameters", f"address: {error.text}") from None
    if "@" not in address:
        raise Problem(400, "Invalid parameters", "address: it needs a domain")
    return address


def _scope(text: str) -> str:
    kind, colon, name = text.strip().partition(":")
    if (kind == GLOBAL and not colon) or (kind == "account" and 0 < len(name) <= _MAX_NAME):
        return text.strip()
    if kind == "domain" and name:
        try:
            check_domain(name, True)
        except AddressError as error:
            raise Problem(400, "Invalid parameters", f"scope: {error.text}") from None
        return f"domain:{name.lower()}"
    raise Problem(400, "Invalid parameters", "scope: expected global, account:NAME or domain:NAME")


def _word(text: str) -> str:
    if _CAUSE.fullmatch(text) is None:
        raise Problem(400, "Invalid parameters", "cause: expected a lower-case word such as operator or complaint")
    return text


def _end(text: str | None, now: float) -> float | None:
    if text is None:
        return None
    at = parse_time(text)
    if at is None or at <= now:
        raise Problem(400, "Invalid parameters", "until: expected an RFC 3339 time to come")
    return at


def _unusable(error: DatabaseError) -> Failure:
    return other("The suppression list cannot be used now", str(error))
