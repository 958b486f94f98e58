"""Access keys and sending addresses, for operators (`/api/access-keys`, `/api/sending-addresses`); of our own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import TypedDict

import msgspec

from relayd.control.answers import NOT_FOUND, Failure, Problem, other
from relayd.control.compat.directmail_operations import DirectMailOperations, Spent
from relayd.control.queries import TEXT, PageQuery, parameter
from relayd.control.routes import Call, Route
from relayd.directory.access_keys import AccessKeys, TooManyKeys
from relayd.directory.entry import Entry, Type
from relayd.directory.sending_addresses import SendingAddress, SendingAddresses
from relayd.events import manage
from relayd.telemetry.render import rfc3339

_LARGEST = 10**12


@dataclass(frozen=True, slots=True, kw_only=True)
class SendingSide:
    """Where keys and addresses are kept, and what is asked about them.

    account: the principal of a name, of the database or the configuration.  operations: of the DirectMail dialect.
    """

    keys: AccessKeys
    addresses: SendingAddresses
    operations: DirectMailOperations
    account: Callable[[str], Awaitable[Entry | None]]
    spent: Callable[[str], Awaitable[Spent]]


class KeyItem(TypedDict):
    """One access key, without its secret."""

    access_key_id: str
    created: str


class KeyItems(TypedDict):
    """The keys of an account, the oldest first."""

    items: list[KeyItem]
    total: int


class NewKeyItem(TypedDict):
    """A key that was made; its secret is shown this once."""

    access_key_id: str
    access_key_secret: str


class Used(TypedDict):
    """Messages that were sent."""

    day: int
    month: int


class AddressItem(TypedDict):
    """One sending address.  frozen: why nothing is sent from it, "" when it is.  daily, monthly: messages at most."""

    id: int
    address: str
    account: str
    type: str
    created: str
    frozen: str
    reply_address: str
    reply_verified: bool
    daily: int
    monthly: int
    used: Used
    signs_in: bool
    notify_url: str


class AddressItems(TypedDict):
    """Sending addresses of an account."""

    items: list[AddressItem]
    total: int


class AddressChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What to change; absent: nothing.  frozen: a reason, or "" to let it send again."""

    frozen: str | None = None
    daily: int | None = None
    monthly: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressQuery(PageQuery):
    """Which addresses."""

    account: str | None = parameter(TEXT, "Of this account; needed.")
    text: str | None = parameter(TEXT, "In the address.", aliases=("filter",))


class SendingOperations:
    """The handlers.  side: None where this relay has none."""

    def __init__(self, side: SendingSide | None) -> None:
        self._given = side

    def routes(self) -> Iterator[Route]:
        """Every operation of the area."""
        yield Route(
            method="GET",
            path="/access-keys/{account}",
            permission="individual-get",
            handler=self.keys,
            summary="The access keys of an account",
            area="sending",
            answer=KeyItems,
        )
        yield Route(
            method="POST",
            path="/access-keys/{account}",
            permission="individual-update",
            handler=self.create_key,
            summary="Make an access key",
            area="sending",
            answer=NewKeyItem,
        )
        yield Route(
            method="DELETE",
            path="/access-keys/{account}/{id}",
            permission="individual-update",
            handler=self.revoke_key,
            summary="Revoke an access key",
            area="sending",
            answer=bool,
        )
        yield Route(
            method="GET",
            path="/sending-addresses",
            permission="individual-get",
            handler=self.addresses,
            summary="The sending addresses of an account",
            area="sending",
            query=AddressQuery,
            answer=AddressItems,
        )
        yield Route(
            method="PATCH",
            path="/sending-addresses/{address}",
            permission="individual-update",
            handler=self.change,
            summary="Freeze a sending address, or change its quotas",
            area="sending",
            body=AddressChange,
            answer=AddressItem,
            explains=True,
        )

    @property
    def _side(self) -> SendingSide:
        if self._given is None:
            raise Failure("unsupported", details="This relay has no sending addresses")
        return self._given

    async def _account(self, call: Call, name: str) -> Entry:
        """An account that the caller may see: of any tenant, or of his own."""
        found = await self._side.account(name.strip().lower())
        tenant = call.caller.identity.account.tenant if call.caller.identity is not None else ""
        if found is None or found.type is not Type.INDIVIDUAL or (tenant and found.tenant != tenant):
            raise Failure("notFound", item=name)
        return found

    async def keys(self, call: Call) -> KeyItems:
        """The keys of an account, without their secrets."""
        account = await self._account(call, call.path["account"])
        found = await self._side.keys.list(account)
        items = [KeyItem(access_key_id=id, created=rfc3339(created)) for id, created in found]
        return KeyItems(items=items, total=len(items))

    async def create_key(self, call: Call) -> NewKeyItem:
        """A new key; its secret is in this answer and never shown again."""
        account = await self._account(call, call.path["account"])
        try:
            made = await self._side.keys.create(account)
        except TooManyKeys as error:
            raise other("The account has as many access keys as it may", str(error)) from error
        _noted(call, "create-access-key", f"{account.name} {made.id}")
        return NewKeyItem(access_key_id=made.id, access_key_secret=made.secret)

    async def revoke_key(self, call: Call) -> bool:
        """From now on the key signs nothing."""
        account = await self._account(call, call.path["account"])
        if not await self._side.keys.revoke(account, call.path["id"]):
            raise Failure("notFound", item=call.path["id"])
        _noted(call, "revoke-access-key", f"{account.name} {call.path['id']}")
        return True

    async def addresses(self, call: Call) -> AddressItems:
        """The sending addresses of an account, with what was sent from each."""
        query: AddressQuery = call.query
        if not query.account:
            raise Problem(400, "Invalid parameters", "account: is needed")
        account = await self._account(call, query.account)
        limit = query.size if query.size is not None else 1000
        found, total = await self._side.addresses.page(account, query.text or "", None, query.offset, limit)
        return AddressItems(items=[await self._item(each) for each in found], total=total)

    async def change(self, call: Call) -> AddressItem:
        """Freeze an address (MAIL is refused with the reason), let it send again, or change what it may send."""
        given: AddressChange = call.body
        side = self._side
        for name, value in (("daily", given.daily), ("monthly", given.monthly)):
            if value is not None and not 0 <= value <= _LARGEST:
                raise Problem(400, "Invalid parameters", f"{name}: expected a number of messages")
        address = await side.addresses.get(call.path["address"])
        owner = await side.addresses.owner(address) if address is not None else None
        if address is None or owner is None:
            raise Problem(*NOT_FOUND)
        await self._account(call, owner.name)
        if given.frozen is not None:
            reason = "".join(char for char in given.frozen if " " <= char <= "~").strip()[:200]
            if given.frozen and not reason:
                raise Problem(400, "Invalid parameters", "frozen: expected a reason in ASCII")
            await side.addresses.set_frozen(address.id, reason)
        if given.daily is not None or given.monthly is not None:
            daily = address.daily if given.daily is None else given.daily
            await side.addresses.set_quotas(
                address.id, daily, address.monthly if given.monthly is None else given.monthly
            )
        _noted(call, "change-sending-address", address.address)
        changed = await side.addresses.by_id(address.id)
        return await self._item(changed or address)

    async def _item(self, address: SendingAddress) -> AddressItem:
        spent = await self._side.spent(address.usage)
        owner = await self._side.addresses.owner(address)
        return AddressItem(
            id=address.id,
            address=address.address,
            account=owner.name if owner is not None else "",
            type=address.type.value,
            created=rfc3339(address.created),
            frozen=address.frozen,
            reply_address=address.reply,
            reply_verified=address.reply_verified,
            daily=address.daily,
            monthly=address.monthly,
            used=Used(day=spent.get("day", (0, 0, 0))[0], month=spent.get("month", (0, 0, 0))[0]),
            signs_in=address.has_password,
            notify_url=address.notify_url.partition("?")[0],
        )


def _noted(call: Call, what: str, details: str) -> None:
    manage.ACTION(call.span, account_name=call.caller.name, type_=what, details=details, total=1, reason="")
