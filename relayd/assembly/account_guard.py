"""Holds an account that does not behave as its owner would: its mail waits, its sessions end, and it is said."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable

from relayd.events import security
from relayd.events.event import Event, Span
from relayd.queue.failure import QueueUnavailable
from relayd.queue.store import Queue
from relayd.queue.suspension import Subject, key_of
from relayd.reception.options import SubmissionOptions
from relayd.reputation.account_watch import AccountWatch, Limits

BY = "account-guard"
"""Who suspended it, as the suspension says."""


class AccountGuard:
    """end_sessions: of an account, told by its name.  clock: Unix seconds."""

    def __init__(
        self, queue: Queue, end_sessions: Callable[[str], None], clock: Callable[[], float], span: Span
    ) -> None:
        self.watch = AccountWatch()
        self._queue = queue
        self._end_sessions = end_sessions
        self._clock = clock
        self._span = span
        self._holding: set[asyncio.Task[None]] = set()

    def configure(self, options: SubmissionOptions) -> None:
        """Take other limits."""
        self.watch.limits = Limits(
            bounce_percent=options.bounce_percent,
            bounce_recipients=options.bounce_recipients,
            networks=options.networks,
        )

    def outcomes(self, account: str, recipients: int, hard: int) -> None:
        """See `delivery.watching`."""
        reason = self.watch.outcomes(account, recipients, hard, self._clock())
        if reason:
            self._hold(account, reason)

    def on_event(self, event: Event) -> None:
        """A subscriber of `auth.success`: sees sign-ins, over SMTP and HTTP alike."""
        if event.span is None:
            return
        account, address = event.fields.get("account_name"), event.span.keys.get("remoteIp")
        if not account or not address:
            return
        try:
            parsed = ipaddress.ip_address(str(address))
        except ValueError:
            return  # a Unix socket
        if parsed.is_loopback:
            return
        reason = self.watch.sign_in(str(account), parsed, event.at)
        if reason:
            self._hold(str(account), reason)

    def _hold(self, account: str, reason: str) -> None:
        task = asyncio.get_running_loop().create_task(self._suspend(account, reason))
        self._holding.add(task)
        task.add_done_callback(self._holding.discard)

    async def _suspend(self, account: str, reason: str) -> None:
        self._end_sessions(account)
        try:
            await self._queue.suspend(key_of(Subject.ACCOUNT, account), None, BY, reason)
        except QueueUnavailable as error:
            reason = f"{reason}; its mail goes on: {error}"
        security.ACCOUNT_HELD(self._span, account_name=account, reason=reason)

    async def close(self) -> None:
        """Wait for what is being written."""
        await asyncio.gather(*self._holding, return_exceptions=True)
