"""`GET /api/logs`: the daemon's own log files (operation 19)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from relayd.control.answers import Failure, other
from relayd.control.queries import NUMBER, TEXT, PageQuery, parameter
from relayd.control.routes import Call, Route
from relayd.telemetry.reading import MOST, LogPage, NoLogFiles

_LIMIT = 100


class LogFilesReader(Protocol):
    """What this asks of the log files (`relayd.telemetry.reading.Logs`)."""

    async def page(self, filter: str, offset: int, limit: int) -> LogPage: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LogQuery(PageQuery):
    """Which lines."""

    limit: int | None = parameter(NUMBER, f"Lines of a page: {_LIMIT} when 0 or absent, {MOST:,} at most.")
    filter: str | None = parameter(TEXT, "What the line as it was written must hold, in this case of letters.")

    @property
    def size(self) -> int:
        """Lines of a page."""
        return min(self.limit or _LIMIT, MOST)

    @property
    def offset(self) -> int:
        """Lines before the page."""
        return (max(self.page or 1, 1) - 1) * self.size


class LogOperations:
    """The handler."""

    def __init__(self, logs: LogFilesReader) -> None:
        self._logs = logs

    def routes(self) -> Iterator[Route]:
        """Every operation of the area."""
        yield Route(
            method="GET",
            path="/logs",
            permission="logs-view",
            handler=self.page,
            summary="Lines of the log, newest first; `total` is an estimate: there is a next page when it is larger",
            area="telemetry",
            query=LogQuery,
            answer=LogPage,
            operation=19,
        )

    async def page(self, call: Call) -> LogPage:
        """19: a page of lines."""
        query: LogQuery = call.query
        try:
            return await self._logs.page(query.filter or "", query.offset, query.size)
        except NoLogFiles:
            raise Failure("unsupported", details="Tracer log path not configured") from None
        except OSError as error:
            raise other("Failed to read log files", str(error)) from None
