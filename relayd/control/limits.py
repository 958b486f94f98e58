"""Limits of requests: so many of one account and of one stranger in a time, so many of one account at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

from relayd.control.answers import concurrent_limit, too_many
from relayd.control.options import HttpOptions
from relayd.control.origin import Origin
from relayd.reputation.rate import Buckets


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
    """What was asked so far.  now: Unix time, in every call."""

    def __init__(self, options: HttpOptions) -> None:
        self._options = options
        self._accounts = Buckets(options.rate_limit_account)
        self._strangers = Buckets(options.rate_limit_anonymous)
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

    def stranger(self, site: Hashable, now: float) -> None:
        """Count a request without credentials.  Raises Problem 429."""
        _refuse(self._strangers.take(site, now))

    def account(self, account: Hashable, now: float) -> None:
        """Count a request of an account.  Raises Problem 429."""
        _refuse(self._accounts.take(account, now))

    def enter(self, account: Hashable) -> Slot:
        """A place among the account's concurrent requests.  Raises Problem 400, with the limit's name."""
        if self._running[account] >= self._options.max_concurrent:
            raise concurrent_limit()
        self._running[account] += 1
        return Slot(self._running, account)


def unlimited() -> Slot:
    """The place of a request that is not counted."""
    return Slot(None, None)


def _refuse(wait: float) -> None:
    if wait > 0:
        raise too_many(wait)
