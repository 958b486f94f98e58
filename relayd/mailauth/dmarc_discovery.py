"""Where a domain's DMARC policy is, and which domain is its organisational one.

`TreeWalk` asks the DNS (RFC 9989 §4.10); `SuffixLookup` takes the public suffix list (RFC 7489 §3.2, §6.6.3).  Both
remember what they asked for one message, so one is made for each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from relayd.mailauth.dmarc_record import DmarcRecord, is_record, read_record
from relayd.mailauth.findings import Policy
from relayd.mailauth.orgdomain import SuffixList
from relayd.mailauth.spf_macro import shown
from relayd.resolver.answer import NoData, NoName, ResolveError, Resolver

WALKED = 7
"""Labels at most of the second name that a walk asks for: eight questions in all (RFC 9989 §4.10)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovered:
    """The record that applies to an author domain.

    domain: where it was found.  requested: what it asks for the author domain.  organizational: of the author domain,
    "" while that was not needed.
    """

    record: DmarcRecord
    domain: str
    requested: Policy
    organizational: str = ""


class Discovery(Protocol):
    """One way of finding policies.  Both methods raise ResolveError (Temporary), and add what they do to `steps`."""

    @property
    def walks(self) -> bool:
        """Whether it is RFC 9989's: t= counts, pct= does not."""

    async def discover(self, author: str, steps: list[str]) -> Discovered | None:
        """The record for an author domain; None when there is none."""

    async def organizational(self, domain: str, steps: list[str]) -> str:
        """The organisational domain."""


class _Records:
    """Asks for the records at names, each once."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._known: dict[str, list[DmarcRecord]] = {}

    async def at(self, domain: str, steps: list[str]) -> list[DmarcRecord]:
        """All DMARC records of a name."""
        known = self._known.get(domain)
        if known is not None:
            return known
        name = f"_dmarc.{domain}"
        try:
            texts = (await self._resolver.txt(name)).records
        except (NoName, NoData):
            texts = ()
        except ResolveError as error:
            steps.append(f"{name}: {error}")
            raise
        known = self._known[domain] = [read_record(text) for text in texts if is_record(text)]
        steps.append(f"{name}: {' and '.join(shown(each.text, 512) for each in known) or 'no DMARC record'}")
        return known

    async def exists(self, domain: str) -> bool:
        """False when the DNS says that there is no such name (RFC 9989 §3.2.13); a failure hides nothing."""
        try:
            await self._resolver.addresses(domain, 4)
        except NoName:
            return False
        except ResolveError:
            return True
        return True

    async def requested(self, record: DmarcRecord, below: str) -> Policy:
        """What a record asks for a domain below its own: np, sp or p (RFC 9989 §4.10.1)."""
        usual = record.subdomains or record.policy
        if record.nonexistent is None or record.nonexistent is usual or await self.exists(below):
            return usual
        return record.nonexistent


class TreeWalk:
    """RFC 9989 §4.10."""

    walks = True

    def __init__(self, resolver: Resolver) -> None:
        self._records = _Records(resolver)

    async def discover(self, author: str, steps: list[str]) -> Discovered | None:
        """§4.10.1: the author domain's own record, else that of its organisational domain, else of the suffix above."""
        own = await self._one(author, steps)
        if own is not None:
            return Discovered(record=own, domain=author, requested=own.policy)
        found = await self._walk(author, steps)
        if not found:
            return None
        top = _select(author, found)
        records = dict(found)
        place = top if top in records else found[-1][0]
        record = records[place]
        return Discovered(
            record=record,
            domain=place,
            requested=await self._records.requested(record, author),
            organizational=top,
        )

    async def organizational(self, domain: str, steps: list[str]) -> str:
        """§4.10.2."""
        return _select(domain, await self._walk(domain, steps))

    async def _walk(self, domain: str, steps: list[str]) -> list[tuple[str, DmarcRecord]]:
        """The records on the way up, longest name first; it ends where one says psd=y or psd=n."""
        found = []
        for name in walked_names(domain):
            record = await self._one(name, steps)
            if record is not None:
                found.append((name, record))
                if record.psd != "u":
                    break
        return found

    async def _one(self, domain: str, steps: list[str]) -> DmarcRecord | None:
        """The record of a name; several count as none."""
        records = await self._records.at(domain, steps)
        return records[0] if len(records) == 1 else None


def walked_names(domain: str) -> list[str]:
    """The names that a walk from `domain` looks at, in order: eight at most."""
    labels = domain.split(".")
    return [domain, *(".".join(labels[-count:]) for count in range(min(len(labels) - 1, WALKED), 0, -1))]


def _select(domain: str, found: list[tuple[str, DmarcRecord]]) -> str:
    """§4.10.2: the organisational domain from the records on the way up."""
    if not found:
        return domain
    name, record = found[-1]
    if record.psd == "y" and name != domain:
        return ".".join(domain.split(".")[-(name.count(".") + 2) :])
    return name


class SuffixLookup:
    """RFC 7489: the domain's own record, else that of the domain that the public suffix list says was registered."""

    walks = False

    def __init__(self, resolver: Resolver, suffixes: SuffixList) -> None:
        self._records = _Records(resolver)
        self._suffixes = suffixes

    async def discover(self, author: str, steps: list[str]) -> Discovered | None:
        """§6.6.3: several records at one name end the search."""
        top = self._suffixes.organizational(author)
        records = await self._records.at(author, steps)
        place = author
        if not records and top != author:
            records = await self._records.at(top, steps)
            place = top
        if len(records) != 1:
            return None
        record = records[0]
        requested = record.policy if place == author else await self._records.requested(record, author)
        return Discovered(record=record, domain=place, requested=requested, organizational=top)

    async def organizational(self, domain: str, steps: list[str]) -> str:
        """§3.2."""
        return self._suffixes.organizational(domain)
