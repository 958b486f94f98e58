"""What smarthosts have had of their budgets, kept over restarts: a small file, written when something was spent.

A crash forgets what was spent since the last writing, at most `EVERY` seconds of mail.  A file that cannot be read
counts as none: budgets begin anew, and mail goes on.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from relayd.events import store as store_events
from relayd.events.event import Span

EVERY = 2.0
FILE = "smarthosts.json"
_LARGEST = 16 << 20


class BudgetFile:
    """kept: what there is to keep, see `Standings.kept`."""

    def __init__(self, directory: Path, kept: Callable[[], dict[str, Any]], span: Span) -> None:
        self._path = directory / FILE
        self._kept = kept
        self._span = span
        self._written: dict[str, Any] = {}

    def read(self) -> Mapping[str, Any]:
        """What was kept; blocks for a moment."""
        try:
            if self._path.stat().st_size > _LARGEST:
                raise ValueError("it is too large")
            found = json.loads(self._path.read_bytes())
            if not isinstance(found, dict) or not all(_is_budget(each) for each in found.values()):
                raise ValueError("it is not what was written")
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            store_events.BROKEN(self._span, path=str(self._path), reason=str(error))
            return {}
        return found

    async def run(self) -> None:
        """Keep writing, until cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            await self.write()

    async def write(self) -> None:
        """Write what was spent since the last time; a failure is stated, and tried again the next time."""
        kept = self._kept()
        if kept == self._written:
            return
        try:
            await asyncio.to_thread(self._replace, json.dumps(kept).encode())
        except OSError as error:
            store_events.BROKEN(self._span, path=str(self._path), reason=error.strerror or str(error))
            return
        self._written = kept

    def _replace(self, octets: bytes) -> None:
        beside = self._path.with_name(FILE + ".new")
        beside.write_bytes(octets)
        beside.replace(self._path)


def _is_budget(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(parts, list)
        and all(isinstance(each, list) and len(each) == 2 and all(type(n) is int for n in each) for each in parts)
        for parts in value.values()
    )
