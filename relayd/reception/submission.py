"""What who signed in may send: as whom, and how much.

An account is asked for anew at every MAIL, so that a change of it counts at once.  Its mail carries one of its own
addresses as return path and as author (RFC 6409 §6.1, §8); `senders` of a principal names others, "*" all.  What it
sends is counted in its name, and in that of its domain and its tenant where these have allowances; the count is part of
the transaction that promises the message (`queue.usage`), and sessions at once share one limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from relayd.database.interface import DatabaseError
from relayd.directory.account import Account
from relayd.directory.allowance import Allowance, parse_allowance
from relayd.directory.entry import Entry, Found, How, Type
from relayd.directory.sending_addresses import SendingAddress, SendingAddresses
from relayd.events import auth, limit, smtp
from relayd.mail.address import mailbox_key, split_address
from relayd.mail.header import HeaderBlock
from relayd.mail.reply import Reply
from relayd.mailauth.authors import author_addresses
from relayd.queue.usage import MEASURES, Amounts, Charge, Ledger, Reservation, period_end
from relayd.reception.client import Client
from relayd.reception.options import SubmissionOptions
from relayd.reception.transaction import Transaction
from relayd.telemetry.render import rfc3339

_AUTHENTICATE = Reply(530, "5.7.0", "Authentication required")
_NOT_YOURS = Reply(550, "5.7.1", "The account may not send from this address")
_NOT_AUTHOR = Reply(550, "5.7.1", "The account may not send mail whose From is not one of its addresses")
_GONE = Reply(550, "5.7.1", "The account may not send mail any more")
_UNKNOWN_NOW = Reply(451, "4.3.0", "The account cannot be looked up now, try again later")

_AN = {"hour": "an hour", "day": "a day", "month": "a month"}

ANYBODY = "*"
"""In `senders`: the account may send as anybody."""


class Accounts(Protocol):
    """`relayd.directory.directory.Directory`."""

    async def get(self, name: str) -> Account | None: ...


class Entries(Protocol):
    """`relayd.directory.principals.Principals`."""

    async def get(self, name: str) -> Entry | None: ...

    async def domain(self, name: str) -> Entry | None: ...

    async def whose(self, address: str, separator: str = ...) -> Found | None: ...


@dataclass(slots=True)
class Submission:
    """Of one transaction of an account.  limits: allowances, each with the name under which it is counted.

    sending: the sending address that the return path is, if it is one.  charges: once the message is made.
    """

    account: Account
    limits: tuple[tuple[str, Allowance], ...]
    reservation: Reservation
    sending: SendingAddress | None = None
    charges: tuple[Charge, ...] = ()


@dataclass(frozen=True, slots=True)
class Limit:
    """An allowance in force.  name: under which it is counted.  ends: its present period, Unix seconds."""

    name: str
    allowance: Allowance
    used: int
    ends: float


@dataclass(frozen=True, slots=True)
class Quota:
    """What was sent under `key` in this hour, day and month: messages, recipients, octets; and what limits it."""

    key: str
    sent: dict[str, Amounts]
    limits: list[Limit]


class Submissions:
    """Decides what accounts may send.  entries, ledger: None: nothing is counted.  clock: Unix seconds.

    sending: the addresses beside its own that an account may send from.
    """

    def __init__(
        self,
        accounts: Accounts,
        entries: Entries | None,
        ledger: Ledger | None,
        clock: Callable[[], float],
        sending: SendingAddresses | None = None,
    ) -> None:
        self._sending = sending
        self._accounts = accounts
        self._entries = entries
        self._ledger = ledger
        self._clock = clock

    async def begin(
        self, client: Client, sender: str, announced: int, options: SubmissionOptions
    ) -> Submission | Reply | None:
        """At MAIL.  None: nobody signed in, and nobody had to.  announced: octets, 0 when the client did not say."""
        if client.account is None:
            if client.role != "submission":
                return None
            smtp.MAIL_FROM_UNAUTHENTICATED(client.span, from_=sender)
            return _AUTHENTICATE
        try:
            account = client.signed_in or await self._accounts.get(client.account)
            owner, address = account, None
            if account is not None and self._sending is not None and self._sending.has_any:
                account, owner, address = await self._sending_from(self._sending, account, sender)
            refused = await self._refused(client, account, sender, address)
            if refused is not None or account is None or owner is None:
                return refused or _GONE
            submission = await self._counted(account, owner, address, options)
        except DatabaseError as error:
            auth.ERROR(client.span, account_name=client.account, reason=str(error))
            return _UNKNOWN_NOW
        refused = self._over(client, submission, "messages", 0) or self._over(client, submission, "bytes", announced)
        if refused is not None:
            self.end(submission)
            return refused
        return submission

    async def _sending_from(
        self, sending: SendingAddresses, account: Account, sender: str
    ) -> tuple[Account, Account | None, SendingAddress | None]:
        """The account as it may send from `sender`, the account that it counts for, and the sending address.

        One that signed in as a sending address counts for the account that the address belongs to.
        """
        own = await sending.get(account.name) if "@" in account.name else None
        if own is not None and account.emails == (own.address,):
            entry = await sending.owner(own)
            return account, await self._accounts.get(entry.name) if entry is not None else None, own
        address = await sending.get(sender) if sender else None
        if address is not None:
            entry = await sending.owner(address)
            if entry is not None and entry.name == account.name:
                return replace(account, senders=(*account.senders, address.address)), account, address
        return account, account, None

    async def _refused(
        self, client: Client, account: Account | None, sender: str, address: SendingAddress | None
    ) -> Reply | None:
        if account is None or account.suspended or not account.may_send:
            reason = account.suspended if account is not None else "there is no such account"
            smtp.MAIL_FROM_UNAUTHORIZED(client.span, from_=sender, account_name=client.account, reason=reason)
            if account is not None and account.suspended:
                return Reply(550, "5.7.1", f"The account is suspended: {account.suspended}")
            return _GONE
        client.account_emails = account.emails
        if sender and not await self._may_use(account, sender):
            smtp.MAIL_FROM_UNAUTHORIZED(
                client.span, from_=sender, account_name=account.name, reason="not an address of the account"
            )
            return _NOT_YOURS
        if address is not None and address.frozen:
            smtp.MAIL_FROM_UNAUTHORIZED(
                client.span, from_=sender, account_name=account.name, reason=f"frozen: {address.frozen}"
            )
            return Reply(550, "5.7.1", f"The sending address is frozen: {address.frozen}")
        return None

    async def _counted(
        self, account: Account, owner: Account, address: SendingAddress | None, options: SubmissionOptions
    ) -> Submission:
        if self._ledger is None:
            return Submission(account, (), Reservation(()), address)
        limits = await self._limits(owner, options)
        if address is not None:
            limits.append((address.usage, Allowance("messages", address.daily, "day")))
            limits.append((address.usage, Allowance("messages", address.monthly, "month")))
        names = [f"account:{owner.name}", *(each for each, _ in limits)]
        return Submission(account, tuple(limits), await self._ledger.reserve(names), address)

    async def _limits(self, account: Account, options: SubmissionOptions) -> list[tuple[str, Allowance]]:
        """The allowances that hold for an account, each with the name under which it is counted."""
        limits: list[tuple[str, Allowance]] = []
        own: Sequence[Allowance] = options.allowances
        if self._entries is not None:
            entry = await self._entries.get(account.name)
            if entry is not None and entry.allowances:
                own = allowances_of(entry)
            email = next((each for each in account.emails if "@" in each), "")
            domain = await self._entries.domain(split_address(email)[1]) if email else None
            # an account of nobody's that sends from a tenant's domain is not beyond what the tenant may
            of = account.tenant or (domain.tenant if domain is not None else "")
            tenant = await self._entries.get(of) if of else None
            for kind, further in (("domain", domain), ("tenant", tenant)):
                if further is not None:
                    limits += [(f"{kind}:{further.name}", each) for each in allowances_of(further)]
        return [(f"account:{account.name}", each) for each in own] + limits

    async def quota(self, name: str, options: SubmissionOptions) -> Quota | None:
        """What holds for an account, domain or tenant of that name; None when there is none.  DatabaseError."""
        account = await self._accounts.get(name)
        if account is not None:
            key, limits = f"account:{account.name}", await self._limits(account, options)
        else:
            entry = await self._entries.get(name) if self._entries is not None else None
            if entry is None or entry.type not in (Type.DOMAIN, Type.TENANT):
                return None
            key = f"{entry.type}:{entry.name}"
            limits = [(key, each) for each in allowances_of(entry)]
        spent = (
            {each: await self._ledger.spent(each) for each in {key, *(name for name, _ in limits)}}
            if self._ledger
            else {}
        )
        now = self._clock()
        return Quota(
            key=key,
            sent=spent.get(key, {}),
            limits=[
                Limit(
                    name=name,
                    allowance=each,
                    used=spent[name][each.period][MEASURES.index(each.measure)] if name in spent else 0,
                    ends=period_end(each.period, now),
                )
                for name, each in limits
            ],
        )

    def recipient(self, tx: Transaction) -> Reply | None:
        """At RCPT, before the recipient is taken; takes room for it."""
        submission = tx.submission
        if submission is None or self._ledger is None:
            return None
        refused = self._over(tx.client, submission, "recipients", 1)
        if refused is None:
            self._ledger.take(submission.reservation, "recipients", 1)
        return refused

    def given_back(self, tx: Transaction) -> None:
        """The recipient was refused for another reason, or is one that the message had already."""
        if tx.submission is not None and self._ledger is not None:
            self._ledger.take(tx.submission.reservation, "recipients", -1)

    async def _may_use(self, account: Account, address: str) -> bool:
        """Whether an account may write as `address`: its catch-all lends it no address that is another's.

        Raises DatabaseError.
        """
        if not owns(account, address):
            return False
        if self._entries is None or owns(replace(account, emails=_exact(account.emails)), address):
            return True
        found = await self._entries.whose(address, "")
        return found is None or found.how is not How.EXACT or found.entry.name == account.name

    async def content(self, tx: Transaction, header: bytes, octets: int) -> Reply | None:
        """At the end of data: whether the author is the account's, and the octets are within what it may send.

        header: as it will be sent.  Raises DatabaseError.
        """
        submission = tx.submission
        if submission is None:
            return None
        account = submission.account
        if tx.policy.options.submission.match_author and ANYBODY not in account.senders:
            authors = author_addresses(HeaderBlock.parse(header).get("From"))
            if authors is None or not all([await self._may_use(account, each) for each in authors]):
                smtp.AUTHOR_UNAUTHORIZED(
                    tx.client.span, from_=authors[:10] if authors else "", account_name=account.name, queue_id=tx.id
                )
                return _NOT_AUTHOR
        refused = self._over(tx.client, submission, "bytes", octets)
        if refused is None and self._ledger is not None:
            self._ledger.take(submission.reservation, "bytes", octets)
            submission.charges = self._ledger.charges(submission.reservation, tx.accepted, octets)
        return refused

    def end(self, submission: Submission, *, promised: bool = False) -> None:
        """Its transaction ended; doing it twice does nothing."""
        if self._ledger is not None:
            self._ledger.end(submission.reservation, submission.charges if promised else ())

    def _over(self, client: Client, submission: Submission, measure: str, more: int) -> Reply | None:
        """The reply where `more` of a measure are more than one of the limits lets through."""
        if self._ledger is None:
            return None
        for name, allowance in submission.limits:
            if allowance.measure != measure:
                continue
            used = self._ledger.used(name, measure, allowance.period)
            if used + more <= allowance.most:
                continue
            limit.QUOTA(client.span, account_name=submission.account.name, key=name, type_=str(allowance), total=used)
            whose = name.replace(":", " ") if not name.startswith("account:") else "account"
            text = f"The {whose} may send {allowance.most} {measure} {_AN[allowance.period]}"
            if allowance.most == 0 or more > allowance.most:
                return Reply(550, "5.7.1", text)
            again = rfc3339(period_end(allowance.period, self._clock()))
            return Reply(450, "4.7.1", f"{text}, and has; more from {again} on")
        return None


def allowances_of(entry: Entry) -> list[Allowance]:
    """The allowances of a principal."""
    return [each for each in map(parse_allowance, entry.allowances) if each is not None]


def owns(account: Account, address: str) -> bool:
    """Whether an account may use an address: one of its own, of its "@domain"s, or of its further senders."""
    key = _folded_key(address)
    return any(
        each == ANYBODY or (each[1:].lower() == key[1] if each.startswith("@") else _folded_key(each) == key)
        for each in _allowed(account)
    )


def _exact(emails: Iterable[str]) -> tuple[str, ...]:
    return tuple(each for each in emails if not each.startswith("@"))


def _allowed(account: Account) -> Iterable[str]:
    yield from account.emails
    yield from account.senders


def _folded_key(address: str) -> tuple[str, str]:
    local, domain = mailbox_key(address)
    return local.casefold(), domain
