"""What an address at a domain of the directory stands for (RFC 5321 §3.9).

An individual's addresses, sub-addresses and catch-all stand for its primary address; what followed the separator stays.
One that has a catch-all alone gets each address as it is.
A group's stand for its members, and the return path stays (an alias, §3.9.1).  A list's stand for its members too, and
the return path becomes the list's owner, `<list>-owner`, so that bounces go to who can do something about them
(§3.9.2); mail to the owner goes to the postmaster where the directory has nobody of that address.  Groups in groups
and lists in lists are followed, each once.

Mail that so leaves for a foreign domain with a foreign return path gets one of ours that leads back (`mail.srs`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from relayd.directory.editing import Reserved
from relayd.directory.entry import Entry, Found, How, Type
from relayd.directory.fields import normal_address
from relayd.mail.address import AddressError, split_address
from relayd.mail.srs import BadSrs, SrsKeys, forward, is_rewritten, reverse

MAX_TARGETS = 10_000
"""Recipients that one address may stand for."""

MAX_DEPTH = 20
"""Groups in groups that are followed."""

OWNER = "-owner"


class Lookup(Protocol):
    """`relayd.directory.principals.Principals` as it is asked here.  Every method may raise DatabaseError."""

    @property
    def has_domains(self) -> bool: ...

    @property
    def reserved(self) -> Reserved: ...

    async def domain(self, name: str) -> Entry | None: ...

    async def whose(self, address: str, separator: str = "+") -> Found | None: ...

    async def members(self, name: str, limit: int = ...) -> Sequence[Entry]: ...


@dataclass(frozen=True, slots=True)
class Target:
    """A recipient in place of another.  return_path: of the message to it; None: the message's own.

    of_list: it belongs to a list, so what the sender asked of its own recipients (DSN) does not hold for it.
    """

    address: str
    return_path: str | None = None
    of_list: bool = False


class TooMany(Exception):
    """An address stands for more recipients than may be; the text names the principal."""


@dataclass(slots=True)
class _Following:
    """One expansion under way.  seen: ids of groups and lists that were followed."""

    seen: set[int] = field(default_factory=set)
    found: dict[tuple[str, str | None], Target] = field(default_factory=dict)

    def add(self, target: Target, principal: str) -> None:
        self.found.setdefault((target.address.lower(), target.return_path), target)
        if len(self.found) > MAX_TARGETS:
            raise TooMany(f"{principal} stands for more than {MAX_TARGETS} recipients")


class AddressBook:
    """Asks the directory.  separator: what cuts off the detail of a sub-address, "" for nothing.  clock: Unix seconds.

    srs: None: return paths are left as they are.
    """

    def __init__(
        self, lookup: Lookup, clock: Callable[[], float], *, separator: str = "+", srs: SrsKeys | None = None
    ) -> None:
        self._lookup = lookup
        self._clock = clock
        self.separator = separator
        self.srs = srs

    @property
    def is_empty(self) -> bool:
        """No domain is ours by the directory: nothing need be asked."""
        return not self._lookup.has_domains

    async def domain(self, name: str) -> Entry | None:
        """The principal of a domain, None for one that is not the directory's."""
        return await self._lookup.domain(name)

    async def find(self, address: str) -> Found | None:
        """Whose an address is, None when it is no principal's of the database."""
        return await self._lookup.whose(address, self.separator)

    def is_configured(self, address: str) -> bool:
        """Whether it is an address of an account of the configuration."""
        try:
            return normal_address(address) in self._lookup.reserved.addresses
        except AddressError:
            return False

    async def account_of(self, address: str) -> str:
        """The name of the account that has an address, "" when it is no account's.  DatabaseError."""
        addresses = self._lookup.reserved.addresses
        for each in dict.fromkeys((address, self._without_detail(address))):
            with contextlib.suppress(AddressError):
                if name := addresses.get(normal_address(each)):
                    return name
        found = await self.find(address)
        return found.entry.name if found is not None and found.entry.type is Type.INDIVIDUAL else ""

    async def stands_for(self, address: str, postmaster: Sequence[str] = ()) -> tuple[Target, ...] | None:
        """The recipients that an address of a domain of the directory stands for; None when it is nobody's.

        Empty: a group or list without members.  postmaster: where mail to the owner of a list goes that is nobody's;
        when empty, to postmaster at the list's domain.  Raises TooMany, DatabaseError.
        """
        if self.is_configured(address):
            return (Target(address),)
        found = await self.find(address)
        if found is None or found.how is not How.EXACT:
            if self.is_configured(self._without_detail(address)):
                return (Target(address),)
            if await self._owner(address):
                if postmaster:
                    return tuple(Target(each) for each in postmaster)
                address = f"postmaster@{split_address(address)[1]}"  # whoever that is, here or behind the next hop
                found = await self.find(address)
                if found is None:
                    return (Target(address),)
        if found is None:
            return None
        following = _Following()
        await self._follow(found.entry, _asked(found, address), found.detail, None, following, 0)
        return tuple(following.found.values())

    def returned(self, address: str) -> str | None:
        """Where a bounce to a rewritten return path of ours leads; None when the address is none that we made."""
        local, domain = split_address(address)
        if self.srs is None or not domain or not is_rewritten(local):
            return None
        try:
            return reverse(local, self.srs, self._clock())
        except BadSrs:
            return None

    def leading_back(self, return_path: str, ours: str) -> str | None:
        """The return path at domain `ours` with which mail from a foreign one is forwarded; None: it stays as it is."""
        return None if self.srs is None or not return_path else forward(return_path, ours, self.srs, self._clock())

    async def members(self, entry: Entry) -> tuple[str, ...]:
        """The addresses of the direct members of a group or list, for EXPN.  Raises DatabaseError."""
        inside = await self._lookup.members(entry.name, MAX_TARGETS)
        return (*(each.email for each in inside if each.email), *entry.external_members)

    async def _owner(self, address: str) -> bool:
        """Whether an address is that of the owner of a list."""
        local, domain = split_address(address)
        if not local.lower().endswith(OWNER):
            return False
        found = await self._lookup.whose(f"{local[: -len(OWNER)]}@{domain}", "")
        return found is not None and found.entry.type is Type.LIST

    async def _follow(
        self, entry: Entry, address: str, detail: str, return_path: str | None, following: _Following, depth: int
    ) -> None:
        """Add for whom a principal stands.  address: the one of it that was sent to, or its primary one, or ""."""
        inside: Sequence[Entry] = ()
        if entry.type is not Type.INDIVIDUAL:
            inside = await self._lookup.members(entry.name, MAX_TARGETS + 1)
        of_list = return_path is not None
        if entry.type is Type.INDIVIDUAL or (entry.type not in (Type.GROUP, Type.LIST) and not inside):
            mailbox = self._with_detail(entry.email, detail) if entry.email else address
            if mailbox:
                following.add(Target(mailbox, return_path, of_list), entry.name)
            return
        if entry.id in following.seen or depth > MAX_DEPTH:
            return
        following.seen.add(entry.id)
        if entry.type is Type.LIST and address:
            return_path = owner_of(address)
        for each in inside:
            await self._follow(each, each.email, "", return_path, following, depth + 1)
        for outside in entry.external_members:
            at_home = await self.domain(split_address(outside)[1]) is not None  # of domains few, of addresses many
            found = await self.find(outside) if at_home else None
            if found is None:
                following.add(Target(outside, return_path, return_path is not None), entry.name)
            else:
                address = _asked(found, outside)
                await self._follow(found.entry, address, found.detail, return_path, following, depth + 1)

    def _without_detail(self, address: str) -> str:
        local, domain = split_address(address)
        base = local.partition(self.separator)[0] if self.separator else ""
        return f"{base}@{domain}" if base else address

    def _with_detail(self, address: str, detail: str) -> str:
        local, domain = split_address(address)
        return f"{local}{self.separator}{detail}@{domain}" if detail else address


def _asked(found: Found, address: str) -> str:
    """The address of a principal that was asked for; what its catch-all took is its as it was given."""
    return address if found.how is How.CATCH_ALL else found.address


def owner_of(list_address: str) -> str:
    """The return path of mail of a list: `dev@example.org` gives `dev-owner@example.org`."""
    local, domain = split_address(list_address)
    return f"{local}{OWNER}@{domain}"


def is_of_list(return_path: str) -> bool:
    """Whether a message with that return path is a list's: its failures are the business of the list's owner."""
    return split_address(return_path)[0].lower().endswith(OWNER)
