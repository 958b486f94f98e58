"""What a scanner is given, and what it says."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import msgspec


class Scannable(msgspec.Struct, frozen=True, kw_only=True):
    """A message to be scanned, as it will be queued but for what scanners and milters change.

    size: octets in all.  octets: the message anew with each call, in pieces.  address: of the client, "" when there is
    none.  account: who signed in, or "".
    """

    queue_id: int
    size: int
    octets: Callable[[], AsyncIterator[bytes]]
    hostname: str = ""
    address: str = ""
    client_name: str = ""
    helo: str = ""
    account: str = ""
    return_path: str = ""
    recipients: tuple[str, ...] = ()
    trusted: bool = False


class Outcome(enum.Enum):
    """How a scan ended."""

    PASSED = "passed"
    FOUND = "found"
    NOT_NOW = "not-now"
    SKIPPED = "skipped"
    FAILED = "failed"


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """What one scanner says.

    is_virus: what was found is a virus, not spam.  what: its name; of spam the action that the scanner asks for, or
    "spam"; of a failure the reason.  score, required: of spam scanners.  symbols: what it saw, with scores where it
    tells them.  elapsed: seconds.
    """

    outcome: Outcome
    id: str = ""
    type: str = ""
    is_virus: bool = False
    what: str = ""
    score: float | None = None
    required: float | None = None
    symbols: dict[str, float] = {}
    elapsed: float = 0.0


class ScanFailed(Exception):
    """No answer, or none that can be understood."""


class TooLarge(ScanFailed):
    """The scanner says that the message is larger than it takes."""


class Scanner(Protocol):
    """One connector."""

    async def scan(self, message: Scannable) -> Scan:
        """Ask; ScanFailed, OSError, EOFError."""

    async def ping(self) -> None:
        """Whether it answers at all; raises as `scan` does."""

    async def close(self) -> None:
        """Let go of what is kept between scans."""
