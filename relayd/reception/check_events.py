"""The events that tell what the checks found (control-api §4.1, §4.5): the result is a nested event.

"fail" means anything but pass, "none" and "temperror" included; but a message without a chain passes ARC.
"""

from __future__ import annotations

from collections.abc import Mapping

from relayd.events import arc, dkim, dmarc, iprev, mail_auth, smtp, spf
from relayd.events.event import TABLE, Event, EventKind, Span
from relayd.mailauth.examine import SenderFindings
from relayd.mailauth.findings import ArcFinding, DkimFinding, DmarcFinding, Findings, Result, SpfFinding
from relayd.mailauth.options import AuthOptions

_SPF = {
    Result.PASS: spf.PASS,
    Result.FAIL: spf.FAIL,
    Result.SOFTFAIL: spf.SOFT_FAIL,
    Result.NEUTRAL: spf.NEUTRAL,
    Result.TEMPERROR: spf.TEMP_ERROR,
    Result.PERMERROR: spf.PERM_ERROR,
    Result.NONE: spf.NONE,
}
_IPREV = {
    Result.PASS: iprev.PASS,
    Result.FAIL: iprev.FAIL,
    Result.TEMPERROR: iprev.TEMP_ERROR,
    Result.PERMERROR: iprev.PERM_ERROR,
    Result.NONE: iprev.NONE,
}
_DKIM = {
    Result.PASS: dkim.PASS,
    Result.FAIL: dkim.FAIL,
    Result.NEUTRAL: dkim.NEUTRAL,
    Result.POLICY: dkim.NEUTRAL,
    Result.TEMPERROR: dkim.TEMP_ERROR,
    Result.PERMERROR: dkim.PERM_ERROR,
    Result.NONE: dkim.NONE,
}
_DMARC = {
    Result.PASS: dmarc.PASS,
    Result.FAIL: dmarc.FAIL,
    Result.TEMPERROR: dmarc.TEMP_ERROR,
    Result.PERMERROR: dmarc.PERM_ERROR,
    Result.NONE: dmarc.NONE,
}
_PROBLEMS = frozenset(
    kind.id for module in (arc, dkim, mail_auth) for kind in vars(module).values() if isinstance(kind, EventKind)
)


def tell_sender(span: Span, found: SenderFindings, helo: str) -> None:
    """State what was found out about the session's client and the return path; what was known before has no time."""
    elapsed = found.elapsed
    if found.spf_ehlo is not None and ("spf-ehlo" in elapsed or not found.is_known):
        _tell_spf(span, smtp.SPF_EHLO_PASS, smtp.SPF_EHLO_FAIL, found.spf_ehlo, elapsed.get("spf-ehlo", 0.0))
    reverse = found.iprev
    if reverse is not None and ("iprev" in elapsed or not found.is_known):
        kind = smtp.IPREV_PASS if reverse.result is Result.PASS else smtp.IPREV_FAIL
        details = [f"{name}." for name in reverse.confirmed or reverse.names]
        if details:
            result = _IPREV[reverse.result].nested(details=details)
        else:
            result = _explained(_IPREV[reverse.result], reverse.problem)
        kind(span, domain=helo, result=result, elapsed=elapsed.get("iprev", 0.0))
    if found.spf_mail_from is not None:
        _tell_spf(span, smtp.SPF_FROM_PASS, smtp.SPF_FROM_FAIL, found.spf_mail_from, elapsed.get("spf-from", 0.0))


def _tell_spf(span: Span, passed: EventKind, failed: EventKind, finding: SpfFinding, elapsed: float) -> None:
    kind = passed if finding.result is Result.PASS else failed
    # that there is no record says the kind itself; without steps nobody was asked, and why stands in the problem
    is_plain = finding.result is Result.NONE and bool(finding.steps)
    result = _explained(_SPF[finding.result], "" if is_plain else finding.explanation or finding.problem)
    kind(span, domain=finding.domain, result=result, elapsed=elapsed)


def tell_content(span: Span, found: Findings, elapsed: Mapping[str, float], options: AuthOptions) -> None:
    """State what was found out about the content, and DMARC."""
    if found.dkim is not None:
        kind = smtp.DKIM_PASS if any(each.result is Result.PASS for each in found.dkim) else smtp.DKIM_FAIL
        results = [_of_signature(each) for each in found.dkim]
        kind(span, strict=options.dkim == "strict", result=results, elapsed=elapsed.get("dkim", 0.0))
    if found.arc is not None:
        kind = smtp.ARC_PASS if found.arc.result in (Result.PASS, Result.NONE) else smtp.ARC_FAIL
        kind(span, strict=options.arc == "strict", result=_of_chain(found.arc), elapsed=elapsed.get("arc", 0.0))
    if found.dmarc is not None:
        finding = found.dmarc
        kind = smtp.DMARC_PASS if finding.result is Result.PASS else smtp.DMARC_FAIL
        kind(
            span,
            strict=options.dmarc == "strict",
            domain=finding.domain,
            policy=finding.requested.value if finding.requested is not None else "unspecified",
            result=_of_policy(finding),
            elapsed=elapsed.get("dmarc", 0.0),
        )


def _of_signature(finding: DkimFinding) -> Event:
    kind = _problem(finding.cause) or _DKIM[finding.result]
    fields = {"domain": finding.domain, "details": finding.problem}
    return kind.nested(**{name: text for name, text in fields.items() if text})


def _of_chain(finding: ArcFinding) -> Event:
    kind = _problem(finding.cause) or _DKIM[finding.result]
    fields = {"domain": finding.sets[-1].domain if finding.sets else "", "details": finding.problem}
    return kind.nested(**{name: text for name, text in fields.items() if text})


def _of_policy(finding: DmarcFinding) -> Event:
    is_plain = finding.result is Result.NONE and not finding.record
    return _explained(_DMARC[finding.result], "" if is_plain and finding.domain else finding.problem)


def _explained(kind: EventKind, details: str) -> Event:
    return kind.nested(details=details) if details else kind.nested()


def _problem(cause: str) -> EventKind | None:
    return TABLE[cause] if cause in _PROBLEMS else None
