"""Sending addresses and access keys: where they are kept, and what the DirectMail dialect asks of the other parts."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from relayd.assembly.loaded import Loaded
from relayd.control.compat.directmail_operations import DirectMailOperations, Spent, Surroundings
from relayd.delivery.notices import Notices
from relayd.directory.access_keys import AccessKeys
from relayd.directory.directory import Directory
from relayd.directory.entry import Entry
from relayd.directory.options import SendingOptions
from relayd.directory.principals import Principals
from relayd.directory.sending_addresses import Quotas, SendingAddress, SendingAddresses
from relayd.directory.tokens import load_key
from relayd.events.event import EventStream
from relayd.queue.usage import Ledger
from relayd.routing.options import OutboundOptions
from relayd.webhooks.outcomes import PREFIX, Outcomes
from relayd.webhooks.posting import Endpoint
from relayd.webhooks.webhooks import Webhooks

SEAL = "access.key"
"""The file with the key under which the secrets of access keys are sealed."""

_TICKET = """\
Somebody wants answers to mail from

  {address}

to be sent to this address, {reply}. If that was you, confirm it with this
ticket:

  {ticket}

It is good for three days. If it was not you, nothing need be done.
"""


class Sending:
    """The parts, made of one configuration; `loaded` gives the one in force."""

    def __init__(self, loaded: Callable[[], Loaded], principals: Principals, stream: EventStream) -> None:
        self._loaded = loaded
        self._principals = principals
        self._stream = stream
        self._directory: Directory
        self._outcomes: Outcomes
        self._is_subscribed = False
        self.addresses = SendingAddresses(principals, stream.clock)
        self.keys: AccessKeys
        self.operations: DirectMailOperations

    async def open(self) -> None:
        """Bring up what is kept.  Raises DatabaseError, OSError."""
        seal = await asyncio.to_thread(load_key, self._loaded().data / SEAL)
        self.keys = AccessKeys(self._principals, seal, self._stream.clock)
        await self.addresses.open()

    def connect(self, directory: Directory, ledger: Ledger, webhooks: Webhooks, notices: Notices) -> None:
        """Put it between the others, before anything runs."""
        self._directory = directory
        self.addresses.account_of = directory.get
        self.addresses.on_change.append(directory.changed)
        self.addresses.on_change.append(self._watch)
        webhooks.lookup = self.endpoint
        self._outcomes = Outcomes(webhooks, lambda: self.addresses.notified)
        self._watch()

        async def send_ticket(address: SendingAddress, ticket: str) -> None:
            text = _TICKET.format(address=address.address, reply=address.reply, ticket=ticket)
            await notices.send(address.reply, f"Confirm the reply address of {address.address}", text)

        async def spent(name: str) -> Spent:
            return await ledger.spent(name)

        around = Surroundings(
            account=directory.get,
            spent=spent,
            is_known=self._is_known,
            is_somebodys=self._is_somebodys,
            send_ticket=send_ticket,
            quotas=lambda: quotas_of(self._loaded()),
        )
        self.operations = DirectMailOperations(self.addresses, around)

    async def copy_seal(self, path: Path) -> None:
        """The key of `SEAL` in the new file `path`, for a backup; only its owner may read it.  Raises OSError."""

        def copy() -> None:
            octets = (self._loaded().data / SEAL).read_bytes()
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(octets)
                file.flush()
                os.fsync(file.fileno())

        await asyncio.to_thread(copy)

    def _watch(self) -> None:
        """Look at events only while somebody is told of any."""
        wants = bool(self.addresses.notified)
        if wants and not self._is_subscribed:
            self._stream.subscribe(self._outcomes)
        elif not wants and self._is_subscribed:
            self._stream.unsubscribe(self._outcomes)
        self._is_subscribed = wants

    async def endpoint(self, id: str) -> Endpoint | None:
        """Where outcomes of an address are posted; see `Webhooks.lookup`.  Raises DatabaseError."""
        number = id.removeprefix(PREFIX)
        address = await self.addresses.by_id(int(number)) if number.isdigit() else None
        holder = await self.keys.find(address.notify_key) if address is not None and address.notify_url else None
        if address is None or holder is None:
            return None
        outbound = self._loaded().config.section(OutboundOptions)
        return Endpoint(id=id, url=address.notify_url, key=holder.secret, allow_private=outbound.allow_private)

    async def _is_known(self, domain: str) -> bool:
        """Whether a domain is anybody's here: the relay's, the directory's, or one of an account's addresses."""
        if self._loaded().policy.place(domain).ours or await self._principals.domain(domain) is not None:
            return True
        emails = (email for each in self._principals.reserved.entries.values() for email in each.emails)
        return any(email.lower().endswith(f"@{domain}") for email in emails)

    async def _is_somebodys(self, address: str, owner: Entry) -> bool:
        """Whether an address, or a name to sign in with that is the same, is another principal's."""
        holder = self._principals.reserved.addresses.get(address)
        if holder is not None and holder != owner.name:
            return True
        named = self._principals.reserved.entries.get(address) or await self._principals.get(address)
        found = await self._principals.whose(address, "")
        others = [
            each for each in (named, found.entry if found is not None and found.address == address else None) if each
        ]
        return any(each.id != owner.id for each in others)


def quotas_of(loaded: Loaded) -> Quotas:
    """What a new address may send."""
    options = loaded.config.section(SendingOptions)
    return Quotas(
        batch=(options.batch_daily, options.batch_monthly),
        trigger=(options.trigger_daily, options.trigger_monthly),
        addresses=options.addresses,
    )
