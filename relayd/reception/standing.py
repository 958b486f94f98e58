"""Recipients at domains of the directory, and return paths of mail that is forwarded.

The directory says who a recipient is and for whom it stands (`directory.address_book`); here is what reception answers.
A rewritten return path of ours (`mail.srs`) leads back to where it came from, at every domain of ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from relayd.database.interface import DatabaseError
from relayd.directory.address_book import AddressBook, Target, TooMany
from relayd.directory.entry import Type
from relayd.events import smtp
from relayd.mail.address import mailbox_key, split_address
from relayd.mail.reply import Reply
from relayd.mail.srs import is_rewritten
from relayd.reception.client import Client
from relayd.reception.policy import Place, Policy
from relayd.reception.transaction import Transaction

_UNKNOWN = Reply(550, "5.1.1", "Mailbox does not exist")
_EMPTY = Reply(550, "5.2.4", "The list or group has no members")
_TOO_MANY = Reply(550, "5.2.4", "The list or group is too large")
NOT_OURS = Reply(550, "5.1.1", "Not a return path of ours, or too old a one")
_UNCERTAIN = Reply(451, "4.4.3", "Cannot tell now whether the mailbox exists, try again later")
_NO_LIST = Reply(550, "5.1.1", "No list or group of that name")

EXPN_LINES = 1000
"""Members that one answer to EXPN names."""


class Standing:
    """What the directory means for RCPT, VRFY and EXPN.  book: asked for each recipient; cheap while it is empty."""

    def __init__(self, book: AddressBook) -> None:
        self.book = book

    async def place(self, place: Place) -> Place:
        """The place of a domain, with the directory's word on it.  Raises DatabaseError."""
        if self.book.is_empty or await self.book.domain(place.key) is None:
            return place
        return replace(place, relay=True, directory=True)

    async def resolve(
        self, tx: Transaction, address: str, place: Place, targets: tuple[Target, ...]
    ) -> tuple[Target, ...] | Reply:
        """The recipients behind `targets`, which `address` stands for by configuration (itself, most often).

        place: of the address's domain.
        """
        if not self.book.is_empty or place.ours:
            try:
                found = await self._behind(tx, address, place, targets)
            except DatabaseError as error:
                smtp.RCPT_TO_UNKNOWN(tx.client.span, to=address, reason=str(error))
                return _UNCERTAIN
            except TooMany as error:
                smtp.RCPT_TO_UNKNOWN(tx.client.span, to=address, reason=str(error))
                return _TOO_MANY
            if isinstance(found, Reply):
                smtp.MAILBOX_DOES_NOT_EXIST(tx.client.span, to=address)
                return found
            targets = found
        if (
            targets == (Target(address),) or not tx.return_path or tx.trusted
        ):  # what our own people send is ours to send
            return targets
        ours = place.key if place.ours else tx.policy.origin
        return await self._forwarded(tx, targets, ours)

    async def _behind(
        self, tx: Transaction, address: str, place: Place, targets: tuple[Target, ...]
    ) -> tuple[Target, ...] | Reply:
        """For whom each target stands; what the client itself named must exist."""
        local, _ = split_address(address)
        if targets == (Target(address),) and place.ours and is_rewritten(local):
            back = self.book.returned(address)
            if back is None and (place.directory or place.local):
                return NOT_OURS
            if back is not None:
                smtp.RCPT_TO_REWRITTEN(tx.client.span, to=back, from_=address, id="srs")
                return (Target(back),)
        behind: dict[tuple[str, str], Target] = {}
        for target in targets:
            found = await self._stands_for(tx, target)
            if found is None and len(targets) == 1:
                return _UNKNOWN
            for each in (target,) if found is None else found:  # one of several bounces, the others have their mail
                behind.setdefault(mailbox_key(each.address), each)
        return tuple(behind.values()) or _EMPTY

    async def _stands_for(self, tx: Transaction, target: Target) -> tuple[Target, ...] | None:
        """None: it is at a domain of the directory, and nobody's."""
        local, domain = split_address(target.address)
        if self.book.is_empty or await self.book.domain(domain) is None:
            return (target,)
        postmaster = tx.policy.local_names.postmaster
        found = await self.book.stands_for(target.address, postmaster)
        if found is None and local.lower() == "postmaster":
            return (target,)
        if found is None or tx.return_path:
            return found
        return tuple(Target(each.address, of_list=each.of_list) for each in found)  # a bounce keeps "<>"

    async def _forwarded(self, tx: Transaction, targets: Sequence[Target], ours: str) -> tuple[Target, ...]:
        """The targets, those at foreign domains with a return path that leads back when the sender is foreign too."""
        if self.book.srs is None or await self._is_ours(tx.policy, tx.return_path):
            return tuple(targets)
        rewritten = self.book.leading_back(tx.return_path, ours)
        if rewritten is None:
            return tuple(targets)
        return tuple(
            [
                each
                if each.return_path is not None or await self._is_ours(tx.policy, each.address)
                else replace(each, return_path=rewritten)
                for each in targets
            ]
        )

    async def _is_ours(self, policy: Policy, address: str) -> bool:
        place = policy.place(split_address(address)[1])
        return place.ours or (not self.book.is_empty and await self.book.domain(place.key) is not None)

    async def verify(self, policy: Policy, client: Client, address: str) -> Reply:
        """What VRFY says of an address at a domain of the directory."""
        try:
            found = await self.book.stands_for(address, policy.local_names.postmaster)
        except TooMany:
            found = (Target(address),)
        except DatabaseError as error:
            smtp.RCPT_TO_UNKNOWN(client.span, to=address, reason=str(error))
            return _UNCERTAIN
        return Reply(250, "2.1.5", f"<{address}>") if found else _UNKNOWN

    async def expand(self, client: Client, address: str) -> Reply:
        """Who the members of a list or group are, each in a line (EXPN, RFC 5321 §3.5.1)."""
        try:
            found = await self.book.find(address)
            if found is None or found.entry.type not in (Type.LIST, Type.GROUP):
                smtp.EXPN_NOT_FOUND(client.span, to=address)
                return _NO_LIST
            members = await self.book.members(found.entry)
        except DatabaseError as error:
            smtp.RCPT_TO_UNKNOWN(client.span, to=address, reason=str(error))
            return _UNCERTAIN
        smtp.EXPN(client.span, to=address)
        return Reply(250, "2.1.5", "\n".join(f"<{each}>" for each in members[:EXPN_LINES])) if members else _EMPTY
