"""Sending addresses: addresses beside an account's own that it sends from, each with quotas and a password of its own.

An address belongs to an account (its owner) and is of one of two types: `batch`, mail to many, and `trigger`, mail that
somebody waits for; the two take turns apart from one another.  It may be frozen (nothing is sent from it), has a reply
address that counts as verified once a ticket that was mailed there came back, and perhaps a URL that is told of what
became of its mail.  With its password it signs in by itself (`PrincipalSource`), as an account that may send from this
address and do nothing else; its mail counts for its owner too.
"""

from __future__ import annotations

import enum
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from relayd.database.interface import Connection
from relayd.directory.access_keys import owner_of
from relayd.directory.account import Account
from relayd.directory.entry import Entry
from relayd.directory.permissions import AUTHENTICATE, EMAIL_SEND
from relayd.directory.principal import Principal
from relayd.directory.principals import Principals
from relayd.directory.secrets import Secrets

T = TypeVar("T")

TICKET_LIFE = 3 * 86400.0
"""Seconds for which a mailed ticket can come back."""

_REMEMBERED = 10_000
_RIGHTS = frozenset({AUTHENTICATE, EMAIL_SEND})
_COLUMNS = (
    "id, address, owner, owner_name, type, created, frozen, reply, reply_verified, daily, monthly, password <> '',"
    " notify_url, notify_key"
)


class AddressTaken(Exception):
    """The address is a sending address already."""


class TooManyAddresses(Exception):
    """The account has as many as it may."""


class SendingType(enum.StrEnum):
    """What is sent from an address."""

    BATCH = "batch"
    TRIGGER = "trigger"


@dataclass(frozen=True, slots=True, kw_only=True)
class SendingAddress:
    """address: lower case.  owner: the id of the principal, owner_name: its name when the address was made.

    frozen: why nothing is sent from it, "" when it is.  daily, monthly: messages.  notify_url: "" for none;
    notify_key: id of the access key that signs what is posted there.
    """

    id: int
    address: str
    owner: int
    owner_name: str
    type: SendingType
    created: float
    frozen: str = ""
    reply: str = ""
    reply_verified: bool = False
    daily: int
    monthly: int
    has_password: bool = False
    notify_url: str = ""
    notify_key: str = ""

    @property
    def usage(self) -> str:
        """The name under which its messages are counted (`queue.usage`)."""
        return f"address:{self.address}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """What a new address may send, by type: (messages a day, messages a month).  addresses: of an account, at most."""

    batch: tuple[int, int] = (10_000, 200_000)
    trigger: tuple[int, int] = (10_000, 200_000)
    addresses: int = 100

    def of(self, type: SendingType) -> tuple[int, int]:
        """Of a type."""
        return self.batch if type is SendingType.BATCH else self.trigger


async def _nobody(name: str) -> Account | None:
    return None


class SendingAddresses:
    """The addresses, in the principals' database.  clock: Unix seconds.  Every method may raise DatabaseError.

    account_of: the account of a name as it is now; set by who puts the directory together.
    """

    def __init__(self, principals: Principals, clock: Callable[[], float]) -> None:
        self.account_of: Callable[[str], Awaitable[Account | None]] = _nobody
        self.on_change: list[Callable[[], None]] = []
        self._principals = principals
        self._database = principals.database
        self._clock = clock
        self._count = self._changes = 0
        self._known: OrderedDict[str, SendingAddress | None] = OrderedDict()
        self._notified: dict[str, int] = {}

    async def open(self) -> None:
        """Learn what has to be known from the start."""
        await self._write(lambda connection: None)

    @property
    def has_any(self) -> bool:
        """Whether there is any; without one nothing need be asked."""
        return self._count > 0

    @property
    def notified(self) -> dict[str, int]:
        """The addresses whose outcomes somebody is told of, and their ids."""
        return self._notified

    async def get(self, address: str) -> SendingAddress | None:
        """The sending address `address`, in any case; remembered until the next change."""
        if not self._count:
            return None
        address = address.lower()
        if address in self._known:
            self._known.move_to_end(address)
            return self._known[address]
        changes = self._changes
        found = await self._database.read(lambda connection: _one(connection, "address = ?", (address,)))
        if changes != self._changes:
            return found  # and not remembered: it may be older than the change
        self._known[address] = found
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return found

    async def of_owner(self, owner: Entry, id: int) -> SendingAddress | None:
        """The address of that id, if it is the account's."""
        return await self._database.read(lambda connection: _one(connection, "id = ? AND owner = ?", (id, owner.id)))

    async def by_id(self, id: int) -> SendingAddress | None:
        """The address of that id, whoever's it is."""
        return await self._database.read(lambda connection: _one(connection, "id = ?", (id,)))

    async def page(
        self, owner: Entry, text: str, type: SendingType | None, offset: int, limit: int
    ) -> tuple[list[SendingAddress], int]:
        """Addresses of an account with `text` in them, by id, and how many there are."""
        condition = "owner = ? AND instr(address, ?) > 0" + (" AND type = ?" if type else "")
        values = (owner.id, text.lower(), *((type.value,) if type else ()))

        def work(connection: Connection) -> tuple[list[SendingAddress], int]:
            total = connection.execute(f"SELECT count(*) FROM sending_addresses WHERE {condition}", values).fetchone()[
                0
            ]
            found = connection.execute(
                f"SELECT {_COLUMNS} FROM sending_addresses WHERE {condition} ORDER BY id LIMIT ? OFFSET ?",
                (*values, limit, offset),
            )
            return [_address(row) for row in found], int(total)

        return await self._database.read(work)

    async def create(self, owner: Entry, address: str, type: SendingType, reply: str, quotas: Quotas) -> int:
        """A new address; its id.  One whose owner is gone is free again.  Raises AddressTaken, TooManyAddresses."""
        before = await self.get(address)
        if before is not None and await self.owner(before) is None:
            await self.delete(before.id)
        daily, monthly = quotas.of(type)
        row = (address.lower(), owner.id, owner.name, type.value, self._clock(), reply, daily, monthly)

        def work(connection: Connection) -> int:
            if _one(connection, "address = ?", (row[0],)) is not None:
                raise AddressTaken(address)
            has = connection.execute("SELECT count(*) FROM sending_addresses WHERE owner = ?", (owner.id,)).fetchone()
            if has[0] >= quotas.addresses:
                raise TooManyAddresses(owner.name)
            made = connection.execute(
                "INSERT INTO sending_addresses (address, owner, owner_name, type, created, frozen, reply,"
                " reply_verified, ticket, ticket_until, daily, monthly, password, scram, notify_url, notify_key)"
                " VALUES (?, ?, ?, ?, ?, '', ?, 0, '', 0, ?, ?, '', '', '', '') RETURNING id",
                row,
            ).fetchone()
            return int(made[0])

        return await self._write(work)

    async def delete(self, id: int) -> None:
        """Delete an address."""
        await self._run("DELETE FROM sending_addresses WHERE id = ?", (id,))

    async def set_password(self, id: int, secrets: Secrets) -> None:
        """Let the address sign in with a password; `secrets` has its hash, and the verifier of SCRAM."""
        await self._set(id, password=secrets.stored[0], scram=secrets.scram)

    async def set_reply(self, id: int, reply: str) -> None:
        """Another reply address, which is to be verified anew."""
        await self._set(id, reply=reply, reply_verified=0, ticket="", ticket_until=0.0)

    async def set_ticket(self, id: int, ticket: str) -> None:
        """A ticket was mailed to the reply address; those before count no more."""
        await self._set(id, ticket=_digest(ticket), ticket_until=self._clock() + TICKET_LIFE)

    async def approve(self, owner: Entry, ticket: str) -> SendingAddress | None:
        """A ticket came back: the address whose reply address it verifies; None when it verifies none."""
        values = (owner.id, _digest(ticket), self._clock())

        def work(connection: Connection) -> SendingAddress | None:
            found = _one(connection, "owner = ? AND ticket = ? AND ticket_until > ?", values)
            if found is not None:
                connection.execute(
                    "UPDATE sending_addresses SET reply_verified = 1, ticket = '' WHERE id = ?", (found.id,)
                )
            return found

        return await self._write(work)

    async def set_notification(self, id: int, url: str, key_id: str) -> None:
        """Tell a URL of what becomes of the address's mail; "" for nobody."""
        await self._set(id, notify_url=url, notify_key=key_id if url else "")

    async def set_frozen(self, id: int, reason: str) -> None:
        """Send nothing more from the address; with an empty reason, send again."""
        await self._set(id, frozen=reason)

    async def set_quotas(self, id: int, daily: int, monthly: int) -> None:
        """Messages that it may send."""
        await self._set(id, daily=daily, monthly=monthly)

    async def owner(self, address: SendingAddress) -> Entry | None:
        """The account that owns an address, None when it is gone."""
        return await owner_of(self._principals, address.owner, address.owner_name)

    async def find(self, name: str) -> Principal | None:
        """See `PrincipalSource`: an address that has a password, while its owner may send."""
        if not self._count or "@" not in name:
            return None
        address = await self.get(name)
        if address is None or not address.has_password:
            return None
        entry = await self.owner(address)
        owner = await self.account_of(entry.name) if entry is not None else None
        if owner is None or not owner.may_send:
            return None
        stored, scram = await self._database.read(
            lambda connection: (
                connection.execute(
                    "SELECT password, scram FROM sending_addresses WHERE id = ?", (address.id,)
                ).fetchone()
                or ("", "")
            )
        )
        account = Account(
            name=address.address,
            emails=(address.address,),
            permissions=_RIGHTS,
            tenant=owner.tenant,
            suspended=owner.suspended,
        )
        return Principal(account, Secrets((stored,) if stored else (), scram))

    async def _set(self, id: int, **values: Any) -> None:
        assignments = ", ".join(f"{name} = ?" for name in values)
        await self._run(f"UPDATE sending_addresses SET {assignments} WHERE id = ?", (*values.values(), id))

    async def _run(self, sql: str, values: Sequence[Any]) -> None:
        def work(connection: Connection) -> None:
            connection.execute(sql, values)

        await self._write(work)

    async def _write(self, work: Callable[[Connection], T]) -> T:
        """Change something, and learn anew what is held in memory."""

        def counted(connection: Connection) -> tuple[T, int, Sequence[tuple[str, int]]]:
            result = work(connection)
            count = connection.execute("SELECT count(*) FROM sending_addresses").fetchone()[0]
            notified = connection.execute("SELECT address, id FROM sending_addresses WHERE notify_url <> ''")
            return result, int(count), notified.fetchall()

        try:
            result, self._count, notified = await self._database.write(counted)
            self._notified = dict(notified)
        finally:  # after an error too: it may have been made
            self._changes += 1
            self._known.clear()
            for tell in self.on_change:
                tell()
        return result


def _digest(ticket: str) -> str:
    return hashlib.sha256(ticket.encode("utf-8", "surrogatepass")).hexdigest()


def _one(connection: Connection, condition: str, values: Sequence[Any]) -> SendingAddress | None:
    row = connection.execute(f"SELECT {_COLUMNS} FROM sending_addresses WHERE {condition}", values).fetchone()
    return None if row is None else _address(row)


def _address(row: Sequence[Any]) -> SendingAddress:
    id, address, owner, owner_name, type, created, frozen, reply, verified, daily, monthly, has, url, key = row
    return SendingAddress(
        id=id,
        address=address,
        owner=owner,
        owner_name=owner_name,
        type=SendingType(type),
        created=created,
        frozen=frozen,
        reply=reply,
        reply_verified=bool(verified),
        daily=daily,
        monthly=monthly,
        has_password=bool(has),
        notify_url=url,
        notify_key=key,
    )
