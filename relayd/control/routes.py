"""How an area declares its routes, and what every route goes through."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from relayd.control.access import Caller
from relayd.control.answers import FORBIDDEN, Problem, data
from relayd.events import security
from relayd.events.event import Span

Handler = Callable[[web.Request, Caller], Awaitable[Any]]
"""Answers the value that goes under `data`, or a complete response; raises Problem or Failure."""

CALLER = web.RequestKey("caller", Caller)
"""Who asks; absent where the route is open to all."""

SPAN = web.RequestKey("span", Span)
"""The request's span; its id is the request id."""


@dataclass(frozen=True, slots=True)
class Route:
    """One operation: method, path below `/api`, the permission it needs."""

    method: str
    path: str
    permission: str
    handler: Handler

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Check the permission, then let the handler answer."""
        caller = request[CALLER]
        if not caller.may(self.permission):
            security.UNAUTHORIZED(request[SPAN], account_name=caller.name, id=self.permission, path=request.path)
            raise Problem(*FORBIDDEN)
        value = await self.handler(request, caller)
        return value if isinstance(value, web.StreamResponse) else data(value)


def add(app: web.Application, routes: Iterable[Route]) -> None:
    """Put routes under `/api`; each answers its own method only."""
    for route in routes:
        app.router.add_route(route.method, "/api" + route.path, route.answer)
