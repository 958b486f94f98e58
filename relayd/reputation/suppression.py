"""The suppression list: recipients that trusted senders' mail is not sent to, kept in `<data-dir>/suppression.db`.

It is off until `queue.suppression.enable` says otherwise.  An entry stops the mail of its scope: everybody's, that of
an account, or that of a sender domain.  It carries its cause and the evidence, ends by itself unless somebody made it
for good, and can be undone: one, or all of a cause, a rule, a host or a time.  relayd itself makes entries of one kind
of evidence only: a final refusal that says that the mailbox or its domain does not exist (`delivery.suppressing`).

A database of its own with one owner: it may be deleted, full or broken without touching mail.  What RCPT and every
attempt ask is answered by a set of hashes in memory; the disk is asked only about who is in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from relayd.database.interface import Connection, DatabaseError
from relayd.database.sqlite import SqliteDatabase, open_sqlite
from relayd.events import store as store_events
from relayd.events import suppression as events
from relayd.events.event import Span
from relayd.mail.address import split_address
from relayd.reputation import suppression_rows as rows
from relayd.reputation.options import SuppressionOptions
from relayd.reputation.suppression_rows import GLOBAL, Entry, Filter, target_of

FILE = "suppression.db"

_PURGE = 3600.0
"""Seconds between two removals of entries whose time is over."""


class ListFull(Exception):
    """The list has `queue.suppression.max-entries` entries that do not end by themselves."""


class SuppressionList:
    """The list of one data directory that this process has locked.  `reconfigure` opens it; clock: Unix time."""

    def __init__(self, directory: Path, clock: Callable[[], float], span: Span) -> None:
        self.options = SuppressionOptions()
        self._path = directory / FILE
        self._clock = clock
        self._span = span
        self._database: SqliteDatabase | None = None
        self._hashes: set[int] = set()
        self._purge_at = 0.0
        self._opening = asyncio.Lock()

    @property
    def is_open(self) -> bool:
        """Whether there is a list, in use or not."""
        return self._database is not None

    @property
    def is_active(self) -> bool:
        """Whether mail is kept from who is on it."""
        return self.options.enable and self._database is not None

    async def reconfigure(self, options: SuppressionOptions) -> None:
        """Take options; open the list when it is first wanted.  One that cannot be opened is an event: mail goes on."""
        self.options = options
        if not options.enable and not self._path.exists():
            return
        try:
            await self._open()
        except DatabaseError as error:
            store_events.BROKEN(self._span, path=str(self._path), reason=str(error))

    async def _open(self) -> SqliteDatabase:
        """The database, opened when it is not yet.  Raises DatabaseError."""
        async with self._opening:
            if self._database is None:
                database = await open_sqlite(self._path, rows.MIGRATIONS, self._span, on_broken=lambda reason: None)
                self._hashes = {hash(key) for key in await database.read(rows.keys)}
                self._database = database
            return self._database

    async def close(self) -> None:
        """Finish what is being written."""
        if self._database is not None:
            await self._database.close()

    async def copy_to(self, path: Path) -> None:
        """A consistent copy of the list, which is open, in the new file `path`.  Raises DatabaseError."""
        await (await self._open()).copy_to(path)

    def __len__(self) -> int:
        return len(self._hashes)

    # Asked of every recipient of trusted senders

    async def find(self, address: str, account: str | None, sender: str) -> Entry | None:
        """The entry that stops mail of `account` with the return path `sender` to `address`.  Raises DatabaseError.

        None at once for who is not on the list.
        """
        if not self._hashes or self._database is None or not self.options.enable:
            return None
        target = target_of(address)
        whole = "@" + target.rpartition("@")[2]
        scopes = [GLOBAL, domain_scope(sender), *([account_scope(account)] if account else [])]
        found = [key for scope in scopes for key in ((scope, target), (scope, whole)) if hash(key) in self._hashes]
        if not found:
            return None
        now = self._clock()
        return await self._database.read(lambda connection: rows.find(connection, found, now))

    # What fills and empties it

    def scope(self, account: str | None, sender: str) -> str:
        """The scope of an entry that follows from a refusal of mail of `account` with the return path `sender`."""
        if self.options.scope == "global":
            return GLOBAL
        if self.options.scope == "account" and account:
            return account_scope(account)
        return domain_scope(sender)

    async def add(self, entry: Entry) -> Entry | None:
        """Make or renew an entry, durably; as it stands then, None when one made by hand stays.

        Raises ListFull, DatabaseError.
        """
        database = await self._open()
        most, now = self.options.max_entries, self._clock()
        await self._purge(database, now)
        gone: list[tuple[str, str]] = []

        def work(connection: Connection) -> Entry | None:
            gone.clear()  # it may be run twice
            made = rows.put(connection, entry)
            if made is not None and self._excess(made, most):
                gone.extend(rows.evict(connection, self._excess(made, most)))
                if self._excess(made, most) > len(gone):
                    raise ListFull(f"the suppression list has {most} entries")
            return made

        try:
            made = await database.write(work)
        except ListFull:
            events.EVICTED(self._span, total=0, limit=most)
            raise
        if made is None:
            return None
        self._hashes.difference_update(map(hash, gone))
        self._hashes.add(hash((made.scope, target_of(made.address))))
        if gone:
            events.EVICTED(self._span, total=len(gone), limit=most)
        why = made.evidence
        events.ADDED(
            self._span,
            to=made.address,
            scope=made.scope,
            cause=made.cause,
            expires=made.until,
            queue_id=why.queue_id or None,
            hostname=why.host,
            code=why.code,
            details=why.reply,
            rule=why.rule,
            account_name=made.by,
        )
        return made

    def _excess(self, made: Entry, most: int) -> int:
        """How many entries there are too many with `made`."""
        is_new = hash((made.scope, target_of(made.address))) not in self._hashes
        return max(0, len(self._hashes) + is_new - most)

    async def _purge(self, database: SqliteDatabase, now: float) -> None:
        if self._purge_at - _PURGE <= now < self._purge_at:
            return
        self._purge_at = now + _PURGE
        gone = await database.write(lambda connection: rows.purge(connection, now))
        self._hashes.difference_update(map(hash, gone))

    async def remove(self, filter: Filter, by: str, reason: str) -> int:
        """Undo what matches, durably; how many entries.  Raises DatabaseError."""
        if self._database is None:
            return 0
        gone = await self._database.write(lambda connection: rows.remove(connection, filter))
        self._hashes.difference_update(map(hash, gone))
        if gone:
            one = gone[0] if len(gone) == 1 else ("", "")
            events.REMOVED(
                self._span,
                total=len(gone),
                scope=one[0],
                to=one[1],
                cause=filter.cause,
                account_name=by,
                reason=reason,
            )
        return len(gone)

    # Looking

    async def list(self, filter: Filter, offset: int = 0, limit: int | None = None) -> tuple[list[Entry], int]:
        """Entries in force, the newest first, and how many there are.  Raises DatabaseError."""
        if self._database is None:
            return [], 0
        now = self._clock()
        return await self._database.read(lambda connection: rows.page(connection, filter, now, offset, limit))


def account_scope(account: str) -> str:
    """The scope of an account's mail."""
    return f"account:{account}"


def domain_scope(sender: str) -> str:
    """The scope of the mail of a return path's domain."""
    return "domain:" + target_of("@" + split_address(sender)[1])[1:]


def sentence(entry: Entry, day: str) -> str:
    """Why nothing is sent to the address, for replies and reports.  day: of `entry.since`, for people."""
    why = entry.evidence
    said = " ".join(word for word in (str(why.code) if why.code else "", why.enhanced, why.reply) if word)
    about = said or entry.note
    text = f"The recipient is suppressed since {day}: {entry.cause}" + (f" ({about})" if about else "")
    return "".join(char if " " <= char <= "~" else "?" for char in text)[:300]
