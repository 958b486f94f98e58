"""What becomes of a message after the checks of who sent it: one pure function of findings and options.

A refusal is given after DATA.  The DNS failing refuses nothing for good; a missing or broken DKIM signature refuses
nothing at all.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum

import msgspec

from relayd.mail.reply import Reply
from relayd.mailauth.findings import ArcFinding, DmarcFinding, Findings, Policy, Result, SpfFinding
from relayd.mailauth.options import AuthOptions
from relayd.options import Network

_SPF_REFUSED = "5.7.23"  # RFC 7372 §3.2
_IPREV_REFUSED = "5.7.25"
_ARC_REFUSED = "5.7.29"  # RFC 8617 §10
_STRICT = "strict"


class Action(StrEnum):
    """What to do with a message; `tag` is to take it, marked where `Verdict.is_suspicious`."""

    TAG = "tag"
    HOLD = "hold"
    DEFER = "defer"
    REJECT = "reject"


class Override(StrEnum):
    """Why a DMARC policy was not applied, by the names of aggregate reports (RFC 9990)."""

    TRUSTED_FORWARDER = "trusted_forwarder"
    MAILING_LIST = "mailing_list"
    LOCAL_POLICY = "local_policy"


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What the verdict knows beside the findings.

    address: of the client; None for none.  is_list: the header says that a mailing list sent it (`is_list_traffic`).
    """

    address: ipaddress.IPv4Address | ipaddress.IPv6Address | None = None
    is_list: bool = False


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The decision.

    reply: with reject and defer.  reasons: every fact that spoke for or against, the one that decided first.
    is_suspicious: DMARC failed, and its owner asks for quarantine or more.  override: why less was done than the
    policy asks.
    """

    action: Action
    reply: Reply | None = None
    reasons: tuple[str, ...] = ()
    is_suspicious: bool = False
    override: Override | None = None


def decide(findings: Findings, options: AuthOptions, message: Message) -> Verdict:
    """Fold the findings: the first refusal counts, then a deferral, then holding."""
    found = [*_spf(findings, options), *_arc(findings, options), *_iprev(findings, options)]
    dmarc = _dmarc(findings, options, message)
    verdicts = [*found, dmarc]
    first = max(verdicts, key=lambda each: _WEIGHT[each.action])
    reasons = dict.fromkeys([*first.reasons, *(reason for each in verdicts for reason in each.reasons)])
    return msgspec.structs.replace(
        first, reasons=tuple(reasons), is_suspicious=dmarc.is_suspicious, override=dmarc.override
    )


_WEIGHT = {Action.TAG: 0, Action.HOLD: 1, Action.DEFER: 2, Action.REJECT: 3}


def is_list_traffic(values: Callable[[str], Sequence[bytes]]) -> bool:
    """Whether a header says that a mailing list sent it: List-Id or List-Post (RFC 2919, RFC 2369), Precedence: list.

    values: the values of all fields of a name (`HeaderBlock.get`).
    """
    if values("List-Id") or values("List-Post"):
        return True
    return any(value.strip().lower() == b"list" for value in values("Precedence"))


def _spf(findings: Findings, options: AuthOptions) -> Iterator[Verdict]:
    """Only a fail refuses, and only where that identity is strict."""
    for finding, mode in ((findings.spf_mail_from, options.spf_mail_from), (findings.spf_ehlo, options.spf_ehlo)):
        if finding is None or finding.result is not Result.FAIL:
            continue
        name = "EHLO name" if finding.scope == "helo" else "return path"
        reasons = (f"SPF fail of the {name} {finding.domain}",)
        if mode == _STRICT:
            yield Verdict(action=Action.REJECT, reply=_spf_reply(finding, name), reasons=reasons)
        else:
            yield Verdict(action=Action.TAG, reasons=reasons)


def _spf_reply(finding: SpfFinding, name: str) -> Reply:
    text = f"SPF: {finding.domain}, domain of the {name}, does not permit this client"
    if finding.explanation:
        text += f"\n{finding.domain} explained: {finding.explanation}"
    return Reply(550, _SPF_REFUSED, text)


def _arc(findings: Findings, options: AuthOptions) -> Iterator[Verdict]:
    arc = findings.arc
    if arc is None or arc.result is not Result.FAIL:
        return
    reasons = (f"the ARC chain is broken: {arc.problem}" if arc.problem else "the ARC chain is broken",)
    if options.arc == _STRICT:
        reply = Reply(550, _ARC_REFUSED, "ARC validation failure")
        yield Verdict(action=Action.REJECT, reply=reply, reasons=reasons)
    else:
        yield Verdict(action=Action.TAG, reasons=reasons)


def _iprev(findings: Findings, options: AuthOptions) -> Iterator[Verdict]:
    """A client without a name is as wrong as one whose names lead elsewhere."""
    iprev = findings.iprev
    if iprev is None or iprev.result not in (Result.FAIL, Result.PERMERROR):
        return
    reasons = (f"reverse DNS of {iprev.address}: {iprev.problem}",)
    if options.iprev == _STRICT:
        reply = Reply(550, _IPREV_REFUSED, f"Reverse DNS of {iprev.address}: {iprev.problem}")
        yield Verdict(action=Action.REJECT, reply=reply, reasons=reasons)
    else:
        yield Verdict(action=Action.TAG, reasons=reasons)


def _dmarc(findings: Findings, options: AuthOptions, message: Message) -> Verdict:
    dmarc = findings.dmarc
    if dmarc is None:
        return Verdict(action=Action.TAG)
    if dmarc.result is Result.TEMPERROR:
        return _unknown(dmarc, options)
    if dmarc.result is not Result.FAIL:
        return Verdict(action=Action.TAG)
    reasons = (f"DMARC fail of {dmarc.domain}, policy {dmarc.policy}",)
    if dmarc.policy is Policy.NONE:
        return Verdict(action=Action.TAG, reasons=reasons)
    is_strict = options.dmarc == _STRICT
    if not is_strict:
        return Verdict(action=Action.TAG, reasons=reasons, is_suspicious=True, override=Override.LOCAL_POLICY)
    advocate = _advocate(findings, options, message)
    if dmarc.policy is Policy.REJECT and (
        options.dmarc_reject == "always" or (options.dmarc_reject == "unless-indirect" and advocate is None)
    ):
        text = f"Email rejected per DMARC policy for {dmarc.policy_domain or dmarc.domain}"
        reply = Reply(550, "5.7.1", text)
        return Verdict(action=Action.REJECT, reply=reply, reasons=reasons, is_suspicious=True)
    override, reason = advocate or (Override.LOCAL_POLICY, "")
    return Verdict(
        action=Action.HOLD if options.dmarc_quarantine == "hold" and advocate is None else Action.TAG,
        reasons=(*reasons, reason) if reason else reasons,
        is_suspicious=True,
        override=override if advocate or dmarc.policy is Policy.REJECT else None,
    )


def _unknown(dmarc: DmarcFinding, options: AuthOptions) -> Verdict:
    """The DNS did not tell whether it passes: for a policy of reject that is known, worth asking the peer to wait."""
    reasons = (f"DMARC of {dmarc.domain} could not be checked: {dmarc.problem}",)
    if options.dmarc == _STRICT and options.dmarc_reject != "never" and dmarc.policy is Policy.REJECT:
        text = f"DMARC of {dmarc.domain} cannot be checked now, try again later"
        return Verdict(action=Action.DEFER, reply=Reply(451, "4.7.1", text), reasons=reasons)
    return Verdict(action=Action.TAG, reasons=reasons)


def _advocate(findings: Findings, options: AuthOptions, message: Message) -> tuple[Override, str] | None:
    """What speaks for mail that fails DMARC (RFC 9989 §7.4), and the words for it; None when nothing does."""
    sealer = _trusted_sealer(findings.arc, options.trusted_sealers)
    if sealer:
        return Override.TRUSTED_FORWARDER, f"{sealer} sealed that it passed before (ARC)"
    forwarder = _forwarder(findings, options.forwarders, message)
    if forwarder:
        return Override.TRUSTED_FORWARDER, f"{forwarder} is a listed forwarder"
    if message.is_list:
        return Override.MAILING_LIST, "it comes from a mailing list"
    return None


def _trusted_sealer(arc: ArcFinding | None, trusted: Sequence[str]) -> str:
    """The sealer whose word is taken that DMARC passed: everybody who sealed after it is trusted too (RFC 8617 §7.2).

    The oldest of them counts, for it saw the message before the others changed it.
    """
    if arc is None or arc.result is not Result.PASS:
        return ""
    oldest = None
    for each in sorted(arc.sets, key=lambda each: each.instance, reverse=True):
        if not any(_is_within(each.domain, domain) for domain in trusted):
            break
        oldest = each
    if oldest is None or oldest.dmarc is not Result.PASS:
        return ""
    return oldest.domain


def _forwarder(findings: Findings, listed: Sequence[str | Network], message: Message) -> str:
    """The listed host or domain that brought the message; "" when none did."""
    proved = [dkim.domain for dkim in findings.dkim or () if dkim.result is Result.PASS]
    for spf in (findings.spf_mail_from, findings.spf_ehlo):
        if spf is not None and spf.result is Result.PASS:
            proved.append(spf.domain)
    if findings.iprev is not None:
        proved += findings.iprev.confirmed
    for each in listed:
        if isinstance(each, str):
            found = next((domain for domain in proved if _is_within(domain, each)), "")
            if found:
                return found
        elif message.address is not None and message.address in each:
            return str(message.address)
    return ""


def _is_within(domain: str, above: str) -> bool:
    return domain == above or domain.endswith("." + above)
