"""What the checks find, as values: each says its result, why, and the steps that led there.

`problem` is a phrase for people, "" where there is nothing to say; text from the DNS or the peer stands in it without
control characters.  `steps` are short lines in the order in which things were looked at, for `relayd explain`.
Domains are A-labels, lower case, without the final dot.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

from relayd.mail.address import AddressError, a_label


class Result(StrEnum):
    """Result names of RFC 8601 §2.7."""

    PASS = "pass"
    FAIL = "fail"
    SOFTFAIL = "softfail"
    NEUTRAL = "neutral"
    NONE = "none"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"
    POLICY = "policy"


class Policy(StrEnum):
    """What the owner of a domain asks for when DMARC fails (RFC 9989 §4.7)."""

    NONE = "none"
    QUARANTINE = "quarantine"
    REJECT = "reject"


class SpfFinding(msgspec.Struct, frozen=True, kw_only=True):
    """SPF of one identity (RFC 7208 §2.3, §2.4).

    domain: whose record was asked for; "" when there was none to ask.  sender: the identity, "postmaster@..." for the
    EHLO name and the null return path.  mechanism: the directive that decided, as it is written in the record.
    explanation: the domain's text for a fail.  lookups, voids: as counted against the limits (§4.6.4).
    """

    scope: Literal["helo", "mfrom"]
    result: Result
    domain: str
    sender: str
    mechanism: str = ""
    explanation: str = ""
    problem: str = ""
    lookups: int = 0
    voids: int = 0
    steps: tuple[str, ...] = ()


class DkimFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One DKIM signature (RFC 6376 §6.1); a message without any has no finding.

    domain, selector, algorithm, identity: d=, s=, a=, i=, "" where they cannot be read.  signature: the first
    characters of b=, enough to tell signatures apart (RFC 8601 §2.7.1, header.b).  bits: of the key, 0 when it was not
    seen.  testing: the key says t=y.  unsigned_octets: of the body, behind what l= covers.  cause: id of the event
    that names the problem ("dkim.revoked-public-key"), "" where there is none.
    """

    result: Result
    domain: str
    selector: str = ""
    algorithm: str = ""
    identity: str = ""
    signature: str = ""
    bits: int = 0
    testing: bool = False
    unsigned_octets: int = 0
    cause: str = ""
    problem: str = ""
    steps: tuple[str, ...] = ()


class ArcSet(msgspec.Struct, frozen=True, kw_only=True):
    """One instance of an ARC chain: who sealed it, and what its ARC-Authentication-Results says of DMARC and ARC."""

    instance: int
    domain: str
    selector: str = ""
    dmarc: Result | None = None
    arc: Result | None = None


class ArcFinding(msgspec.Struct, frozen=True, kw_only=True):
    """The ARC chain (RFC 8617 §5.2): none, pass or fail (temperror where a key could not be had).

    sets: by instance, 1 first; those of a chain that fails prove nothing.  oldest_pass: the lowest instance down to
    which every message signature still holds (RFC 8617 §5.2), 0: all of them, None: not a chain that passes.  sealed:
    the newest seal says itself that the chain is broken, nobody may add to it.  cause: id of the event that names the
    problem ("arc.broken-chain").
    """

    result: Result
    sets: tuple[ArcSet, ...] = ()
    oldest_pass: int | None = None
    sealed: bool = False
    cause: str = ""
    problem: str = ""
    steps: tuple[str, ...] = ()


class DmarcFinding(msgspec.Struct, frozen=True, kw_only=True):
    """DMARC of the author's domain (RFC 9989, RFC 7489).

    domain: of From, "" when there is not exactly one.  organizational: its organisational domain.  policy_domain,
    record: where the policy was found, and its text.  requested: what the record asks for this domain (p, sp or np);
    None without a record.  policy: the same after t=y (RFC 9989) or pct (RFC 7489): what to apply when the result is
    fail.  spf, dkim: the identifiers that passed and are aligned.
    """

    result: Result
    domain: str
    organizational: str = ""
    policy_domain: str = ""
    record: str = ""
    requested: Policy | None = None
    policy: Policy = Policy.NONE
    testing: bool = False
    spf: str = ""
    dkim: tuple[str, ...] = ()
    problem: str = ""
    steps: tuple[str, ...] = ()


class IprevFinding(msgspec.Struct, frozen=True, kw_only=True):
    """Reverse DNS (RFC 8601 §2.7.3).  names: what the address says it is called; confirmed: those that lead back."""

    result: Result
    address: str
    names: tuple[str, ...] = ()
    confirmed: tuple[str, ...] = ()
    problem: str = ""
    steps: tuple[str, ...] = ()


class EhloFinding(msgspec.Struct, frozen=True, kw_only=True):
    """The name given in EHLO.  pass: it leads to the client's address (or is the address as a literal)."""

    result: Result
    domain: str
    problem: str = ""
    steps: tuple[str, ...] = ()


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was found out about a message; None: that check was not made.  dkim: () when it is unsigned."""

    spf_ehlo: SpfFinding | None = None
    spf_mail_from: SpfFinding | None = None
    iprev: IprevFinding | None = None
    ehlo: EhloFinding | None = None
    dkim: tuple[DkimFinding, ...] | None = None
    arc: ArcFinding | None = None
    dmarc: DmarcFinding | None = None


def plain_domain(text: str) -> str:
    """A domain name as all findings write it; what cannot be an internationalised name comes back in lower case."""
    text = text.rstrip(".")
    try:
        return a_label(text)
    except AddressError:
        return text.lower()
