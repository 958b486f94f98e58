"""The eight operations of the DirectMail dialect: sending addresses of an account, and who is told of their mail."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from relayd.control.compat.directmail_answers import DirectMailError, missing
from relayd.directory.access_keys import KeyHolder
from relayd.directory.account import Account
from relayd.directory.entry import Entry
from relayd.directory.password import hash_secret
from relayd.directory.scram import verifier
from relayd.directory.secrets import Secrets
from relayd.directory.sending_addresses import (
    AddressTaken,
    Quotas,
    SendingAddress,
    SendingAddresses,
    SendingType,
    TooManyAddresses,
)
from relayd.events import manage
from relayd.events.event import Span
from relayd.mail.address import AddressError, parse_address, split_address
from relayd.options import OptionError
from relayd.telemetry.render import rfc3339
from relayd.webhooks.options import check_url

Spent = Mapping[str, tuple[int, int, int]]

Operation = Callable[[Span, KeyHolder, Mapping[str, str]], Awaitable[Mapping[str, Any]]]

_WORD = re.compile(r"[0-9A-Za-z.@-]{1,60}", re.ASCII)
_MAX_ADDRESS = 254
_MAX_PAGE = 100
_PASSWORD = range(8, 129)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the operations ask of others.

    account: of a name as it is now.  spent: what was counted under a name (`queue.usage`).  is_known: whether a domain
    is one of this relay at all.  is_somebodys: whether an address is another account's.  send_ticket: mails a ticket to
    a reply address.  quotas: of new addresses.
    """

    account: Callable[[str], Awaitable[Account | None]]
    spent: Callable[[str], Awaitable[Spent]]
    is_known: Callable[[str], Awaitable[bool]]
    is_somebodys: Callable[[str, Entry], Awaitable[bool]]
    send_ticket: Callable[[SendingAddress, str], Awaitable[None]]
    quotas: Callable[[], Quotas]


class DirectMailOperations:
    """The operations, each for the account of the key that signed.  All raise DirectMailError, DatabaseError."""

    def __init__(self, addresses: SendingAddresses, around: Surroundings) -> None:
        self._addresses = addresses
        self._around = around
        self._operations: dict[str, Operation] = {
            "CreateMailAddress": self.create,
            "QueryMailAddressByParam": self.query,
            "ModifyMailAddress": self.modify,
            "DeleteMailAddress": self.delete,
            "CheckReplyToMailAddress": self.check_reply,
            "ApproveReplyMailAddress": self.approve_reply,
            "UpdateMailAddressMsgCallBackUrl": self.update_notification,
            "GetMailAddressMsgCallBackUrl": self.get_notification,
        }

    def named(self, action: str) -> Operation:
        """The operation of that name.  Raises DirectMailError."""
        operation = self._operations.get(action)
        if operation is None:
            raise DirectMailError("InvalidAction.NotFound", "Specified api is not found.", status=404)
        return operation

    async def create(self, span: Span, holder: KeyHolder, given: Mapping[str, str]) -> Mapping[str, Any]:
        """A new sending address, in a domain of the account's own addresses."""
        owner = await self._active(holder)
        address = _address(_needed(given, "AccountName"))
        type = _type(_needed(given, "Sendtype"))
        reply = _reply(given["ReplyAddress"]) if given.get("ReplyAddress") else ""
        domain = split_address(address)[1]
        if domain not in _domains(owner):
            if await self._around.is_known(domain):
                raise DirectMailError("Forbidden", "The operator has no permission on the specified resource.")
            raise DirectMailError(
                "InvalidMailAddressDomain.Malformed", "The specified mailAddress domain does not exist."
            )
        try:
            if await self._around.is_somebodys(address, holder.account):
                raise AddressTaken(address)
            id = await self._addresses.create(holder.account, address, type, reply, self._around.quotas())
        except AddressTaken:
            raise DirectMailError(
                "InvalidMailAddressName.Duplicate", "The specified mailAddress accountName has already existed."
            ) from None
        except TooManyAddresses:
            raise DirectMailError(
                "InvalidMailAddressNumber.Malformed", "The amount of mailaddress exceeds the limit."
            ) from None
        _noted(span, holder, "create-sending-address", address)
        return {"MailAddressId": str(id)}

    async def query(self, span: Span, holder: KeyHolder, given: Mapping[str, str]) -> Mapping[str, Any]:
        """The account's sending addresses with a word in them."""
        owner = await self._active(holder)
        word = _needed(given, "KeyWord")
        if _WORD.fullmatch(word) is None:
            raise DirectMailError("InvalidKeyWord.Malformed", "KeyWord has 1 to 60 letters, digits, or any of . - @")
        type = _type(given["Sendtype"]) if given.get("Sendtype") else None
        number, size = _number(given, "PageNo", 1, 10**6), _number(given, "PageSize", 10, _MAX_PAGE)
        found, total = await self._addresses.page(holder.account, word, type, (number - 1) * size, size)
        items = [await self._shown(each, owner) for each in found]
        return {"TotalCount": total, "PageNumber": number, "PageSize": size, "data": {"mailAddress": items}}

    async def _shown(self, address: SendingAddress, owner: Account) -> dict[str, str]:
        spent = await self._around.spent(address.usage)
        return {
            "MailAddressId": str(address.id),
            "AccountName": address.address,
            "ReplyAddress": address.reply,
            "Sendtype": address.type.value,
            "AccountStatus": "1" if address.frozen else "0",
            "ReplyStatus": "0" if address.reply_verified else "1",
            "CreateTime": rfc3339(address.created),
            "DailyCount": str(address.daily),
            "MonthCount": str(address.monthly),
            "DailyReqCount": str(spent.get("day", (0, 0, 0))[0]),
            "MonthReqCount": str(spent.get("month", (0, 0, 0))[0]),
            "DomainStatus": "0" if split_address(address.address)[1] in _domains(owner) else "1",
        }

    async def modify(self, span: Span, holder: KeyHolder, given: Mapping[str, str]) -> Mapping[str, Any]:
        """Another password for SMTP, another reply address, or both."""
        await self._active(holder)
        id = _needed(given, "MailAddressId")
        password, reply = given.get("Password", ""), given.get("ReplyAddress", "")
        if not password and not reply:
            raise missing("Password")
        normal = _reply(reply) if reply else ""
        if password and (len(password) not in _PASSWORD or not password.isascii() or not password.isprintable()):
            raise DirectMailError("InvalidPassword.Malformed", "Password has 8 to 128 printable ASCII characters.")
        address = await self._own(holder, id)
        if password:
            await self._addresses.set_password(address.id, await asyncio.to_thread(_secrets, password))
        if normal and normal != address.reply:
            await self._addresses.set_reply(address.id, normal)
        _noted(span, holder, "modify-sending-address", address.address)
        return {}

    async def delete(self, span: Span, holder: KeyHolder, given: Mapping[str, str]) -> Mapping[str, Any]:
        """Delete a sending address."""
        await self._active(holder)
        address = await self._own(holder, _needed(given, "MailAddressId"))
        await self._addresses.delete(address.id)
        _noted(span, holder, "delete-sending-address", address.address)
        return {}

    async def check_reply(self, span: Span, holder: KeyHolder, given: Mapping[str, str]) -> Mapping[str, Any]:
        """Mail a ticket to the reply address."""
        await self._active(holder)
        address = await self._own(holder, _needed(given, "MailAddressId"))
        if not address.reply:
            raise DirectMailError("InvalidReplyAddress.Malformed", "The sending address has no reply address.")
        ticket = secrets.token_urlsafe(24)
        await self._addresses.set_ticket(address.id, ticket)
        await self._around.send_ticket(address, ticket)
        _noted(span, holder, "check-reply-address", address.address)
        return {}

    async def approve_reply(self, span: Span, holder: KeyHolder, given: Mapping[str, str]) -> Mapping[str, Any]:
        """A ticket came back: the reply address is verified."""
        await self._active(holder)
        address = await self._addresses.approve(holder.account, _needed(given, "Ticket")[:200])
        if address is None:
            raise DirectMailError("InvalidTicket.Malformed", "The specified ticket is wrong, used, or too old.")
        _noted(span, holder, "approve-reply-address", address.address)
        return {}

    async def update_notification(self, span: Span, holder: KeyHolder, given: Mapping[str, str]) -> Mapping[str, Any]:
        """Tell a URL of what becomes of the address's mail; an empty one: nobody any more."""
        await self._active(holder)
        address = await self._from(holder, given)
        url = given.get("NotifyUrl")
        if url is None:
            raise missing("NotifyUrl")
        if url:
            try:
                check_url(url)
            except OptionError:
                raise DirectMailError(
                    "InvalidNotifyUrl.Malformed", "The specified notifyUrl is wrongly formed."
                ) from None
        await self._addresses.set_notification(address.id, url, holder.id)
        _noted(span, holder, "notify-of-sending-address", address.address)
        return {}

    async def get_notification(self, span: Span, holder: KeyHolder, given: Mapping[str, str]) -> Mapping[str, Any]:
        """Who is told of what becomes of the address's mail."""
        await self._active(holder)
        address = await self._from(holder, given)
        return {"NotifyUrl": address.notify_url, "NotifyUrlStatus": 1 if address.notify_url else 0}

    async def _active(self, holder: KeyHolder) -> Account:
        """The account of a key, which may send.  Raises DirectMailError."""
        account = await self._around.account(holder.account.name)
        if account is None or account.suspended or not account.may_send:
            raise DirectMailError("Forbidden", "The operator has no permission on the specified resource.")
        return account

    async def _own(self, holder: KeyHolder, id: str) -> SendingAddress:
        """The account's address of an id: another's is as good as none."""
        found = None
        if id.isascii() and id.isdigit() and len(id) <= 18:
            found = await self._addresses.of_owner(holder.account, int(id))
        if found is None:
            raise DirectMailError("InvalidMailAddressId.Malformed", "The specified mailAddressId does not exist.")
        return found

    async def _from(self, holder: KeyHolder, given: Mapping[str, str]) -> SendingAddress:
        found = await self._addresses.get(_address(_needed(given, "MailFrom")))
        if found is None or found.owner != holder.account.id:
            raise _malformed()
        return found


def _secrets(password: str) -> Secrets:
    """What a password is stored as.  Blocks."""
    return Secrets((hash_secret(password),), verifier(password, secrets.token_bytes(16)))


def _malformed() -> DirectMailError:
    return DirectMailError(
        "InvalidMailAddressName.Malformed", "The specified mailAddress accountName is wrongly formed."
    )


def _needed(given: Mapping[str, str], name: str) -> str:
    value = given.get(name, "")
    if not value:
        raise missing(name)
    return value


def _address(text: str) -> str:
    """An address in lower case.  Raises DirectMailError."""
    try:
        address = parse_address(text, smtputf8=False)
    except AddressError:
        raise _malformed() from None
    local, domain = split_address(address)
    if not domain or domain.startswith("[") or local.startswith('"') or len(address) > _MAX_ADDRESS:
        raise _malformed()
    return address.lower()


def _reply(text: str) -> str:
    try:
        return _address(text)
    except DirectMailError:
        raise DirectMailError(
            "InvalidReplyAddress.Malformed", "The specified replyAddress is wrongly formed."
        ) from None


def _type(text: str) -> SendingType:
    try:
        return SendingType(text)
    except ValueError:
        raise DirectMailError("InvalidSendtype.Malformed", "Sendtype is batch or trigger.") from None


def _number(given: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = given.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 9 or not 1 <= int(text) <= most:
        raise DirectMailError(f"Invalid{name}.Malformed", f"{name} is a number from 1 to {most}.")
    return int(text)


def _domains(account: Account) -> frozenset[str]:
    """The domains of an account's own addresses."""
    return frozenset(split_address(each)[1].lower() for each in account.emails)


def _noted(span: Span, holder: KeyHolder, what: str, address: str) -> None:
    manage.ACTION(
        span,
        account_name=holder.account.name,
        type_=what,
        details=f"{address} (directmail)",
        total=1,
        reason="",
    )
