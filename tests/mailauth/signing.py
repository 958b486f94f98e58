"""Keys, zones and messages for the tests of signatures; coroutines that never wait are run without a loop."""

from __future__ import annotations

import functools
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from relayd.mail.header import HeaderBlock, split_message
from relayd.mailauth.arc import ChainVerifier
from relayd.mailauth.canonical import BodyDigests
from relayd.mailauth.dkim_sign import SignatureRule, sign, want_signed
from relayd.mailauth.dkim_verify import Verifier, VerifyRules
from relayd.mailauth.findings import ArcFinding, DkimFinding
from relayd.mailauth.signature import FieldSelector
from relayd.mailauth.signing_key import KeyType, SigningKey, generate_key, read_signing_key, record_name
from relayd.resolver.answer import Resolver
from relayd.resolver.zone import Records, Zone

T = TypeVar("T")

NOW = 1_700_000_000.0
DOMAIN = "example.org"
MESSAGE = (
    b"From: Joe <joe@example.org>\r\n"
    b"To: a@example.net,\r\n b@example.net\r\n"
    b"Subject: Blanks  and\ttabs \r\n"
    b"Date: Fri, 20 Nov 2026 10:00:00 +0000\r\n"
    b"Message-ID: <1@example.org>\r\n"
    b"Received: from elsewhere\r\n"
    b"\r\n"
    b"Hello there, \t this is text.  \r\n\r\nBye.\r\n\r\n\r\n"
)


@functools.cache
def pem(type: KeyType = "rsa") -> str:
    """One private key of each type for the whole run."""
    return generate_key(type)


def key(type: KeyType = "rsa") -> SigningKey:
    """The same, read."""
    return read_signing_key(pem(type))


def rule(type: KeyType = "rsa", **settings: Any) -> SignatureRule:
    """A signature of example.org; the selector is the type of its key."""
    return SignatureRule(**{"id": type, "domain": DOMAIN, "selector": type, **settings})


def zone(records: Mapping[str, Records] | None = None) -> Zone:
    """The keys of example.org, and other TXT records by name."""
    names: dict[str, dict[str, Records]] = {
        record_name("rsa", DOMAIN): {"TXT": [key("rsa").record()]},
        record_name("ed25519", DOMAIN): {"TXT": [key("ed25519").record()]},
    }
    names |= {name: {"TXT": texts} for name, texts in (records or {}).items()}
    return Zone(names)


def parts(message: bytes) -> tuple[HeaderBlock, bytes]:
    """(header, body) of a message."""
    header, rest = split_message(message)
    return HeaderBlock.parse(header), rest[2:]


def digests(body: BodyDigests, octets: bytes) -> BodyDigests:
    """Feed the whole body."""
    body.feed(octets)
    body.finish()
    return body


def signed(message: bytes, *rules: SignatureRule, now: float = NOW) -> bytes:
    """The message with the signatures of these rules, whose ids are the types of their keys."""
    header, octets = parts(message)
    body = BodyDigests()
    want_signed(body)
    digests(body, octets)
    types: dict[str, KeyType] = {"rsa": "rsa", "ed25519": "ed25519"}
    return sign(header, body, [(each, key(types[each.id])) for each in rules or (rule(),)], now) + message


def verified(
    message: bytes, resolver: Resolver | None = None, now: float = NOW, rules: VerifyRules | None = None
) -> tuple[DkimFinding, ...]:
    """The findings about the DKIM signatures of a message."""
    header, octets = parts(message)
    body = BodyDigests()
    verifier = Verifier(FieldSelector(header), body, rules)
    digests(body, octets)
    return done(verifier.finish(resolver or zone(), now))


def chain(message: bytes, resolver: Resolver | None = None, now: float = NOW) -> ArcFinding:
    """The finding about the ARC chain of a message."""
    header, octets = parts(message)
    body = BodyDigests()
    verifier = ChainVerifier(FieldSelector(header), body)
    digests(body, octets)
    return done(verifier.finish(resolver or zone(), now))


def done(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coroutine.close()
    raise AssertionError("it waits")
