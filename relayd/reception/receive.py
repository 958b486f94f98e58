"""Reception: what the listener asks at each step of a session, and how it is answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from relayd.blobs.spool import Blobs
from relayd.database.interface import DatabaseError
from relayd.directory.address_book import AddressBook
from relayd.directory.directory import Directory
from relayd.directory.permissions import EMAIL_EXPAND, EMAIL_VERIFY
from relayd.directory.principals import Principals
from relayd.directory.sending_addresses import SendingAddresses
from relayd.events import auth, smtp
from relayd.mail.address import AddressError, check_domain, parse_address, qualify
from relayd.mail.reply import Reply
from relayd.mail.snowflake import Snowflakes
from relayd.queue.usage import Ledger
from relayd.reception.access import Rule, first_match
from relayd.reception.admission import Admission, Prober
from relayd.reception.body import BodyBuffer
from relayd.reception.checks import Checks
from relayd.reception.client import Client
from relayd.reception.filtering import Filtering
from relayd.reception.known import Probes
from relayd.reception.policy import Policy, unmapped
from relayd.reception.promise import NO_RECIPIENTS, TROUBLE, Intake, Promises, failure
from relayd.reception.recipients import NOT_THERE, Recipients
from relayd.reception.scoring import Scoring
from relayd.reception.sign_in import SignIns
from relayd.reception.signing import Signing
from relayd.reception.standing import Standing
from relayd.reception.strangers import Strangers
from relayd.reception.submission import Quota, Submissions
from relayd.reception.transaction import Transaction
from relayd.reception.urgency import NOTHING, LatestRelease, terms_of
from relayd.reputation.suppression import SuppressionList
from relayd.resolver.answer import Resolver
from relayd.smtp.command import MailCommand, RcptCommand
from relayd.smtp.extension import Extensions


class SpaceCheck(Protocol):
    """The watch over free space; see `relayd.queue.space`."""

    def check(self, announced_size: int) -> Reply | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What reception works with.  clock: Unix seconds.  sign_ins: None for passwords alone, and no bans."""

    queue: Intake
    blobs: Blobs
    space: SpaceCheck
    admission: Admission
    prober: Prober
    directory: Directory
    resolver: Resolver
    clock: Callable[[], float]
    snowflakes: Snowflakes
    signing: Signing
    filtering: Filtering | None = None
    scoring: Scoring | None = None
    strangers: Strangers | None = None
    suppressions: SuppressionList | None = None
    sign_ins: SignIns | None = None
    book: AddressBook | None = None
    principals: Principals | None = None
    ledger: Ledger | None = None
    sending: SendingAddresses | None = None


class Reception:
    """Decides about sessions and transactions, and queues what is accepted.

    The listener calls, in this order: `connect` (again after XCLIENT), `helo`, `authenticate`; `mail`, `rcpt`,
    `begin_data`, `write`, `finish`, or at any time `abort`.  A `None` or a positive Reply means: go on.  `trusted`,
    `skip_checks` and `messages` of the Client are kept here.
    """

    def __init__(self, policy: Policy, parts: Parts) -> None:
        self.policy = policy
        self._parts = parts
        self._latest = LatestRelease()
        self.probes = Probes(policy.options.probe, parts.prober, parts.clock)
        self._standing = Standing(parts.book) if parts.book is not None else None
        self._recipients = Recipients(self.probes, parts.clock, parts.suppressions, self._standing)
        self._checks = Checks(parts.resolver, parts.clock)
        self._submissions = Submissions(parts.directory, parts.principals, parts.ledger, parts.clock, parts.sending)
        self.sign_ins = parts.sign_ins or SignIns(parts.directory, parts.clock)
        self._promises = Promises(
            parts.queue,
            parts.admission,
            self._checks,
            parts.clock,
            parts.signing,
            parts.snowflakes,
            self._submissions,
            parts.filtering,
            parts.scoring,
            parts.strangers,
        )
        self._filtering = parts.filtering
        self._strangers = parts.strangers

    def reconfigure(self, policy: Policy, resolver: Resolver | None = None) -> None:
        """From the next command on decide by `policy` and ask `resolver`; transactions under way end as they began."""
        self.policy = policy
        if resolver is not None:
            self._checks.resolver.inner = resolver
        self.probes.reconfigure(policy.options.probe)

    async def close(self) -> None:
        """End what runs beside the sessions."""
        await self.probes.close()
        self._checks.close()

    async def connect(self, client: Client) -> Reply | None:
        """Decide the session's class; a Reply refuses the session (it carries no enhanced code, RFC 2034 §4)."""
        client.address = unmapped(client.address)
        shut_out = self.sign_ins.shut_out(client)
        if shut_out is not None:
            return shut_out
        if client.account is not None and not client.account_emails:
            await self._adopt_login(client)
        client.trusted = self.policy.trusts(client)
        client.skip_checks = False
        if self._strangers is not None:
            refused = self._strangers.admit(client)
            if refused is not None:
                return refused
        rules = self.policy.access.connect
        if rules:
            refused = _session_rule(first_match(rules, client), client)
            if refused is not None:
                return refused
        if self._filtering is not None and self._filtering.milters:
            return await self._filtering.connect(client)
        return None

    def leave(self, client: Client, *, idle: bool = False) -> None:
        """The session is over.  idle: because nothing came."""
        if idle and self._strangers is not None:
            self._strangers.loitered(client)
        if client.milters is not None:
            client.milters.close()

    async def _adopt_login(self, client: Client) -> None:
        """The account that XCLIENT's LOGIN names; a name that is not known here lends no rights."""
        account = await self._parts.directory.get(client.account or "")
        if account is None or not account.may_send:
            auth.FAILED(client.span, account_name=client.account or "", type_="xclient", remote_ip=client.address_text)
            client.account = None
            return
        client.sign_in(account, self._parts.directory.generation)

    async def helo(self, client: Client) -> Reply | None:
        """Look at the name that EHLO, HELO or LHLO gave; a Reply refuses it."""
        if not _is_host(client.helo):
            smtp.INVALID_EHLO(client.span, domain=client.helo)
            return Reply(501, "", "The argument must be a host name or an address literal (RFC 5321 section 4.1.1.1)")
        strict = self.policy.options.ehlo.reject_non_fqdn and not client.trusted and not client.skip_checks
        if strict and "." not in client.helo and client.helo[0] != "[":
            smtp.INVALID_EHLO(client.span, domain=client.helo)
            return Reply(550, "", "The argument must be a fully qualified host name")
        rules = self.policy.access.ehlo
        if rules:
            refused = _session_rule(first_match(rules, client), client)
            if refused is not None:
                return refused
        if client.milters is not None and self._filtering is not None:
            refused = await self._filtering.helo(client)
            if refused is not None:
                return refused
        (smtp.EHLO if client.esmtp else smtp.HELO)(client.span, domain=client.helo)
        return None

    def offered(self, client: Client) -> Extensions:
        """What this session is offered; STARTTLS, XCLIENT, and whether AUTH may be used here, are the listener's."""
        limits = self.policy.limits
        trusted = client.trusted or client.role == "submission"  # where MAIL comes after AUTH, often without EHLO again
        asks = self.policy.options.extensions if trusted else NOTHING
        return Extensions(
            size=limits.size,
            future_release=int(asks.future_release),
            latest_release=self._latest.text(asks, self._parts.clock()),
            deliver_by=asks.deliver_by,
            mt_priority=asks.mt_priority,
            auth=self.mechanisms(client),
            dsn=trusted,
            vrfy=_is_let(client, EMAIL_VERIFY),
            expn=self._standing is not None and not self._standing.book.is_empty and _is_let(client, EMAIL_EXPAND),
            rcpt_max=limits.recipients,
            mail_max=limits.messages,
            origin=self.policy.origin if client.role == "submit" else "",
        )

    async def quota(self, name: str) -> Quota | None:
        """What an account, domain or tenant sent, and what it may; None when there is none.  Raises DatabaseError."""
        return await self._submissions.quota(name, self.policy.options.submission)

    def normalises(self, client: Client) -> bool:
        """Whether bare newlines of this client are mended instead of refused."""
        return self.policy.normalises(client)

    def mechanisms(self, client: Client) -> tuple[str, ...]:
        """What the session may sign in by."""
        return self.sign_ins.mechanisms(client)

    async def authenticate(self, client: Client, login: str, secret: str) -> Reply:
        """Check credentials; good ones make the session trusted."""
        return await self.sign_ins.by_password(client, login, secret)

    async def mail(self, client: Client, command: MailCommand) -> Transaction | Reply:
        """Begin a transaction, or refuse to."""
        if client.signed_in is not None and client.seen != self._parts.directory.generation:
            refused = await self.sign_ins.renew(client)
            if refused is not None:
                client.trusted = self.policy.trusts(client)
                return refused
        policy = self.policy
        limits = policy.limits
        sender = command.return_path
        if limits.messages and client.messages >= limits.messages:
            smtp.TOO_MANY_MESSAGES(client.span, limit=limits.messages)
            return Reply(421, "4.7.0", f"{policy.hostname} takes {limits.messages} messages in a session, reconnect")
        if sender and "@" not in sender:
            sender = qualify(sender, policy.origin)
        submission = await self._submissions.begin(client, sender, command.size, policy.options.submission)
        if isinstance(submission, Reply):
            return submission
        tx: Transaction | Reply = TROUBLE
        try:
            tx = self._begin(policy, client, command, sender)
            if isinstance(tx, Transaction) and client.milters is not None and self._filtering is not None:
                refused = await self._filtering.mail(tx, command)
                if refused is not None:
                    client.milters.abort()
                    return refused
            if isinstance(tx, Transaction):
                client.messages += 1
                await self._checks.of_sender(tx)
                announced = {"size": command.size} if command.size else {}
                smtp.MAIL_FROM(client.span, from_=sender, **announced)
                tx.submission, submission = submission, None
            return tx
        finally:
            if submission is not None:
                self._submissions.end(submission)

    def _begin(self, policy: Policy, client: Client, command: MailCommand, sender: str) -> Transaction | Reply:
        limits = policy.limits
        if limits.size and command.size > limits.size:
            smtp.MESSAGE_TOO_LARGE(client.span, size=command.size, limit=limits.size)
            return Reply(552, "5.3.4", f"Message is larger than {limits.size} octets")
        refused = self._parts.space.check(command.size)
        if refused is not None:
            return refused
        now = self._parts.clock()
        terms = terms_of(command, now, policy.options.extensions)
        if isinstance(terms, Reply):
            smtp.FUTURE_RELEASE_INVALID(client.span)
            return terms
        id = self._parts.snowflakes.issue(now)
        tx = Transaction(
            client=client,
            policy=policy,
            id=id,
            started=now,
            sender=sender,
            return_path=sender,
            body=BodyBuffer(id, self._parts.blobs),
            trusted=client.trusted,
            announced_size=command.size,
            smtputf8=command.smtputf8,
            is_8bit=command.body != "7BIT",
            requiretls=command.requiretls,
            ret=command.ret,
            envid=command.envid,
            terms=terms,
            normalise=policy.normalises(client),
            max_line=limits.line,
            max_size=limits.size,
            skip_checks=client.skip_checks,
        )
        return self._mail_rules(tx) or tx

    def _mail_rules(self, tx: Transaction) -> Reply | None:
        policy, client = tx.policy, tx.client
        if policy.access.mail:
            rule = first_match(policy.access.mail, client, tx.sender)
            if rule is not None:
                smtp.ACCESS_RULE(client.span, id=rule.id, policy=rule.action, reason=rule.reason)
                if rule.action in ("reject", "defer"):
                    smtp.MAIL_FROM_NOT_ALLOWED(client.span, from_=tx.sender, id=rule.id)
                    return rule.reply
                tx.apply(rule)
        if policy.rewrite.senders:
            rewritten = policy.rewrite.sender(client, tx.sender)
            if rewritten is not None:
                tx.return_path = rewritten[0]
                smtp.MAIL_FROM_REWRITTEN(client.span, from_=tx.sender, to=rewritten[0], id=rewritten[1])
        return None

    async def rcpt(self, tx: Transaction, command: RcptCommand) -> Reply:
        """Take or refuse one recipient."""
        refused = self._submissions.recipient(tx)
        if refused is not None:
            smtp.RCPT_TO_REJECTED(tx.client.span, to=command.address, code=refused.code, reason=refused.text)
            return refused
        before = tx.accepted
        try:
            return await self._offered(tx, command)
        finally:
            if tx.accepted == before:
                self._submissions.given_back(tx)

    async def _offered(self, tx: Transaction, command: RcptCommand) -> Reply:
        """What we say of a recipient, and greylisting and milters after us."""
        strangers = self._strangers if not tx.trusted else None
        asks_milters = tx.client.milters is not None and self._filtering is not None
        greylists = strangers is not None and strangers.greylist.options.enabled
        before = tx.so_far() if asks_milters or greylists else None
        reply = await self._recipients.offer(tx, command)
        if strangers is not None and reply in NOT_THERE:
            return await strangers.refused(tx.client, command.address, reply)
        if before is None or not reply.is_positive:
            return reply
        refused = strangers.greylisted(tx, command.address) if greylists and strangers is not None else None
        if refused is None and asks_milters and self._filtering is not None:
            refused = await self._filtering.rcpt(tx, command)
        if refused is None:
            return reply
        tx.back_to(before)
        smtp.RCPT_TO_REJECTED(tx.client.span, to=command.address, code=refused.code, reason=refused.text)
        return refused

    async def begin_data(self, tx: Transaction) -> Reply | None:
        """Before DATA or the first BDAT; a Reply refuses it."""
        if not tx.given:
            smtp.RCPT_TO_MISSING(tx.client.span)
            return NO_RECIPIENTS
        if tx.client.milters is not None and self._filtering is not None:
            return await self._filtering.data(tx)
        return None

    async def write(self, tx: Transaction, chunks: list[bytes]) -> None:
        """Take decoded content; returns when more may come (never raises: what goes wrong is the reply of `finish`)."""
        if tx.refusal is not None:
            return
        body = tx.body
        full = body.take(chunks)
        if tx.max_size and body.size > tx.max_size:
            smtp.MESSAGE_TOO_LARGE(tx.client.span, size=body.size, limit=tx.max_size)
            tx.refusal = Reply(552, "5.3.4", f"Message is larger than {tx.max_size} octets")
        elif full:
            try:
                await body.spill()
            except Exception as error:  # unknown failure is temporary
                tx.refusal = failure(tx, error)
        if tx.refusal is not None:
            body.forget()

    async def finish(self, tx: Transaction) -> Reply | list[Reply]:
        """At the end of data: promise the message, or refuse it; LMTP: a reply for each RCPT that was answered 250."""
        reply = tx.refusal
        if reply is None:
            reply = await self._promises.promise(tx)
        tx.closed = True
        if self._filtering is not None:
            self._filtering.end(tx)
        if tx.submission is not None:
            self._submissions.end(tx.submission, promised=reply.is_positive)
        if not reply.is_positive:
            tx.body.forget()
        elif self._strangers is not None:
            self._strangers.taken(tx)
        if tx.client.protocol != "lmtp":
            return reply
        return [tx.replies.get(address, reply) if reply.is_positive else reply for address in tx.given]

    def abort(self, tx: Transaction) -> None:
        """The transaction ends without a promise (RSET, connection lost); does nothing after `finish`."""
        if not tx.closed:
            tx.closed = True
            if self._filtering is not None:
                self._filtering.end(tx)
            tx.body.forget()
            if tx.submission is not None:
                self._submissions.end(tx.submission)

    async def vrfy(self, client: Client, argument: str) -> Reply:
        """Whether a trusted client could send to an address (RFC 5321 §3.5.3); nothing is sent or probed."""
        if not await self._may_ask(client, EMAIL_VERIFY):
            smtp.VRFY_DISABLED(client.span)
            return Reply(252, "2.5.0", "Cannot verify here, send a message and see")
        smtp.VRFY(client.span, to=argument)
        address = self._asked(argument)
        if isinstance(address, Reply):
            return address
        reply = await self._recipients.verify(self.policy, client, address)
        if not reply.is_positive:
            smtp.VRFY_NOT_FOUND(client.span, to=address)
        return reply

    async def expn(self, client: Client, argument: str) -> Reply:
        """Who the members of a list or group of the directory are (RFC 5321 §3.5.1)."""
        if self._standing is None or not await self._may_ask(client, EMAIL_EXPAND):
            smtp.EXPN_DISABLED(client.span)
            return Reply(502, "5.5.1", "EXPN is not offered")
        address = self._asked(argument)
        return address if isinstance(address, Reply) else await self._recipients.expand(self.policy, client, address)

    async def _may_ask(self, client: Client, permission: str) -> bool:
        """Trusted networks may; who signed in, by his permission."""
        if not client.trusted or client.account is None:
            return client.trusted
        try:
            account = await self._parts.directory.get(client.account)
        except DatabaseError:
            return False
        return account is not None and account.may(permission)

    def _asked(self, argument: str) -> str | Reply:
        """The address that VRFY or EXPN names, bare or in angle brackets behind a name."""
        text = argument.strip()
        text = text[1:-1] if text.startswith("<") and text.endswith(">") else text
        if " " in text and text.endswith(">"):
            text = text[text.rindex("<") + 1 : -1] if "<" in text else text
        try:
            return parse_address(qualify(text, self.policy.origin), smtputf8=True)
        except AddressError as error:
            return Reply(501, "5.1.3", error.text)


def _session_rule(rule: Rule | None, client: Client) -> Reply | None:
    """Apply a rule before there is a transaction."""
    if rule is None:
        return None
    smtp.ACCESS_RULE(client.span, id=rule.id, policy=rule.action, reason=rule.reason)
    if rule.action == "skip-checks":
        client.skip_checks = True
        return None
    return Reply(rule.reply.code, "", rule.reply.text)


def _is_let(client: Client, permission: str) -> bool:
    """Whether a session is told in EHLO of what takes a permission; at the verb the directory is asked anew."""
    return client.trusted and (client.signed_in is None or client.signed_in.may(permission))


def _is_host(name: str) -> bool:
    """A domain name or address literal; "_" is let pass, so many machines have it in their names."""
    try:
        check_domain(name if name[:1] == "[" else name.replace("_", "x"), False)
    except AddressError:
        return False
    return True
