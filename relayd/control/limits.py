"""Limits of requests: so many of one account and of one stranger in a time, so many of one account at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

from relayd.control.answers import concurrent_limit, too_many
from relayd.control.options import HttpOptions
from relayd.control.origin import Origin
from relayd.events import limit
from relayd.events.event import Span
from relayd.reputation.rate import Buckets, Rate

_TELL = Rate(1, 60.0)


class Slot:
    """A place among the concurrent requests of an account; given back once, whoever does it first."""

    __slots__ = ("_account", "_counts")

    def __init__(self, counts: Counter[Hashable] | None, account: Hashable) -> None:
        self._counts = counts
        self._account = account

    def release(self) -> None:
        """Give it back."""
        counts, self._counts = self._counts, None
        if counts is not None:
            counts[self._account] -= 1
            if counts[self._account] <= 0:
                del counts[self._account]


class Limits:
    """What was asked so far."""

    def __init__(self, options: HttpOptions) -> None:
        self._options = options
        self._accounts = Buckets(options.rate_limit_account)
        self._strangers = Buckets(options.rate_limit_anonymous)
        self._told = Buckets(_TELL)
        self._running: Counter[Hashable] = Counter()

    def reconfigure(self, options: HttpOptions) -> None:
        """Take other options; what was counted stays counted."""
        self._options = options
        self._accounts.rate = options.rate_limit_account
        self._strangers.rate = options.rate_limit_anonymous

    def is_exempt(self, origin: Origin) -> bool:
        """Whether nothing is counted against `origin`."""
        if origin.address is None or origin.is_local:
            return origin.is_local
        return any(origin.address in network for network in self._options.exempt_networks)

    def stranger(self, origin: Origin, span: Span) -> None:
        """Count a request without credentials.  Raises Problem 429."""
        if not self.is_exempt(origin):
            self._refuse(self._strangers, origin.site, origin, span)

    def account(self, account: Hashable, origin: Origin, span: Span) -> None:
        """Count a request of an account.  Raises Problem 429."""
        self._refuse(self._accounts, account, origin, span)

    def _refuse(self, buckets: Buckets, key: Hashable, origin: Origin, span: Span) -> None:
        now = span.stream.clock()
        wait = buckets.take(key, now)
        if wait <= 0:
            return
        if self._told.take(key, now) == 0:  # said once in a while: whoever asks too often would fill the log too
            limit.TOO_MANY_REQUESTS(span, remote_ip=str(origin))
        raise too_many(wait)

    def enter(self, account: Hashable) -> Slot:
        """A place among the account's concurrent requests.  Raises Problem 400, with the limit's name."""
        if self._running[account] >= self._options.max_concurrent:
            raise concurrent_limit()
        self._running[account] += 1
        return Slot(self._running, account)


def unlimited() -> Slot:
    """The place of a request that is not counted."""
    return Slot(None, None)
