"""Alerts: what an operator must hear of, once for each cause, and again when it is over.

A watch looks at one thing every so often and names the causes it finds by keys of their own ("oldest:example.org").
What was told is kept in a file, so that a restart tells nothing twice.  Telling is an event (which webhooks take too)
and a mail; a mail that could not be queued is tried again at the next look.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from relayd.events import telemetry
from relayd.events.event import Span

MOST_CAUSES = 50
"""Causes of one watch that are told at once; the others when these are over."""

Causes = Mapping[str, str]
"""What is wrong, in words, by the key of its cause."""

Look = Callable[[], Awaitable[Causes | None]]
"""What a watch finds; None when it could not look."""

Mail = Callable[[str, Sequence[str]], Awaitable[None]]
"""Sends the postmaster a mail: its subject, and the lines of its text.  Raises OSError when it cannot be queued."""


@dataclass(frozen=True, slots=True)
class Watch:
    """name: what stands before the colon of its keys.  every: seconds between two looks.  title: of its mail.

    at_once: look at the start too, not only after the first `every`.  remembers: seconds that its look goes back in
    what was seen since the start; for as long after it nothing is over that was told before.
    """

    name: str
    title: str
    every: float
    look: Look
    at_once: bool = True
    remembers: float = 0.0


class Told(msgspec.Struct):
    """A cause that was told.  since: Unix time.  mailed: whether its mail was queued.  over: it is, and the mail that
    says so is not queued yet.
    """

    since: float
    text: str
    mailed: bool = False
    over: bool = False


class Memory:
    """The causes that were told, by key, in a file of their own.  Blocks."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.told = self._read()

    def _read(self) -> dict[str, Told]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, Told])
        except (OSError, msgspec.DecodeError):
            return {}

    def keep(self) -> None:
        """Write it, whole or not at all.  Raises OSError."""
        self._path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        partial = self._path.with_name(self._path.name + ".new")
        with partial.open("wb") as file:
            file.write(msgspec.json.encode(self.told))
            file.flush()
            os.fsync(file.fileno())
        partial.rename(self._path)


class Alerts:
    """Looks, and tells.  watches: asked before each round.  mail: None where nobody is to be mailed.

    span: the daemon's.
    """

    def __init__(
        self,
        memory: Memory,
        watches: Callable[[], Sequence[Watch]],
        mail: Callable[[], Mail | None],
        span: Span,
        monotonic: Callable[[], float],
    ) -> None:
        self._memory = memory
        self._watches = watches
        self._mail = mail
        self._span = span
        self._monotonic = monotonic
        self._started = monotonic()
        self._looked: dict[str, float] = {}

    def open(self) -> dict[str, float]:
        """How many causes are not over, by watch."""
        found = {watch.name: 0.0 for watch in self._watches()}
        for key, each in self._memory.told.items():
            if not each.over:
                name = key.partition(":")[0]
                found[name] = found.get(name, 0) + 1
        return found

    async def run(self, pause: float = 5.0) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(pause)

    async def look(self) -> None:
        """Look at what is due."""
        watches = self._watches()
        now = self._monotonic()
        for watch in watches:
            last = self._looked.setdefault(watch.name, float("-inf") if watch.at_once else now)
            if now - last >= watch.every:
                self._looked[watch.name] = now
                try:
                    causes = await watch.look()
                except Exception as error:  # one watch that fails is no reason not to look at the rest
                    telemetry.ALERT_ERROR(self._span, id=watch.name, reason=repr(error))
                    continue
                if causes is not None:
                    await self.take(watch, causes)
        names = {watch.name for watch in watches}
        for key in [key for key in self._memory.told if key.partition(":")[0] not in names]:
            del self._memory.told[key]  # nobody looks at it any more: it is neither wrong nor over

    async def take(self, watch: Watch, causes: Causes) -> None:
        """Tell what is new and what is over."""
        now = self._span.stream.clock()
        told = self._memory.told
        mine = {key: each for key, each in told.items() if key.partition(":")[0] == watch.name and not each.over}
        new = [key for key in causes if key not in mine][: max(0, MOST_CAUSES - len(mine))]
        knows = self._monotonic() - self._started >= watch.remembers
        over = [key for key in mine if key not in causes] if knows else []
        for key in new:
            told[key] = Told(now, causes[key])
            telemetry.ALERT(self._span, id=key, reason=causes[key])
        for key in over:
            each = told[key]
            each.over = True
            telemetry.ALERT_CLEARED(self._span, id=key, reason=each.text, elapsed=max(0.0, now - each.since))
        if await self._tell(watch) or new or over:
            await self._keep()

    async def _tell(self, watch: Watch) -> bool:
        """Mail what is not mailed yet, and forget what is over; whether anything has changed."""
        told, mail = self._memory.told, self._mail()
        mine = {key: each for key, each in told.items() if key.partition(":")[0] == watch.name}
        done = [key for key, each in mine.items() if each.over and not (each.mailed and mail is not None)]
        new: list[str] = []
        if mail is not None:
            waiting = [key for key, each in mine.items() if not each.over and not each.mailed]
            if await self._send(mail, watch, f"Alert: {watch.title}", [mine[key].text for key in waiting]):
                new = waiting
            over = [key for key, each in mine.items() if each.over and each.mailed]
            lines = [f"It is over: {mine[key].text}" for key in over]
            if await self._send(mail, watch, f"All clear: {watch.title}", lines):
                done += over
        for key in new:
            mine[key].mailed = True
        for key in done:
            del told[key]
        return bool(done or new)

    async def _send(self, mail: Mail, watch: Watch, subject: str, lines: Sequence[str]) -> bool:
        if not lines:
            return False
        try:
            await mail(subject, lines)
        except OSError as error:
            telemetry.ALERT_ERROR(self._span, id=watch.name, reason=f"the mail was not queued: {error}")
            return False
        return True

    async def _keep(self) -> None:
        try:
            await asyncio.to_thread(self._memory.keep)
        except OSError as error:
            telemetry.ALERT_ERROR(self._span, id="memory", reason=str(error))
