"""The parts of one daemon, in the order in which they need each other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from relayd.assembly.account_guard import AccountGuard
from relayd.assembly.delivering import Delivering
from relayd.assembly.loaded import Loaded
from relayd.assembly.receiving import Receiving
from relayd.assembly.sending import Sending
from relayd.assembly.troubleshooting import Troubleshooting
from relayd.directory.address_book import AddressBook
from relayd.directory.principals import Principals, open_principals
from relayd.directory.tokens import load_key
from relayd.events import auth
from relayd.events.event import EventStream, Span
from relayd.mail.snowflake import Snowflakes
from relayd.mail.srs import SrsKeys
from relayd.queue.opening import OpenQueue, Surroundings, open_queue
from relayd.reception.signing import Signing
from relayd.resolver.answer import Resolver
from relayd.resolver.hosts_file import HostsFile, LocalFirst
from relayd.resolver.live import LiveResolver
from relayd.webhooks.options import WebhookLogOptions, WebhookOptions
from relayd.webhooks.webhooks import Webhooks

SRS_KEY = "srs.key"


class Engine:
    """The parts of one daemon."""

    def __init__(self, loaded: Loaded, stream: EventStream, snowflakes: Snowflakes) -> None:
        self.loaded = loaded
        self.stream = stream
        self.snowflakes = snowflakes
        self.span = Span(stream)
        self._hosts_file = HostsFile()
        self.opened: OpenQueue
        self.principals: Principals
        self.book: AddressBook
        self.resolver: LiveResolver
        self.signing: Signing
        self.delivering: Delivering
        self.receiving: Receiving
        self.troubleshooting: Troubleshooting
        self.webhooks: Webhooks
        self.sending: Sending
        self.guard: AccountGuard

    async def open(self, on_broken: Callable[[str], None]) -> None:
        """Bring everything up but the listeners.  on_broken: the queue's database can be used no more.

        Raises DirectoryInUse, NewerSchema (nothing was touched), DatabaseError, BlobError, OSError.
        """
        loaded = self.loaded
        around = Surroundings(clock=self.stream.clock, span=self.span, on_broken=on_broken)
        self.opened = await open_queue(loaded.data, loaded.queue, loaded.server.node, around)
        try:
            self.principals = await open_principals(loaded.data, self.span)
        except BaseException:
            await self.opened.close()
            raise
        self.book = AddressBook(self.principals, self.stream.clock)
        await self._configure_addresses(loaded)
        self.resolver = LiveResolver(loaded.resolving, self.span)
        self.webhooks = Webhooks(loaded.data, self.stream, self.snowflakes, self._local_resolver)
        await self._configure_webhooks()
        self.signing = Signing(loaded.keyring, self.span)
        self.guard = AccountGuard(self.opened.queue, self._end_sessions, self.stream.clock, self.span)
        self.guard.configure(loaded.policy.options.submission)
        self.stream.subscribe_to(auth.SUCCESS, self.guard.on_event)
        self.delivering = Delivering(
            loaded, self.opened, self.book, self.guard, self.resolver, self.signing, self.snowflakes
        )
        await self.delivering.open(self.stream, self.span)
        self.receiving = Receiving(
            loaded, self.opened, self.book, self.principals, self.delivering, self.resolver, self.signing
        )
        self.sending = Sending(lambda: self.loaded, self.principals, self.stream)
        await self.sending.open()
        self.receiving.sending = self.sending.addresses
        await self.receiving.open(self.stream, self.span, self.snowflakes)
        self.sending.connect(self.receiving.directory, self.receiving.ledger, self.webhooks, self.delivering.notices)
        self.troubleshooting = Troubleshooting(
            lambda: self.loaded, lambda: self.resolver, self.receiving, self.delivering
        )
        self.troubleshooting.open(self.stream, self.span)

    async def _configure_webhooks(self) -> None:
        config = self.loaded.config
        await self.webhooks.reconfigure(config.records(WebhookOptions), config.section(WebhookLogOptions))

    def _local_resolver(self) -> Resolver:
        return LocalFirst(self.resolver, self._hosts_file)

    def _end_sessions(self, account: str) -> None:
        self.receiving.listeners.end_sessions(account)

    async def _configure_addresses(self, loaded: Loaded) -> None:
        """What a configuration means for addresses of the directory.  Raises OSError."""
        keys = None
        if loaded.srs.enabled:
            secrets = [each.encode() for each in loaded.srs.secrets]
            keys = SrsKeys(secrets or [await asyncio.to_thread(load_key, loaded.data / SRS_KEY)])
        self.book.srs = keys
        separator = loaded.policy.options.rcpt.sub_address_separator
        self.book.separator = "" if separator == "none" else separator
        loaded.router.of_directory = self.principals.next_hops

    async def reload(self, loaded: Loaded) -> None:
        """Put another configuration in force; sessions and attempts under way end as they began."""
        await self.receiving.reload_listeners(loaded)
        await self._configure_addresses(loaded)
        before, self.loaded = self.loaded, loaded
        self.guard.configure(loaded.policy.options.submission)
        self.signing.keyring = loaded.keyring
        self.opened.configure(loaded.queue)
        retired = None
        if loaded.resolving != before.resolving:
            retired, self.resolver = self.resolver, LiveResolver(loaded.resolving, self.span)
        self.receiving.reload(loaded, self.resolver)
        await self.delivering.reload(loaded, self.resolver)
        await self._configure_webhooks()
        if retired is not None:
            await retired.close()

    def tasks(self) -> dict[str, Coroutine[Any, Any, None]]:
        """What runs in the background, by name; whoever runs it hears of its death."""
        return {
            "scheduler": self.delivering.scheduler.run(),
            "budgets": self.delivering.budgets.run(),
            "webhooks": self.webhooks.run(),
            "upkeep": self.opened.upkeep.run(),
            "tls results": self.delivering.tls_results.run(),
            "tls hosts": self.delivering.tls_hosts.run(),
            "bans": self.receiving.ban_store.run(),
            "spam": self.receiving.scoring.run(),
            "geo": self.receiving.scoring.origins.run(),
            "what is remembered of strangers": self.receiving.remembering.run(),
        }

    async def drain(self, timeout: float) -> None:
        """Stop accepting, finish and settle what is in flight within `timeout` seconds; the queue stays open."""
        until = time.monotonic() + timeout
        await self.receiving.listeners.drain(timeout)
        await self.delivering.scheduler.drain(max(0.0, until - time.monotonic()))

    async def close(self) -> None:
        """Close everything, once it is drained."""
        await self.receiving.close()
        await self.delivering.close()
        await self.guard.close()
        self.signing.close()
        await self.webhooks.close()
        await self.resolver.close()
        await self.close_stores()

    async def close_stores(self) -> None:
        """Close what is durable; the data directory is unlocked by it."""
        await self.principals.close()
        await self.opened.close()

    def problems(self) -> list[str]:
        """Why the daemon is not ready; empty when it is."""
        found = []
        if not self.receiving.listeners.is_accepting:
            found.append("a listener does not accept connections")
        if not self.opened.space.is_ready:
            found.append("there is too little space, or the queue is full")
        return found
