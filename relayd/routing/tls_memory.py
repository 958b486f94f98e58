"""What is remembered of the TLS of hosts: where it is broken, and where there was some before.

A host at which the handshake fails, and whose mail may go in the clear, is not asked for TLS again for a while: each
failed handshake costs a connection.  That never touches a host that must give TLS.  A host that gave TLS before and
offers none any more is an alarm: it may have been set up anew, or somebody on the way takes STARTTLS out of its words.

Both are kept for a bounded number of hosts; those unheard of for longest go first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from relayd.routing.tls_policy import Level, TlsPolicy

_DAY = 86400.0

ALARM_AGAIN = _DAY
"""Seconds between two alarms about one host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostTls:
    """What is remembered of one host.  Times are Unix seconds, 0 for never.

    secured: when TLS was last active, to the day; version: of it.  broken_since, broken_until, reason: TLS is not tried
    again before.  failures: how often it failed one after the other.  gone: when the host was last found without
    STARTTLS though it had it before.
    """

    host: str
    secured: float = 0.0
    version: str = ""
    broken_since: float = 0.0
    broken_until: float = 0.0
    reason: str = ""
    failures: int = 0
    gone: float = 0.0

    def is_broken(self, now: float) -> bool:
        """Whether TLS is left out now where it may be."""
        return now < self.broken_until


def may_be_left_out(policy: TlsPolicy) -> bool:
    """Whether a host's policy lets its mail go without TLS being tried: nobody but us wants it, and nobody reports."""
    return policy.level is Level.MAY


class TlsMemory:
    """What is remembered.  limit: of hosts.  changed: hosts that differ from what `take_changes` gave last."""

    def __init__(self, limit: int = 20_000, kept: Iterable[HostTls] = ()) -> None:
        self._limit = limit
        self._hosts: OrderedDict[str, HostTls] = OrderedDict((each.host, each) for each in kept)
        self._changed: dict[str, HostTls | None] = {}

    def __len__(self) -> int:
        return len(self._hosts)

    def __iter__(self) -> Iterator[HostTls]:
        return iter(list(self._hosts.values()))

    def get(self, host: str) -> HostTls | None:
        """What is remembered of a host."""
        return self._hosts.get(host)

    def failed(self, host: str, reason: str, now: float, seconds: float) -> None:
        """A handshake failed; TLS is left out for `seconds` where it may be.  seconds 0: it is not remembered."""
        if seconds <= 0:
            return
        known = self._hosts.get(host) or HostTls(host=host)
        self._keep(
            replace(
                known,
                broken_since=known.broken_since if known.failures else now,
                broken_until=now + seconds,
                reason=reason,
                failures=known.failures + 1,
            )
        )

    def secured(self, host: str, version: str, now: float) -> None:
        """TLS is active: whatever was wrong is not any more."""
        known = self._hosts.get(host)
        if known is not None and not known.failures and not known.gone and 0 <= now - known.secured < _DAY:
            return  # the common case
        self._keep(HostTls(host=host, secured=now, version=version))

    def without(self, host: str, now: float) -> HostTls | None:
        """The host offers no STARTTLS: what is known of it, when that is an alarm; once a day for each host."""
        known = self._hosts.get(host)
        if known is None or not known.secured or 0 <= now - known.gone < ALARM_AGAIN:
            return None
        self._keep(replace(known, gone=now))
        return known

    def forget(self, host: str) -> bool:
        """Whether something was known of a host that is now as if never met."""
        if self._hosts.pop(host, None) is None:
            return False
        self._changed[host] = None
        return True

    def forgive(self) -> int:
        """Try TLS again with every host; how many were broken."""
        broken = [each for each in self._hosts.values() if each.failures]
        for each in broken:
            self._keep(replace(each, broken_since=0.0, broken_until=0.0, reason="", failures=0))
        return len(broken)

    def take_changes(self) -> dict[str, HostTls | None]:
        """What changed since the last time; None: forgotten."""
        changes, self._changed = self._changed, {}
        return changes

    def put_back(self, changes: dict[str, HostTls | None]) -> None:
        """Changes that could not be stored."""
        self._changed = changes | self._changed

    def _keep(self, host: HostTls) -> None:
        self._hosts[host.host] = self._changed[host.host] = host
        self._hosts.move_to_end(host.host)
        while len(self._hosts) > self._limit:
            dropped, _ = self._hosts.popitem(last=False)
            self._changed[dropped] = None
