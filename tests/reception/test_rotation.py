"""New keys in place of old ones: looked for, used, remembered."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from relayd.events.event import Event, EventStream, Span
from relayd.mailauth.signature_options import PrivateKey, SignatureOptions
from relayd.mailauth.signing_key import record_name
from relayd.reception.keyring import Keyring
from relayd.reception.rotation import Rotation, unpublished
from relayd.reception.signing import Signing
from relayd.resolver.zone import TIMEOUT, Zone
from tests.mailauth.signing import DOMAIN, key, pem, rule

NOW = 1_800_000_000.0
NAME = record_name("new", DOMAIN)


def keyring(published: float | None = None) -> Keyring:
    old = SignatureOptions(private_key=PrivateKey(pem=pem("rsa")), domain=DOMAIN, selector="old")
    new = SignatureOptions(
        private_key=PrivateKey(pem=pem("ed25519")),
        domain=DOMAIN,
        selector="new",
        replaces="old",
        published=published,
    )
    return Keyring({"old": old, "new": new}, 0.0, lambda: 0.0)


@dataclass
class Around:
    """A rotation with a zone that may be changed, and settings that may fail."""

    records: dict[str, Any] = field(default_factory=dict)
    written: dict[str, float] = field(default_factory=dict)
    failure: OSError | None = None
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        span = Span(EventStream(lambda: NOW, [self.events.append]))
        self.signing = Signing(keyring(), span)
        self.rotation = Rotation(self.signing, lambda: Zone(self.records), self._remember, lambda: NOW, span)

    async def _remember(self, id: str, at: float) -> None:
        if self.failure is not None:
            raise self.failure
        self.written[id] = at

    def stated(self) -> list[str]:
        return [event.kind.id for event in self.events]

    def signs(self) -> list[str]:
        return [each.id for each in self.signing.keyring.rules]


async def test_the_old_key_signs_until_the_new_one_is_shown() -> None:
    it = Around()
    await it.rotation.look()
    await it.rotation.look()
    assert it.signs() == ["old"]
    assert it.stated() == ["signing.key-awaited"]  # once
    it.records[NAME] = {"TXT": [key("ed25519").record()]}
    await it.rotation.look()
    assert it.signs() == ["new"]
    assert it.written == {"new": NOW}
    assert it.events[-1].fields["expires"] == NOW + 7 * 86400
    await it.rotation.look()
    assert len(it.events) == 2


async def test_what_cannot_be_written_is_written_later_even_over_a_reload() -> None:
    it = Around({NAME: {"TXT": [key("ed25519").record()]}}, failure=OSError("full"))
    await it.rotation.look()
    assert (it.signs(), it.written) == (["new"], {})
    it.failure = None
    it.signing.keyring = keyring()
    it.records.clear()
    await it.rotation.look()
    assert (it.signs(), it.written) == (["new"], {"new": NOW})


async def test_it_looks_again_when_it_is_woken() -> None:
    it = Around()
    running = asyncio.create_task(it.rotation.run())
    while not it.events:
        await asyncio.sleep(0)
    it.records[NAME] = {"TXT": [key("ed25519").record()]}
    it.rotation.wake()
    while not it.written:
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert it.signs() == ["new"]


@pytest.mark.parametrize(
    ("records", "why"),
    [
        ({}, "there is no TXT record"),
        ({"TXT": TIMEOUT}, "new._domainkey"),
        ({"TXT": [key("rsa").record()]}, "holds another key"),
        ({"TXT": ["v=DKIM1; k=ed25519; p="]}, "revoked"),
        ({"TXT": [key("ed25519").record()] * 2}, "there are 2"),
        ({"TXT": [key("ed25519").record().replace("h=sha256", "h=sha1")]}, "SHA-256"),
        ({"TXT": [key("ed25519").record() + "; s=tlsrpt"]}, "not for mail"),
        ({"TXT": [key("ed25519").record() + "; s=email"]}, ""),
    ],
)
async def test_why_a_key_is_not_shown(records: dict[str, Any], why: str) -> None:
    found = await unpublished(Zone({NAME: records} if records else {}), rule("ed25519", selector="new"), key("ed25519"))
    assert (why in found) if why else found == ""
