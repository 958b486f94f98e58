"""Secrets as they are stored: hashes of many kinds, or plain text.

What looks like a hash is never compared as plain text: a stored secret that begins with `$word$`, `{WORD}` or, with the
length of such a hash, `_`, is a hash, and an error where it is of no known kind.  A plain secret of that look is stored
behind `{PLAIN}`.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
import threading
from collections.abc import Callable
from typing import Protocol

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, VerifyMismatchError

from relayd.directory.crypt3 import Crypt, is_crypt
from relayd.directory.hashes import MAX_MEMORY, Digest, Pbkdf2, Plain, Scrypt, UnknownHash

__all__ = [
    "MAX_SECRET",
    "UnknownHash",
    "digest_secret",
    "hash_secret",
    "is_hash",
    "is_slow",
    "matches",
    "problem_of",
    "unmarked",
]

MAX_SECRET = 1024
"""Octets; longer secrets are refused unread."""

_NICE = 5

_MAX_STORED = 4096
_MAX_ARGON2_TIME = 32

_hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)

_ARGON2 = re.compile(
    r"\$argon2(?:id|i|d)(?:\$v=\d{1,3})?\$m=(\d{1,9}),t=(\d{1,9}),p=\d{1,3}\$[A-Za-z0-9+/]{8,}\$[A-Za-z0-9+/]{4,}",
    re.ASCII,
)
_WORD = re.compile(r"\$[A-Za-z0-9_.-]{1,24}[$,]|\$argon2|\$pbkdf2|\$scrypt", re.ASCII)
_BRACED = re.compile(r"\{([A-Za-z0-9_.-]{1,24})\}(.*)", re.ASCII | re.DOTALL)


class _Verifier(Protocol):
    def verify(self, secret: bytes) -> bool: ...


class _Argon2:
    def __init__(self, stored: str) -> None:
        match = _ARGON2.fullmatch(stored)
        if match is None:
            raise UnknownHash("is no argon2 hash of a known form")
        if int(match[1]) * 1024 > MAX_MEMORY or int(match[2]) > _MAX_ARGON2_TIME:
            raise UnknownHash("takes too much memory or work to check")
        self._stored = stored

    def verify(self, secret: bytes) -> bool:
        try:
            return _hasher.verify(self._stored, secret)
        except VerifyMismatchError:
            return False
        except Argon2Error:
            raise UnknownHash("is no valid argon2 hash") from None


def _braced(name: str, rest: str) -> _Verifier:
    match name.upper():
        case "PLAIN" | "CLEAR":
            return Plain(rest)
        case "CRYPT":
            return Crypt(rest) if not rest.startswith(("$argon2", "$pbkdf2", "$scrypt")) else _verifier(rest)
        case _:
            return Digest(f"{{{name}}}{rest}")


def _verifier(stored: str) -> _Verifier:
    """What checks a stored secret; UnknownHash."""
    if len(stored) > _MAX_STORED:
        raise UnknownHash("is too long")
    for prefix, kind in _BY_PREFIX:
        if stored.startswith(prefix):
            return kind(stored)
    if is_crypt(stored):
        return Crypt(stored)
    braced = _BRACED.fullmatch(stored)
    if braced is not None:
        return _braced(braced[1], braced[2])
    if _WORD.match(stored):
        raise UnknownHash("looks like a hash of an unknown kind; a plain secret of this look is written {PLAIN}...")
    return Plain(stored)


_BY_PREFIX: tuple[tuple[str, Callable[[str], _Verifier]], ...] = (
    ("$argon2", _Argon2),
    ("$pbkdf2", Pbkdf2),
    ("$scrypt", Scrypt),
)


def is_hash(stored: str) -> bool:
    """Whether a stored secret is kept as a hash; False for plain text.  An unknown kind of hash is one too."""
    try:
        return not isinstance(_verifier(stored), Plain)
    except UnknownHash:
        return True


def unmarked(plain: str) -> str:
    """A plain secret without the `{PLAIN}` that it may be stored behind."""
    braced = _BRACED.fullmatch(plain)
    return braced[2] if braced is not None and braced[1].upper() in ("PLAIN", "CLEAR") else plain


def is_slow(stored: str) -> bool:
    """Whether checking a stored secret takes its time, and can be done."""
    try:
        return not isinstance(_verifier(stored), Plain | Digest)
    except UnknownHash:
        return False


def problem_of(stored: str) -> str | None:
    """Why a stored secret cannot be checked on this machine ("is ..."), None when it can; costs no check."""
    try:
        _verifier(stored)
    except UnknownHash as error:
        return str(error)
    return None


def is_current(stored: str) -> bool:
    """Whether a stored secret is what `hash_secret` makes now, at the cost it takes now."""
    return stored.startswith("$argon2id$") and _ARGON2.fullmatch(stored) is not None and not _is_outdated(stored)


def _is_outdated(stored: str) -> bool:
    try:
        return _hasher.check_needs_rehash(stored)
    except Argon2Error:
        return True


def hash_secret(secret: str) -> str:
    """An argon2id hash to store; blocks."""
    return _hasher.hash(secret.encode("utf-8", "surrogateescape"))


def give_way() -> None:
    """Let this thread compute only when no other has something to do: sign-ins must not slow mail down.

    Linux keeps niceness for each thread.
    """
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def digest_secret(secret: str) -> str:
    """A salted digest to store of a secret that nobody could guess: checked in microseconds."""
    salt = os.urandom(16)
    digest = hashlib.sha256(secret.encode("utf-8", "surrogateescape") + salt).digest()
    return "{SSHA256}" + base64.b64encode(digest + salt).decode()


def matches(secret: str, stored: str) -> bool:
    """Whether `secret` is the stored one, compared in constant time; UnknownHash.  Blocks for as long as a hash does.

    Nothing is the secret of an empty stored one.
    """
    octets = secret.encode("utf-8", "surrogateescape")
    if len(octets) > MAX_SECRET or b"\0" in octets:
        return False
    return _verifier(stored).verify(octets)
