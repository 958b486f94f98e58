"""What is known of a message beside its content: the session that brought it, and what the checks of mailauth found."""

from __future__ import annotations

import ipaddress

import msgspec

from relayd.spam.origin import Origin
from relayd.spam.tag import Tag

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """The session and the envelope.

    address: of the client; None: over a Unix socket.  helo, return_path, recipients: as the client gave them, "" is
    the null return path.  account: who signed in, "" for nobody.  is_tls: of this hop.  is_utf8: SMTPUTF8 was asked
    for; is_8bit: BODY=8BITMIME or BINARYMIME.  is_trusted: a message of our own people.  now: Unix time.  origin: where
    the address is, empty where that is not known.
    """

    address: Address | None = None
    helo: str = ""
    return_path: str = ""
    recipients: tuple[str, ...] = ()
    account: str = ""
    is_tls: bool = False
    is_utf8: bool = False
    is_8bit: bool = False
    is_trusted: bool = False
    now: float = 0.0
    origin: Origin = Origin()


class Scanned(msgspec.Struct, frozen=True, kw_only=True):
    """What the content of a message gives, found without asking anybody.

    tags: of the content's own rules.  urls: normalised, each once, in their order; hosts: theirs, as A-labels.
    emails: of From, of Reply-To and in the text, lower case.  hops: addresses that Received fields name, the
    nearest first.  from_domain: of the author, "" when there is not exactly one.  tokens: for the statistical model,
    8 octets each (little-endian).  references: Message-IDs that it refers to, with their angle brackets.
    is_partial: it was too large or too complex to be looked at whole.
    """

    tags: tuple[Tag, ...] = ()
    urls: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    hops: tuple[str, ...] = ()
    from_domain: str = ""
    tokens: bytes = b""
    references: tuple[str, ...] = ()
    is_partial: bool = False
