"""Sign-ins that fail with one login make the next ones with it wait: it is slowed, and never locked.

A login may be tried a few times at once; after that each further try waits, longer with each failure, and all tries
of a login wait in one line.  Whoever's address signed in with that login before does not wait: a stranger who guesses
cannot keep the owner out.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass

FREE = 5
"""Failures that make nobody wait."""

SHORTEST, LONGEST = 0.5, 8.0
"""Seconds that the first failure past those makes the next try wait, doubling up to the second."""

PATIENCE = 20.0
"""Seconds that a try waits at most."""

FORGOTTEN_AFTER = 900.0
"""Seconds without a failure after which a login is as if it never failed."""

MAX_LOGINS = 50_000
MAX_SITES = 100_000
KNOWN_FOR = 30 * 86400.0
"""Seconds for which an address is known to belong to who signed in from it."""


@dataclass(slots=True)
class _Failures:
    count: int = 0
    last: float = float("-inf")
    next: float = float("-inf")
    """When the next try may be made."""


class Attempts:
    """Failures by login, and the addresses that signed in.  now: of one clock, in seconds, in every call.

    site: where a try comes from, as a text; "" is a place that is not told apart, and never known.
    """

    def __init__(self) -> None:
        self._failures: OrderedDict[bytes, _Failures] = OrderedDict()
        self._known: OrderedDict[bytes, float] = OrderedDict()

    def wait(self, login: str, site: str, now: float) -> float:
        """Seconds that this try has to wait; the next one waits longer, for it has its place behind.

        The line is never longer than `PATIENCE`: however many strangers stand in it, the owner is heard.
        """
        found = self._failures.get(_key(login))
        if found is None or now - found.last > FORGOTTEN_AFTER or found.count < FREE or self.is_known(login, site, now):
            return 0.0
        delay = min(SHORTEST * 2 ** min(found.count - FREE, 10), LONGEST)
        at = min(max(now, found.next), now + PATIENCE)
        found.next = at + delay
        return at - now

    def failed(self, login: str, now: float) -> None:
        """Count a failure."""
        key = _key(login)
        found = self._failures.setdefault(key, _Failures())
        self._failures.move_to_end(key)
        if len(self._failures) > MAX_LOGINS:
            self._failures.popitem(last=False)
        if now - found.last > FORGOTTEN_AFTER:
            found.count = 0
        found.count += 1
        found.last = now

    def succeeded(self, login: str, site: str, now: float) -> None:
        """Remember where a login was used well."""
        if not site:
            return
        key = _key(login, site)
        self._known[key] = now
        self._known.move_to_end(key)
        if len(self._known) > MAX_SITES:
            self._known.popitem(last=False)

    def is_known(self, login: str, site: str, now: float) -> bool:
        """Whether the login was used well from there."""
        return bool(site) and now - self._known.get(_key(login, site), float("-inf")) < KNOWN_FOR


def _key(*parts: str) -> bytes:
    """Of one size, however long the names are that strangers make up."""
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).digest()
