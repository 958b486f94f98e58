"""Private keys that sign, and what is published of them (RFC 6376 §3.3, §3.6.1; RFC 8463 §4).

Reading an RSA key costs tens of milliseconds, because it is checked; so a key that was read is kept.  Nothing here
shows a private key: not an error, not a repr.
"""

from __future__ import annotations

import base64
import functools
from datetime import UTC, datetime
from typing import Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

KeyType = Literal["rsa", "ed25519"]

RSA_BITS = 2048
_MINIMUM_BITS = 1024
_KEPT = 1024
_PADDING = PKCS1v15()
_DIGEST = Prehashed(SHA256())


class KeyUnreadable(Exception):
    """The private key cannot be used; the text says why, without the key."""


class SigningKey:
    """A private key.  type: "rsa" or "ed25519".  bits: its length."""

    __slots__ = ("_key", "bits", "type")

    def __init__(self, key: RSAPrivateKey | Ed25519PrivateKey) -> None:
        self._key = key
        self.type: KeyType = "rsa" if isinstance(key, RSAPrivateKey) else "ed25519"
        self.bits = key.key_size if isinstance(key, RSAPrivateKey) else 256

    def __repr__(self) -> str:
        return f"<SigningKey {self.type} {self.bits}>"

    @property
    def algorithm(self) -> str:
        """As a= names it."""
        return f"{self.type}-sha256"

    def sign(self, digest: bytes) -> bytes:
        """The signature of a SHA-256 digest; about 0.7 ms for RSA with 2048 bits, during which other threads run."""
        if isinstance(self._key, RSAPrivateKey):
            return self._key.sign(digest, _PADDING, _DIGEST)
        return self._key.sign(digest)

    def public_value(self) -> str:
        """The public key as p= has it: base64 of SubjectPublicKeyInfo (RSA) or of the 32 octets (Ed25519)."""
        if isinstance(self._key, RSAPrivateKey):
            octets = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        else:
            octets = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return base64.b64encode(octets).decode("ascii")

    def matches(self, public: RSAPublicKey | Ed25519PublicKey) -> bool:
        """Whether this is its public key."""
        form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return self._key.public_key().public_bytes(*form) == public.public_bytes(*form)

    def record(self) -> str:
        """The TXT record to publish at `record_name`."""
        return f"v=DKIM1; k={self.type}; h=sha256; p={self.public_value()}"


@functools.lru_cache(_KEPT)
def read_signing_key(pem: str) -> SigningKey:
    """From PEM: RSA as PKCS#1 or PKCS#8, Ed25519 as PKCS#8, not encrypted.

    KeyUnreadable.  The first time takes tens of milliseconds for RSA: not on the event loop.
    """
    try:
        key = load_pem_private_key(pem.strip().encode("ascii"), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it is encrypted
        raise KeyUnreadable("the private key is no PEM of a key without a password") from None
    if isinstance(key, RSAPrivateKey):
        if key.key_size < _MINIMUM_BITS:
            raise KeyUnreadable(f"an RSA key of {key.key_size} bits is too weak: 1024 are needed, 2048 usual")
    elif not isinstance(key, Ed25519PrivateKey):
        raise KeyUnreadable("the private key is neither RSA nor Ed25519")
    return SigningKey(key)


def generate_key(type: KeyType) -> str:
    """A new private key as PEM: RSA of 2048 bits as PKCS#1 (takes a fraction of a second), Ed25519 as PKCS#8."""
    if type == "rsa":
        key: RSAPrivateKey | Ed25519PrivateKey = generate_private_key(public_exponent=65537, key_size=RSA_BITS)
        form = PrivateFormat.TraditionalOpenSSL
    else:
        key = Ed25519PrivateKey.generate()
        form = PrivateFormat.PKCS8
    return key.private_bytes(Encoding.PEM, form, NoEncryption()).decode("ascii")


def record_name(selector: str, domain: str) -> str:
    """The name, without final dot, at which the record of a key is published."""
    return f"{selector}._domainkey.{domain}"


def default_id(type: KeyType, domain: str) -> str:
    """The id of a signature that is created without one."""
    return f"{type}-{domain.lower()}"


def default_selector(type: KeyType, now: float) -> str:
    """The selector of a signature that is created without one: the month in UTC and the type ("202501e")."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y%m") + type[0]
