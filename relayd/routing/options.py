"""Options of where mail goes (`queue.outbound.*`, `queue.route.<id>.*`), when, and how much at once."""

from __future__ import annotations

from dataclasses import dataclass

from relayd.options import (
    BOOLEAN,
    DURATION,
    DURATIONS,
    PORT,
    REQUIRED,
    SIZE,
    TEXT,
    TEXTS,
    choice,
    integer,
    option,
    section,
)


@section("queue.outbound", "Where mail goes that no route or domain names, and what may be connected to.")
@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundOptions:
    """`queue.outbound.*`"""

    next_hop: str = option(TEXT, "mx", '"mx" (the hosts that the DNS names) or the id of a route.', example="smarthost")
    port: int = option(PORT, 25, "Port for direct delivery to MX hosts.")
    allow_private: bool = option(
        BOOLEAN, False, "Deliver to MX hosts on private or loopback addresses. Routes always may."
    )
    ca_files: tuple[str, ...] = option(
        TEXTS,
        [],
        "PEM files of authorities trusted beside the system's: for MX hosts, smarthosts, MTA-STS.",
        key="tls.ca-files",
    )
    tls_minimum: str = option(
        choice("1.2", "1.3"), "1.2", "Oldest version of TLS that is spoken with a next hop.", key="tls.min-version"
    )
    tls_broken_for: float = option(
        DURATION,
        "1h",
        "How long a host at which the TLS handshake failed gets its mail in the clear without TLS being tried; only"
        " where neither the configuration nor the domain demands TLS. 0s: it is tried every time.",
        key="tls.broken-for",
    )
    dane: str = option(
        choice("off", "optional", "require"),
        "optional",
        'TLSA records of signed zones (RFC 7672) are honoured; "require": MX hosts without are not delivered to. Needs'
        " a resolver that validates: on loopback, or named in resolver.trust-ad.",
        key="tls.dane",
    )
    mta_sts: bool = option(BOOLEAN, True, "Policies of domains (RFC 8461) are honoured.", key="tls.mta-sts")
    mta_sts_port: int = option(
        PORT, 443, "Port where policies are asked for (tests change it).", key="tls.mta-sts-port"
    )
    source: str | None = option(
        TEXT,
        None,
        "Id of the source or source pool that mail leaves from. Default: as the system chooses.",
        example="out7",
    )
    set_aside: tuple[float, ...] = option(
        DURATIONS,
        ["30s", "1m", "2m", "5m", "15m"],
        "For how long a smarthost is passed over after each failure in a row, while the route has others; the last"
        " repeats.",
    )


@section("queue.outbound.domain.<id>", "Recipient domains with a next hop of their own.")
@dataclass(frozen=True, slots=True, kw_only=True)
class DomainOptions:
    """`queue.outbound.domain.<domain>`"""

    next_hop: str = option(TEXT, REQUIRED, '"mx" or the id of a route, for this domain.', key="", example="smarthost")


@section("queue.outbound.tls.domain.<id>", "The TLS that the mail hosts of a domain must give, whatever they ask for.")
@dataclass(frozen=True, slots=True, kw_only=True)
class DomainTlsOptions:
    """`queue.outbound.tls.domain.<domain>.*`; for delivery by MX: a route has its own."""

    mode: str = option(
        choice("none", "opportunistic", "required", "verified"),
        "opportunistic",
        '"none": everything in the clear; "required": TLS or no delivery, whatever the certificate; "verified": the'
        " certificate must be valid for the host's name too. DANE and MTA-STS may demand more, never less.",
    )
    min_version: str | None = option(
        choice("1.2", "1.3"), None, "Oldest version of TLS. Default: queue.outbound.tls.min-version.", example="1.3"
    )


@section("queue.bounces", "How refusals and bounces are classified.")
@dataclass(frozen=True, slots=True, kw_only=True)
class BounceRuleOptions:
    """`queue.bounces.*`"""

    rules: str | None = option(
        TEXT,
        None,
        "TOML file of rules tried before those of conf/bounces.toml, which says how they are written.",
        example="/etc/relayd/bounces.toml",
    )


@section("queue.route.<id>", "Smarthosts and LMTP servers that mail may be handed to.")
@dataclass(frozen=True, slots=True, kw_only=True)
class RouteOptions:
    """`queue.route.<id>.*`"""

    address: str = option(
        TEXT, REQUIRED, 'Host name, IP address or "unix:/path" of the next hop.', example="smtp.example.net"
    )
    weight: int = option(integer(), 1, "Share of `address` beside `hosts`; 0: only when no other takes the mail.")
    hosts: tuple[str, ...] = option(
        TEXTS,
        [],
        "Further hosts that share its mail, each with its port, share and budget where they differ:"
        ' "b.example:587 weight=3 hour=1000 day=9000 connections=5".',
        example=["b.example.net weight=3", "c.example.net:2525 weight=0"],
    )
    messages_per_hour: int = option(integer(), 0, "Messages that each of its hosts is given in an hour; 0: no limit.")
    messages_per_day: int = option(integer(), 0, "Messages that each of its hosts is given in a day; 0: no limit.")
    connections: int = option(integer(), 0, "Connections to each of its hosts at once; 0: no limit of their own.")
    source: str | None = option(
        TEXT,
        None,
        "Id of the source or source pool that its mail leaves from. Default: queue.outbound.source.",
        example="out7",
    )
    port: int | None = option(
        PORT, None, "Default: 25; 465 with tls.implicit; 587 with auth; 24 for lmtp.", example=587
    )
    protocol: str = option(choice("smtp", "lmtp"), "smtp", "How the next hop is spoken to.")
    use_mx: bool = option(BOOLEAN, False, "Ask for the MX records of the address, not for its own.")
    tls_mode: str | None = option(
        choice("none", "opportunistic", "required", "verified"),
        None,
        'Default: "opportunistic", "verified" with auth (and auth allows nothing less).',
        key="tls.mode",
        example="verified",
    )
    tls_implicit: bool = option(BOOLEAN, False, "TLS from the first octet (port 465).", key="tls.implicit")
    tls_minimum: str | None = option(
        choice("1.2", "1.3"),
        None,
        "Oldest version of TLS. Default: queue.outbound.tls.min-version.",
        key="tls.min-version",
        example="1.3",
    )
    tls_ca_files: tuple[str, ...] = option(
        TEXTS, [], "PEM files of authorities trusted for this route beside the others.", key="tls.ca-files"
    )
    username: str | None = option(TEXT, None, "Name to sign in with.", key="auth.username", example="relay")
    secret: str | None = option(
        TEXT, None, "Password to sign in with.", key="auth.secret", secret=True, example="%{env:RELAY_PASSWORD}%"
    )
    mechanisms: tuple[str, ...] = option(
        TEXTS,
        [],
        "Mechanisms of AUTH that may be used, the best first: PLAIN, LOGIN, CRAM-MD5 with a password, OAUTHBEARER and"
        " XOAUTH2 with tokens. Default: those that fit, in this order.",
        key="auth.mechanisms",
        example=["OAUTHBEARER"],
    )
    token_url: str | None = option(
        TEXT,
        None,
        "Where tokens are asked for (RFC 6749); https, or http on loopback. Then the user signs in with a token.",
        key="auth.oauth.token-url",
        example="https://login.example.net/oauth2/token",
    )
    client_id: str | None = option(TEXT, None, "Name of this server there.", key="auth.oauth.client-id")
    client_secret: str | None = option(
        TEXT,
        None,
        "Its secret; without a refresh token, tokens are had with it alone.",
        key="auth.oauth.client-secret",
        secret=True,
    )
    refresh_token: str | None = option(
        TEXT,
        None,
        "Tokens are had with this one; one that comes in its place is kept in the data directory.",
        key="auth.oauth.refresh-token",
        secret=True,
    )
    scopes: tuple[str, ...] = option(TEXTS, [], "What tokens are asked for.", key="auth.oauth.scopes")
    tls_cert: str | None = option(
        TEXT,
        None,
        "PEM file with the certificate (and its chain) that is shown to hosts that ask for one; read again when it"
        " changes.",
        key="tls.cert",
        example="/etc/relayd/client.pem",
    )
    tls_private_key: str | None = option(
        TEXT,
        None,
        "PEM file with its key. Default: the file of tls.cert.",
        key="tls.private-key",
        example="/etc/relayd/client.key",
    )
    send_8bit_anyway: bool = option(
        BOOLEAN, False, "Send 8-bit bodies as they are, also when the next hop does not offer 8BITMIME."
    )


@section("queue.schedule", "When deferred mail is tried again, when its sender is told, and when it is given up.")
@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleOptions:
    """`queue.schedule.*`"""

    retry: tuple[float, ...] = option(
        DURATIONS,
        ["2m", "5m", "10m", "15m", "30m", "1h", "2h"],
        "Delays after each failed attempt; the last repeats. Each is made up to a tenth longer by chance.",
    )
    notify: tuple[float, ...] = option(
        DURATIONS, ["1d", "3d"], "Ages at which a trusted sender is told that mail is late."
    )
    expire: float = option(
        DURATION, "5d", "Age past which a failed attempt is the last; mail is never given up without one."
    )


@section("queue.outbound.concurrency", "How many deliveries run at once, and how many wait for their turn in memory.")
@dataclass(frozen=True, slots=True, kw_only=True)
class ConcurrencyOptions:
    """`queue.outbound.concurrency.*`"""

    total: int = option(
        integer(1, 10000),
        200,
        "Deliveries at once to destinations that answer, and as many to others. A destination that has none running may"
        " start one beside them (up to four times as many), and what has hung for 5 seconds counts apart (up to four"
        " times as many), so that slow ones do not keep others waiting.",
    )
    per_destination: int = option(
        integer(1, 1000),
        20,
        "Deliveries at once to one domain or route. Fewer when others need the room, or while its hosts fail.",
    )
    waiting: int = option(integer(1, 100000), 4000, "Messages that wait in memory for their turn; more wait on disk.")
    waiting_per_destination: int = option(
        integer(2, 100000), 1000, "Those of one domain or route; a single sender may have half of them."
    )
    waiting_octets: int = option(
        SIZE, "16MB", "Octets of their bodies kept in memory; bodies over this are read again from disk."
    )


@section("queue.breaker", "Suspends a route whose first attempts bounce, before more of its mail is lost.")
@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerOptions:
    """`queue.breaker.*`"""

    attempts: int = option(
        integer(0), 50, "First attempts through one route within `window` before it is judged; 0 switches this off."
    )
    percent: int = option(integer(1, 100), 50, "Suspend the route when more than this share of them bounced.")
    window: float = option(DURATION, "5m", "Over how long first attempts are counted.")
    suspend: float = option(DURATION, "15m", "For how long a route is suspended.")
