"""Operation 26, `GET /troubleshoot/delivery/{recipient}`: a delivery is rehearsed, and every stage told as it comes.

Each frame is `event: event` with an array of one stage; the last is `{"type":"completed"}`.  A client that leaves ends
the rehearsal.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from aiohttp import web

from relayd.control.api.troubleshoot import AREA, Rehearse
from relayd.control.queries import FLAG, NUMBER, TEXT, parameter
from relayd.control.routes import EVENTS, Call, Route
from relayd.control.streaming import Frames, Streams
from relayd.delivery.stages import Stage

_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsalQuery:
    """How it is tried."""

    timeout: int | None = parameter(NUMBER, f"Seconds for each step on the network, {_SECONDS} by default.")
    sender: str | None = parameter(TEXT, "The return path that routing rules are asked about.", name="from")
    direct: bool = parameter(FLAG, "By MX whatever the configuration says, every certificate checked (direct=1).")


class RehearsalOperation:
    """The handler."""

    def __init__(self, rehearse: Rehearse, streams: Streams) -> None:
        self._rehearse = rehearse
        self._streams = streams

    def routes(self) -> list[Route]:
        """The operation."""
        return [
            Route(
                method="GET",
                path="/troubleshoot/delivery/{recipient}",
                permission="troubleshoot",
                handler=self.rehearse,
                summary="Try a delivery, step by step; nothing is sent",
                area=AREA,
                query=RehearsalQuery,
                media=EVENTS,
                operation=26,
            )
        ]

    async def rehearse(self, call: Call) -> web.StreamResponse:
        """A stream of stages: `event: event`, `data: [{"type": ..., ...}]`, from `mxLookupStart` to `completed`.

        Most steps have a Start, and a Success with `elapsed` (milliseconds) or an Error with `reason`: mxLookup,
        mtaStsFetch, tlsRptLookup, tlsaLookup, ipLookup, connection, readGreeting, ehlo, startTls, mailFrom, rcptTo.
        """
        query: RehearsalQuery = call.query
        run = self._rehearse(
            call.path["recipient"].lower(),
            query.sender or "",
            seconds=float(query.timeout or _SECONDS),
            direct=query.direct,
        )
        return await self._streams.serve(call, _frames(run))


async def _frames(run: AsyncGenerator[Stage, None]) -> Frames:
    try:
        async for stage in run:
            yield "event", [stage]
    finally:
        await run.aclose()
