"""Who sent a message, as an operator asks: the checks of a stranger's mail, made on a message that is given.

The same Examiner and the same verdict as on the live path; every question to the DNS is kept with its answer.
"""

from __future__ import annotations

import asyncio
import functools
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

import msgspec

from relayd.mail.header import HeaderBlock, fold, split_message
from relayd.mailauth.examine import Content, Examined, Sender, Surroundings, body_of
from relayd.mailauth.findings import Findings
from relayd.mailauth.hops import first_stranger
from relayd.mailauth.results import results_field
from relayd.mailauth.spf import Address
from relayd.mailauth.verdict import Message, Verdict, decide
from relayd.reception.checks import marked_results
from relayd.reception.policy import Policy, contains, unmapped
from relayd.resolver.answer import Resolver
from relayd.resolver.budget import BudgetResolver, Question
from relayd.spam.origin import Origin

MAX_NAME = 1024
"""Characters of an EHLO name or a return path that are taken: twice what a command line of SMTP can hold."""

_MBOX_LINE = re.compile(rb"\AFrom [^\n]*\n")
_BARE_LF = re.compile(rb"(?<!\r)\n")
_LARGE_HEADER = 32 << 10


SessionClass = Literal["stranger", "trusted", "trusted-relay"]
"""What a client of an address is: see `Policy.trusts` and `session.trusted-relays`."""


class Unreadable(Exception):
    """What was given as a message is none: it does not begin with a header field."""


class Suspect(msgspec.Struct, frozen=True, kw_only=True):
    """What is examined.  helo, return_path: as a client would give them, however odd; "" is the null return path.

    message: its octets, lines ending in LF or CRLF; None: one that says no more than that it is from `return_path`.
    """

    address: Address
    helo: str
    return_path: str
    message: bytes | None = None


class Examination(msgspec.Struct, frozen=True, kw_only=True):
    """What was found.

    client: whose address was looked at, "" when that is not known.  session: what a client of the given address is
    here; nothing is checked on mail of a trusted one, so the rest says what would be found if it were a stranger.
    notes: what else matters for that.  findings: null for a check that is disabled.  elapsed: seconds of each check.
    origin: where the client is, as far as `geo` says.
    """

    client: str
    helo: str
    return_path: str
    session: SessionClass
    notes: tuple[str, ...]
    findings: Findings
    verdict: Verdict
    authentication_results: str
    questions: tuple[Question, ...]
    elapsed: dict[str, float]
    origin: Origin = Origin()


async def _unknown(address: Address) -> Origin:
    return Origin()


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """What examinations go by now.  on_bug: hears of an exception in a check, with the check's name.

    origin: tells where an address is.
    """

    policy: Policy
    resolver: Resolver
    on_bug: Callable[[str, Exception], None]
    origin: Callable[[Address], Awaitable[Origin]] = _unknown


class Examinations:
    """Examines suspects.  in_force: asked for each.  clock: Unix time."""

    def __init__(self, in_force: Callable[[], InForce], clock: Callable[[], float]) -> None:
        self._in_force = in_force
        self._clock = clock

    async def examine(self, suspect: Suspect, *, everything: bool = False) -> Examination:
        """Make the checks within `auth.timeout`.

        everything: those that are disabled too, and on the address given, though one of our own relays has it.
        Raises Unreadable.
        """
        now = self._in_force()
        read = functools.partial(_read, suspect)
        large = suspect.message is not None and len(suspect.message) > _LARGE_HEADER
        header, body = await asyncio.to_thread(read) if large else read()
        sender = Sender(address=unmapped(suspect.address), helo=suspect.helo, return_path=suspect.return_path)
        session, notes = _session_of(now.policy, suspect)
        if session == "trusted-relay" and not everything:
            look = functools.partial(_before_relays, now.policy, sender, header)
            sender, note = await asyncio.to_thread(look) if large else look()
            notes = (*notes, note)
        examiner = now.policy.examiner.thorough(everything=everything)
        resolver = BudgetResolver(now.resolver, examiner.options.timeout, keep=True)
        around = Surroundings(
            resolver=resolver,
            now=self._clock(),
            clock=time.monotonic,
            on_bug=now.on_bug,
            receiver=now.policy.hostname,
        )
        apart = asyncio.to_thread if large else None
        examined = await examiner.examine(sender, Content(header=header, body=body_of(body), apart=apart), around)
        found = _told(examined, sender, now, session, notes, tuple(resolver.asked))
        if sender.address is None:
            return found
        return msgspec.structs.replace(found, origin=await now.origin(sender.address))


def _read(suspect: Suspect) -> tuple[HeaderBlock, bytes]:
    """The header and the body behind the blank line.  Raises Unreadable."""
    if suspect.message is None:
        header = fold("From", suspect.return_path) + fold("Subject", "Testing, please ignore")
        return HeaderBlock.parse(header), b"Testing 1, 2, 3\r\n"
    content = _MBOX_LINE.sub(b"", suspect.message)  # how a mailbox file begins each message
    header, rest = split_message(_BARE_LF.sub(b"\r\n", content))
    block = HeaderBlock.parse(header)
    if not block.fields or not block.fields[0].name:
        raise Unreadable("it does not begin with a header field")
    return block, rest[2:]


def _session_of(policy: Policy, suspect: Suspect) -> tuple[SessionClass, tuple[str, ...]]:
    """What a client of this address is here, and what an operator should know of it."""
    address = unmapped(suspect.address)
    assert address is not None
    options = policy.options
    if contains(options.rcpt.relay_networks, address):
        note = f"{address} is in session.rcpt.relay-networks: its mail is trusted, and none of this is checked"
        return "trusted", (note,)
    notes = tuple(
        f"{address} is trusted on the listener {id} (server.listener.{id}.relay-networks): nothing is checked there"
        for id, networks in options.listener_networks.items()
        if contains(networks, address)
    )
    if contains(options.session.trusted_relays, address):
        return "trusted-relay", (*notes, f"{address} is in session.trusted-relays: the client before it is checked")
    return "stranger", notes


def _before_relays(policy: Policy, sender: Sender, header: HeaderBlock) -> tuple[Sender, str]:
    """The client that our relays took the message from, and how that was found out."""
    hop = first_stranger(header.get("Received"), policy.options.session.trusted_relays)
    unknown = hop.problem or "the client before our relays is not known"
    found = Sender(address=hop.address, helo=hop.helo, return_path=sender.return_path, unknown=unknown)
    if hop.address is None:
        return found, f"the client before our relays is not known: {unknown}"
    return found, f"Received field {hop.passed} names {hop.address}"


def _told(
    examined: Examined,
    sender: Sender,
    now: InForce,
    session: SessionClass,
    notes: tuple[str, ...],
    questions: tuple[Question, ...],
) -> Examination:
    client = "" if sender.address is None else str(sender.address)
    message = Message(address=sender.address, is_list=examined.is_list)
    verdict = decide(examined.findings, now.policy.options.auth, message)
    field = results_field(now.policy.authserv_id, marked_results(examined.findings, verdict, client))
    return Examination(
        client=client,
        helo=sender.helo,
        return_path=sender.return_path,
        session=session,
        notes=notes,
        findings=examined.findings,
        verdict=verdict,
        authentication_results=field.decode("utf-8", "replace"),
        questions=questions,
        elapsed=examined.elapsed,
    )
