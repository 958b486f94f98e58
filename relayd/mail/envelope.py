"""The envelope of a message: return path, recipients, and what their parameters ask for (RFC 5321 §2.3.1).

Addresses are `str` as the client wrote them, without angle brackets, source route or surrounding blanks; the domain is
lower-cased; the null return path is "".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Notify(Enum):
    """When a delivery status notification is asked for (RFC 3461 §4.1)."""

    NEVER = "NEVER"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    DELAY = "DELAY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """One recipient of an envelope.

    notify: None when NOTIFY was not given (then failure, and delay where our policy says so).  orcpt: the ORCPT
    parameter as given, still xtext ("rfc822;a+2Bb@example.org"), or None.
    """

    address: str
    notify: frozenset[Notify] | None = None
    orcpt: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What MAIL and RCPT said.

    body: "7BIT" or "8BITMIME".  ret: "FULL", "HDRS" or None.  envid: as given, still xtext.  size: the announced SIZE
    in octets, 0 when not given.
    """

    return_path: str
    recipients: tuple[Recipient, ...] = ()
    body: str = "7BIT"
    smtputf8: bool = False
    size: int = 0
    ret: str | None = None
    envid: str | None = None


def domain_of(address: str) -> str:
    """The part behind the last "@", lower-cased; "" when there is none."""
    return address.rpartition("@")[2].lower() if "@" in address else ""
