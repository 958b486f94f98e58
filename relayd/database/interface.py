"""What a database promises to the packages that keep rows in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 - the item of a batch

Row = Any
"""A tuple of None, int, float, str and bytes."""


class DatabaseError(Exception):
    """The write or read failed and changed nothing that was promised; a later one may succeed."""


class DatabaseFull(DatabaseError):
    """There is no space left for the write."""


class DatabaseBroken(DatabaseError):
    """The database cannot be used any more in this process."""


class NewerSchema(DatabaseError):
    """The file was written by a newer relayd; it was not touched."""


class Cursor(Protocol):
    """The rows a statement gave."""

    @property
    def rowcount(self) -> int:
        """Rows changed by an INSERT, UPDATE or DELETE."""

    def fetchone(self) -> Row:
        """The next row or None."""

    def fetchall(self) -> list[Row]:
        """All rows left."""

    def __iter__(self) -> Iterator[Row]: ...


class Connection(Protocol):
    """What a unit of work is given.  It must not begin or end transactions, nor keep the connection."""

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Cursor:
        """Run one statement with `?` parameters."""

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> Cursor:
        """Run one statement for each row of parameters."""


class Database(Protocol):
    """Durable rows.  A caller that is cancelled while it waits does not know whether its change was made."""

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in the next group commit; return when it is durable.

        What `work` raises reaches the caller and rolls back only its own changes.  `work` may be run twice, so it
        must change nothing but the database.
        Raises DatabaseFull, DatabaseBroken, DatabaseError: then nothing of it is promised, but it may have been made.
        """

    async def write_each(
        self, batch: Callable[[Connection, Sequence[I]], Sequence[T]], item: I, *, weight: int | None = None
    ) -> T:
        """Like `write`, for work that is cheaper together.

        weight: about how many rows the item changes, when that is known to be little and to need few pages: such work
        may be run on the event loop itself, where it costs less than the change of threads.

        All items that wait for the same `batch` are given to it in one call, which answers with one result for each.
        When that call raises, each item is tried again alone, so that a bad one loses only itself.
        """

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one read transaction on a read-only connection, in a thread."""

    async def close(self) -> None:
        """Finish what was handed over, then close."""
