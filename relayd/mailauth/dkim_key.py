"""DKIM key records (RFC 6376 §3.6.1, RFC 8463) and the public keys in them, kept once read.

RSA goes through `cryptography`, not through dkimpy, which does it in Python; dkimpy also leaves h=, t=s and the
service of a record unchecked, so the whole record is read here.
"""

from __future__ import annotations

import functools

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from relayd.mailauth.tags import TagError, parse_tags

MAX_RECORD = 8192
"""Octets of a key record that is looked at; an RSA key of 4096 bits takes 800."""

MAX_BITS = 8192
_MAX_EXPONENT = 1 << 64  # a longer one makes one verification as dear as hundreds
_KEPT = 1024
_PADDING = PKCS1v15()
_DIGEST = Prehashed(SHA256())


class KeyRecordError(ValueError):
    """The record holds no key that can be used; the text says why.  cause: as in `DkimFinding.cause`."""

    def __init__(self, problem: str, cause: str) -> None:
        super().__init__(problem)
        self.cause = cause


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A key that can be used.

    type: "rsa" or "ed25519".  bits: length of the key.  hashes: those it is for, None: any.  services: those it is
    for ("*": any).  testing: t=y.  strict: t=s, the domain of i= must be d= itself.
    """

    type: str
    key: RSAPublicKey | Ed25519PublicKey
    bits: int
    hashes: tuple[str, ...] | None = None
    services: tuple[str, ...] = ("*",)
    testing: bool = False
    strict: bool = False

    def verifies(self, signature: bytes, digest: bytes) -> bool:
        """Whether the signature over this SHA-256 digest was made with the key (RFC 8463 §3 signs the digest too)."""
        try:
            if isinstance(self.key, RSAPublicKey):
                self.key.verify(signature, digest, _PADDING, _DIGEST)
            else:
                self.key.verify(signature, digest)
        except InvalidSignature:
            return False
        return True


def parse_key_record(record: bytes) -> KeyRecord:
    """The key in a TXT record.  KeyRecordError; what was read once is kept, for about a thousand records."""
    if len(record) > MAX_RECORD:
        raise KeyRecordError("the key record is too long", "mail-auth.parse-error")
    return _parse(record)


@functools.lru_cache(_KEPT)
def _parse(record: bytes) -> KeyRecord:
    try:
        tags = parse_tags(record)
        if "v" in tags and (tags.first != "v" or tags.octets("v") != b"DKIM1"):
            raise KeyRecordError("not a DKIM1 key record", "dkim.unsupported-version")
        type = tags.text("k", "rsa")
        if type not in ("rsa", "ed25519"):
            raise KeyRecordError("a key of unknown type", "dkim.unsupported-key-type")
        if not tags.octets("p"):
            raise KeyRecordError("the key is revoked", "dkim.revoked-public-key")
        flags = tags.words("t") if "t" in tags else ()
        key = _rsa(tags.base64("p")) if type == "rsa" else _ed25519(tags.base64("p"))
        return KeyRecord(
            type=type,
            key=key,
            bits=key.key_size if isinstance(key, RSAPublicKey) else 256,
            hashes=tags.words("h") if "h" in tags else None,
            services=tags.words("s") if "s" in tags else ("*",),
            testing="y" in flags,
            strict="s" in flags,
        )
    except TagError as error:
        raise KeyRecordError(f"the key record cannot be read: {error}", "mail-auth.parse-error") from None


def _rsa(der: bytes) -> RSAPublicKey:
    """From SubjectPublicKeyInfo, which everybody publishes, or the bare RSAPublicKey that RFC 6376 §3.6.1 names."""
    try:
        key = load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        raise KeyRecordError("the RSA key cannot be read", "mail-auth.crypto") from None
    if not isinstance(key, RSAPublicKey):
        raise KeyRecordError("the key is not the RSA key that k= promises", "mail-auth.crypto")
    if key.key_size > MAX_BITS or key.public_numbers().e >= _MAX_EXPONENT:
        raise KeyRecordError("the RSA key is too long to be used", "mail-auth.crypto")
    return key


def _ed25519(raw: bytes) -> Ed25519PublicKey:
    try:
        return Ed25519PublicKey.from_public_bytes(raw)
    except (ValueError, UnsupportedAlgorithm):
        raise KeyRecordError("the Ed25519 key cannot be read", "mail-auth.crypto") from None
