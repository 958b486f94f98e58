"""Stored secrets that Python's own library checks: PBKDF2, scrypt, and the plain digests of LDAP (RFC 2307).

A stored hash says itself what checking it costs; beyond a limit it is refused, for whoever may store one could
otherwise stop the sign-in of everybody.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re

MAX_ITERATIONS = 10_000_000
"""Of PBKDF2; seconds of work."""

MAX_MEMORY = 256 * 1024 * 1024
"""Octets that scrypt or argon2 may take for one check."""

MAX_WORK = 32 * MAX_MEMORY
"""Octets that scrypt may go through for one check."""


class UnknownHash(ValueError):
    """The stored secret is a hash that this machine cannot check, or will not; the text says why, without the hash."""


_PBKDF2 = re.compile(
    r"\$pbkdf2(?:-(sha1|sha256|sha512))?"
    r"\$(?:v=\d\$)?(?:i=)?(\d{1,9})(?:,l=\d{1,3})?"
    r"\$([A-Za-z0-9+/.]{0,172})\$([A-Za-z0-9+/.]{16,172})={0,2}",
    re.ASCII,
)
_SCRYPT = re.compile(
    r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,4}),p=(\d{1,4})\$([A-Za-z0-9+/]{0,172})\$([A-Za-z0-9+/]{16,172})={0,2}", re.ASCII
)
_DIGEST = re.compile(r"\{(S?)(MD5|SHA|SHA256|SHA512)\}([A-Za-z0-9+/]+)={0,2}", re.ASCII | re.IGNORECASE)
_DIGEST_NAMES = {"MD5": "md5", "SHA": "sha1", "SHA256": "sha256", "SHA512": "sha512"}


class Pbkdf2:
    """`$pbkdf2-sha256$29000$salt$hash` as passlib writes it, and the PHC form with `i=29000,l=32`; UnknownHash."""

    def __init__(self, stored: str) -> None:
        match = _PBKDF2.fullmatch(stored)
        if match is None:
            raise UnknownHash("is no PBKDF2 hash of a known form")
        self._name = match[1] or "sha1"
        self._iterations = int(match[2])
        self._salt, self._hash = _base64(match[3]), _base64(match[4])
        if not 1 <= self._iterations <= MAX_ITERATIONS:
            raise UnknownHash(f"has more than {MAX_ITERATIONS} iterations")

    def verify(self, secret: bytes) -> bool:
        """Whether `secret` is the one; blocks."""
        found = hashlib.pbkdf2_hmac(self._name, secret, self._salt, self._iterations, len(self._hash))
        return hmac.compare_digest(found, self._hash)


class Scrypt:
    """`$scrypt$ln=16,r=8,p=1$salt$hash` (PHC, and passlib's); UnknownHash."""

    def __init__(self, stored: str) -> None:
        match = _SCRYPT.fullmatch(stored)
        if match is None:
            raise UnknownHash("is no scrypt hash of a known form")
        rounds, self._r, self._p = int(match[1]), int(match[2]), int(match[3])
        self._salt, self._hash = _base64(match[4]), _base64(match[5])
        if not (1 <= rounds <= 30 and self._r and self._p):
            raise UnknownHash("has parameters that scrypt does not know")
        self._n = 1 << rounds
        self._memory = 128 * self._r * (self._n + self._p + 2)
        if self._memory > MAX_MEMORY or self._memory * self._p > MAX_WORK:
            raise UnknownHash("takes too much memory or work to check")

    def verify(self, secret: bytes) -> bool:
        """Whether `secret` is the one; blocks."""
        found = hashlib.scrypt(
            secret,
            salt=self._salt,
            n=self._n,
            r=self._r,
            p=self._p,
            maxmem=self._memory + (1 << 20),
            dklen=len(self._hash),
        )
        return hmac.compare_digest(found, self._hash)


class Digest:
    """`{SHA}`, `{SSHA}` and their like: base64 of the digest, then the salt where it has one; UnknownHash."""

    def __init__(self, stored: str) -> None:
        match = _DIGEST.fullmatch(stored)
        name = _DIGEST_NAMES.get(match[2].upper()) if match is not None else None
        if match is None or name is None or (name == "md5" and match[1]):
            raise UnknownHash("is no digest of a known form")
        self._name = name
        octets = _base64(match[3])
        size = hashlib.new(name, usedforsecurity=False).digest_size
        self._hash, self._salt = octets[:size], octets[size:]
        if len(self._hash) < size or bool(self._salt) != bool(match[1]):
            raise UnknownHash("is no digest of the right length")

    def verify(self, secret: bytes) -> bool:
        """Whether `secret` is the one."""
        found = hashlib.new(self._name, secret + self._salt, usedforsecurity=False).digest()
        return hmac.compare_digest(found, self._hash)


class Plain:
    """A secret stored as it is."""

    def __init__(self, stored: str) -> None:
        self._stored = stored.encode("utf-8", "surrogateescape")

    def verify(self, secret: bytes) -> bool:
        """Whether `secret` is the one; none is the empty one."""
        return hmac.compare_digest(secret, self._stored) and bool(self._stored)


def _base64(text: str) -> bytes:
    """Unpadded base64, of passlib's alphabet (with ".") too; UnknownHash."""
    try:
        return base64.b64decode(text.replace(".", "+") + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise UnknownHash("is not valid base64") from None
