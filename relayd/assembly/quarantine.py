"""What is done about held mail while the daemon runs: what expires, and the weekly mail to the postmaster."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from relayd.assembly.engine import Engine
from relayd.assembly.own_mail import send_own
from relayd.database.interface import DatabaseError
from relayd.events import store as store_events
from relayd.events.event import Span
from relayd.queue.failure import QueueUnavailable
from relayd.queue.options import QuarantineOptions
from relayd.queue.quarantine import Held, Quarantine
from relayd.reputation.kept import Kept
from relayd.telemetry.alert_mail import AlertMail
from relayd.telemetry.render import rfc3339

HOUR = 3600.0
WEEK = 7 * 86400.0


class QuarantineKeeper:
    """`run` is a task of the daemon's.  notes: what must be known after a restart: "mailed", "expired"."""

    def __init__(self, engine: Engine, notes: Kept[float], span: Span) -> None:
        self._engine = engine
        self._notes = notes
        self._span = span
        opened = engine.opened
        self.quarantine = Quarantine(opened.queue, opened.actions, self._options, span.stream.clock, span)

    def _options(self) -> QuarantineOptions:
        return self._engine.loaded.config.section(QuarantineOptions)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(HOUR)

    async def look(self) -> None:
        """Remove what expired; mail the count when a week is over."""
        try:
            expired = await self.quarantine.expire()
            if expired:
                self._notes.put("expired", (self._notes.get("expired") or 0.0) + expired)
            await self._tell()
        except (DatabaseError, QueueUnavailable, OSError) as error:  # nothing is lost by it: the next hour tries again
            store_events.COMMIT_FAILED(self._span, reason=f"quarantine: {error}")

    async def _tell(self) -> None:
        now = self._span.stream.clock()
        mailed = self._notes.get("mailed")
        if mailed is None or mailed > now:
            self._notes.put("mailed", now)
            return
        if now - mailed < WEEK:
            return
        to = self._engine.loaded.policy.local_names.postmaster
        held, expired = await self.quarantine.held(), int(self._notes.get("expired") or 0)
        if to and self._options().weekly_mail and (held.total or expired):
            await send_own(self._engine, self._span, to, partial(self._mail, to, held, expired))
        self._notes.put("mailed", now)
        self._notes.drop("expired")

    def _mail(self, to: Sequence[str], held: Held, expired: int, message_id: str, now: float) -> bytes:
        keep = self._options().keep
        since = f", the first since {rfc3339(held.oldest)}" if held.oldest else ""
        lines = [f"{held.total} messages are held{since}"]
        lines += [f"{number} of them: {reason}" for reason, number in held.reasons]
        lines.append(f"{expired} were removed in the last week, because nobody released them in time")
        return AlertMail(
            hostname=self._engine.loaded.hostname,
            to=to,
            now=now,
            message_id=message_id,
            subject=f"{held.total} messages are held",
            lines=lines,
            opening="Held mail of the week on {}:",
            closing="`relayd quarantine list` shows them; "
            + (f"each is removed {keep / 86400:g} days after it was held." if keep else "none is removed by itself."),
        ).compose()
