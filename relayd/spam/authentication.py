"""Tags of what mailauth found about the sender, and of the client's names."""

from __future__ import annotations

from relayd.mailauth.findings import Findings, Policy, Result
from relayd.spam.facts import Facts, Scanned
from relayd.spam.ruleset import Lists
from relayd.spam.tag import Tags

_SPF = {
    Result.PASS: "SPF_ALLOW",
    Result.FAIL: "SPF_FAIL",
    Result.SOFTFAIL: "SPF_SOFTFAIL",
    Result.NEUTRAL: "SPF_NEUTRAL",
    Result.TEMPERROR: "SPF_DNSFAIL",
    Result.PERMERROR: "SPF_PERMFAIL",
    Result.NONE: "SPF_NA",
    Result.POLICY: "SPF_NEUTRAL",
}
_TORN = frozenset(("arc.chain-too-long", "arc.invalid-instance", "arc.invalid-cv", "arc.has-header-tag"))
"""Chains that fail because they are none, whatever their signatures are."""
_ARC = {
    Result.PASS: "ARC_ALLOW",
    Result.FAIL: "ARC_REJECT",
    Result.PERMERROR: "ARC_INVALID",
    Result.TEMPERROR: "ARC_DNSFAIL",
    Result.NONE: "ARC_NA",
}


def authentication_tags(findings: Findings, facts: Facts, scanned: Scanned, lists: Lists, tags: Tags) -> None:
    """Set the tags of SPF, DKIM, ARC, DMARC and reverse DNS.  A check that was not made sets none."""
    spf = findings.spf_mail_from or findings.spf_ehlo
    if spf is not None:
        tags.add(_SPF[spf.result], f"SPF {spf.result} of {spf.domain or 'nobody'}", spf.mechanism or spf.problem)
    _dkim(findings, tags)
    arc = findings.arc
    if arc is not None:
        is_torn = arc.result is Result.FAIL and arc.cause in _TORN
        tags.add("ARC_INVALID" if is_torn else _ARC.get(arc.result, "ARC_NA"), f"ARC {arc.result}", arc.problem)
    _dmarc(findings, scanned, lists, tags)
    _client(findings, facts, tags)


def _dkim(findings: Findings, tags: Tags) -> None:
    """The best of the signatures; a bad one counts only where none is good."""
    dkim = findings.dkim
    if dkim is None:
        return
    for wanted, name in (
        (Result.PASS, "DKIM_ALLOW"),
        (Result.TEMPERROR, "DKIM_TEMPFAIL"),
        (Result.FAIL, "DKIM_REJECT"),
        (Result.PERMERROR, "DKIM_PERMFAIL"),
        (Result.POLICY, "DKIM_PERMFAIL"),
    ):
        found = next((each for each in dkim if each.result is wanted), None)
        if found is not None:
            tags.add(name, f"DKIM {found.result} of {found.domain}", found.problem)
            return
    tags.add("DKIM_NA", "there is no DKIM signature that could be checked")


def _dmarc(findings: Findings, scanned: Scanned, lists: Lists, tags: Tags) -> None:
    dmarc = findings.dmarc
    if dmarc is None:
        return
    domain = dmarc.domain or scanned.from_domain
    said = f"DMARC {dmarc.result} of {domain or 'nobody'}"
    if dmarc.result is Result.PASS:
        tags.add("DMARC_POLICY_ALLOW", said)
    elif dmarc.result is Result.FAIL and dmarc.requested is not None:
        name = {Policy.REJECT: "REJECT", Policy.QUARANTINE: "QUARANTINE", Policy.NONE: "SOFTFAIL"}[dmarc.policy]
        tags.add(f"DMARC_POLICY_{name}", f"{said}, policy {dmarc.policy}", dmarc.record)
    elif dmarc.result is Result.TEMPERROR:
        tags.add("DMARC_DNSFAIL", said, dmarc.problem)
    elif dmarc.result is Result.PERMERROR:
        tags.add("DMARC_BAD_POLICY", said, dmarc.problem)
    else:
        tags.add("DMARC_NA", f"{domain or 'the author'} has no DMARC policy")
    if domain in lists.known_dmarc or dmarc.organizational in lists.known_dmarc:
        if dmarc.result is Result.PASS:
            tags.add("ALLOWLIST_DMARC", f"{domain} is known for DMARC, and it passes")
        elif dmarc.result is not Result.TEMPERROR:
            tags.add("BLOCKLIST_DMARC", f"{domain} is known for DMARC, and it does not pass")


def _client(findings: Findings, facts: Facts, tags: Tags) -> None:
    iprev = findings.iprev
    if iprev is None:
        return
    if iprev.result is Result.TEMPERROR:
        tags.add("RDNS_DNSFAIL", f"reverse DNS of {iprev.address} could not be asked", iprev.problem)
    elif not iprev.confirmed:
        tags.add("RDNS_NONE", f"{iprev.address} has no name that leads back to it", iprev.problem)
    helo = facts.helo.strip().lower().rstrip(".")
    names = iprev.confirmed or iprev.names
    if names and helo and "." in helo and not helo.startswith("[") and helo not in names:
        tags.add("HELO_IPREV_MISMATCH", "the EHLO name is not the one of the address", f"{helo} is {names[0]}")
