"""Access keys: with which a program signs requests of the DirectMail dialect, as the account that a key belongs to.

What is signed with must be known in plain, so the secrets are sealed (AES-GCM) under a key in a file of its own beside
the database: a copy of the database alone gives none away.  A key names its account by the principal's id, which is
never used again: one whose account is gone signs for nobody, whoever takes the name later.
"""

from __future__ import annotations

import os
import secrets
import string
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relayd.database.interface import Connection
from relayd.directory import rows
from relayd.directory.entry import Entry
from relayd.directory.principals import Principals

MAX_KEYS = 10
"""Keys that an account may have."""

_NONCE = 12
_ALPHABET = string.ascii_letters + string.digits


class TooManyKeys(Exception):
    """The account has MAX_KEYS keys."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made: the only time that its secret is shown."""

    id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """A key, and whose it is now."""

    id: str
    secret: str = field(repr=False)
    account: Entry


class AccessKeys:
    """The keys.  seal: 32 octets.  clock: Unix seconds.  Every method may raise DatabaseError."""

    def __init__(self, principals: Principals, seal: bytes, clock: Callable[[], float]) -> None:
        self._principals = principals
        self._box = AESGCM(seal)
        self._clock = clock

    async def create(self, account: Entry) -> NewKey:
        """A new key of an account.  Raises TooManyKeys."""
        made = NewKey("RK" + _random(22), _random(40))
        nonce = os.urandom(_NONCE)
        sealed = nonce + self._box.encrypt(nonce, made.secret.encode(), made.id.encode())
        row = (made.id, account.id, account.name, sealed, self._clock())

        def work(connection: Connection) -> None:
            found = connection.execute("SELECT count(*) FROM access_keys WHERE owner = ?", (account.id,)).fetchone()
            if found[0] >= MAX_KEYS:
                raise TooManyKeys(account.name)
            connection.execute("INSERT INTO access_keys VALUES (?, ?, ?, ?, ?)", row)

        await self._principals.database.write(work)
        return made

    async def list(self, account: Entry) -> list[tuple[str, float]]:
        """Ids of an account's keys, and when each was made; the oldest first."""
        return await self._principals.database.read(
            lambda connection: connection.execute(
                "SELECT id, created FROM access_keys WHERE owner = ? ORDER BY created, id", (account.id,)
            ).fetchall()
        )

    async def revoke(self, account: Entry, id: str) -> bool:
        """Remove a key of an account; whether it had it."""
        return await self._principals.database.write(
            lambda connection: (
                connection.execute("DELETE FROM access_keys WHERE id = ? AND owner = ?", (id, account.id)).rowcount > 0
            )
        )

    async def find(self, id: str) -> KeyHolder | None:
        """Whose key it is, with its secret; None for one that signs for nobody."""
        row = await self._principals.database.read(
            lambda connection: connection.execute(
                "SELECT owner, owner_name, sealed FROM access_keys WHERE id = ?", (id,)
            ).fetchone()
        )
        if row is None:
            return None
        account = await owner_of(self._principals, int(row[0]), str(row[1]))
        if account is None:
            return None
        sealed = bytes(row[2])
        try:
            secret = self._box.decrypt(sealed[:_NONCE], sealed[_NONCE:], id.encode()).decode()
        except InvalidTag:  # the file with the seal was lost
            return None
        return KeyHolder(id, secret, account)


async def owner_of(principals: Principals, id: int, name: str) -> Entry | None:
    """The principal that owns something, under its present name; None when it is gone."""
    configured = principals.reserved.entries.get(name)
    if configured is not None and configured.id == id:
        return configured
    return await principals.read(lambda connection: rows.entry(connection, id))


def _random(count: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(count))
