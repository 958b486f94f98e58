"""The principals of the database: `<data-dir>/directory.db`, its one owner in this process.

Whoever looks something up asks this class; answers are remembered, up to a bound, until the next change.  Each change
counts `generation` up, at once when it is durable and before whoever asked for it is told: who remembers anything of
the directory compares that number, or subscribes to `on_change`.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import os
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

from relayd.database.interface import Connection
from relayd.database.sqlite import SqliteDatabase, open_sqlite
from relayd.directory import rows
from relayd.directory.editing import EVERYTHING, Authority, Editing, Reserved
from relayd.directory.entry import NAME, SECRETS, Entry, Found, Type
from relayd.directory.fields import Change, Value, normal_address
from relayd.directory.password import give_way
from relayd.directory.principal import Principal
from relayd.directory.refusals import Configured, DirectoryRefusal, NotFound
from relayd.directory.rows import Listed, Place, Selection, View
from relayd.directory.schema import FILE, MIGRATIONS
from relayd.directory.secrets import Secrets, prepared
from relayd.events.event import Span
from relayd.mail.address import AddressError, a_label

T = TypeVar("T")

MAX_REMEMBERED = 20_000
"""Answers of each kind that are remembered."""

MAX_HASHED = 100
"""Plain secrets in one change: hashing each takes tens of milliseconds."""

MAX_MEMBERS = 10_000
"""Members whose names one answer shows."""

_DELETED_AT_ONCE = 200

_ID_DIGITS = 10

_ACCOUNTS = frozenset({Type.INDIVIDUAL, Type.API_KEY})


class _Memory(Generic[T]):
    """Answers by key; the one asked for least recently goes first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, T] = OrderedDict()

    def get(self, key: str) -> T | _Unknown:
        """The answer, or UNKNOWN."""
        if key not in self._kept:
            return _Unknown.UNKNOWN
        self._kept.move_to_end(key)
        return self._kept[key]

    def put(self, key: str, value: T) -> None:
        """Remember an answer."""
        self._kept[key] = value
        if len(self._kept) > MAX_REMEMBERED:
            self._kept.popitem(last=False)

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()


class _Unknown(enum.Enum):
    UNKNOWN = 0


class Principals:
    """See the module.  Make it with `open_principals`.

    has_scram: whether any account has a verifier of SCRAM.  database: for whoever keeps tables of his own beside
    (`schema.MIGRATIONS`).  Every method may raise DatabaseError.
    """

    def __init__(self, database: SqliteDatabase) -> None:
        self.database = database
        self.generation = 0
        self.on_change: list[Callable[[], None]] = []
        self.reserved = Reserved()
        self.next_hops: dict[str, str] = {}
        """Domains that say where their mail goes, and what they say: "mx" or a route's id."""
        self._hashing = ThreadPoolExecutor(1, "hashing", initializer=give_way)
        self._domains = False
        self.has_scram = False
        self._names = _Memory[Entry | None]()
        self._addresses = _Memory[Found | None]()
        self._signing_in = _Memory[Principal | None]()

    # --- looking up -------------------------------------------------------------------------------------------------

    @property
    def has_domains(self) -> bool:
        """Whether there is any domain at all: without one no address is anybody's, and nothing need be asked."""
        return self._domains

    async def get(self, name: str) -> Entry | None:
        """The principal of that name, whatever its type."""
        name = name.strip().lower()
        return await self._remembered(self._names, name, partial(_entry_of, name=name))

    async def domain(self, name: str) -> Entry | None:
        """The principal of a domain (any form of the name), None for one that is not ours."""
        if not self._domains:
            return None
        with contextlib.suppress(AddressError):
            found = await self.get(a_label(name))
            if found is not None and found.type is Type.DOMAIN:
                return found
        return None

    async def whose(self, address: str, separator: str = "+") -> Found | None:
        """Whose an address is: an individual, group, list, resource or location; None when it is nobody's.

        separator: what cuts off the detail of a sub-address, "" for nothing.  An address of the configuration's
        accounts is not looked for.
        """
        if not self._domains:
            return None
        try:
            normal = normal_address(address)
        except AddressError:
            return None
        work = partial(rows.find_address, address=normal, separator=separator)
        return await self._remembered(self._addresses, f"{separator}\n{normal}", work)

    async def members(self, name: str, limit: int = MAX_MEMBERS) -> Sequence[Entry]:
        """The members of a list or group that are principals, `limit` at most; those outside are in its entry."""

        def work(connection: Connection) -> list[Entry]:
            known = rows.id_of(connection, name.strip().lower())
            return [] if known is None else list(rows.entries(connection, rows.members(connection, known[0], limit)))

        return await self.database.read(work)

    async def find(self, name: str) -> Principal | None:
        """Who signs in by that name, with the secrets; see `PrincipalSource`."""
        return await self._remembered(self._signing_in, name, partial(_principal_of, name=name))

    async def hidden(self) -> dict[str, str]:
        """Accounts of the configuration whose name or address is a principal's of the database too: by name, what."""
        entries, addresses = self.reserved.entries, self.reserved.addresses
        if not entries:
            return {}

        def work(connection: Connection) -> dict[str, str]:
            found = {}
            for address, name in addresses.items():
                if connection.execute("SELECT 1 FROM addresses WHERE address = ?", (address,)).fetchone():
                    found[name] = f"has the address {address}, which is a principal's of the database too"
            for name in entries:
                if rows.id_of(connection, name) is not None:
                    found[name] = "hides the principal of that name in the database"
            return found

        return await self.database.read(work)

    # --- listing ----------------------------------------------------------------------------------------------------

    async def count(self, selection: Selection) -> int:
        """How many principals `selection` holds, those of the configuration among them."""
        return len(self._beside(selection)) + await self.database.read(partial(rows.count, selection=selection))

    async def page(
        self, selection: Selection, place: Place, limit: int, *, members: int = 0, secrets: bool = False
    ) -> list[View]:
        """A part of `selection` by name in byte order, at most `limit`; members, secrets: see `rows.view`."""
        beside, configured = self._beside(selection), self.reserved.entries

        def work(connection: Connection) -> list[View]:
            listed = rows.page(connection, selection, place, limit, beside)
            found = {each.id: each for each in rows.entries(connection, [each.id for each in listed if each.id])}
            return [
                View(configured[each.name])
                if each.id is None
                else rows.view(connection, found[each.id], members=members, secrets=secrets)
                for each in listed
            ]

        return await self.database.read(work)

    async def view(self, name: str, *, secrets: bool) -> View | None:
        """One principal with its members; by its id too, where nobody has that name."""
        name = name.strip().lower()
        if name in self.reserved.entries:
            return View(self.reserved.entries[name])

        def work(connection: Connection) -> View | None:
            entry = _entry_of(connection, name)
            if entry is None and name.isascii() and name.isdigit() and len(name) <= _ID_DIGITS:
                entry = rows.entry(connection, int(name))
            return None if entry is None else rows.view(connection, entry, members=MAX_MEMBERS, secrets=secrets)

        return await self.database.read(work)

    def _beside(self, selection: Selection) -> list[str]:
        """Names of the configuration that `selection` holds."""
        return [each.name for each in self.reserved.entries.values() if selection.holds(each)]

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Any other question, see `rows`."""
        return await self.database.read(work)

    # --- changing ---------------------------------------------------------------------------------------------------

    async def create(self, type: Type, values: Mapping[str, Value], by: Authority = EVERYTHING) -> int:
        """A new principal of what `fields.draft` made; its id.  Raises DirectoryRefusal."""
        secrets = await self._prepared(type, [str(each) for each in values.get(SECRETS, ())])
        together = Secrets(
            tuple(each for made in secrets.values() for each in made.stored),
            next((made.scram for made in reversed(list(secrets.values())) if made.scram), ""),
        )
        domains = [str(values[NAME])] if type is Type.DOMAIN else []
        return await self._write(
            lambda connection: self._editing(connection, by).create(type, values, together), domains
        )

    async def update(self, name: str, changes: Sequence[Change], by: Authority = EVERYTHING) -> None:
        """Make all of `changes` to a principal, or none.  Raises DirectoryRefusal."""
        name = name.strip().lower()
        entry = await self._writable(name)
        given = [each for each in changes if each.field == SECRETS and each.action != "removeItem"]
        plain = [str(item) for each in given for item in (each.value if each.action == "set" else (each.value,))]
        secrets = await self._prepared(entry.type, plain)
        domains = []
        if entry.type is Type.DOMAIN:
            domains = [name, *(str(each.value) for each in changes if each.field == NAME)]
        await self._write(lambda connection: self._editing(connection, by).update(name, changes, secrets), domains)

    async def delete(self, name: str, by: Authority = EVERYTHING) -> Entry:
        """Delete a principal; what it was.  Raises DirectoryRefusal."""
        name = name.strip().lower()
        await self._writable(name)
        return await self._write(lambda connection: self._editing(connection, by).delete(name), [name])

    async def delete_many(self, selection: Selection, by: Authority = EVERYTHING) -> int:
        """Delete all of `selection`; how many went.  Raises the first refusal when none could."""
        deleted = 0
        refused: DirectoryRefusal | None = None
        async for chunk in self._chunks(selection):
            names = [each.name for each in chunk]
            gone, why = await self._write(partial(self._delete_chunk, names=names, by=by), names)
            deleted += gone
            refused = refused or why
        if refused is not None and not deleted:
            raise refused
        return deleted

    async def _chunks(self, selection: Selection) -> AsyncIterator[list[Listed]]:
        name = ""
        while True:
            work = partial(rows.page, selection=selection, place=Place(name), limit=_DELETED_AT_ONCE)
            chunk = await self.database.read(work)
            if not chunk:
                return
            yield chunk
            name = chunk[-1].name

    def _delete_chunk(
        self, connection: Connection, names: Sequence[str], by: Authority
    ) -> tuple[int, DirectoryRefusal | None]:
        editing = self._editing(connection, by)
        deleted = 0
        refused: DirectoryRefusal | None = None
        for name in names:
            try:
                editing.delete(name)  # refuses before it changes anything
                deleted += 1
            except NotFound:
                continue
            except DirectoryRefusal as error:
                refused = refused or error
        return deleted, refused

    async def replace_password(self, name: str, before: str, after: Secrets) -> None:
        """Put another hash of the same password in place of `before`, if it is still there."""

        def work(connection: Connection) -> None:
            known = rows.id_of(connection, name)
            if known is None:
                return
            kept = rows.secrets_of(connection, known[0])
            if before not in kept.stored:
                return
            stored = tuple(after.stored[0] if each == before else each for each in kept.stored)
            sql = "UPDATE secrets SET stored = ?, scram = ? WHERE principal = ?"
            secrets = Secrets(stored, after.scram or kept.scram)
            connection.execute(sql, (secrets.as_json(), secrets.scram, known[0]))

        await self._write(work)

    async def _writable(self, name: str) -> Entry:
        if name in self.reserved.entries:
            raise Configured(name)
        entry = await self.get(name)
        if entry is None:
            raise NotFound(name)
        return entry

    def _editing(self, connection: Connection, by: Authority) -> Editing:
        return Editing(connection, by, self.reserved)

    async def _prepared(self, type: Type, given: Sequence[str]) -> dict[str, Secrets]:
        """What to keep of each secret; made off the loop, one change after the other."""
        if not given:
            return {}
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._hashing, lambda: {each: prepared(type, each) for each in given})

    async def _write(self, work: Callable[[Connection], T], domains: Sequence[str] = ()) -> T:
        """Change something.  One that is begun is ended, whoever stops waiting for it.

        domains: names of principals that may be domains, before or after the change.
        """
        return await asyncio.shield(asyncio.ensure_future(self._write_whole(work, domains)))

    async def _write_whole(self, work: Callable[[Connection], T], domains: Sequence[str]) -> T:
        def counted(connection: Connection) -> tuple[T, tuple[bool, bool], dict[str, str]]:
            return work(connection), _present(connection), rows.next_hops(connection, domains)

        try:
            result, present, next_hops = await self.database.write(counted)
            self._domains, self.has_scram = present
            for name in domains:
                self.next_hops.pop(name, None)
            self.next_hops.update(next_hops)
        finally:  # after an error too: it may have been made
            self.changed()
        return result

    def changed(self) -> None:
        """What was remembered of the directory is not to be believed any more."""
        self.generation += 1
        for memory in (self._names, self._addresses, self._signing_in):
            memory.clear()
        for tell in self.on_change:
            tell()

    async def _remembered(self, memory: _Memory[T], key: str, work: Callable[[Connection], T]) -> T:
        known = memory.get(key)
        if known is not _Unknown.UNKNOWN:
            return known
        generation = self.generation
        found = await self.database.read(work)
        if generation == self.generation:
            memory.put(key, found)
        return found

    async def copy_to(self, path: Path) -> None:
        """A consistent copy in the new file `path`, which its owner alone may read.  Raises DatabaseError, OSError."""
        make_private(path)
        await self.database.copy_to(path)

    async def close(self) -> None:
        """Finish what is being written."""
        self._hashing.shutdown(wait=False, cancel_futures=True)
        await self.database.close()

    async def start(self) -> None:
        """Learn what has to be known from the start."""
        present, self.next_hops = await self.database.read(
            lambda connection: (_present(connection), rows.next_hops(connection))
        )
        self._domains, self.has_scram = present


def make_private(path: Path) -> None:
    """An empty file that only its owner may read; SQLite gives its companions the same mode.  Raises OSError."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


async def open_principals(directory: Path, span: Span) -> Principals:
    """The principals of a data directory that this process has locked; made when missing.

    Raises NewerSchema (nothing was touched), DatabaseError, OSError.
    """
    path = directory / FILE
    if not path.exists():
        make_private(path)
    # Once broken it stays so until the next start: sign-ins are told to come back, mail of trusted networks goes on.
    database = await open_sqlite(path, MIGRATIONS, span, on_broken=lambda reason: None)
    principals = Principals(database)
    try:
        await principals.start()
    except BaseException:
        await principals.close()
        raise
    return principals


def _present(connection: Connection) -> tuple[bool, bool]:
    """Whether there is a domain, and whether a verifier of SCRAM."""
    sql = (
        "SELECT EXISTS (SELECT 1 FROM principals WHERE type = 'domain'),"
        " EXISTS (SELECT 1 FROM secrets WHERE scram != '')"
    )
    domains, scram = connection.execute(sql).fetchone()
    return bool(domains), bool(scram)


def _entry_of(connection: Connection, name: str) -> Entry | None:
    known = rows.id_of(connection, name)
    return None if known is None else rows.entry(connection, known[0])


def _principal_of(connection: Connection, name: str) -> Principal | None:
    entry = _entry_of(connection, name)
    if entry is None or entry.type not in _ACCOUNTS:
        return None
    kept = rows.secrets_of(connection, entry.id)
    return Principal(rows.account(connection, entry), Secrets(kept.stored, kept.scram), is_stored=True)
