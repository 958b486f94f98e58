"""One mail transaction: from an accepted MAIL to the reply at the end of data (RFC 5321 §3.3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from relayd.mail.address import mailbox_key
from relayd.mail.envelope import Notify
from relayd.mail.reply import Reply
from relayd.mail.terms import NO_TERMS, Terms
from relayd.mailauth.examine import SenderFindings
from relayd.mailauth.findings import Findings
from relayd.mailauth.spf import Address
from relayd.reception.access import Rule
from relayd.reception.client import Client

if TYPE_CHECKING:
    from relayd.reception.body import BodyBuffer
    from relayd.reception.policy import Policy
    from relayd.reception.submission import Submission


class Refused(Exception):
    """The content is not taken; `reply` says why."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


class Discarded(Exception):
    """The message is taken and thrown away: answered 250, counted, and queued for nobody."""


@dataclass(slots=True)
class Accepted:
    """A recipient that the message will be queued for: given by the client, or put in the place of one that was.

    return_path: of the message to it; None: the transaction's.  stands_for: the key of the one in whose place it is,
    None: it was given itself.  held: why it alone of the message's must wait for an operator.
    """

    address: str
    notify: frozenset[Notify] | None = None
    orcpt: str | None = None
    return_path: str | None = None
    stands_for: tuple[str, str] | None = None
    held: str | None = None


@dataclass(frozen=True, slots=True)
class _SoFar:
    """What a recipient changes of a transaction."""

    recipients: int
    seen: set[tuple[str, str]]
    given: int
    counts: tuple[int, int, int]
    redirected: int
    held: tuple[str | None, str]
    redirect: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class Transaction:
    """State of one transaction.

    What the listener reads: `normalise` (bare newlines are mended, not refused), `max_line` and `max_size` in octets.
    What it may write: `refusal`, when the content breaks a rule that only the framing sees (a bare newline, a line over
    `max_line`); `Reception.finish` then answers with it and nothing is queued.

    id: the queue id.  sender: the return path as the client gave it; return_path: as rules made it.  given: what RCPT
    commands answered 250 gave, repeated ones included (LMTP answers each of them).  accepted: recipients given by the
    client, once each; replaced: those of them that stood for others; expanded: the others.  seen: the keys of all.
    discarded: recipients that were taken out again after their 250.
    is_8bit: the client asked for BODY=8BITMIME.
    redirect: where a rule sends the whole message.  redirected: recipients whose mail redirect-all sends elsewhere.
    held: why the message must wait for an operator, or None; held_by: who says so.
    greylisted: seconds for which the message is refused unless its signature shows who sent it.
    sender_findings: what the checks found at MAIL; findings: all of it, at the end of data.  checked_for: seconds that
    they have taken.  check_failed: a check that may refuse had a bug.  submission: of an account, None of anybody else.
    came_from: the address and EHLO name of the client that was looked at, where a relay of ours gave us the message.
    replies: of LMTP, to single recipients instead of the message's.
    """

    client: Client
    policy: Policy
    id: int
    started: float
    sender: str
    return_path: str
    body: BodyBuffer
    trusted: bool
    announced_size: int = 0
    smtputf8: bool = False
    is_8bit: bool = False
    requiretls: bool = False
    ret: str | None = None
    envid: str | None = None
    terms: Terms = NO_TERMS
    normalise: bool = False
    max_line: int = 65536
    max_size: int = 0
    recipients: list[Accepted] = field(default_factory=list)
    seen: set[tuple[str, str]] = field(default_factory=set)
    given: list[str] = field(default_factory=list)
    accepted: int = 0
    replaced: int = 0
    expanded: int = 0
    discarded: int = 0
    redirect: tuple[str, ...] = ()
    redirected: list[str] = field(default_factory=list)
    held: str | None = None
    held_by: str = "access"
    sender_findings: SenderFindings | None = None
    findings: Findings | None = None
    came_from: tuple[Address | None, str] | None = None
    replies: dict[str, Reply] = field(default_factory=dict)
    greylisted: float = 0.0
    checked_for: float = 0.0
    check_failed: bool = False
    refusal: Reply | None = None
    submission: Submission | None = None
    skip_checks: bool = False
    closed: bool = False

    def so_far(self) -> _SoFar:
        """The recipients as they are now, to go back to."""
        return _SoFar(
            len(self.recipients), set(self.seen), len(self.given), (self.accepted, self.replaced, self.expanded),
            len(self.redirected), (self.held, self.held_by), self.redirect,
        )  # fmt: skip

    def back_to(self, before: _SoFar) -> None:
        """Forget the recipients that came since."""
        del self.recipients[before.recipients :], self.given[before.given :], self.redirected[before.redirected :]
        self.seen = before.seen
        self.accepted, self.replaced, self.expanded = before.counts
        self.held, self.held_by = before.held
        self.redirect = before.redirect

    def take_out(self, key: tuple[str, str], *, refused: bool) -> None:
        """Take out a recipient that the client gave, or all that stand for it.  refused: the client is told so, and it
        counts as never taken; else it is counted as discarded.
        """
        own = [each for each in self.recipients if each.stands_for is None and mailbox_key(each.address) == key]
        others = [each for each in self.recipients if each.stands_for == key]
        if not own and not others:
            return
        self.recipients = [each for each in self.recipients if each not in own and each not in others]
        if not refused:
            self.discarded += len(own) + len(others)
            return
        self.accepted -= 1
        if others:
            self.replaced -= 1
            self.expanded -= len(others)

    def hold(self, key: tuple[str, str], reason: str) -> None:
        """Hold the message for a recipient that the client gave, or for all that stand for it, and for nobody else."""
        for each in self.recipients:
            if each.stands_for == key or (each.stands_for is None and mailbox_key(each.address) == key):
                each.held = reason

    @property
    def size(self) -> int:
        """Octets of content taken so far."""
        return self.body.size

    def apply(self, rule: Rule) -> None:
        """What a matching access rule that does not refuse means for the whole message."""
        if rule.action == "hold":
            self.held = rule.reason
        elif rule.action == "redirect":
            self.redirect = rule.to
        elif rule.action == "skip-checks":
            self.skip_checks = True
