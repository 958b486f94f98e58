"""Which TLS a host must give, and what follows when it does not: two pure functions.

`decide` puts together what the operator, the message, DNSSEC and the domain say.  The order, strongest word first:

1. `tls.mode = "none"` of a route or a domain: no TLS, unless the message says REQUIRETLS.
2. REQUIRETLS (RFC 8689 §4.2.1): the host proven to be the domain's, TLS, a certificate that is valid by DANE or
   authorities, and REQUIRETLS offered in turn; else the message bounces.  Two exceptions: a notification goes to hosts
   that do not offer it too (§5), and a mail store on this machine need give no TLS, for no network is crossed.
3. `TLS-Required: No` (RFC 8689 §4.3): DANE and MTA-STS are ignored; a stricter `tls.mode` stays.
4. DANE (RFC 7672): secure and usable TLSA records; it comes before MTA-STS (RFC 8461 §2).  Secure but unusable ones
   demand TLS with any certificate.  When the look-up fails, the host is passed over.
5. MTA-STS (RFC 8461): "enforce" demands a host of the policy and a valid certificate; "testing" only reports.
6. `tls.mode`: never lowered by any of the above, but by 1.

`consequence` is the table of what each defect leads to.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from relayd.resolver.answer import Tlsa
from relayd.routing.dane import usable
from relayd.routing.mta_sts import Mode, Policy
from relayd.routing.next_hop import DaneUse, MessageTls, TlsMode
from relayd.routing.tls_defect import CERTIFICATE_DEFECTS, Defect
from relayd.routing.tls_report import PolicyType


class Lookup(Enum):
    """What the question for a host's TLSA records came to."""

    NOT_ASKED = "not asked"
    """The name of the host, or its address, is not of a signed zone: such records would prove nothing."""
    NONE = "none"
    FOUND = "found"
    FAILED = "failed"
    """Nobody could say, or the answer is forged (RFC 7672 §2.1.1: as if the host could not be reached)."""


class Level(Enum):
    """How much is demanded of a host."""

    PLAIN = "no TLS"
    MAY = "TLS where offered"
    TESTING = "TLS where offered, failures of the MTA-STS policy are reported"
    MUST = "TLS with any certificate"
    VERIFIED = "TLS with a valid certificate"
    DANE = "TLS with a certificate that the TLSA records name"
    REQUIRETLS = "TLS with a valid certificate, and REQUIRETLS"


class Source(Enum):
    """Who demands it."""

    CONFIGURATION = "configuration"
    MESSAGE = "message"
    DANE = "dane"
    MTA_STS = "mta-sts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What `decide` looks at, for one host.

    mode: the next hop's.  by_mx: the host was found by the DNS; else the configuration names it.  proven: DNSSEC or the
    configuration says that it is the domain's.  on_this_machine: a Unix socket, or LMTP on loopback.  lookup, tlsa: the
    host's TLSA records.  sts: the domain's policy, while fresh.
    """

    host: str
    mode: TlsMode = TlsMode.OPPORTUNISTIC
    message: MessageTls = MessageTls.USUAL
    by_mx: bool = True
    proven: bool = False
    on_this_machine: bool = False
    dane: DaneUse = DaneUse.OPTIONAL
    lookup: Lookup = Lookup.NOT_ASKED
    tlsa: tuple[Tlsa, ...] = ()
    sts: Policy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsPolicy:
    """What is demanded of one host.

    pkix: the certificate must be valid for its name.  tlsa: usable records of which one must fit, () for no DANE.
    refused: why the host is not even connected to.  noted: what is already known to be wrong and only reported.
    reasons: what led here, in words.
    """

    level: Level
    source: Source = Source.CONFIGURATION
    pkix: bool = False
    tlsa: tuple[Tlsa, ...] = ()
    requiretls: bool = False
    refused: Defect | None = None
    noted: Defect | None = None
    reasons: tuple[str, ...] = ()

    @property
    def report_type(self) -> PolicyType:
        """What TLS reports hold a session against."""
        if self.tlsa or self.source is Source.DANE:
            return PolicyType.TLSA
        return PolicyType.STS if self.source is Source.MTA_STS else PolicyType.NONE


_BY_MODE = {
    TlsMode.NONE: Level.PLAIN,
    TlsMode.OPPORTUNISTIC: Level.MAY,
    TlsMode.REQUIRED: Level.MUST,
    TlsMode.VERIFIED: Level.VERIFIED,
}


def decide(given: Circumstances) -> TlsPolicy:
    """What is demanded of the host, and why."""
    if given.message in (MessageTls.REQUIRED, MessageTls.REPORT):
        return _require_tls(given)
    verified = given.mode is TlsMode.VERIFIED
    own = f"tls.mode is {given.mode.value}"
    if given.mode is TlsMode.NONE:
        return TlsPolicy(level=Level.PLAIN, reasons=(own,))
    if given.message is MessageTls.OPTIONAL:
        ignored = "the message says TLS-Required: No, so DANE and MTA-STS are ignored"
        return TlsPolicy(level=_BY_MODE[given.mode], pkix=verified, source=Source.MESSAGE, reasons=(ignored, own))
    by_dane = _dane(given)
    if by_dane is not None and (by_dane.refused or by_dane.tlsa):
        return by_dane
    by_sts = _mta_sts(given)
    if by_dane is not None:  # TLSA records that nobody can check: at least TLS
        if by_sts is not None and by_sts.level is Level.VERIFIED:
            return by_sts
        return by_dane
    if by_sts is not None:
        return by_sts
    return TlsPolicy(level=_BY_MODE[given.mode], pkix=verified, reasons=(own,))


def _dane(given: Circumstances) -> TlsPolicy | None:
    """What DANE says, None when it says nothing."""
    if given.dane is DaneUse.OFF:
        return None
    verified = given.mode is TlsMode.VERIFIED
    if given.lookup is Lookup.FAILED:
        reason = "the host is of a signed zone, and its TLSA records could not be had"
        return TlsPolicy(level=Level.DANE, source=Source.DANE, refused=Defect.TLSA_LOOKUP, reasons=(reason,))
    found = usable(given.tlsa) if given.lookup is Lookup.FOUND else ()
    if found:
        reasons = [f"{len(found)} usable TLSA record{'' if len(found) == 1 else 's'} of a signed zone"]
        if verified:
            reasons.append("tls.mode is verified, so authorities must vouch for the certificate too")
        return TlsPolicy(level=Level.DANE, source=Source.DANE, pkix=verified, tlsa=found, reasons=tuple(reasons))
    if given.dane is DaneUse.REQUIRE and given.by_mx:
        reason = "DANE is demanded, and the host has no usable TLSA records of a signed zone"
        return TlsPolicy(level=Level.DANE, source=Source.DANE, refused=Defect.NO_TLSA, reasons=(reason,))
    if given.lookup is Lookup.FOUND:
        reason = "the TLSA records of a signed zone are all unusable: TLS with any certificate (RFC 7672 section 2.2)"
        level = Level.VERIFIED if verified else Level.MUST
        return TlsPolicy(level=level, source=Source.DANE, pkix=verified, reasons=(reason,))
    return None


def _mta_sts(given: Circumstances) -> TlsPolicy | None:
    """What the domain's policy says, None when it says nothing."""
    policy = given.sts
    if policy is None or policy.mode is Mode.NONE or not given.by_mx:
        return None
    allowed = policy.allows(given.host)
    reason = f"the MTA-STS policy is {policy.mode.value} and {'names' if allowed else 'does not name'} the host"
    defect = None if allowed else Defect.NOT_IN_POLICY
    if policy.mode is Mode.ENFORCE:
        return TlsPolicy(level=Level.VERIFIED, source=Source.MTA_STS, pkix=True, refused=defect, reasons=(reason,))
    own = f"tls.mode is {given.mode.value}"
    if given.mode is TlsMode.OPPORTUNISTIC:
        return TlsPolicy(level=Level.TESTING, source=Source.MTA_STS, pkix=allowed, noted=defect, reasons=(reason, own))
    verified = given.mode is TlsMode.VERIFIED
    return TlsPolicy(
        level=_BY_MODE[given.mode], source=Source.MTA_STS, pkix=verified, noted=defect, reasons=(reason, own)
    )


def _require_tls(given: Circumstances) -> TlsPolicy:
    """RFC 8689 §4.2.1."""
    if given.on_this_machine:
        own = "the message says REQUIRETLS, and what goes to a mail store on this machine crosses no network"
        verified = given.mode is TlsMode.VERIFIED
        return TlsPolicy(level=_BY_MODE[given.mode], source=Source.MESSAGE, pkix=verified, reasons=(own,))
    reasons = ["the message says REQUIRETLS"]
    tlsa: tuple[Tlsa, ...] = ()
    refused: Defect | None = None
    policy = given.sts if given.by_mx else None
    enforced = policy is not None and policy.mode is Mode.ENFORCE
    by_dane = _dane(given)
    if by_dane is not None:
        tlsa, refused = by_dane.tlsa, by_dane.refused
        reasons += by_dane.reasons
    if refused is None and not tlsa and enforced and policy is not None and not policy.allows(given.host):
        refused = Defect.NOT_IN_POLICY
    by_policy = policy is not None and policy.mode is not Mode.NONE and policy.allows(given.host)
    if refused is None and given.by_mx and not given.proven and not by_policy:
        refused = Defect.MX_UNPROVEN
    return TlsPolicy(
        level=Level.REQUIRETLS,
        source=Source.MESSAGE,
        pkix=not tlsa or given.mode is TlsMode.VERIFIED,
        tlsa=tlsa,
        requiretls=given.message is MessageTls.REQUIRED,
        refused=refused,
        reasons=tuple(reasons),
    )


class Consequence(Enum):
    """What a defect leads to."""

    DELIVER = "deliver as it is"
    PLAIN = "deliver in plain text"
    UNAUTHENTICATED = "deliver over TLS with whatever certificate"
    NEXT_HOST = "next host, then defer"
    BOUNCE = "next host, then bounce"


_CERTIFICATE = (*sorted(CERTIFICATE_DEFECTS, key=lambda each: each.name), Defect.TLSA_MISMATCH)
_NO_TLS = (Defect.NO_STARTTLS, Defect.HANDSHAKE, Defect.TOO_OLD)
_BEFORE = (Defect.TLSA_LOOKUP, Defect.NO_TLSA, Defect.NOT_IN_POLICY, Defect.MX_UNPROVEN)


def _row(no_tls: Consequence, certificate: Consequence, before: Consequence) -> dict[Defect, Consequence]:
    row = dict.fromkeys(_NO_TLS, no_tls) | dict.fromkeys(_CERTIFICATE, certificate) | dict.fromkeys(_BEFORE, before)
    return row | {Defect.NO_REQUIRETLS: Consequence.DELIVER}


_SKIP = Consequence.NEXT_HOST

CONSEQUENCES: dict[Level, dict[Defect, Consequence]] = {
    Level.PLAIN: _row(Consequence.PLAIN, Consequence.PLAIN, Consequence.PLAIN),
    Level.MAY: _row(Consequence.PLAIN, Consequence.UNAUTHENTICATED, Consequence.DELIVER),
    Level.TESTING: _row(Consequence.PLAIN, Consequence.UNAUTHENTICATED, Consequence.DELIVER),
    Level.MUST: _row(_SKIP, Consequence.UNAUTHENTICATED, Consequence.DELIVER),
    Level.VERIFIED: _row(_SKIP, _SKIP, _SKIP),
    Level.DANE: _row(_SKIP, _SKIP, _SKIP),
    Level.REQUIRETLS: dict.fromkeys(Defect, Consequence.BOUNCE)
    | {Defect.TLSA_LOOKUP: _SKIP},  # nobody could say yet: not the domain's last word
}
"""For each level and each defect what follows."""


def consequence(policy: TlsPolicy, defect: Defect) -> Consequence:
    """What follows from a defect under a policy."""
    return CONSEQUENCES[policy.level][defect]
