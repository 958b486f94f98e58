"""Keeping the daemon: `POST /api/backup`, `GET|POST /api/reload`.

Both are carried out by the daemon, which hands the calls in.  A backup that cannot be written is an answer of form A
with the reason.  A reload answers what it found by key; with any error nothing was changed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypedDict

import msgspec

from relayd.control.answers import Problem, other
from relayd.control.queries import FLAG, parameter
from relayd.control.routes import Call, Route
from relayd.events import manage
from relayd.queue.backup import Backup, BackupError

WriteBackup = Callable[[Path], Awaitable[Backup]]
"""Copies the running relay into a directory.  Raises BackupError."""


class ReloadAnswer(TypedDict):
    """What a reload found, by key: {"type": "parse", "build" or "macro", "error": text}.  With any error nothing was
    applied."""

    warnings: dict[str, dict[str, str]]
    errors: dict[str, dict[str, str]]


class Reload(Protocol):
    """Takes the configuration anew."""

    def __call__(self, part: str, *, dry_run: bool) -> Awaitable[ReloadAnswer]:
        """part: "lookup", "certificate" or "server.blocked-ip" for that alone, anything else for everything.

        dry_run: look only, change nothing.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadQuery:
    """How to reload."""

    dry_run: bool = parameter(FLAG, "Say what would be found; apply nothing.")


class BackupRequest(msgspec.Struct):
    """The body of a backup."""

    directory: str = ""


class BackupAnswer(TypedDict):
    """What was written."""

    directory: str
    size: int
    bodies: int


class Maintenance:
    """The handlers."""

    def __init__(self, backup: WriteBackup, reload: Reload) -> None:
        self._backup = backup
        self._reload = reload

    def routes(self) -> Iterator[Route]:
        """Every operation of the area."""
        yield Route(
            method="POST",
            path="/backup",
            permission="backup",
            handler=self.backup,
            summary="Write a consistent copy of the running relay to a directory of its machine",
            area="maintenance",
            body=BackupRequest,
            answer=BackupAnswer,
        )
        for method in ("GET", "POST"):
            for path in ("/reload", "/reload/{part:.*}"):
                yield Route(
                    method=method,
                    path=path,
                    permission="settings-reload",
                    handler=self.reload,
                    summary="Take the configuration anew",
                    area="settings",
                    query=ReloadQuery,
                    answer=ReloadAnswer,
                    operation=28,
                )

    async def backup(self, call: Call) -> BackupAnswer:
        """Write a consistent copy to a directory of this machine."""
        directory = Path(call.body.directory)
        if not directory.is_absolute() or "\0" in str(directory):
            raise Problem(400, "Invalid parameters", "directory: expected an absolute path")
        try:
            written = await self._backup(directory)
        except BackupError as error:
            raise other("The backup could not be written", str(error)) from None
        manage.ACTION(
            call.span, account_name=call.caller.name, type_="backup", details=str(directory), total=1, reason=""
        )
        return BackupAnswer(directory=str(written.directory), size=written.size, bodies=written.bodies)

    async def reload(self, call: Call) -> ReloadAnswer:
        """28: the configuration anew, or a part of what it names; with any error nothing is applied."""
        part, dry_run = call.path.get("part", ""), call.query.dry_run
        found = await self._reload(part, dry_run=dry_run)
        if not dry_run and not found["errors"]:
            manage.ACTION(call.span, account_name=call.caller.name, type_="reload", details=part, total=1, reason="")
        return found
