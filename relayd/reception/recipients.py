"""Which recipients are taken, and for whom they stand.

In this order: the syntax of relay tricks, access rules, the right to relay, rewriting, local names, whether the
recipient exists, the suppression list.  The right to relay is decided on the address that the client gave: no rule
can lend it one.  The domains of the directory are relay domains whose recipients it knows (`standing`).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass

from relayd.database.interface import DatabaseError
from relayd.directory.address_book import Target
from relayd.events import smtp, suppression
from relayd.mail.address import (
    literal_address,
    mailbox_key,
    qualify,
    routed_elsewhere,
    split_address,
    unquote_local,
)
from relayd.mail.reply import Reply
from relayd.mail.xtext import encode_xtext
from relayd.reception.access import first_match
from relayd.reception.client import Client
from relayd.reception.known import Probes, Verdict, judge
from relayd.reception.policy import Place, Policy, unmapped
from relayd.reception.standing import NOT_OURS, Standing
from relayd.reception.transaction import Accepted, Transaction
from relayd.reputation.suppression import SuppressionList, sentence
from relayd.smtp.command import RcptCommand
from relayd.telemetry.render import rfc3339

_OK = Reply(250, "2.1.5", "Recipient ok")
_RELAYING = Reply(550, "5.7.1", "Relaying denied")
_TRICK = Reply(550, "5.7.1", "Relaying through the local part is denied")
_UNKNOWN = Reply(550, "5.1.1", "Mailbox does not exist")
_BARE = Reply(550, "5.1.1", "The address needs a domain")
_UNCERTAIN = Reply(451, "4.4.3", "Cannot tell now whether the mailbox exists, try again later")
_UNREADABLE = Reply(451, "4.3.0", "The suppression list cannot be read now, try again later")
_APART = Reply(452, "4.5.3", "Send to postmaster in a transaction of its own")

NOT_THERE = frozenset({_RELAYING, _TRICK, _UNKNOWN, _BARE, NOT_OURS})
"""Refusals of recipients that do not exist or are not ours: who gets many of them tries names out."""

UNREAD_POSTMASTER = "mail to postmaster, and server.postmaster names nobody to read it"
"""Why such mail is held: it is accepted (RFC 5321 §4.5.1), and has no place to go but the operator's queue."""


@dataclass(slots=True)
class Candidate:
    """A recipient that is being looked at.

    address: qualified.  name: its local part without quotes.  local: it is at our own name, origin or literal.
    literal: it is at an address literal of ours.  bare: the client gave no domain.
    """

    address: str
    name: str
    place: Place
    local: bool
    literal: bool
    bare: bool


class Recipients:
    """Decides about RCPT."""

    def __init__(
        self,
        probes: Probes,
        clock: Callable[[], float],
        suppressions: SuppressionList | None = None,
        standing: Standing | None = None,
    ) -> None:
        self._probes = probes
        self._clock = clock
        self._suppressions = suppressions
        self._standing = standing

    async def offer(self, tx: Transaction, command: RcptCommand) -> Reply:
        """Take one recipient into the transaction, or say why not."""
        policy, client, address = tx.policy, tx.client, command.address
        if len(tx.given) >= policy.limits.recipients:
            smtp.TOO_MANY_RECIPIENTS(client.span, limit=policy.limits.recipients, to=address)
            return Reply(452, "4.5.3", "Too many recipients, send to the rest in another transaction")
        reply = await self._decide(tx, command)
        if reply is None:
            tx.given.append(address)
            smtp.RCPT_TO(client.span, to=address)
            return _OK
        if not reply.is_positive:
            smtp.RCPT_TO_REJECTED(client.span, to=address, code=reply.code, reason=reply.text)
        return reply

    async def _decide(self, tx: Transaction, command: RcptCommand) -> Reply | None:
        """None when the recipient is taken (repeated ones are, once)."""
        policy, client = tx.policy, tx.client
        candidate = await self._find(policy, client, command.address)
        if isinstance(candidate, Reply):
            return candidate
        if tx.held == UNREAD_POSTMASTER and candidate.name.lower() != "postmaster":
            return _APART
        address = candidate.address
        redirect = policy.redirect_all or tx.redirect
        if policy.access.rcpt:
            rule = first_match(policy.access.rcpt, client, tx.sender, address)
            if rule is not None:
                smtp.ACCESS_RULE(client.span, id=rule.id, policy=rule.action, reason=rule.reason)
                if rule.action in ("reject", "defer"):
                    return rule.reply
                if rule.action == "redirect":
                    redirect = redirect or rule.to
                else:
                    tx.apply(rule)
        addresses = self._targets(tx, candidate)
        if isinstance(addresses, Reply):
            return addresses
        itself = addresses == (address,)
        if itself and not redirect:
            refused = await self._refused(tx, candidate)
            if refused is not None:
                return refused
        if policy.redirect_all:
            tx.redirected.append(address)
        if redirect:
            addresses = tuple(dict.fromkeys(target for each in redirect for target in _aliased(policy, each)))
        targets = tuple(map(Target, addresses))
        if self._standing is not None and not policy.redirect_all:
            found = await self._standing.resolve(tx, address, candidate.place, targets)
            if isinstance(found, Reply):
                return found
            targets = found
        _take(tx, command, address, targets)
        return None

    async def _find(self, policy: Policy, client: Client, given: str) -> Candidate | Reply:
        domain = split_address(given)[1]
        place = policy.place(domain) if domain else None
        if place is not None and self._standing is not None:
            try:
                place = await self._standing.place(place)
            except DatabaseError as error:
                smtp.RCPT_TO_UNKNOWN(client.span, to=given, reason=str(error))
                return _UNCERTAIN
        return find(policy, client, given, place)

    async def _refused(self, tx: Transaction, candidate: Candidate) -> Reply | None:
        """Why a recipient that stands for itself is not taken: it does not exist, or is on the suppression list."""
        place, address = candidate.place, candidate.address
        if place.relay and not place.directory and candidate.name.lower() != "postmaster":
            refused = await self._existence(tx, address, place.key)
            if refused is not None:
                return refused
        return await self._suppressed(tx, candidate) if tx.trusted and tx.return_path else None

    async def _suppressed(self, tx: Transaction, candidate: Candidate) -> Reply | None:
        """Why a trusted sender's mail is not sent to a recipient elsewhere that is on the suppression list.

        For whom a recipient stands is looked at when it is tried: a list of many is not refused for one of them.
        """
        suppressions, address = self._suppressions, candidate.address
        if suppressions is None or candidate.place.relay or candidate.local:
            return None
        try:
            entry = await suppressions.find(address, tx.client.account, tx.return_path)
        except DatabaseError as error:
            suppression.ERROR(tx.client.span, to=address, reason=str(error))
            return _UNREADABLE
        if entry is None:
            return None
        text = sentence(entry, rfc3339(entry.since)[:10])
        suppression.REFUSED(tx.client.span, to=address, scope=entry.scope, cause=entry.cause, details=text)
        return Reply(550, "5.7.1", text)

    def _targets(self, tx: Transaction, candidate: Candidate) -> tuple[str, ...] | Reply:
        """For whom the recipient stands (itself, most often), or why it may not be sent to."""
        policy, client, address = tx.policy, tx.client, candidate.address
        if candidate.name.lower() == "postmaster" and (candidate.local or candidate.place.relay):
            if policy.local_names.postmaster:
                return policy.local_names.postmaster
            passes_on = candidate.place.relay or (tx.trusted and not candidate.literal and not candidate.bare)
            return (address,) if passes_on else _kept(tx, policy)
        aliased = policy.local_names.targets(candidate.name) if candidate.local else None
        if aliased is None and not candidate.place.relay:
            if candidate.literal or (candidate.local and not tx.trusted):
                smtp.MAILBOX_DOES_NOT_EXIST(client.span, to=address)
                return _UNKNOWN
            if not tx.trusted:
                smtp.RELAY_NOT_ALLOWED(client.span, to=address)
                return _RELAYING
        if policy.rewrite.recipients:
            rewritten = policy.rewrite.recipient(client, tx.sender, address)
            if rewritten is not None:
                smtp.RCPT_TO_REWRITTEN(client.span, to=rewritten[0], from_=address, id=rewritten[1])
                return _aliased(policy, rewritten[0])
        return aliased or (address,)

    async def verify(self, policy: Policy, client: Client, address: str) -> Reply:
        """What VRFY says of an address to a trusted client."""
        candidate = await self._find(policy, client, address)
        if isinstance(candidate, Reply):
            return candidate
        if self._standing is not None and candidate.place.directory:
            return await self._standing.verify(policy, client, address)
        if candidate.local and policy.local_names.targets(candidate.name):
            return Reply(250, "2.1.5", f"<{address}>")
        record = policy.known.record(candidate.place.key) if candidate.place.relay else None
        if record is not None and record.check in ("list", "file"):
            verdict, _ = await judge(record, address, self._probes, self._clock())
            if verdict is not Verdict.UNKNOWN:
                return Reply(250, "2.1.5", f"<{address}>") if verdict is Verdict.GOOD else _UNKNOWN
        if candidate.literal:
            return _UNKNOWN
        return Reply(252, "2.1.5", f"<{address}> is taken, whether it exists is not known here")

    async def expand(self, policy: Policy, client: Client, address: str) -> Reply:
        """What EXPN says of a list or group to a session that may ask: each member in a line."""
        candidate = await self._find(policy, client, address)
        if isinstance(candidate, Reply):
            return candidate
        if self._standing is None:
            return _UNKNOWN
        return await self._standing.expand(client, candidate.address)

    async def _existence(self, tx: Transaction, address: str, domain: str) -> Reply | None:
        """Whether a recipient of a relay domain exists; what cannot be told does not stop a trusted client."""
        now = self._clock()
        verdict, answer = await judge(tx.policy.known.record(domain), address, self._probes, now)
        if verdict is Verdict.GOOD:
            return None
        if verdict is Verdict.UNKNOWN:
            return None if tx.trusted else _UNCERTAIN
        smtp.MAILBOX_DOES_NOT_EXIST(tx.client.span, to=address)
        if answer is not None and answer.enhanced[:4] not in ("", "5.0.", "5.1."):
            return Reply(550, answer.enhanced, "The next hop refuses mail for this recipient")
        return _UNKNOWN


def _kept(tx: Transaction, policy: Policy) -> tuple[str, ...] | Reply:
    """Mail to a postmaster that nobody is: held, so it shares a message with no other recipient."""
    if tx.given and tx.held != UNREAD_POSTMASTER:
        return _APART
    tx.held = UNREAD_POSTMASTER
    return (f"postmaster@{policy.origin}",)


def find(policy: Policy, client: Client, given: str, place: Place | None = None) -> Candidate | Reply:
    """Who is meant by an address as the client gave it; a Reply refuses it.  place: of its domain, when it is known.

    Tricks in the local part ("%", "!", "@", ":") are refused from strangers everywhere, and from trusted clients at
    domains of ours; elsewhere the local part is the business of the domain's own hosts.
    """
    local, domain = split_address(given)
    bare = not domain
    if bare:
        if not client.trusted and local.lower() != "postmaster":
            return _BARE
        domain = policy.origin
    place = place or policy.place(domain)
    literal = domain[0] == "[" and is_own_literal(domain, client)
    ours = literal or bare or place.relay or place.local
    address = qualify(given, policy.origin) if bare else given
    if (ours or not client.trusted) and routed_elsewhere(address):
        smtp.RELAY_NOT_ALLOWED(client.span, to=given)
        return _TRICK
    return Candidate(address, unquote_local(local), place, literal or bare or place.local, literal, bare)


def is_own_literal(domain: str, client: Client) -> bool:
    """Whether an address literal names the address at which the client reached us."""
    address = unmapped(literal_address(domain))
    if address is None:
        return False
    try:
        return address == unmapped(ipaddress.ip_address(client.local_address))
    except ValueError:  # on a Unix socket, and where PROXY did not say it
        return False


def _aliased(policy: Policy, address: str) -> tuple[str, ...]:
    """A rewritten address, or for whom it stands when it is a local name."""
    local, domain = split_address(address)
    if policy.place(domain).local:
        return policy.local_names.targets(unquote_local(local)) or (address,)
    return (address,)


def _take(tx: Transaction, command: RcptCommand, address: str, targets: tuple[Target, ...]) -> None:
    """Put a recipient, or those it stands for, into the transaction; each mailbox once."""
    key = mailbox_key(address)
    if key in tx.seen:
        smtp.RCPT_TO_DUPLICATE(tx.client.span, to=address)
        return
    tx.seen.add(key)
    tx.accepted += 1
    orcpt = command.orcpt
    if targets == (Target(address),):
        tx.recipients.append(Accepted(address, command.notify, orcpt))
        return
    if orcpt is None and address.isascii():
        orcpt = f"rfc822;{encode_xtext(address)}"
    tx.replaced += 1
    for target in targets:
        target_key = mailbox_key(target.address)
        if target_key not in tx.seen or target_key == key:
            tx.seen.add(target_key)
            if target.of_list:  # RFC 3461 §5.2.7: what the sender asked for ends at the list
                tx.recipients.append(Accepted(target.address, return_path=target.return_path, stands_for=key))
            else:
                tx.recipients.append(Accepted(target.address, command.notify, orcpt, target.return_path, key))
            tx.expanded += 1
