"""How an area declares its routes, and what every route goes through."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

import msgspec
from aiohttp import web

from relayd.control.access import Caller
from relayd.control.answers import BAD_JSON, FORBIDDEN, NOT_FOUND, Failure, Problem, data
from relayd.control.limits import Slot
from relayd.control.options import NATIVE
from relayd.control.queries import NoQuery, decode
from relayd.events import security
from relayd.events.event import Span

CALLER = web.RequestKey("caller", Caller)
"""Who asks; absent where the route is open to all."""

SPAN = web.RequestKey("span", Span)
"""The request's span; its id is the request id."""

BODY = web.RequestKey("body", bytes)
"""The octets of the body, read before the route is looked at."""

SLOT = web.RequestKey("slot", Slot)
"""The request's place among the concurrent ones of its account."""

JSON = "application/json"
OCTETS = "application/octet-stream"
EVENTS = "text/event-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request to a route, decoded.  path: the elements of the path by name; query and body: as declared."""

    request: web.Request
    caller: Caller
    span: Span
    path: Mapping[str, str]
    query: Any
    body: Any


Handler = Callable[[Call], Awaitable[Any]]
"""Answers the value that goes under `data`, or a complete response; raises Problem or Failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One operation.

    method, path: below `/api`, in aiohttp's pattern syntax.  permission: that it needs; with `or_permission`, either;
    with `or_permissions` any of them, and the handler knows which it takes.
    summary, area: what the description says of it.  query: a class of declared parameters.  body: the type of the JSON
    body (an empty body is its defaults), `bytes` for the octets as they are, None where a body means nothing.  answer:
    the type of what stands under `data`; with `bare`, of the whole answer.  media: of the answer.  strict: a parameter
    that cannot be read is refused.  operation: its number in the API it comes from, 0 for ours.  available: False for
    what a later version brings.  explains: a body that cannot be decoded is answered with the decoder's words.
    """

    method: str
    path: str
    permission: str
    handler: Handler
    summary: str
    area: str
    query: type[Any] = NoQuery
    body: Any = None
    answer: Any = None
    media: str = JSON
    strict: bool = False
    operation: int = 0
    available: bool = True
    or_permission: str = ""
    or_permissions: tuple[str, ...] = ()
    bare: bool = False
    explains: bool = False

    @property
    def opened_by(self) -> tuple[str, ...]:
        """The permissions of which one lets a caller in."""
        either = (self.or_permission,) if self.or_permission else ()
        return (self.permission, *either, *self.or_permissions)

    async def respond(self, request: web.Request) -> web.StreamResponse:
        """Check the permission, decode, let the handler answer."""
        caller, span = request[CALLER], request[SPAN]
        if not any(caller.may(each) for each in self.opened_by):
            security.UNAUTHORIZED(span, account_name=caller.name, id=self.permission, path=request.path)
            raise Problem(*FORBIDDEN)
        if not self.available:
            raise Failure("unsupported", details="Not available in this version")
        call = Call(
            request=request,
            caller=caller,
            span=span,
            path=self._elements(request),
            query=decode(self.query, dict(request.query.items()), strict=self.strict),
            body=self._body(request.get(BODY, b"")),
        )
        value = await self.handler(call)
        return value if isinstance(value, web.StreamResponse) else data(value)

    def _elements(self, request: web.Request) -> dict[str, str]:
        """The path's elements, decoded as the API says: percent-decoding, "+" is a blank, "=" and "&" end it.

        Raises Problem 404 for one that no thing can be named.
        """
        if not request.match_info:
            return {}
        raw = request.rel_url.raw_path.split("/")[1:]  # "api" in front, however it was written
        found = {}
        for number, part in enumerate(self.path.split("/")):
            if part.startswith("{"):
                name, _, pattern = part[1:-1].partition(":")
                found[name] = element("/".join(raw[number:]) if pattern else raw[number])
        if any("\0" in each for each in found.values()):
            raise Problem(*NOT_FOUND)
        return found

    def _body(self, octets: bytes) -> Any:
        if self.body is None:
            return None
        if self.body is bytes:
            return octets
        try:
            return msgspec.json.decode(octets.strip() or b"{}", type=self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            if self.explains:
                raise Problem(400, "Invalid parameters", str(error)) from None
            raise Problem(*BAD_JSON) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """A handler that sees to credentials itself, so it stands outside of the API's order of checks.

    method, path: the whole path, in aiohttp's pattern syntax.  handler: answers a complete response; what it raises is
    answered as everywhere.  dialect: that it belongs to ("": to none); switched off, it is not there.  Requests to it
    are counted as a stranger's; with `counts` the handler counts them itself.  The body is not read yet, see
    `requests.read_body`; who names himself in it is signed in by `requests.Checks`.
    """

    method: str
    path: str
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    dialect: str = NATIVE
    counts: bool = False


def element(raw: str) -> str:
    """A path element as it is meant (control-api §1.1)."""
    for end in "=&":
        raw = raw.partition(end)[0]
    return unquote_plus(raw)


def add(app: web.Application, routes: Iterable[Route]) -> None:
    """Put routes under `/api`; each answers its own method only."""
    for route in routes:
        app.router.add_route(route.method, "/api" + route.path, route.respond)
