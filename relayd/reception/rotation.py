"""New keys in place of old ones: each signs only once the DNS shows it.

While signatures wait (`Keyring.waiting`), the DNS is asked once a minute for their records.  A key that is shown is
used from then on, and that it was is written to the settings, so that it is remembered over a restart.  Until that
write succeeds it is tried again; a restart before it asks the DNS again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from relayd.events import signing as events
from relayd.events.event import Span
from relayd.mailauth.dkim_key import KeyRecordError, parse_key_record
from relayd.mailauth.dkim_sign import SignatureRule
from relayd.mailauth.signing_key import SigningKey, record_name
from relayd.reception.signing import Signing
from relayd.resolver.answer import NoData, NoName, ResolveError, Resolver

EVERY = 60.0
"""Seconds between two looks."""

Remember = Callable[[str, float], Awaitable[None]]
"""Writes to the settings that the key of a signature is published, and since when (Unix time).  Raises OSError."""


async def unpublished(resolver: Resolver, rule: SignatureRule, key: SigningKey) -> str:
    """Why the DNS does not show the public key of a signature; "" when it does."""
    name = record_name(rule.selector, rule.domain)
    try:
        records = (await resolver.txt(name)).records
    except (NoName, NoData):
        return f"there is no TXT record {name}"
    except ResolveError as error:
        return f"{name}: {error}"
    if len(records) > 1:
        return f"there are {len(records)} TXT records {name}: whoever verifies may take any of them"
    try:
        shown = parse_key_record(records[0])
    except KeyRecordError as error:
        return f"{name}: {error}"
    if not key.matches(shown.key):
        return f"{name} holds another key"
    if shown.hashes is not None and "sha256" not in shown.hashes:
        return f"{name} does not allow SHA-256 (h=)"
    if not {"*", "email"} & set(shown.services):
        return f"{name} is not for mail (s=)"
    return ""


class Rotation:
    """Looks whether new keys are published.  resolver: asked for the one in use.  clock: Unix time."""

    def __init__(
        self,
        signing: Signing,
        resolver: Callable[[], Resolver],
        remember: Remember,
        clock: Callable[[], float],
        span: Span,
    ) -> None:
        self._signing = signing
        self._resolver = resolver
        self._remember = remember
        self._clock = clock
        self._span = span
        self._told: dict[str, str] = {}
        self._unwritten: dict[str, float] = {}
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Look now, at every reload, and once a minute while something waits; for ever."""
        while True:
            self._wake.clear()
            await self.look()
            timeout = EVERY if self._signing.keyring.waiting or self._unwritten else None
            try:
                await asyncio.wait_for(self._wake.wait(), timeout)
            except TimeoutError:
                continue

    def wake(self) -> None:
        """Look again soon: the configuration has changed."""
        self._wake.set()

    async def look(self) -> None:
        """Ask for each key that waits, use those that are there."""
        keyring = self._signing.keyring
        for id in keyring.waiting:
            key, rule = keyring.known(id), keyring.rule(id)
            reason = "its private key cannot be read"
            if key is not None:
                reason = await unpublished(self._resolver(), rule, key)
            if reason:
                self._tell_awaited(id, rule, reason)
                continue
            now = self._clock()
            keyring.publish(id, now)
            self._told.pop(id, None)
            self._unwritten[id] = now
            previous = keyring.replaced(id)
            expires = keyring.wanted_until(previous)
            events.KEY_PUBLISHED(
                self._span, domain=rule.domain, id=id, selector=rule.selector, previous=previous, expires=expires
            )
        await self._write()

    def _tell_awaited(self, id: str, rule: SignatureRule, reason: str) -> None:
        """Once, and again when the reason is another one."""
        if self._told.get(id) != reason:
            self._told[id] = reason
            events.KEY_AWAITED(self._span, domain=rule.domain, id=id, selector=rule.selector, reason=reason)

    async def _write(self) -> None:
        current = self._signing.keyring
        for id, at in list(self._unwritten.items()):
            if id not in current.ids:
                del self._unwritten[id]
                continue
            try:
                await self._remember(id, at)
            except OSError as error:
                rule = current.rule(id)
                events.KEY_AWAITED(
                    self._span, domain=rule.domain, id=id, selector=rule.selector, reason=f"not written: {error}"
                )
                continue
            del self._unwritten[id]
            if id in current.waiting:  # a reload came before the write
                current.publish(id, at)
