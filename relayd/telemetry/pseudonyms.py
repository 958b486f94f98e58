"""Mail addresses in lines of a log, replaced by pseudonyms.

The local part becomes a keyed hash of the whole address, so the same address has the same pseudonym as long as the key
is the same, nobody without the key can tell whose it is, and its domain can still be seen.  Without the key (the file
is deleted) no pseudonym leads back to anybody.
"""

from __future__ import annotations

import base64
import os
import re
from hashlib import blake2b
from pathlib import Path

_ADDRESS = re.compile(
    r"""((?:\\?"(?:[^"\\]|\\.)*\\?"|[^\s"<>\[\](),;:\\@]+))@((?:[^\W_](?:[\w-]*[^\W_])?\.)*[^\W_](?:[\w-]*[^\W_])?)"""
)
_KEY_OCTETS = 32


def load_key(path: Path) -> bytes:
    """The key at `path`, made when there is none.  Raises OSError."""
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        key = b""
    if len(key) >= _KEY_OCTETS:
        return key[:64]
    key = os.urandom(_KEY_OCTETS)
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(key)
    return key


class Pseudonyms:
    """Replaces addresses.  key: 16 to 64 octets."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, address: str) -> str:
        """The pseudonym of an address, in any case of its letters."""
        digest = blake2b(address.lower().encode("utf-8", "replace"), key=self._key, digest_size=10).digest()
        return "p-" + base64.b32encode(digest).decode().lower() + "@" + address.rpartition("@")[2]

    def line(self, text: str) -> str:
        """`text` with every address in it replaced."""
        if "@" not in text:
            return text
        return _ADDRESS.sub(lambda found: self.of(found[0]), text)
