"""Sender rewriting: a return path of ours that leads a bounce back to a foreign one.

A forwarded message leaves with another's return path, and the next host finds that we may not send for that domain
(SPF).  SRS puts the old address, a day stamp and a keyed hash into the local part of an address of ours:
`SRS0=HASH=DAY=domain=local@ours`.  An address that was rewritten elsewhere becomes `SRS1=HASH=first-forwarder=...@ours`
and leads straight back to the first forwarder, so the local part does not grow with every hop.  The scheme is that of
libsrs2 and Postfix's postsrsd; a hash proves that we made the address, so nobody can bounce mail off us.

Pure: the key and the time come in by argument.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

DAY = 86400.0
MAX_AGE = 21
"""Days for which an address leads back: longer than any host retries."""

HASH_LENGTH = 6
"""Characters of base64, their case ignored: over 30 bits, and each guess costs an RCPT."""

_DAYS = 1024
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_SEPARATORS = "=+-"
_MAX_LOCAL = 64
"""Octets of a local part (RFC 5321 §4.5.3.1.1)."""


class BadSrs(ValueError):
    """An address that looks rewritten by us and is not, or is too old; the text says which."""


@dataclass(frozen=True, slots=True)
class SrsKeys:
    """Secrets: the first signs, all of them verify, so that a new one can be brought in.  No repr shows them."""

    secrets: Sequence[bytes]

    def __repr__(self) -> str:
        return f"<SrsKeys {len(self.secrets)}>"


def is_rewritten(local: str) -> bool:
    """Whether a local part has the form of SRS0 or SRS1."""
    return len(local) > 5 and local[:4].upper() in ("SRS0", "SRS1") and local[4] in _SEPARATORS


def forward(address: str, ours: str, keys: SrsKeys, now: float) -> str | None:
    """The return path at domain `ours` that leads back to `address`; None for one that is too long, or quoted.

    address: "local@domain".  now: Unix seconds.
    """
    local, _, domain = address.rpartition("@")
    if local.startswith('"'):
        return None
    head, rest = local[:4].upper(), local[5:]
    if is_rewritten(local) and head == "SRS1":
        parts = rest.split("=", 2)
        if len(parts) == 3 and parts[1]:
            return _within(_srs1(parts[1], parts[2], ours, keys))
    if is_rewritten(local) and head == "SRS0":
        return _within(_srs1(domain, local[4:], ours, keys))
    stamp = _stamp(now)
    return _within(f"SRS0={_hash(keys.secrets[0], stamp, domain, local)}={stamp}={domain}={local}@{ours}")


def reverse(local: str, keys: SrsKeys, now: float) -> str:
    """The address that a local part of ours leads back to.  Raises BadSrs.  now: Unix seconds."""
    if not is_rewritten(local):
        raise BadSrs("it has not the form of a rewritten address")
    rest = local[5:]
    if local[:4].upper() == "SRS1":
        parts = rest.split("=", 2)
        if len(parts) != 3 or not parts[1] or parts[2][:1] not in _SEPARATORS:
            raise BadSrs("parts of the address are missing")
        hashed, domain, behind = parts
        _verify(hashed, keys, domain, behind)
        return f"SRS0{behind}@{domain}"
    parts = rest.split("=", 3)
    if len(parts) != 4 or not parts[2] or not parts[3]:
        raise BadSrs("parts of the address are missing")
    hashed, stamp, domain, user = parts
    _verify(hashed, keys, stamp, domain, user)
    if not 0 <= (_day(now) - _unstamp(stamp)) % _DAYS <= MAX_AGE:
        raise BadSrs(f"it is older than {MAX_AGE} days")
    return f"{user}@{domain}"


def _srs1(first: str, behind: str, ours: str, keys: SrsKeys) -> str:
    """behind: what follows "SRS0" in the first forwarder's local part, its separator included."""
    return f"SRS1={_hash(keys.secrets[0], first, behind)}={first}={behind}@{ours}"


def _within(address: str) -> str | None:
    return address if len(address.rpartition("@")[0].encode()) <= _MAX_LOCAL else None


def _hash(secret: bytes, *parts: str) -> str:
    # Hosts on the way may change the case of letters: it takes no part.
    digest = hmac.digest(secret, "\0".join(parts).lower().encode("utf-8", "surrogateescape"), "sha256")
    return base64.b64encode(digest, b"-_")[:HASH_LENGTH].decode()


def _verify(hashed: str, keys: SrsKeys, *parts: str) -> None:
    given = hashed.lower().encode("utf-8", "surrogateescape")
    for secret in keys.secrets:
        if hmac.compare_digest(given, _hash(secret, *parts).lower().encode()):
            return
    raise BadSrs("its hash is wrong")


def _day(now: float) -> int:
    return int(now // DAY) % _DAYS


def _stamp(now: float) -> str:
    high, low = divmod(_day(now), 32)
    return _ALPHABET[high] + _ALPHABET[low]


def _unstamp(stamp: str) -> int:
    places = [_ALPHABET.find(letter) for letter in stamp.upper()]
    if len(places) != 2 or min(places) < 0:
        raise BadSrs("its day is no day")
    return places[0] * 32 + places[1]
