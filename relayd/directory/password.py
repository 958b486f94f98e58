"""Secrets as the configuration holds them: argon2 hashes, hashes of crypt(3), or plain text.

Everything here blocks, for milliseconds to tenths of a second, and releases the interpreter lock while it does.
"""

from __future__ import annotations

import contextlib
import ctypes
import hmac

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, VerifyMismatchError

MAX_SECRET = 1024
"""Octets; longer secrets are refused unread."""

_ARGON2 = ("$argon2id$", "$argon2i$", "$argon2d$")
_CRYPT = ("$y$", "$gy$", "$7$", "$6$", "$5$", "$2b$", "$2a$", "$2y$", "$1$")
_LIBRARIES = ("libcrypt.so.1", "libcrypt.so.2")
_CRYPT_DATA = 131_232  # the largest struct crypt_data there is (glibc); libxcrypt's has 32,768 octets

_hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)


class UnknownHash(ValueError):
    """The stored secret is a hash of a kind that this machine cannot check."""


def is_hash(stored: str) -> bool:
    """Whether a stored secret is a hash; anything else is plain text."""
    return stored.startswith(_ARGON2) or stored.startswith(_CRYPT)


def is_slow(stored: str) -> bool:
    """Whether checking a stored secret takes its time."""
    return is_hash(stored)


def hash_secret(secret: str) -> str:
    """An argon2id hash to store."""
    return _hasher.hash(secret)


def matches(secret: str, stored: str) -> bool:
    """Whether `secret` is the stored one; UnknownHash."""
    octets = secret.encode("utf-8", "surrogateescape")
    if len(octets) > MAX_SECRET or b"\0" in octets:
        return False
    if stored.startswith(_ARGON2):
        try:
            return _hasher.verify(stored, octets)
        except VerifyMismatchError:
            return False
        except Argon2Error as error:
            raise UnknownHash("not a valid argon2 hash") from error
    if stored.startswith(_CRYPT):
        return hmac.compare_digest(_crypt(octets, stored), stored.encode())
    return hmac.compare_digest(octets, stored.encode("utf-8", "surrogateescape"))


def _library() -> ctypes.CDLL | None:
    for name in _LIBRARIES:
        with contextlib.suppress(OSError):
            return ctypes.CDLL(name)
    return None


_libcrypt = _library()


def _crypt(secret: bytes, setting: str) -> bytes:
    """crypt(3), re-entrant: each call brings its own memory."""
    if _libcrypt is None:
        raise UnknownHash("there is no libcrypt to check the hash with")
    data = ctypes.create_string_buffer(_CRYPT_DATA)
    if hasattr(_libcrypt, "crypt_rn"):
        crypt = _libcrypt.crypt_rn
        arguments: tuple[object, ...] = (secret, setting.encode(), data, ctypes.c_int(len(data)))
    else:
        crypt = _libcrypt.crypt_r
        arguments = (secret, setting.encode(), data)
    crypt.restype = ctypes.c_char_p
    result: bytes | None = crypt(*arguments)
    if result is None or result.startswith(b"*"):
        raise UnknownHash("libcrypt does not know this kind of hash")
    return result
