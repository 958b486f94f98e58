"""Tokens: who signed in, sealed with a key that only this machine has, so that nothing need be stored for them.

A token is standard base64 of a nonce and an AES-256-GCM box of its claims.  The key is a file of the data directory;
without the file every token is void.  An access or refresh token holds the version of the account's secrets, so a
changed password voids it; a stream token lives for a minute and survives the change.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import enum
import os
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relayd.blobs.spool import sync_directory

STREAM_LIFETIME = 60.0
"""Seconds for which a stream token opens streams."""

MAX_TOKEN = 2048
"""Characters; longer ones are refused unread."""

_KEY = 32
_NONCE = 12
_PURPOSE = b"relayd token 1"


class TokenKind(enum.Enum):
    """What a token is good for."""

    ACCESS = 0
    REFRESH = 1
    LIVE_TRACING = 2
    LIVE_METRICS = 3
    TROUBLESHOOT = 4


class Realm(enum.Enum):
    """Whose names the account's name is one of."""

    DIRECTORY = 0
    FALLBACK = 1
    """The fallback administrator."""

    LOCAL = 2
    """A peer of the Unix socket; no account, so only stream tokens are of this realm."""


class Claims(msgspec.Struct, frozen=True, array_like=True):
    """What a token says.  version: of the account's secrets.  issued, expires: Unix seconds."""

    kind: TokenKind
    realm: Realm
    account: str
    version: bytes
    client_id: str
    issued: int
    expires: int


class TokenRefused(Exception):
    """A token that is good for nothing here."""


class TokenForged(TokenRefused):
    """It is none of ours, or was changed."""


class TokenExpired(TokenRefused):
    """Its time is over."""


class WrongKind(TokenRefused):
    """It is good, but not for this."""


class Tokens:
    """Seals and opens tokens.  key: 32 octets.  clock: Unix seconds."""

    def __init__(self, key: bytes, clock: Callable[[], float]) -> None:
        self._box = AESGCM(key)
        self.clock = clock
        self._decode = msgspec.msgpack.Decoder(Claims).decode

    def issue(
        self, kind: TokenKind, realm: Realm, account: str, version: bytes, lifetime: float, client_id: str = ""
    ) -> str:
        """A token of `kind` for `lifetime` seconds from now; standard base64, padded."""
        now = int(self.clock())
        claims = Claims(kind, realm, account, version, client_id, now, now + max(1, int(lifetime)))
        nonce = os.urandom(_NONCE)
        sealed = self._box.encrypt(nonce, msgspec.msgpack.encode(claims), _PURPOSE)
        return base64.b64encode(nonce + sealed).decode("ascii")

    def open(self, token: str, kinds: Collection[TokenKind]) -> Claims:
        """The claims of a token that is one of `kinds`.  Raises TokenForged, TokenExpired, WrongKind.

        Whether the account still exists, and has the version that the token names, is for the caller to see.
        """
        if len(token) > MAX_TOKEN:
            raise TokenForged
        try:
            octets = base64.b64decode(token, validate=True)
            opened = self._box.decrypt(octets[:_NONCE], octets[_NONCE:], _PURPOSE)
            claims = self._decode(opened)
        except (binascii.Error, ValueError, InvalidTag, msgspec.DecodeError):
            raise TokenForged from None
        if claims.kind not in kinds:
            raise WrongKind
        if not claims.issued - 60 <= self.clock() < claims.expires:  # a clock that was set back lengthens no life
            raise TokenExpired
        return claims


def load_key(path: Path) -> bytes:
    """The key in the file `path`, made there when it is missing; only the daemon's user may read it.  Raises OSError.

    A file that others may read, or that holds no key, is replaced: whoever signed in does so again.  Blocks.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return _make_key(path)
    with open(descriptor, "rb") as file:
        key = file.read(_KEY + 1)
        is_private = os.fstat(descriptor).st_mode & 0o077 == 0
    return key if is_private and len(key) == _KEY else _make_key(path)


def _make_key(path: Path) -> bytes:
    key = os.urandom(_KEY)
    descriptor, name = tempfile.mkstemp(prefix=path.name, dir=path.parent)  # mode 0600
    try:
        with open(descriptor, "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(descriptor)
        os.replace(name, path)
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
    sync_directory(path.parent)
    return key
