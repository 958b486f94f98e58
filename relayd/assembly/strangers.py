"""What is remembered of strangers: the tables, their file, and who asks them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from relayd.assembly.loaded import Loaded
from relayd.events import spam as events
from relayd.events.event import Span
from relayd.reception.dnsbl import DnsLists
from relayd.reception.policy import Policy
from relayd.reception.replies import Replies
from relayd.reception.reputation import Reputations
from relayd.reception.strangers import Strangers
from relayd.reputation.bans import Address, Bans
from relayd.reputation.good_hosts import GoodHosts
from relayd.reputation.greylist import Greylist
from relayd.reputation.kept import Kept
from relayd.reputation.memory_store import FILE, MemoryStore
from relayd.reputation.options import GreylistOptions, ReplyOptions, ReputationOptions, TarpitOptions
from relayd.reputation.record import Records
from relayd.reputation.sent import SentMail
from relayd.resolver.answer import Resolver
from relayd.spam.dnsbl_options import DnsblOptions

HOUR = 3600.0
MAX_SUSPECTS = 1000
ASKED_AT_ONCE = 4
"""Addresses that lists in the DNS are asked about at the same time, to spare those that they know for good mail."""


class Remembering:
    """The parts, made of one configuration and reloaded with another.  bans: those of the daemon.  policy, resolver:
    those in force.
    """

    def __init__(
        self,
        loaded: Loaded,
        bans: Bans,
        policy: Callable[[], Policy],
        resolver: Callable[[], Resolver],
        span: Span,
    ) -> None:
        config, clock = loaded.config, span.stream.clock
        self.greylist = Greylist(config.section(GreylistOptions))
        self.records = Records(config.section(ReputationOptions))
        self.strangers = Strangers(
            clock=clock,
            policy=policy,
            bans=bans,
            good=GoodHosts(),
            greylist=self.greylist,
            tarpit=config.section(TarpitOptions),
            sent=SentMail(config.section(ReplyOptions)),
        )
        self.replies = Replies(self.strangers.sent, clock)
        bans.is_spared = self.strangers.spares
        self.reputations = Reputations(self.records, clock)
        self.lists = DnsLists(loaded.dns_lists, config.section(DnsblOptions), resolver)
        self.lists.on_welcome = lambda address: self.strangers.good.note(address, clock())
        self._suspects: asyncio.Queue[Address] = asyncio.Queue(MAX_SUSPECTS)
        self._bans = bans
        bans.on_suspect = self._suspected
        self._span = span
        self._stream = span.stream
        self._listens = False
        self._listen()
        self.quarantine_notes: Kept[float] = Kept("quarantine", 10)
        self._clock = clock
        self._store = self._kept_in(loaded.data / FILE, span)

    def _listen(self) -> None:
        """Hear the scores of messages while records are kept, and no event else."""
        if self._listens != bool(self.reputations):
            self._listens = bool(self.reputations)
            change = self._stream.subscribe if self._listens else self._stream.unsubscribe
            change(self.reputations.heard)

    def _kept_in(self, path: Path, span: Span) -> MemoryStore:
        tables = (
            self.greylist.waiting,
            self.greylist.known,
            self.strangers.good.hosts,
            self.records.records,
            self.strangers.sent.sent,
            self.quarantine_notes,
        )
        return MemoryStore(tables, path, span)

    async def open(self) -> None:
        """Read what is kept."""
        await self._store.open()

    async def run(self) -> None:
        """Write what changes, and forget what is over: a task of the daemon's."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._store.run())
            tasks.create_task(self._sweep())
            for _ in range(ASKED_AT_ONCE):
                tasks.create_task(self._ask())

    def _suspected(self, address: Address) -> None:
        """Have the lists asked about somebody who may be banned, unless too many wait for that."""
        if self.lists.knows_good and not self._suspects.full():
            self._suspects.put_nowait(address)

    async def _ask(self) -> None:
        while True:
            address = await self._suspects.get()
            try:
                is_welcome = await self.lists.is_welcome(address, self._span)
            except Exception as error:  # what the lists say is a favour: without it, bans are as they are
                events.DNSBL_ERROR(self._span, reason=f"{type(error).__name__}: {error}")
                continue
            if is_welcome:
                self.lists.on_welcome(address)
                self._bans.lift(address, self._clock())

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(HOUR)
            self.strangers.sweep()
            self.records.sweep(self._clock())

    def reload(self, loaded: Loaded) -> None:
        """Take another configuration; what is remembered stays."""
        config = loaded.config
        self.greylist.reconfigure(config.section(GreylistOptions))
        self.records.reconfigure(config.section(ReputationOptions))
        self.strangers.sent.reconfigure(config.section(ReplyOptions))
        self._listen()
        self.strangers.tarpit = config.section(TarpitOptions)
        self.lists.reconfigure(loaded.dns_lists, config.section(DnsblOptions))

    async def close(self) -> None:
        """Write what is left."""
        await self._store.close()
