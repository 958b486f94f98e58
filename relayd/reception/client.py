"""Who is at the other end of a session, as far as it is known so far."""

from __future__ import annotations

import functools
import ipaddress
from dataclasses import dataclass, field

import msgspec

from relayd.directory.account import Account
from relayd.events.event import Span
from relayd.filters.milters import MilterSession
from relayd.mailauth.examine import SenderFindings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Remembered(msgspec.Struct, frozen=True):
    """Findings about a session's client and EHLO name.  until: of the monotonic clock."""

    address: Address | None
    helo: str
    until: float
    findings: SenderFindings


@dataclass(slots=True, kw_only=True)
class Client:
    """State of one session that decisions need; the listener fills it, PROXY and XCLIENT overwrite it.

    listener: its id.  role: "mx", "submission" or "submit" (the local submit socket).  protocol: "smtp" or "lmtp".
    address: None on a Unix socket (IPv4-mapped IPv6 is already IPv4).  name: what the reverse DNS says, or "unknown".
    helo: the argument of EHLO/HELO/LHLO.  esmtp: it was EHLO or LHLO.  tls: protocol version, or None.  tls_cipher.
    account: who signed in.  uid: peer of a Unix socket.  trusted: decided by Reception.connect and .authenticated.
    from_proxy: PROXY or XCLIENT gave the address.  remembered: what the checks of an earlier message found.
    milters: those that follow the session, None: there are none.  offences: recipients asked for that do not exist.
    signed_in: the account, as the directory had it at its generation `seen`.
    """

    span: Span
    session_id: int
    listener: str
    role: str = "mx"
    protocol: str = "smtp"
    address: Address | None = None
    port: int = 0
    local_address: str = ""
    local_port: int = 0
    name: str = "unknown"
    helo: str = ""
    esmtp: bool = False
    tls: str | None = None
    tls_cipher: str = ""
    account: str | None = None
    account_emails: tuple[str, ...] = ()
    uid: int | None = None
    trusted: bool = False
    from_proxy: bool = False
    messages: int = 0
    skip_checks: bool = False
    remembered: Remembered | None = None
    milters: MilterSession | None = None
    offences: int = 0
    notes: dict[str, str] = field(default_factory=dict)
    signed_in: Account | None = None
    seen: int = 0

    def sign_in(self, account: Account, seen: int) -> None:
        """Somebody signed in, or is looked at again.  seen: the generation of the directory that says so."""
        self.signed_in, self.seen = account, seen
        self.account, self.account_emails = account.name, account.emails

    def sign_out(self) -> None:
        """Nobody is signed in any more."""
        self.signed_in, self.account, self.account_emails, self.trusted = None, None, (), False

    @property
    def address_text(self) -> str:
        """The address, or "unix" for a Unix socket."""
        return address_text(self.address) if self.address is not None else "unix"


@functools.lru_cache(1024)
def address_text(address: Address) -> str:
    """An address as text; remembered, for it is asked for with every message and slow to write."""
    return str(address)
