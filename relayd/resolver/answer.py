"""What a resolver answers, and how it fails.

Every failure is one of four: the name does not exist (NoName), it exists without that type (NoData), nobody could say
now (Temporary), or the answer is forged or broken (Bogus).  Names go in and come out as A-labels, lower case, without
the final dot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")


class ResolveError(Exception):
    """A question without an answer; the text says which and why."""


class NoName(ResolveError):
    """NXDOMAIN."""


class NoData(ResolveError):
    """The name exists, but has no record of that type."""


class Temporary(ResolveError):
    """SERVFAIL, timeout, refused: ask again later."""


class Bogus(Temporary):
    """DNSSEC says that the answer is forged, or it cannot be parsed."""


@dataclass(frozen=True, slots=True)
class Mx:
    """One MX record; exchange "" is the null MX's "." (RFC 7505)."""

    preference: int
    exchange: str


@dataclass(frozen=True, slots=True)
class Tlsa:
    """One TLSA record (RFC 6698 §2.1): numbers of usage, selector and matching type, and what is matched."""

    usage: int
    selector: int
    matching: int
    data: bytes

    def __str__(self) -> str:
        return f"{self.usage} {self.selector} {self.matching} {self.data.hex()}"


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """Records in the order received; `secure` tells that a trusted resolver set AD; `ttl` in seconds."""

    records: tuple[T, ...]
    ttl: int = 0
    secure: bool = False
    canonical: str = ""


class Resolver(Protocol):
    """Asks the DNS.  Each method returns an Answer with at least one record, or raises a ResolveError."""

    async def mx(self, name: str) -> Answer[Mx]:
        """MX records; CNAMEs are followed, `canonical` names their end."""

    async def addresses(self, name: str, family: int) -> Answer[str]:
        """A (family 4) or AAAA (family 6) records as text."""

    async def txt(self, name: str) -> Answer[bytes]:
        """TXT records, the strings of each joined."""

    async def ptr(self, address: str) -> Answer[str]:
        """Names of an IP address."""

    async def tlsa(self, name: str) -> Answer[Tlsa]:
        """TLSA records of "_25._tcp.mx.example"; worth something only when `secure`."""
