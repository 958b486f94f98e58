"""Signing for tests: with no keys, or with one of each type for a domain."""

from __future__ import annotations

import time

from relayd.events.event import EventStream, Span
from relayd.mailauth.signature_options import PrivateKey, SignatureOptions
from relayd.reception.keyring import Keyring
from relayd.reception.signing import Signing
from tests.mailauth.signing import DOMAIN, pem


def signatures(domain: str = DOMAIN) -> dict[str, SignatureOptions]:
    """An RSA and an Ed25519 signature of a domain; ids and selectors are the types."""
    return {
        type: SignatureOptions(private_key=PrivateKey(pem=pem(type)), domain=domain, selector=type)
        for type in ("rsa", "ed25519")
    }


def signing_with(records: dict[str, SignatureOptions] | None = None, span: Span | None = None) -> Signing:
    """No records: it signs nothing."""
    keyring = Keyring(records or {}, 5 * 86400.0, time.monotonic)
    return Signing(keyring, span or Span(EventStream(time.time, [])))
