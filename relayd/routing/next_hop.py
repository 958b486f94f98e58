"""A next hop: the place that one recipient's mail is handed to.

`key` names it everywhere: rows of the queue (`destination`), concurrency, pause and suspension, metrics, events.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from relayd.routing.source import Source


class Protocol(Enum):
    """How the next hop is spoken to."""

    SMTP = "smtp"
    LMTP = "lmtp"


class TlsMode(Enum):
    """What TLS a next hop must give."""

    NONE = "none"
    OPPORTUNISTIC = "opportunistic"
    REQUIRED = "required"
    """TLS with whatever certificate."""
    VERIFIED = "verified"
    """TLS with a certificate that is valid for the host's name."""


class DaneUse(Enum):
    """`queue.outbound.tls.dane`"""

    OFF = "off"
    OPTIONAL = "optional"
    REQUIRE = "require"


class MessageTls(Enum):
    """What a message says of TLS (RFC 8689)."""

    USUAL = "usual"
    REQUIRED = "requiretls"
    """REQUIRETLS was given with MAIL."""
    REPORT = "requiretls, null return path"
    """The same of a notification: it goes on to hosts that do not offer REQUIRETLS too (RFC 8689 §5)."""
    OPTIONAL = "tls-required: no"
    """Its header says `TLS-Required: No`; REQUIRETLS wins over that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenGrant:
    """Where and how tokens for AUTH XOAUTH2 and OAUTHBEARER are had (RFC 6749 §4.4, §6).

    refresh_token: None: by client credentials.
    """

    url: str
    client_id: str
    client_secret: str | None = field(default=None, repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NextHop:
    """Where to connect, and from where.

    key: the recipient's domain (direct MX), or "route:<id>".  host: the domain whose MX to ask, or the smarthost's
    name, address or "unix:/path".  use_mx: ask for MX; else only addresses.  username: AUTH, when given, with the
    password or a token of `grant`; mechanisms: of AUTH that may be used, in order; empty: all that fit.  source: where
    connections leave from, None: as the system chooses.  tls_minimum: oldest version of TLS, "" for the usual one.
    message_tls: what the message that goes there says; so a
    connection made for one kind serves no other.
    """

    key: str
    host: str
    port: int = 25
    protocol: Protocol = Protocol.SMTP
    use_mx: bool = True
    tls: TlsMode = TlsMode.OPPORTUNISTIC
    implicit_tls: bool = False
    tls_minimum: str = ""
    username: str | None = None
    password: str | None = None
    mechanisms: tuple[str, ...] = ()
    grant: TokenGrant | None = None
    source: Source | None = None
    send_8bit_anyway: bool = False
    route: str | None = None
    message_tls: MessageTls = MessageTls.USUAL

    def __hash__(self) -> int:  # of all fields it would be asked for several times with every message
        return hash((self.key, self.host, self.port))

    def __repr__(self) -> str:  # never the password
        return f"NextHop({self.key} -> {self.protocol.value}://{self.host}:{self.port})"
