"""Options of reception: who may relay, which recipients exist, what content is taken, access and rewriting."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from relayd.directory.allowance import Allowance, parse_allowance
from relayd.mail.options import ServerOptions
from relayd.mailauth.options import AuthOptions
from relayd.options import (
    BOOLEAN,
    DURATION,
    NETWORKS,
    SIZE,
    TEXT,
    TEXTS,
    Kind,
    Network,
    OptionError,
    Raw,
    choice,
    integer,
    list_of,
    option,
    section,
)

_DOMAIN_PATTERN = re.compile(r"(?:\*?\.)?[^\s@*\[\]<>,;:\"]+")


def _parse_domain_pattern(value: Raw) -> str:
    if isinstance(value, str) and _DOMAIN_PATTERN.fullmatch(value) and not value.endswith("."):
        return value.lower()
    raise OptionError('expected a domain "example.org", or ".example.org" for every domain below it')


def _parse_allowance(value: Raw) -> Allowance:
    found = parse_allowance(value) if isinstance(value, str) else None
    if found is None:
        raise OptionError('expected "recipients:300/hour": messages, recipients or bytes an hour, day or month')
    return found


DOMAINS = list_of(Kind("domain", _parse_domain_pattern))


@section("session", "Sessions as a whole.")
@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedRelayOptions:
    """`session.*`, the part of reception."""

    trusted_relays: tuple[Network, ...] = option(
        NETWORKS,
        [],
        "Networks of hosts that filter or forward for us: checks look at the client before them. No right to relay.",
        example=["203.0.113.7"],
    )


@section("session.extensions", "What trusted sessions may ask for beside DSN.")
@dataclass(frozen=True, slots=True, kw_only=True)
class ExtensionOptions:
    """`session.extensions.*`"""

    future_release: float = option(
        DURATION, "7d", "How long a message may be held until it is sent on (FUTURERELEASE, RFC 4865); 0: not offered."
    )
    deliver_by: bool = option(
        BOOLEAN, True, "Mail may ask to be returned, or its sender to be told, at a time (DELIVERBY, RFC 2852)."
    )
    mt_priority: bool = option(
        BOOLEAN, True, "Mail may ask to go before other mail for the same next hop (MT-PRIORITY, RFC 6710)."
    )


@section("session.rcpt", "Who may relay, and to which domains anyone may send.")
@dataclass(frozen=True, slots=True, kw_only=True)
class RcptOptions:
    """`session.rcpt.*`"""

    relay_networks: tuple[Network, ...] = option(
        NETWORKS, ["127.0.0.0/8", "::1/128"], "Trusted networks: their sessions may send to any domain."
    )
    relay_domains: tuple[str, ...] = option(
        DOMAINS,
        [],
        'Domains anyone may send to: "example.org" is that domain alone, ".example.org" or "*.example.org" every '
        "domain below it (and not itself).",
        example=["example.org", ".example.org"],
    )
    sub_address_separator: str = option(
        choice("+", "-", "none"),
        "+",
        'What parts a name from its extension at domains of the directory: with "+", a+b is a\'s when it is nobody'
        " else's.",
    )


ALLOWANCES = list_of(Kind("allowance", _parse_allowance))


@section("session.submission", "What accounts may send, and as whom.")
@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionOptions:
    """`session.submission.*`"""

    allowances: tuple[Allowance, ...] = option(
        ALLOWANCES,
        ["recipients:300/hour", "recipients:2000/day"],
        "What each account may send that has no allowances of its own: messages, recipients or bytes in an hour, day or"
        " month (by the clock, UTC). Domains and tenants have theirs beside.",
    )
    match_author: bool = option(
        BOOLEAN, True, "What an account sends must be From an address of its own, as its return path must be."
    )
    bounce_percent: int = option(
        integer(1, 100),
        20,
        "An account of whose recipients in an hour more than this share do not exist or refuse it for good is held: its"
        " mail waits, its sessions end, and the postmaster is told.",
    )
    bounce_recipients: int = option(
        integer(0), 50, "From how many recipients on that share is looked at; 0 switches this off."
    )
    networks: int = option(
        integer(0), 20, "An account that signs in from more networks than this in an hour is held likewise; 0: never."
    )


@section("queue.srs", "Return paths of forwarded mail: foreign ones are replaced by ours that lead back (SRS).")
@dataclass(frozen=True, slots=True, kw_only=True)
class SrsOptions:
    """`queue.srs.*`"""

    enabled: bool = option(
        BOOLEAN,
        True,
        "Mail that an alias, group or rule sends on to a foreign domain leaves with a return path of ours, so that SPF"
        " holds there.",
    )
    secrets: tuple[str, ...] = option(
        TEXTS,
        [],
        "The first signs such return paths, all of them are honoured. Default: one that is made in the data directory;"
        " several hosts that take each other's bounces need the same.",
        secret=True,
        example=["%{env:SRS_SECRET}%"],
    )


@section("session.rcpt.probe", "Recipients that are checked by asking their next hop.")
@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeOptions:
    """`session.rcpt.probe.*`"""

    good: float = option(DURATION, "7d", "How long a recipient that the next hop took is believed to exist.")
    bad: float = option(DURATION, "1h", "How long a recipient that the next hop refused is refused without asking.")
    timeout: float = option(DURATION, "30s", "How long a client waits for the answer; then 451.")
    concurrency: int = option(integer(1, 1000), 20, "Probes under way at once; further ones are answered 451.")
    cache: int = option(integer(1), 100_000, "Recipients remembered, good and bad ones each.")


@section("session.rcpt.known.<id>", "How the recipients of relay domains are known before their 250.")
@dataclass(frozen=True, slots=True, kw_only=True)
class KnownOptions:
    """`session.rcpt.known.<id>.*`; a relay domain that no record names is probed."""

    domains: tuple[str, ...] = option(
        DOMAINS, [], "Relay domains that this record is for, written as in relay-domains.", example=["example.org"]
    )
    check: str = option(
        choice("list", "file", "probe", "any"),
        "probe",
        "list and file: those listed exist; probe: the next hop is asked with RCPT; any: every name is taken, and what "
        "does not exist is bounced to senders that are often forged.",
    )
    list_: tuple[str, ...] = option(
        TEXTS,
        [],
        'Addresses, or names that exist in each of the domains; "*" is not special.',
        example=["info", "a@b.c"],
    )
    file: str | None = option(
        TEXT, None, 'A file with one of those on a line; "#" starts a comment; read anew when it changes.'
    )
    delimiter: str = option(
        TEXT, "", 'Characters that part a name from its extension: with "+", a+b exists when a does.', example="+"
    )


@section("session.ehlo", "The name a client gives.")
@dataclass(frozen=True, slots=True, kw_only=True)
class EhloOptions:
    """`session.ehlo.*`"""

    reject_non_fqdn: bool = option(
        BOOLEAN, False, "Refuse strangers whose EHLO or HELO gives a valid name without a dot."
    )


@section("session.data", "The content of messages.")
@dataclass(frozen=True, slots=True, kw_only=True)
class DataOptions:
    """`session.data.*`"""

    bare_newlines: str = option(
        choice("reject", "normalise"), "reject", "What becomes of a CR or LF that stands alone: 550, or made CRLF."
    )
    bare_newlines_networks: tuple[Network, ...] = option(
        NETWORKS, [], "Networks whose bare newlines are made CRLF whatever bare-newlines says.", example=["192.0.2.9"]
    )
    log_subject: bool = option(
        BOOLEAN, False, "Put the subject of messages into the event of their queueing, and so into logs and history."
    )


@section("session.data.limits", "Limits of a message and of a session.")
@dataclass(frozen=True, slots=True, kw_only=True)
class DataLimits:
    """`session.data.limits.*`"""

    size: int = option(SIZE, "100MB", "Largest message, octets; 0 for no limit.")
    recipients: int = option(integer(1), 1000, "Recipients of a message; further ones are answered 452.")
    messages: int = option(integer(0), 0, "Messages of a session; then 421. 0 for no limit.")
    line: int = option(integer(998), 65536, "Longest line of a message, octets; longer ones are answered 554 5.6.0.")


@section("received", "The Received field.")
@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedOptions:
    """`received.*`"""

    hide_client: bool = option(
        BOOLEAN, False, "Leave the client's name and address out of Received for sessions that signed in or submit."
    )


@section("queue", "The queue as a whole.")
@dataclass(frozen=True, slots=True, kw_only=True)
class RedirectOptions:
    """`queue.*`, the part of reception."""

    redirect_all: tuple[str, ...] = option(
        TEXTS,
        [],
        "For staging: every message goes to these addresses instead of its recipients, who are named in X-Original-To.",
        example=["staging@example.org"],
    )


@section("access.<id>", "Rules that refuse, hold or redirect mail; the first that matches at each stage is applied.")
@dataclass(frozen=True, slots=True, kw_only=True)
class AccessOptions:
    """`access.<id>.*`

    All conditions that are given must hold, any of their values is enough.  Rules are looked at by `order`, then by id.
    """

    order: int = option(integer(), 0, "Rules with a lower number are looked at first; equal ones by id.")
    client: tuple[Network, ...] = option(NETWORKS, [], "Networks of the client.", example=["198.51.100.0/24"])
    ehlo: tuple[str, ...] = option(TEXTS, [], 'Names given in EHLO: "a.example", ".example", "*host*".')
    sender: tuple[str, ...] = option(
        TEXTS, [], 'Return paths: "a@b.c", "b.c", ".b.c" (below it), "*@*.c", "<>".', example=["*@spam.example"]
    )
    recipient: tuple[str, ...] = option(TEXTS, [], "Recipients, written as senders are.")
    account: tuple[str, ...] = option(TEXTS, [], 'Accounts that signed in: "app", "app-*".')
    listener: tuple[str, ...] = option(TEXTS, [], "Ids of listeners.")
    action: str = option(
        choice("skip-checks", "reject", "defer", "hold", "redirect"),
        "reject",
        "skip-checks: none of the checks of strangers; reject, defer: a 5xx or 4xx reply; hold: queued until released; "
        "redirect: to other recipients.",
    )
    code: int = option(integer(0, 599), 0, "Reply code of reject (500-599) or defer (400-499); 0: 550 or 450.")
    text: str = option(TEXT, "", "Text of the reply, or the reason of hold.", example="Not from there")
    to: tuple[str, ...] = option(TEXTS, [], "Where redirect sends the mail.", example=["abuse@example.org"])


@section("rewrite.<id>", "Rules that change addresses and header fields, before signing.")
@dataclass(frozen=True, slots=True, kw_only=True)
class RewriteOptions:
    """`rewrite.<id>.*`; conditions as in `access.<id>`.

    The envelope's and each field's address is set by the first matching rule that names it; fields are removed,
    replaced and added by every matching rule, in order.
    """

    order: int = option(integer(), 0, "Rules with a lower number are looked at first; equal ones by id.")
    client: tuple[Network, ...] = option(NETWORKS, [], "Networks of the client.")
    ehlo: tuple[str, ...] = option(TEXTS, [], "Names given in EHLO.")
    sender: tuple[str, ...] = option(TEXTS, [], "Return paths.", example=[".internal.example.org"])
    recipient: tuple[str, ...] = option(TEXTS, [], "Recipients; for the header any recipient of the message.")
    account: tuple[str, ...] = option(TEXTS, [], "Accounts that signed in.")
    listener: tuple[str, ...] = option(TEXTS, [], "Ids of listeners.")
    envelope_from: str | None = option(
        TEXT,
        None,
        "New return path; {local} and {domain} stand for the parts of the old.",
        example="{local}@example.org",
    )
    envelope_to: str | None = option(
        TEXT, None, "New address of the recipient; {local}, {domain} likewise.", example="{local}@new.example.org"
    )
    from_: str | None = option(
        TEXT,
        None,
        "New address in From; where `sender` is given, only of addresses that match it too.",
        example="{local}@example.org",
    )
    sender_field: str | None = option(TEXT, None, "New address in Sender, likewise.", example="{local}@example.org")
    reply_to: str | None = option(TEXT, None, "New address in Reply-To, likewise.", example="{local}@example.org")
    remove: tuple[str, ...] = option(TEXTS, [], "Names of header fields to remove.", example=["X-Mailer"])
    replace: tuple[str, ...] = option(
        TEXTS, [], "Header fields that take the place of those of the same name.", example=["Organization: Example"]
    )
    add: tuple[str, ...] = option(TEXTS, [], "Header fields to add.", example=["X-Route: internal"])


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceptionOptions:
    """Everything that reception is configured with.

    hostname: our own name, resolved.  listener_networks: each listener's own relay-networks, by its id.
    """

    hostname: str
    server: ServerOptions = field(default_factory=ServerOptions)
    session: TrustedRelayOptions = field(default_factory=TrustedRelayOptions)
    auth: AuthOptions = field(default_factory=AuthOptions)
    extensions: ExtensionOptions = field(default_factory=ExtensionOptions)
    rcpt: RcptOptions = field(default_factory=RcptOptions)
    probe: ProbeOptions = field(default_factory=ProbeOptions)
    known: Mapping[str, KnownOptions] = field(default_factory=dict)
    ehlo: EhloOptions = field(default_factory=EhloOptions)
    data: DataOptions = field(default_factory=DataOptions)
    limits: DataLimits = field(default_factory=DataLimits)
    received: ReceivedOptions = field(default_factory=ReceivedOptions)
    redirect: RedirectOptions = field(default_factory=RedirectOptions)
    access: Mapping[str, AccessOptions] = field(default_factory=dict)
    rewrite: Mapping[str, RewriteOptions] = field(default_factory=dict)
    submission: SubmissionOptions = field(default_factory=SubmissionOptions)
    listener_networks: Mapping[str, tuple[Network, ...]] = field(default_factory=dict)
