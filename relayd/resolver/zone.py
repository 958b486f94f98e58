"""A zone held in a dict that answers as the live resolver does: for tests, demonstrations and the SPF suite."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

from relayd.resolver.answer import Answer, Bogus, Mx, NoData, NoName, Temporary, Tlsa

T = TypeVar("T")

TIMEOUT = "TIMEOUT"
"""In place of the records of a type, or of all types ("*"): nobody answers."""

FORGED = "FORGED"
"""In place of the records of a type: validation fails."""

Records = Sequence[object] | str
_CHAIN = 8


class Zone:
    """Answers from `names`: name -> type ("MX", "A", "AAAA", "TXT", "PTR", "TLSA", "CNAME", or "*") -> records.

    MX records are `(preference, exchange)`, TXT records text or bytes, TLSA ones a `Tlsa`, the others text.  A CNAME is
    followed at most eight times.  A name above one that exists, exists (without data).  `secure` is what every answer
    says, but those that end in or below a name of `unsigned`.
    """

    def __init__(
        self,
        names: Mapping[str, Mapping[str, Records]],
        *,
        ttl: int = 300,
        secure: bool = False,
        unsigned: Collection[str] = (),
    ) -> None:
        self._names = {canonical_name(name): dict(types) for name, types in names.items()}
        self._ttl = ttl
        self._secure = secure
        self._unsigned = frozenset(map(canonical_name, unsigned))
        self._ancestors = {parent for name in self._names for parent in _parents(name)}

    async def mx(self, name: str) -> Answer[Mx]:
        """MX records; CNAMEs are followed, `canonical` names their end."""
        end, records = self._find(name, "MX")
        return self._answer(end, [_mx(record) for record in records])

    async def addresses(self, name: str, family: int) -> Answer[str]:
        """A (family 4) or AAAA (family 6) records as text."""
        end, records = self._find(name, "A" if family == 4 else "AAAA")
        return self._answer(end, [str(ipaddress.ip_address(str(record))) for record in records])

    async def txt(self, name: str) -> Answer[bytes]:
        """TXT records, the strings of each joined."""
        end, records = self._find(name, "TXT")
        return self._answer(end, [_text(record) for record in records])

    async def ptr(self, address: str) -> Answer[str]:
        """Names of an IP address."""
        end, records = self._find(ipaddress.ip_address(address).reverse_pointer, "PTR")
        return self._answer(end, [canonical_name(str(record)) for record in records])

    async def tlsa(self, name: str) -> Answer[Tlsa]:
        """TLSA records."""
        end, records = self._find(name, "TLSA")
        return self._answer(end, [_tlsa(record) for record in records])

    def _find(self, name: str, type: str) -> tuple[str, Sequence[object]]:
        name = canonical_name(name)
        for _ in range(_CHAIN):
            types = self._names.get(name)
            if types is None:
                if name in self._ancestors:
                    raise NoData(f"{name} has no {type} record")
                raise NoName(f"{name} does not exist")
            found = types.get(type, types.get("*", ()))
            if found == TIMEOUT:
                raise Temporary(f"{type} of {name}: timed out")
            if found == FORGED:
                raise Bogus(f"{type} of {name}: not valid")
            if found and not isinstance(found, str):
                return name, found
            alias = types.get("CNAME")
            if not alias:
                raise NoData(f"{name} has no {type} record")
            name = canonical_name(str(alias[0]))
        raise Temporary(f"{type} of {name}: too many CNAMEs")

    def _answer(self, end: str, records: list[T]) -> Answer[T]:
        secure = self._secure and self._unsigned.isdisjoint((end, *_parents(end)))
        return Answer(tuple(records), ttl=self._ttl, secure=secure, canonical=end)


def canonical_name(name: str) -> str:
    """Lower case, without the final dot."""
    return name.lower().rstrip(".")


def _parents(name: str) -> list[str]:
    labels = name.split(".")
    return [".".join(labels[start:]) for start in range(1, len(labels))]


def _mx(record: object) -> Mx:
    if isinstance(record, Mx):
        return record
    assert isinstance(record, tuple | list)
    return Mx(int(record[0]), canonical_name(str(record[1])))


def _tlsa(record: object) -> Tlsa:
    assert isinstance(record, Tlsa)
    return record


def _text(record: object) -> bytes:
    if isinstance(record, tuple | list):
        return b"".join(_text(each) for each in record)
    return record if isinstance(record, bytes) else str(record).encode()
