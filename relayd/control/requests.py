"""What surrounds every request: its id and events, the mapping of failures, the check of credentials.

No failure of ours reaches a client as more than its request id; the event that carries the id tells the operator where
it happened.  Paths are logged without their query string, which may hold tokens and addresses.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from relayd.control.access import Gate, is_local, remote_address
from relayd.control.answers import NOT_FOUND, TOO_LARGE, TOO_SLOW, UNAUTHORIZED, Failure, Problem
from relayd.control.answers import failure as failure_answer
from relayd.control.answers import problem as problem_answer
from relayd.control.api import description
from relayd.control.routes import BODY, CALLER, SPAN
from relayd.events import auth, http, limit, manage
from relayd.events.event import Span
from relayd.queue.failure import QueueUnavailable

OPEN = frozenset({"/healthz/live", "/healthz/ready"}) | description.OPEN
"""Paths that need no credentials, from anywhere."""

LOCAL = frozenset({"/metrics", "/metrics/prometheus"})
"""Paths that need none from this machine."""

_INTERNAL = (500, "Internal Server Error", "The request could not be carried out; the log has the reason.")
_UNAVAILABLE = (503, "Service Unavailable", "The queue cannot be written to now; the log has the reason.")


def trace(span: Span, ids: Callable[[], int]) -> Middleware:
    """The outermost middleware: a span for the request, its events, and every failure as an answer.

    span: the daemon's.  ids: issues request ids.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        own = Span(span.stream, ids(), {"remoteIp": remote_address(request)})
        request[SPAN] = own
        answer = await _answer(request, handler, own)
        if not answer.prepared:
            answer.headers["X-Request-Id"] = str(own.id)
            answer.headers["Server"] = "relayd"
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
    except web.HTTPRequestEntityTooLarge:
        limit.SIZE_REQUEST(span, limit=request.client_max_size)
        return problem_answer(Problem(*TOO_LARGE))
    except web.HTTPException as error:
        if error.status in (404, 405):
            return problem_answer(Problem(*NOT_FOUND))
        return problem_answer(Problem(error.status, None, error.reason))
    except QueueUnavailable as error:
        http.ERROR(span, reason=f"the queue cannot write: {error}", url=request.path)
        return problem_answer(Problem(*_UNAVAILABLE), span.id)
    except Exception as error:  # a bug, or a part that fails: the client learns the id, the log the place
        place = traceback.extract_tb(error.__traceback__)[-1]
        http.HANDLER_ERROR(span, reason=f"{error!r} in {place.name}, line {place.lineno}", url=request.path)
        return problem_answer(Problem(*_INTERNAL), span.id)


def guard(gate: Gate, body_timeout: float) -> Middleware:
    """The middleware that asks for credentials before anything else is looked at, then reads the body."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        path = request.path
        if request.method == "OPTIONS" and (path == "/api" or path.startswith("/api/")):
            return web.Response(status=204)
        if path in OPEN or (path in LOCAL and is_local(request)):
            return await handler(request)
        try:
            request[CALLER] = await gate.caller(request)
        except Problem as error:
            if error.status == UNAUTHORIZED[0] and "Authorization" in request.headers:
                auth.FAILED(request[SPAN], account_name="", type_="http", remote_ip=remote_address(request))
            raise
        request[BODY] = await read_body(request, body_timeout)
        return await handler(request)

    return middleware


async def read_body(request: web.Request, timeout: float) -> bytes:
    """The octets of the body.  Raises Problem 413 when they are too many, 408 after `timeout` seconds."""
    try:
        async with asyncio.timeout(timeout):
            return await request.read()
    except TimeoutError:
        raise Problem(*TOO_SLOW) from None
