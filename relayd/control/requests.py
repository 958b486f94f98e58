"""What surrounds every request: its id and events, the mapping of failures, and the checks before its handler.

No failure of ours reaches a client as more than its request id; the event that carries the id tells the operator where
it happened.  Paths are logged without their query string, which may hold tokens and addresses.
"""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from relayd.control.access import Caller, Gate
from relayd.control.answers import (
    BROKEN_BODY,
    FORBIDDEN,
    NOT_FOUND,
    TOO_LARGE,
    TOO_SLOW,
    UNAUTHORIZED,
    UNKNOWN_CODING,
    Failure,
    Problem,
)
from relayd.control.answers import failure as failure_answer
from relayd.control.answers import problem as problem_answer
from relayd.control.connection import origin_of, own_address
from relayd.control.hosts import Hosts
from relayd.control.limits import Limits, Slot, unlimited
from relayd.control.options import NATIVE, HttpOptions
from relayd.control.origin import ORIGIN, Origin
from relayd.control.refusals import form_of
from relayd.control.routes import BODY, CALLER, SLOT, SPAN, Door
from relayd.database.interface import DatabaseError
from relayd.directory.permissions import UNLIMITED_REQUESTS
from relayd.directory.refusals import DirectoryRefusal, OverTenantQuota
from relayd.events import http, limit, manage
from relayd.events.event import Span
from relayd.queue.failure import QueueUnavailable

OPEN = frozenset({"/healthz/live", "/healthz/ready"})
"""Routes that need no credentials, from anywhere, and are not counted: a supervisor asks them often."""

LOCAL = frozenset({"/metrics", "/metrics/prometheus"})
"""Routes that need none from this machine."""

METRICS = "metrics-list"
"""The permission that those need from elsewhere."""

_INTERNAL = (500, "Internal Server Error", "The request could not be carried out; the log has the reason.")
_UNAVAILABLE = (503, "Service Unavailable", "The queue cannot be written to now; the log has the reason.")
_NO_DATABASE = (503, "Service Unavailable", "The database cannot be read or written now; the log has the reason.")
_NUL = (400, "Invalid parameters", "a parameter holds a NUL octet")


def trace(span: Span, ids: Callable[[], int]) -> Middleware:
    """The outermost middleware: a span for the request, its events, and every failure as an answer.

    span: the daemon's.  ids: issues request ids.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[ORIGIN] = origin = origin_of(request)
        own = Span(span.stream, ids(), {"remoteIp": str(origin)})
        request[SPAN] = own
        answer = await _answer(request, handler, own)
        caller = request.get(CALLER)
        http.REQUEST_URL(
            own,
            url=request.path,
            code=answer.status,
            elapsed=own.stream.clock() - own.started,
            account_name=caller.name if caller is not None else None,
            id=request.method,
        )
        return answer

    return middleware


async def _answer(request: web.Request, handler: Handler, span: Span) -> web.StreamResponse:
    try:
        return await handler(request)
    except Failure as error:
        manage.ERROR(span, details=str(error), reason=str(error.body.get("details", "")))
        return failure_answer(error)
    except Problem as error:
        return problem_answer(error)
    except web.HTTPException as error:
        if error.status in (404, 405):
            return problem_answer(Problem(*NOT_FOUND))
        return problem_answer(Problem(error.status, None, error.reason))
    except DirectoryRefusal as refusal:
        form = form_of(refusal)
        if isinstance(refusal, OverTenantQuota):
            limit.TENANT_QUOTA(span, account_name=request[CALLER].name, reason=str(refusal))
        manage.ERROR(span, details=str(form), reason=str(refusal))
        return failure_answer(form) if isinstance(form, Failure) else problem_answer(form)
    except DatabaseError as error:
        http.ERROR(span, reason=f"a database does not answer: {error}", url=request.path)
        return problem_answer(Problem(*_NO_DATABASE), span.id)
    except QueueUnavailable as error:
        http.ERROR(span, reason=f"the queue cannot write: {error}", url=request.path)
        return problem_answer(Problem(*_UNAVAILABLE), span.id)
    except Exception as error:  # a bug, or a part that fails: the client learns the id, the log the place
        place = traceback.extract_tb(error.__traceback__)[-1]
        http.HANDLER_ERROR(span, reason=f"{error!r} in {place.name}, line {place.lineno}", url=request.path)
        return problem_answer(Problem(*_INTERNAL), span.id)


@dataclass(slots=True, kw_only=True)
class Checks:
    """What a request passes before its handler; a reload replaces options and hosts."""

    gate: Gate
    limits: Limits
    options: HttpOptions
    hosts: Hosts
    doors: dict[tuple[str, str], Door]

    def middleware(self) -> Middleware:
        """The middleware: host, pre-flight, ban, credentials, limits, body, and then the handler."""

        @web.middleware
        async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            origin, span = request[ORIGIN], request[SPAN]
            if not origin.is_unix:
                is_http10 = request.version < (1, 1)
                self.hosts.check(_hosts(request), own_address(request), is_http10)
            path = request.path
            if request.method == "OPTIONS" and (path == "/api" or path.startswith("/api/")):
                return web.Response(status=204)
            resource = request.match_info.route.resource
            route = resource.canonical if resource is not None else ""
            if route in OPEN:
                return await handler(request)
            self.gate.check_banned(origin, span)
            if resource is None:
                self.gate.scanned(origin, span, path)
            if route in LOCAL and origin.is_local:
                return await handler(request)
            door = self.doors.get((request.method, route))
            if door is not None and self._is_spoken(door.dialect, origin):
                if not door.counts:
                    self.limits.stranger(origin, span)
                return await handler(request)
            caller = request[CALLER] = await self.gate.caller(request, span)
            request[SLOT] = slot = self._slot(caller, origin, span)
            try:
                request[BODY] = await read_body(request, self.options.max_body, self.options.body_timeout)
                self._check_route(request, route, door, origin)
                return await handler(request)
            finally:
                slot.release()

        return middleware

    @contextlib.asynccontextmanager
    async def signed_in(self, request: web.Request, login: str, secret: str) -> AsyncIterator[Caller]:
        """Who signs in at a door, by its form: counted, while this lasts, as every caller is.  Raises Problem."""
        origin, span = request[ORIGIN], request[SPAN]
        if not login:
            self.limits.stranger(origin, span)
            raise Problem(*UNAUTHORIZED)
        with self.admitted(request, await self.gate.sign_in(request, span, login, secret)) as caller:
            yield caller

    @contextlib.contextmanager
    def admitted(self, request: web.Request, caller: Caller) -> Iterator[Caller]:
        """Who signed in at a door: counted, while this lasts, as every caller is.  Raises Problem."""
        request[CALLER] = caller
        request[SLOT] = slot = self._slot(caller, request[ORIGIN], request[SPAN])
        try:
            yield caller
        finally:
            slot.release()

    def _slot(self, caller: Caller, origin: Origin, span: Span) -> Slot:
        """The place of a request among those of its account; raises Problem."""
        if self.limits.is_exempt(origin) or caller.may(UNLIMITED_REQUESTS):
            return unlimited()
        account = (caller.identity.realm if caller.identity is not None else None, caller.name)
        self.limits.account(account, origin, span)
        return self.limits.enter(account)

    def _is_spoken(self, dialect: str, origin: Origin) -> bool:
        return not dialect or dialect in self.options.dialects or (dialect == NATIVE and origin.is_unix)

    def _check_route(self, request: web.Request, route: str, door: Door | None, origin: Origin) -> None:
        """Raise Problem for a route of a dialect that is switched off (404), and for parameters that are none."""
        if door is not None or (route.startswith("/api") and not self._is_spoken(NATIVE, origin)):
            raise Problem(*NOT_FOUND)
        if route in LOCAL and not request[CALLER].may(METRICS):
            raise Problem(*FORBIDDEN)
        if "%00" in request.rel_url.raw_query_string:
            raise Problem(*_NUL)


def doors(app: web.Application, opened: Iterable[Door]) -> dict[tuple[str, str], Door]:
    """Put doors into the application; by method and route."""
    found = {}
    for door in opened:
        app.router.add_route(door.method, door.path, door.handler)
        found[door.method, door.path] = door
    return found


def _hosts(request: web.BaseRequest) -> list[str]:
    """Whom the request is for; a target with a host of its own comes before the header (RFC 9112 section 3.2.2)."""
    given = request.headers.getall("Host", [])
    return [request.host] if len(given) == 1 else given


async def read_body(request: web.BaseRequest, most: int, timeout: float) -> bytes:
    """The octets of the body.  Raises Problem 413 when they are more than `most`, 408 after `timeout` seconds,
    400 and 501 when they do not come as the header says."""
    if request.headers.get("Transfer-Encoding", "chunked").lower() != "chunked":
        raise Problem(*UNKNOWN_CODING)
    if (request.content_length or 0) > most:
        raise _too_large(request, most)
    body = bytearray()
    try:
        async with asyncio.timeout(timeout):
            while chunk := await request.content.readany():
                body += chunk
                if len(body) > most:
                    raise _too_large(request, most)
    except TimeoutError:
        raise Problem(*TOO_SLOW) from None
    except (web.RequestPayloadError, ConnectionError):  # a client that left has no use for the answer; it is logged
        raise Problem(*BROKEN_BODY) from None
    return bytes(body)


def _too_large(request: web.BaseRequest, most: int) -> Problem:
    span = request.get(SPAN)
    if span is not None:
        limit.SIZE_REQUEST(span, size=request.content_length, limit=most)
    return Problem(*TOO_LARGE)
