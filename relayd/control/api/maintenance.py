"""Keeping the daemon: `POST /api/backup`, `GET|POST /api/reload`.

Both are carried out by the daemon, which hands the calls in.  A backup that cannot be written and a configuration that
is refused are answers of form A with the reason: nothing was changed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from relayd.control.access import Caller
from relayd.control.answers import Problem, other
from relayd.control.requests import read_json
from relayd.control.routes import SPAN, Route
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


class Maintenance:
    """The handlers.  timeout: seconds for the body of a request."""

    def __init__(self, backup: WriteBackup, reload: Reload, timeout: float) -> None:
        self._backup = backup
        self._reload = reload
        self._timeout = timeout

    def routes(self) -> Iterator[Route]:
        """Every operation of the area."""
        yield Route("POST", "/backup", "backup", self.backup)
        for method in ("GET", "POST"):
            yield Route(method, "/reload", "settings-reload", self.reload)
            yield Route(method, "/reload/{part:.*}", "settings-reload", self.reload)

    async def backup(self, request: web.Request, caller: Caller) -> Any:
        """Write a consistent copy to a directory of this machine."""
        directory = Path((await read_json(request, BackupRequest, self._timeout)).directory)
        if not directory.is_absolute() or "\0" in str(directory):
            raise Problem(400, "Invalid parameters", "directory: expected an absolute path")
        try:
            written = await self._backup(directory)
        except BackupError as error:
            raise other("The backup could not be written", str(error)) from None
        manage.ACTION(
            request[SPAN], account_name=caller.name, type_="backup", details=str(directory), total=1, reason=""
        )
        return {"directory": str(written.directory), "size": written.size, "bodies": written.bodies}

    async def reload(self, request: web.Request, caller: Caller) -> Any:
        """28: the configuration anew.  errors is empty: with any, nothing is applied and the answer is of form A."""
        try:
            warnings = await self._reload()
        except (OSError, Refused) as error:
            raise other("The configuration was refused; the one before stays in force", str(error)) from None
        manage.ACTION(request[SPAN], account_name=caller.name, type_="reload", details="", total=1, reason="")
        found = {f"{number:04d}": {"type": "build", "error": text} for number, text in enumerate(warnings)}
        return {"warnings": found, "errors": {}}
