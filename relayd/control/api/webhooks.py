"""Webhooks: how far each is, sending again, a test: `/api/webhooks`, of our own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypedDict

import msgspec

from relayd.control.answers import NOT_FOUND, Failure, Problem, other
from relayd.control.queries import parse_time
from relayd.control.routes import Call, Route
from relayd.database.interface import DatabaseError
from relayd.telemetry.render import rfc3339
from relayd.webhooks.webhooks import State, UnknownWebhook, Webhooks


class WebhookItem(TypedDict):
    """One webhook.  offset: the id of the last event that it took (or that was passed over).

    pending: events that wait.  newest: the id of the last event in the log.  failures: posts that failed since the
    last that was taken.
    """

    id: str
    url: str
    events: list[str]
    signed: bool
    offset: int
    newest: int
    pending: int
    taken: int
    last_taken: str | None
    failures: int
    failing_since: str | None
    next_attempt: str | None
    last_error: str


class WebhookItems(TypedDict):
    """The webhooks of the configuration."""

    items: list[WebhookItem]
    total: int


class ReplayBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """From where to send again: after the event of id `offset` (0: everything in the log), or from the time `since`."""

    offset: int | None = None
    since: str | None = None


class TestAnswer(TypedDict):
    """How a test went.  status: of the answer, 0 without one.  reason: why it was not taken."""

    taken: bool
    status: int
    reason: str
    elapsed: int


class WebhookOperations:
    """The handlers.  webhooks: None where this relay has none."""

    def __init__(self, webhooks: Webhooks | None) -> None:
        self._given = webhooks

    def routes(self) -> Iterator[Route]:
        """Every operation of the area."""
        yield Route(
            method="GET",
            path="/webhooks",
            permission="webhook-list",
            handler=self.list,
            summary="The webhooks, and how far each is",
            area="webhooks",
            answer=WebhookItems,
        )
        yield Route(
            method="GET",
            path="/webhooks/{id}",
            permission="webhook-list",
            handler=self.get,
            summary="One webhook",
            area="webhooks",
            answer=WebhookItem,
        )
        yield Route(
            method="POST",
            path="/webhooks/{id}/replay",
            permission="webhook-update",
            handler=self.replay,
            summary="Send events again",
            area="webhooks",
            body=ReplayBody,
            answer=WebhookItem,
            explains=True,
        )
        yield Route(
            method="POST",
            path="/webhooks/{id}/test",
            permission="webhook-update",
            handler=self.test,
            summary="Post a test event",
            area="webhooks",
            answer=TestAnswer,
        )

    @property
    def _webhooks(self) -> Webhooks:
        if self._given is None:
            raise Failure("unsupported", details="This relay has no webhooks")
        return self._given

    async def list(self, call: Call) -> WebhookItems:
        """The webhooks of the configuration."""
        try:
            items = [_item(each) for each in await self._webhooks.states()]
        except DatabaseError as error:
            raise _unusable(error) from error
        return WebhookItems(items=items, total=len(items))

    async def get(self, call: Call) -> WebhookItem:
        """One webhook."""
        try:
            return _item(await self._webhooks.state(call.path["id"]))
        except UnknownWebhook:
            raise Problem(*NOT_FOUND) from None
        except DatabaseError as error:
            raise _unusable(error) from error

    async def replay(self, call: Call) -> WebhookItem:
        """Send again what the log still has; an offset ahead passes events over."""
        given: ReplayBody = call.body
        since = parse_time(given.since) if given.since is not None else None
        if (given.offset is None) == (given.since is None):
            raise Problem(400, "Invalid parameters", "give offset or since")
        if given.since is not None and since is None:
            raise Problem(400, "Invalid parameters", "since: expected an RFC 3339 time")
        if given.offset is not None and not 0 <= given.offset < 1 << 63:
            raise Problem(400, "Invalid parameters", "offset: expected the id of an event, or 0")
        try:
            return _item(
                await self._webhooks.replay(call.path["id"], call.caller.name, after=given.offset, since=since)
            )
        except UnknownWebhook:
            raise Problem(*NOT_FOUND) from None
        except DatabaseError as error:
            raise _unusable(error) from error

    async def test(self, call: Call) -> TestAnswer:
        """Post an event `telemetry.webhook-test` at once; nothing else waits for it, or is moved by it."""
        clock = call.span.stream.clock
        started = clock()
        try:
            posted = await self._webhooks.test(call.path["id"])
        except UnknownWebhook:
            raise Problem(*NOT_FOUND) from None
        elapsed = round((clock() - started) * 1000)
        return TestAnswer(taken=posted.is_taken, status=posted.status, reason=posted.reason, elapsed=elapsed)


def _item(state: State) -> WebhookItem:
    position = state.position
    return WebhookItem(
        id=state.endpoint.id,
        url=state.endpoint.shown_url,
        events=list(state.patterns),
        signed=state.endpoint.key is not None,
        offset=position.position,
        newest=state.newest,
        pending=state.pending,
        taken=position.taken,
        last_taken=_time(position.last_taken),
        failures=state.failures,
        failing_since=_time(state.failing_since),
        next_attempt=_time(state.next_attempt),
        last_error=state.last_error,
    )


def _time(at: float | None) -> str | None:
    return rfc3339(at) if at is not None else None


def _unusable(error: DatabaseError) -> Failure:
    return other("The log of events for webhooks cannot be used now", str(error))
