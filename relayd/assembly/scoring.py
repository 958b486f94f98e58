"""Spam scoring of one configuration, and of another at a reload."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from relayd.assembly.loaded import Loaded
from relayd.config.spam_updates import SpamUpdates
from relayd.database.interface import DatabaseError
from relayd.events import spam as events
from relayd.events.event import Span
from relayd.reception.assessing import Assessor, TagSource
from relayd.reception.hosts_asked import HostsAsked
from relayd.reception.origins import Origins
from relayd.reception.scoring import Scoring
from relayd.reputation.bayes import Bayes
from relayd.resolver.answer import Resolver
from relayd.scanning.workers import Workers
from relayd.spam.options import ScanOptions

_SWEEP = 600.0
"""Seconds between two looks at what has expired."""


class ScoringParts:
    """What scores, learns and is asked.  sources: more of them, of other parts."""

    def __init__(
        self, loaded: Loaded, clock: Callable[[], float], span: Span, sources: Sequence[TagSource] = ()
    ) -> None:
        self.bayes = Bayes(loaded.data, clock, span)
        self.updates = SpamUpdates(loaded.data)
        options = loaded.config.section(ScanOptions)
        self.workers = Workers(
            options.workers,
            loaded.spam.setup,
            options.patience,
            lambda pid, reason: events.WORKER_ENDED(span, pid=pid, reason=reason),
        )
        self.assessor = Assessor(loaded.spam.settings, self.workers, self.bayes, sources)
        self.scoring = Scoring(self.assessor)
        self.origins: Origins
        self._loaded = loaded
        self._span = span

    async def open(self, resolver: Callable[[], Resolver]) -> None:
        """Bring the model up, and ask the DNS from now on."""
        self.bayes.options = self._loaded.spam.bayes
        await self.bayes.open()
        self._tell()
        self.origins = Origins(self._loaded.geo, self._loaded.geo_files, resolver, self._span)
        self.assessor.origins = self.origins
        self.assessor.sources.insert(0, HostsAsked(resolver, lambda: self.assessor.settings.options.ask_hosts))

    async def run(self) -> None:
        """Forget what the model need not know any more: a task of the daemon's."""
        while True:
            await asyncio.sleep(_SWEEP)
            with contextlib.suppress(DatabaseError):  # stated by the database; the next round tries again
                await self.bayes.sweep()

    def reload(self, loaded: Loaded) -> None:
        """Take another configuration; what is being scanned ends as it began."""
        self._loaded = loaded
        self._tell()
        self.bayes.options = loaded.spam.bayes
        self.workers.reconfigure(loaded.spam.setup)
        self.assessor.settings = loaded.spam.settings
        self.origins.reconfigure(loaded.geo, loaded.geo_files)

    def _tell(self) -> None:
        if self._loaded.spam.problem:
            events.RULES_BROKEN(self._span, reason=self._loaded.spam.problem)

    async def close(self) -> None:
        """End the workers and close the model."""
        await self.workers.close()
        await self.bayes.close()
