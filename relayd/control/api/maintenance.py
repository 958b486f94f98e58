"""Keeping the daemon: `POST /api/backup`, `GET|POST /api/reload`.

Both are carried out by the daemon, which hands the calls in.  A backup that cannot be written and a configuration that
is refused are answers of form A with the reason: nothing was changed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import TypedDict

import msgspec

from relayd.control.answers import Problem, other
from relayd.control.routes import Call, Route
from relayd.events import manage
from relayd.queue.backup import Backup, BackupError

WriteBackup = Callable[[Path], Awaitable[Backup]]
"""Copies the running relay into a directory.  Raises BackupError."""

Reload = Callable[[], Awaitable[Sequence[str]]]
"""Takes the configuration anew; answers warnings.  Raises Refused: what was in force stays."""


class Refused(Exception):
    """What was asked could not be done; the text says why, to the operator."""


class BackupRequest(msgspec.Struct):
    """The body of a backup."""

    directory: str = ""


class BackupAnswer(TypedDict):
    """What was written."""

    directory: str
    size: int
    bodies: int


class ReloadAnswer(TypedDict):
    """What a reload found, by key."""

    warnings: dict[str, dict[str, str]]
    errors: dict[str, dict[str, str]]


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
        """28: the configuration anew.  errors is empty: with any, nothing is applied and the answer is of form A."""
        try:
            warnings = await self._reload()
        except (OSError, Refused) as error:
            raise other("The configuration was refused; the one before stays in force", str(error)) from None
        manage.ACTION(call.span, account_name=call.caller.name, type_="reload", details="", total=1, reason="")
        found = {f"{number:04d}": {"type": "build", "error": text} for number, text in enumerate(warnings)}
        return ReloadAnswer(warnings=found, errors={})
